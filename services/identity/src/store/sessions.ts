/** Sessions of browsers: the only file that spells this table, and the one transaction of a password change. */
import { personEventWire } from '@dmb/events';
import { insertOutbox, statement, type Databases } from '@dmb/postgres';
import { type DomainId, type PersonId, newId, shardOf } from '@dmb/protocol';
import type { PasswordHash } from '../domain/passwords.ts';
import { type SecretKey, newSecret } from '../domain/secrets.ts';
import { ages, listLimits, textLimits } from '../limits.ts';
import type { PersonEvents } from './person-events.ts';
import { type Person, personColumns, personOf, writePassword } from './persons.ts';
import { revokeTokens } from './tokens.ts';

/** A browser that is logged in, as the settings page lists it. */
export interface Session {
  readonly id: string;
  readonly userAgent: string;
  readonly created: Date;
  /** A day, as 2026-11-22. */
  readonly lastUsed: string;
}

/** Who a cookie speaks for. */
export interface FoundSession extends Session {
  readonly key: SecretKey;
  readonly person: Person;
}

const find = statement(`SELECT s.session_id, s.user_agent, s.created AS session_created, s.last_used::text AS last_used, s.last_used < current_date AS stale,
    ${personColumns.split(', ').map((column) => `p.${column}`).join(', ')}
  FROM session s JOIN person p ON p.person_shard = s.person_shard AND p.person_id = s.person_id
  WHERE s.person_shard = $1 AND s.session_hash = $2 AND s.domain_id = $3 AND s.last_used > (now() - make_interval(secs => $4))::date AND p.state IN ('pending', 'active')`);
const insert = statement(`INSERT INTO session (person_shard, session_hash, session_id, person_id, domain_id, user_agent) VALUES ($1, $2, $3, $4, $5, $6)`);
const trim = statement(`DELETE FROM session WHERE person_shard = $1 AND session_hash IN (
    SELECT session_hash FROM session WHERE person_shard = $1 AND person_id = $2 ORDER BY last_used DESC, created DESC OFFSET $3)`);

export class Sessions {
  readonly #databases: Databases;
  readonly #domain: DomainId;
  readonly #events: PersonEvents;

  constructor(databases: Databases, domain: DomainId, events: PersonEvents) {
    this.#databases = databases;
    this.#domain = domain;
    this.#events = events;
  }

  /** The secret of a new session. The oldest go when a person has too many. */
  async begin(person: PersonId, userAgent: string): Promise<string> {
    const { secret, shard, hash } = newSecret(shardOf(person));
    await this.#databases.at(shard).transaction(async (tx) => {
      await tx.execute(insert, [shard, hash, newId(), person, this.#domain, userAgent.slice(0, textLimits.userAgentLengthMax)]);
      await tx.execute(trim, [shard, person, listLimits.sessionsPerPersonMax]);
    });
    return secret;
  }

  /** The session of a cookie, with its person (active or waiting). Notes the day of its use. */
  async find(key: SecretKey): Promise<FoundSession | undefined> {
    const { shard, hash } = key;
    const database = this.#databases.at(shard);
    const [row] = await database.query<{ session_id: string; user_agent: string; session_created: Date; last_used: string; stale: boolean }>(find, [shard, hash, this.#domain, ages.sessionMs / 1_000]);
    if (row === undefined) return undefined;
    if (row.stale) await database.execute('UPDATE session SET last_used = current_date WHERE person_shard = $1 AND session_hash = $2', [shard, hash]);
    return { id: row.session_id, userAgent: row.user_agent, created: row.session_created, lastUsed: row.last_used, key, person: personOf(row) };
  }

  async end({ shard, hash }: SecretKey): Promise<void> {
    await this.#databases.at(shard).execute('DELETE FROM session WHERE person_shard = $1 AND session_hash = $2', [shard, hash]);
  }

  /** Ends one session of a person by its name, or all but one. */
  async endOf(person: PersonId, which: { readonly id: string } | { readonly allBut: string }): Promise<void> {
    const shard = shardOf(person);
    const [condition, id] = 'id' in which ? ['session_id = $3', which.id] : ['session_id <> $3', which.allBut];
    await this.#databases.at(shard).execute(`DELETE FROM session WHERE person_shard = $1 AND person_id = $2 AND ${condition}`, [shard, person, id]);
  }

  /** Sessions of a person, the one used last first. */
  async list(person: PersonId): Promise<readonly Session[]> {
    const shard = shardOf(person);
    const rows = await this.#databases.at(shard).query<{ session_id: string; user_agent: string; created: Date; last_used: string }>(
      `SELECT session_id, user_agent, created, last_used::text AS last_used FROM session WHERE person_shard = $1 AND person_id = $2 ORDER BY last_used DESC, created DESC LIMIT $3`,
      [shard, person, listLimits.sessionsPerPersonMax]);
    return rows.map((row) => ({ id: row.session_id, userAgent: row.user_agent, created: row.created, lastUsed: row.last_used }));
  }

  /** A new password: with it all other sessions, all tokens and all codes end, in one transaction. */
  async changePassword(session: FoundSession, hash: PasswordHash): Promise<void> {
    const { id, shard } = session.person;
    const database = this.#databases.at(shard);
    const event = { shard, person: id, what: 'tokens-revoked', microblog: null } as const;
    const transaction = database.transaction(async (tx) => {
      await writePassword(tx, { id, shard }, this.#domain, hash);
      await tx.execute('DELETE FROM session WHERE person_shard = $1 AND person_id = $2 AND session_hash <> $3', [shard, id, session.key.hash]);
      await revokeTokens(tx, shard, id, null);
      await insertOutbox(tx, { topic: 'identity.person.v1', shard, refs: [personEventWire(event)], headers: this.#events.headers() });
    });
    await this.#events.attempt(database, shard, transaction);
    this.#events.committed(database.index, event);
  }

  /** Deletes sessions that nobody used for long, a bounded number in each database. */
  async sweep(): Promise<void> {
    for (const database of this.#databases.all) {
      await database.execute('DELETE FROM session WHERE ctid IN (SELECT ctid FROM session WHERE last_used <= (now() - make_interval(secs => $1))::date LIMIT $2)', [
        ages.sessionMs / 1_000, listLimits.housekeepingRowsMax,
      ]);
    }
  }
}
