/**
 * The directory: what is unique over all shards (names to log in by, e-mail addresses).
 *
 * A row lives at the hash of its key, so one statement on one shard decides who has it. It is
 * reserved for ten minutes under a random `reservation`; every later step names that reservation, so
 * whoever lost it meanwhile changes nothing.
 */
import type { Databases } from '@dmb/postgres';
import { statement } from '@dmb/postgres';
import { type DomainId, type PersonId, type Uuid, shardOf, shardOfKey } from '@dmb/protocol';
import { ages } from '../limits.ts';

export type DirectoryKind = 'login' | 'email' | 'subject';

/** Who has a key, or is about to. */
export interface DirectoryRow {
  readonly state: 'reserved' | 'confirmed' | 'retired';
  readonly reservation: Uuid<'reservation'>;
  /** Reserved, and the ten minutes are over. */
  readonly isExpired: boolean;
  readonly person: PersonId;
}

interface Row {
  readonly state: DirectoryRow['state'];
  readonly reservation: Uuid<'reservation'>;
  readonly expired: boolean;
  readonly person_id: PersonId;
}

const find = statement(`SELECT state, reservation, person_id, state = 'reserved' AND reserved_until < now() AS expired
  FROM directory WHERE key_shard = $1 AND domain_id = $2 AND kind = $3 AND key = $4`);
const reserve = statement(`INSERT INTO directory (key_shard, domain_id, kind, key, state, reservation, reserved_until, person_shard, person_id)
  VALUES ($1, $2, $3, $4, 'reserved', $5, now() + make_interval(secs => $8), $6, $7)
  ON CONFLICT (key_shard, domain_id, kind, key) DO UPDATE SET reserved_until = EXCLUDED.reserved_until
    WHERE directory.state = 'reserved' AND directory.reservation = EXCLUDED.reservation`);
const confirm = statement(`UPDATE directory SET state = 'confirmed', reserved_until = NULL
  WHERE key_shard = $1 AND domain_id = $2 AND kind = $3 AND key = $4 AND reservation = $5 AND state IN ('reserved', 'confirmed')`);
const release = statement(`DELETE FROM directory
  WHERE key_shard = $1 AND domain_id = $2 AND kind = $3 AND key = $4 AND reservation = $5 AND state <> 'retired'`);

export class Directory {
  readonly #databases: Databases;
  readonly #domain: DomainId;

  constructor(databases: Databases, domain: DomainId) {
    this.#databases = databases;
    this.#domain = domain;
  }

  async find(kind: DirectoryKind, key: string): Promise<DirectoryRow | undefined> {
    const [row] = await this.#at(kind, key).query<Row>(find, this.#key(kind, key));
    return row && { state: row.state, reservation: row.reservation, isExpired: row.expired, person: row.person_id };
  }

  /** Reserves for ten minutes, or for ten more if this reservation has it already; false if somebody else does. */
  async reserve(kind: DirectoryKind, key: string, reservation: Uuid, person: PersonId): Promise<boolean> {
    const parameters = [...this.#key(kind, key), reservation, shardOf(person), person, ages.reservationMs / 1_000];
    return (await this.#at(kind, key).execute(reserve, parameters)) === 1;
  }

  /** Makes it the person's for good; false if the reservation was lost. Again is the same. */
  async confirm(kind: DirectoryKind, key: string, reservation: Uuid): Promise<boolean> {
    return (await this.#at(kind, key).execute(confirm, [...this.#key(kind, key), reservation])) === 1;
  }

  /** Lets go of what this reservation has; for keys that were never used. */
  async release(kind: DirectoryKind, key: string, reservation: Uuid): Promise<void> {
    await this.#at(kind, key).execute(release, [...this.#key(kind, key), reservation]);
  }

  /** Where the row of a key lives. */
  shardOf(kind: DirectoryKind, key: string): number {
    return shardOfKey(JSON.stringify(['identity', this.#domain, kind, key]));
  }

  #at(kind: DirectoryKind, key: string) {
    return this.#databases.at(this.shardOf(kind, key));
  }

  #key(kind: DirectoryKind, key: string): unknown[] {
    return [this.shardOf(kind, key), this.#domain, kind, key];
  }
}
