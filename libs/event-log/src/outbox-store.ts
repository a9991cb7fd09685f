/**
 * The SQL of the event log in one process: one outbox in one database of one producing service.
 *
 * A group's position is not a number but a set: the rows of the outbox without a mark of the
 * group. A row leaves when every registered group has marked it, so the set stays small, and
 * "handled by all" and "gone" are the same.
 *
 * Two groups that finish the same row at the same moment would each see the other's mark missing
 * and both leave it; the caller therefore acknowledges one after the other per relay, and
 * {@link OutboxStore.tidy} removes what a crash in between may leave.
 */
import { statement, type Database } from '@dmb/postgres';
import type { RawEvents } from './decode.ts';

/** One row of an outbox. */
export interface OutboxRow extends RawEvents {
  readonly seq: bigint;
}

/** What a look at the whole outbox finds. */
export interface Look {
  /** Relays that have rows. */
  readonly relays: readonly number[];
  /** There are marks. */
  readonly marks: boolean;
  /** Groups of ours whose registration is gone. */
  readonly missing: readonly string[];
  /** Groups that have not run for long. */
  readonly absent: readonly { readonly consumer: string; readonly seen: Date }[];
}

const sql = {
  register: statement(`
    INSERT INTO outbox_consumer AS c (consumer, topics) VALUES ($1, $2)
    ON CONFLICT (consumer) DO UPDATE SET seen = now(), told = c.told AND c.topics @> excluded.topics, topics = excluded.topics
    RETURNING told`),
  told: statement('UPDATE outbox_consumer SET told = true WHERE consumer = $1'),
  // Not more rows than $3, and none after the one that brings the events to $4. One row without seq tells of the registration alone.
  unmarked: statement(`
    SELECT (SELECT true FROM outbox_consumer WHERE consumer = $2) AS registered, r.*
    FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
      SELECT seq, topic, refs, headers, created FROM (
        SELECT o.*, coalesce(sum(CASE jsonb_typeof(refs) WHEN 'array' THEN jsonb_array_length(refs) ELSE 1 END)
                             OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
        FROM (
          SELECT seq, topic, refs, headers, created FROM outbox o
          WHERE relay = $1 AND NOT EXISTS (SELECT FROM outbox_mark m WHERE m.relay = o.relay AND m.seq = o.seq AND m.consumer = $2)
          ORDER BY seq LIMIT $3
        ) o
      ) o WHERE before < $4
    ) r ON true ORDER BY r.seq`),
  handled: statement(`
    WITH handled AS MATERIALIZED (
      SELECT o.seq FROM outbox o WHERE o.relay = $1 AND o.seq = ANY($3::int8[])
    ), wanted AS MATERIALIZED (
      SELECT h.seq FROM handled h WHERE EXISTS (
        SELECT FROM outbox_consumer c WHERE c.consumer <> $2
          AND NOT EXISTS (SELECT FROM outbox_mark m WHERE m.relay = $1 AND m.seq = h.seq AND m.consumer = c.consumer))
    ), complete AS MATERIALIZED (
      SELECT seq FROM handled EXCEPT SELECT seq FROM wanted
    ), marked AS (
      INSERT INTO outbox_mark (relay, seq, consumer) SELECT $1, seq, $2 FROM wanted ON CONFLICT DO NOTHING
    ), gone AS (
      DELETE FROM outbox WHERE relay = $1 AND seq IN (SELECT seq FROM complete)
    )
    DELETE FROM outbox_mark WHERE relay = $1 AND seq IN (SELECT seq FROM complete)`),
  look: statement(`
    WITH seen AS (
      UPDATE outbox_consumer SET seen = now() WHERE consumer = ANY($1::text[]) AND seen < now() - $2::int8 * interval '1 ms'
    )
    SELECT ARRAY(SELECT DISTINCT relay FROM outbox ORDER BY relay) AS relays,
           EXISTS (SELECT FROM outbox_mark) AS marks,
           ARRAY(SELECT unnest($1::text[]) EXCEPT SELECT consumer FROM outbox_consumer) AS missing,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('consumer', consumer, 'seen', seen)), '[]') FROM outbox_consumer
             WHERE consumer <> ALL($1::text[]) AND seen < now() - $3::int8 * interval '1 ms') AS absent`),
  retire: statement(`DELETE FROM outbox_consumer WHERE consumer = $1 AND seen < now() - $2::int8 * interval '1 ms'`),
  tidy: statement(`
    WITH complete AS MATERIALIZED (
      SELECT seq FROM outbox o WHERE relay = $1 AND EXISTS (SELECT FROM outbox_consumer) AND NOT EXISTS (
        SELECT FROM outbox_consumer c WHERE NOT EXISTS (SELECT FROM outbox_mark m WHERE m.relay = $1 AND m.seq = o.seq AND m.consumer = c.consumer))
    ), gone AS (
      DELETE FROM outbox WHERE relay = $1 AND seq IN (SELECT seq FROM complete)
    )
    DELETE FROM outbox_mark m WHERE relay = $1 AND (seq IN (SELECT seq FROM complete)
      OR NOT EXISTS (SELECT FROM outbox o WHERE o.relay = $1 AND o.seq = m.seq)
      OR NOT EXISTS (SELECT FROM outbox_consumer c WHERE c.consumer = m.consumer))`),
  unhandled: statement(`
    SELECT count(*) AS rows, coalesce(max(seq), 0) AS last, array_agg(DISTINCT relay) AS relays FROM outbox o
    WHERE seq <= $2 AND NOT EXISTS (SELECT FROM outbox_mark m WHERE m.relay = o.relay AND m.seq = o.seq AND m.consumer = $1)`),
  oldest: statement('SELECT (extract(epoch FROM clock_timestamp() - min(created)))::float8 AS age FROM outbox'),
} as const;

