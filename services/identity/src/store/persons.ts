/** Persons and their passwords: the only file that spells these two tables, beside the loader. A person's rows are all at the shard of the person id. */
import { personEventWire } from '@dmb/events';
import { insertOutbox, statement, type Databases, type Transaction } from '@dmb/postgres';
import { type DomainId, type MicroblogId, type PersonId, type Uuid, shardOf } from '@dmb/protocol';
import type { PasswordHash } from '../domain/passwords.ts';
import { listLimits } from '../limits.ts';
import type { PersonEvents } from './person-events.ts';

export type PersonState = 'creating' | 'pending' | 'active' | 'suspended' | 'removed';

/** Somebody who can log in. */
export interface Person {
  readonly id: PersonId;
  readonly shard: number;
  readonly state: PersonState;
  /** What `creating` ends in. */
  readonly becomes: 'pending' | 'active';
  readonly login: string;
  readonly reservation: Uuid<'reservation'>;
  /** Their personal microblog; it exists once they are active. */
  readonly microblog: MicroblogId;
  readonly title: string;
  readonly email: string | null;
  readonly locale: string | null;
  readonly reason: string | null;
  readonly created: Date;
}

export type NewPerson = Omit<Person, 'shard' | 'state' | 'created'>;

interface Row {
  readonly person_id: PersonId;
  readonly person_shard: number;
  readonly state: PersonState;
  readonly becomes: 'pending' | 'active';
  readonly login: string;
  readonly reservation: Uuid<'reservation'>;
  readonly microblog_id: MicroblogId;
  readonly title: string;
  readonly email: string | null;
  readonly locale: string | null;
  readonly reason: string | null;
  readonly created: Date;
}

export const personColumns = 'person_id, person_shard, state, becomes, login, reservation, microblog_id, title, email, locale, reason, created';

/** A row with {@link personColumns}. */
export function personOf(row: object): Person {
  const { person_id: id, person_shard: shard, state, becomes, login, reservation, microblog_id: microblog, title, email, locale, reason, created } = row as Row;
  return { id, shard, state, becomes, login, reservation, microblog, title, email, locale, reason, created };
}

const findPerson = statement(`SELECT ${personColumns} FROM person WHERE person_shard = $1 AND person_id = $2`);
const findCredential = statement(`SELECT memory_kib, passes, parallelism, salt, hash FROM credential WHERE person_shard = $1 AND person_id = $2 AND kind = 'password'`);
const insertPerson = statement(`INSERT INTO person (person_shard, person_id, domain_id, state, becomes, login, reservation, microblog_id, title, email, locale, reason)
  VALUES ($1, $2, $3, 'creating', $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (person_shard, person_id) DO NOTHING`);
const putCredential = statement(`INSERT INTO credential (person_shard, person_id, domain_id, kind, algorithm, memory_kib, passes, parallelism, salt, hash)
  VALUES ($1, $2, $3, 'password', 'argon2id', $4, $5, $6, $7, $8)
  ON CONFLICT (person_shard, person_id, kind) DO UPDATE SET memory_kib = EXCLUDED.memory_kib, passes = EXCLUDED.passes, parallelism = EXCLUDED.parallelism,
    salt = EXCLUDED.salt, hash = EXCLUDED.hash, changed = now()`);
const settle = statement(`UPDATE person SET state = $3, approved = CASE WHEN $4::uuid IS NULL THEN approved ELSE now() END, approved_by = coalesce($4::uuid, approved_by),
    reason = CASE WHEN $3 = 'active' THEN NULL ELSE reason END
  WHERE person_shard = $1 AND person_id = $2 AND state = ANY($5::text[])`);

/** Writes a password of a person within a transaction on the person's shard. */
export async function writePassword(tx: Pick<Transaction, 'execute'>, person: { readonly id: PersonId; readonly shard: number }, domain: DomainId, hash: PasswordHash): Promise<void> {
  await tx.execute(putCredential, [person.shard, person.id, domain, hash.memoryKiB, hash.passes, hash.parallelism, hash.salt, hash.hash]);
}

export class Persons {
  readonly #databases: Databases;
  readonly #domain: DomainId;
  readonly #events: PersonEvents;

  constructor(databases: Databases, domain: DomainId, events: PersonEvents) {
    this.#databases = databases;
    this.#domain = domain;
    this.#events = events;
  }

  async find(id: PersonId): Promise<Person | undefined> {
    const shard = shardOf(id);
    const [row] = await this.#databases.at(shard).query(findPerson, [shard, id]);
    return row && personOf(row);
  }

