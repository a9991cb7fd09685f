/**
 * The SQL of the relays: rows to carry away, and who does it.
 *
 * A lease is one row per relay. It is taken for as long as there is something to do and let go
 * with the last rows, so that it follows whoever has work and an idle process holds nothing.
 * Processes do not hear each other's hints; the lease row remembers them: who asks and finds
 * somebody at work raises `wanted`, and a lease is let go only if `wanted` is what it was *before*
 * the holder last looked. So a row committed after that look is looked for again, by the holder.
 */
import { statement, type Database } from '@dmb/postgres';
import type { RawEvents } from './decode.ts';

/** A row to publish. */
export interface RelayRow extends RawEvents {
  readonly seq: bigint;
  /** Length of its references as text. */
  readonly bytes: number;
}

/** The answer to who asks for a relay. */
export interface Lease {
  readonly isMine: boolean;
  /** How often somebody has asked, so far. */
  readonly wanted: bigint;
  /** How long the holder may go on. */
  readonly leftMs: number;
}

// Rows of topics that only a newer release knows wait for a relay of that release.
const known = `regexp_replace(topic, '[.]v[0-9]+$', '') = ANY($1::text[])`;

const sql = {
  ask: statement(`
    UPDATE outbox_lease SET wanted = wanted + 1,
      holder = CASE WHEN holder IS NULL OR holder = $2 OR until < clock_timestamp() THEN $2 ELSE holder END,
      until = CASE WHEN holder IS NULL OR holder = $2 OR until < clock_timestamp() THEN clock_timestamp() + $3::int8 * interval '1 ms' ELSE until END
    WHERE relay = $1 RETURNING holder = $2 AS mine, wanted, (extract(epoch FROM until - clock_timestamp()) * 1000)::float8 AS left_ms`),
  rows: statement(`
    SELECT seq, topic, refs, headers, created, bytes FROM (
      SELECT o.*, coalesce(sum(bytes) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
      FROM (SELECT *, octet_length(refs::text) AS bytes FROM outbox WHERE relay = $2 AND ${known} ORDER BY seq LIMIT $3) o
    ) o WHERE before < $4 ORDER BY seq`),
  remove: statement('DELETE FROM outbox WHERE relay = $1 AND seq = ANY($2::int8[])'),
  removeLast: statement(`
    WITH gone AS (DELETE FROM outbox WHERE relay = $1 AND seq = ANY($2::int8[]))
    UPDATE outbox_lease SET holder = NULL, until = '-infinity' WHERE relay = $1 AND holder = $3 AND wanted = $4`),
  letGo: statement(`UPDATE outbox_lease SET holder = NULL, until = '-infinity' WHERE relay = ANY($1::int2[]) AND holder = $2`),
  relays: statement(`SELECT DISTINCT relay FROM outbox WHERE ${known} ORDER BY relay`),
  last: statement(`SELECT coalesce(max(seq), 0) AS last FROM outbox WHERE ${known}`),
  until: statement(`SELECT DISTINCT relay FROM outbox WHERE ${known} AND seq <= $2`),
  state: statement('SELECT count(*) AS rows, (extract(epoch FROM clock_timestamp() - min(created)))::float8 AS age FROM outbox'),
} as const;

/** One outbox and its leases. */
export class RelayStore {
  readonly #database: Database;
  readonly #nouns: readonly string[];
  readonly #holder: string;

  /** @param nouns topics without their versions; rows of others are left alone */
  constructor(database: Database, nouns: readonly string[], holder: string) {
    this.#database = database;
    this.#nouns = nouns;
    this.#holder = holder;
  }

  /** Takes the relay, or keeps it, or leaves word that it is wanted. */
  async ask(relay: number, leaseMs: number): Promise<Lease> {
    const [row] = await this.#database.query<{ mine: boolean; wanted: bigint; left_ms: number }>(sql.ask, [relay, this.#holder, leaseMs]);
    if (row === undefined) throw new Error(`there is no relay ${relay}`);
    return { isMine: row.mine, wanted: row.wanted, leftMs: row.left_ms };
  }

  /** The first rows of a relay, in order. */
  async rows(relay: number, rowsMax: number, bytesMax: number): Promise<RelayRow[]> {
    const rows = await this.#database.query<{ seq: bigint; topic: string; refs: unknown; headers: unknown; created: Date; bytes: number }>(sql.rows, [this.#nouns, relay, rowsMax, bytesMax]);
    return rows.map(({ created, ...row }) => ({ ...row, producedAt: created.getTime() }));
  }

  /** These are published. */
  async remove(relay: number, seqs: readonly bigint[]): Promise<void> {
    await this.#database.execute(sql.remove, [relay, seqs]);
  }

  /** These are published, and there was nothing behind them; true if the relay was let go, false if somebody has asked for it since. */
  async removeLast(relay: number, seqs: readonly bigint[], wanted: bigint): Promise<boolean> {
    return (await this.#database.execute(sql.removeLast, [relay, seqs, this.#holder, wanted])) === 1;
  }

  /** Leaves these relays to others. */
  async letGo(relays: readonly number[]): Promise<void> {
    await this.#database.execute(sql.letGo, [relays, this.#holder]);
  }

  /** Relays that have rows. */
  async relays(): Promise<number[]> {
    return (await this.#database.query<{ relay: number }>(sql.relays, [this.#nouns])).map(({ relay }) => relay);
  }

  /** The newest row. */
  async last(): Promise<bigint> {
    return (await this.#database.query<{ last: bigint }>(sql.last, [this.#nouns]))[0]?.last ?? 0n;
  }

  /** Relays that have rows up to `last`. */
  async relaysUntil(last: bigint): Promise<number[]> {
    return (await this.#database.query<{ relay: number }>(sql.until, [this.#nouns, last])).map(({ relay }) => relay);
  }

  /** Rows, and the age of the oldest in seconds. */
  async state(): Promise<{ readonly rows: number; readonly ageSeconds: number }> {
    const [row] = await this.#database.query<{ rows: bigint; age: number | null }>(sql.state);
    return { rows: Number(row?.rows ?? 0n), ageSeconds: Math.max(0, row?.age ?? 0) };
  }
}