/** One outbox. */
export class OutboxStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Makes the group known, if it is not; false if it had no position or lacked one of its topics, and has not been told yet. */
  async register(group: string, topics: readonly string[]): Promise<boolean> {
    const [row] = await this.#database.query<{ told: boolean }>(sql.register, [group, topics]);
    return row?.told === true;
  }

  /** The group has been told that earlier events may be missing. */
  async setTold(group: string): Promise<void> {
    await this.#database.execute(sql.told, [group]);
  }

  /** The first rows of a relay that the group has not handled, in order; undefined if the group is not registered. */
  async unmarked(group: string, relay: number, rowsMax: number, eventsMax: number): Promise<OutboxRow[] | undefined> {
    const rows = await this.#database.query<{ registered: boolean | null; seq: bigint | null; topic: string; refs: unknown; headers: unknown; created: Date }>(sql.unmarked, [
      relay,
      group,
      rowsMax,
      eventsMax,
    ]);
    if (rows[0]?.registered !== true) return undefined;
    return rows.flatMap(({ seq, topic, refs, headers, created }) => (seq === null ? [] : [{ seq, topic, refs, headers, producedAt: created.getTime() }]));
  }

  /** The group has handled these rows: in one statement they are marked, or gone if it was the last to. */
  async setHandled(group: string, relay: number, seqs: readonly bigint[]): Promise<void> {
    await this.#database.execute(sql.handled, [relay, group, seqs]);
  }

  /** The whole outbox at a glance, for groups that run here. */
  async look(groups: readonly string[], seenEveryMs: number, absentAfterMs: number): Promise<Look> {
    const [row] = await this.#database.query<{ relays: number[]; marks: boolean; missing: string[]; absent: { consumer: string; seen: string }[] }>(sql.look, [
      groups,
      seenEveryMs,
      absentAfterMs,
    ]);
    if (row === undefined) throw new Error('a look always finds one row');
    return { ...row, absent: row.absent.map(({ consumer, seen }) => ({ consumer, seen: new Date(seen) })) };
  }

  /** Forgets a group, unless it has run meanwhile. */
  async retire(group: string, absentAfterMs: number): Promise<void> {
    await this.#database.execute(sql.retire, [group, absentAfterMs]);
  }

  /** Removes rows that everybody has handled and marks of rows or groups that are gone. */
  async tidy(relay: number): Promise<void> {
    await this.#database.execute(sql.tidy, [relay]);
  }

  /** Rows up to `last` that the group has not handled. */
  async unhandled(group: string, last = 9_223_372_036_854_775_807n): Promise<{ readonly rows: bigint; readonly last: bigint; readonly relays: readonly number[] }> {
    const [row] = await this.#database.query<{ rows: bigint; last: bigint; relays: number[] | null }>(sql.unhandled, [group, last]);
    return { rows: row?.rows ?? 0n, last: row?.last ?? 0n, relays: row?.relays ?? [] };
  }

  /** Age of the oldest row in seconds. */
  async oldestAgeSeconds(): Promise<number> {
    const [row] = await this.#database.query<{ age: number | null }>(sql.oldest);
    return Math.max(0, row?.age ?? 0);
  }
}