  async password(id: PersonId): Promise<PasswordHash | undefined> {
    const shard = shardOf(id);
    const [row] = await this.#databases.at(shard).query<{ memory_kib: number; passes: number; parallelism: number; salt: Buffer; hash: Buffer }>(findCredential, [shard, id]);
    return row && { memoryKiB: row.memory_kib, passes: row.passes, parallelism: row.parallelism, salt: row.salt, hash: row.hash };
  }

  /** Replaces a hash that was made with old parameters. */
  async rehash(id: PersonId, hash: PasswordHash): Promise<void> {
    const shard = shardOf(id);
    await writePassword(this.#databases.at(shard), { id, shard }, this.#domain, hash);
  }

  /** Writes a person in the state `creating`, with a password; nothing if the person is there already. */
  async create(person: NewPerson, hash: PasswordHash): Promise<void> {
    const shard = shardOf(person.id);
    await this.#databases.at(shard).transaction(async (tx) => {
      const { id, becomes, login, reservation, microblog, title, email, locale, reason } = person;
      const inserted = await tx.execute(insertPerson, [shard, id, this.#domain, becomes, login, reservation, microblog, title, email, locale, reason]);
      if (inserted === 1) await writePassword(tx, { id, shard }, this.#domain, hash);
    });
  }

  /** Ends `creating` (or, by the operator, `pending`); tells the others of a person who is active now. False if the person is in none of these states. */
  async settle(id: PersonId, from: readonly PersonState[], to: 'pending' | 'active', approvedBy: PersonId | null = null): Promise<boolean> {
    const shard = shardOf(id);
    const database = this.#databases.at(shard);
    const transaction = database.transaction(async (tx) => {
      const rows = await tx.execute(settle, [shard, id, to, approvedBy, from]);
      if (rows === 1 && to === 'active') {
        await insertOutbox(tx, { topic: 'identity.person.v1', shard, refs: [personEventWire({ shard, person: id, what: 'created', microblog: null })], headers: this.#events.headers() });
      }
      return rows === 1;
    });
    const changed = await this.#events.attempt(database, shard, transaction);
    if (changed && to === 'active') this.#events.committed(database.index, { shard, person: id, what: 'created', microblog: null });
    return changed;
  }

  /** Deletes somebody who never became active, with all that they have. */
  async discard(id: PersonId): Promise<boolean> {
    const shard = shardOf(id);
    return await this.#databases.at(shard).transaction(async (tx) => {
      const gone = await tx.execute(`DELETE FROM person WHERE person_shard = $1 AND person_id = $2 AND state IN ('creating', 'pending')`, [shard, id]);
      if (gone === 0) return false;
      for (const table of ['credential', 'session', 'code', 'token']) await tx.execute(`DELETE FROM ${table} WHERE person_shard = $1 AND person_id = $2`, [shard, id]);
      return true;
    });
  }

  /** Who waits for the operator, oldest first, over all databases; bounded. */
  async waiting(): Promise<readonly Person[]> {
    const sql = `SELECT ${personColumns} FROM person WHERE domain_id = $1 AND state = 'pending' ORDER BY created LIMIT $2`;
    const found = await Promise.all(this.#databases.all.map((database) => database.query(sql, [this.#domain, listLimits.registrationsShownMax])));
    return found.flat().map(personOf).sort((a, b) => a.created.getTime() - b.created.getTime()).slice(0, listLimits.registrationsShownMax);
  }

  /** Sign-ups that broke in the middle, older than a reservation lives. */
  async broken(olderThanMs: number): Promise<readonly Person[]> {
    const sql = `SELECT ${personColumns} FROM person WHERE domain_id = $1 AND state = 'creating' AND created < now() - make_interval(secs => $2) ORDER BY created LIMIT $3`;
    const found = await Promise.all(this.#databases.all.map((database) => database.query(sql, [this.#domain, olderThanMs / 1_000, listLimits.housekeepingRowsMax])));
    return found.flat().map(personOf);
  }

  /** How many are active, and how many wait. */
  async count(): Promise<{ readonly active: number; readonly waiting: number }> {
    const sql = `SELECT (SELECT count(*) FROM person WHERE domain_id = $1 AND state = 'active')::int4 AS active,
      (SELECT count(*) FROM person WHERE domain_id = $1 AND state = 'pending')::int4 AS waiting`;
    const rows = (await Promise.all(this.#databases.all.map((database) => database.query<{ active: number; waiting: number }>(sql, [this.#domain])))).flat();
    return { active: rows.reduce((sum, row) => sum + row.active, 0), waiting: rows.reduce((sum, row) => sum + row.waiting, 0) };
  }
}
