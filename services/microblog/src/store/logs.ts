/** Logs as other services ask for them: entries above a number, heads, what a stream listens to. */
import type { Audience, EntryAnswer, LogRef } from '@dmb/events';
import type { LogId, MicroblogId, ObjectId, PostId } from '@dmb/protocol';
import { statement, type Databases } from '@dmb/postgres';
import { readLimits } from '../limits.ts';

/** The head of one log. */
export interface LogHead extends LogRef {
  readonly head: bigint;
  readonly floor: bigint;
  readonly audience: Audience;
  readonly microblog: MicroblogId | null;
}

interface HeadRow {
  readonly log_shard: number;
  readonly log_id: LogId;
  readonly epoch_no: number;
  readonly head: bigint;
  readonly floor: bigint;
  readonly audience: Audience;
  readonly microblog_id: MicroblogId | null;
}

export class LogStore {
  readonly #databases: Databases;

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  /** From now on the log is merged when timelines are read. */
  async merge(shard: number, log: LogId): Promise<void> {
    await this.#databases.at(shard).execute(statement('INSERT INTO merged_log (log_shard, log_id) VALUES ($1, $2) ON CONFLICT (log_shard, log_id) DO NOTHING'), [shard, log]);
  }

  /** The logs that are merged when timelines are read. */
  async merged(): Promise<LogId[]> {
    const found: LogId[] = [];
    for (const database of this.#databases.all) {
      found.push(...(await database.query<{ log: LogId }>(statement('SELECT log_id AS log FROM merged_log LIMIT $1'), [readLimits.mergedLogsMax])).map(({ log }) => log));
    }
    return found;
  }

  /** Entries of one log above `after`, rising, with its head and floor; bodies that are withheld are null. */
  async entries({ shard, log, epochNo, after, limit }: LogRef & { readonly after: bigint; readonly limit: number }): Promise<{ entries: EntryAnswer[]; head: bigint; floor: bigint }> {
    const database = this.#databases.at(shard);
    const [place] = await database.query<HeadRow>(statement(`${headSql} WHERE (l.log_shard, l.log_id) = ($1, $2) AND ep.epoch_no = $3`), [shard, log, epochNo]);
    if (place === undefined) return { entries: [], head: 0n, floor: 0n };
    const rows = await database.query<{ number: bigint; id: PostId; kind: number; object_id: ObjectId; about: bigint | null; body: Buffer | null }>(
      statement(`SELECT e.number, e.id, e.kind, e.object_id, e.about, CASE WHEN w.number IS NULL THEN e.body END AS body FROM entry e LEFT JOIN withheld w USING (log_shard, log_id, epoch_no, number)
       WHERE e.log_shard = $1 AND e.log_id = $2 AND e.epoch_no = $3 AND e.number > $4 AND e.id IS NOT NULL ORDER BY e.number LIMIT $5`),
      [shard, log, epochNo, after, Math.min(Math.max(limit, 0), readLimits.entriesMax)],
    );
    const entries = rows.map(({ number, id, kind, object_id, about, body }) => ({
      shard,
      log,
      epochNo,
      number,
      kind,
      id,
      audience: place.audience,
      microblog: place.microblog_id,
      late: false,
      objectId: object_id,
      about,
      body: parsed(body),
    }));
    return { entries, head: place.head, floor: place.floor };
  }

  /** Heads of the logs of one database in key order, a page after `after`; `next` is undefined at the end. */
  async heads(database: number, after: { readonly shard: number; readonly log: LogId } | null): Promise<{ logs: LogHead[]; next: { shard: number; log: LogId } | null; databases: number }> {
    const databases = this.#databases.all.length;
    const rows =
      (await this.#databases.all[database]?.query<HeadRow>(
        statement(`${headSql} WHERE (l.log_shard, l.log_id) > ($1::int2, $2::uuid) AND ep.epoch_no = l.epoch_no ORDER BY l.log_shard, l.log_id LIMIT $3`),
        [after?.shard ?? -1, after?.log ?? '00000000-0000-0000-0000-000000000000', readLimits.headsMax],
      )) ?? [];
    const last = rows.at(-1);
    return {
      logs: rows.map((row) => ({ shard: row.log_shard, log: row.log_id, epochNo: row.epoch_no, head: row.head, floor: row.floor, audience: row.audience, microblog: row.microblog_id })),
      next: last === undefined || rows.length < readLimits.headsMax ? null : { shard: last.log_shard, log: last.log_id },
      databases,
    };
  }
}

const headSql = `
SELECT l.log_shard, l.log_id, ep.epoch_no, coalesce(h.number, ep.fork) AS head, greatest(l.floor, 0) AS floor, l.audience, l.microblog_id
FROM log l JOIN epoch ep USING (log_shard, log_id)
LEFT JOIN LATERAL (SELECT number FROM entry e WHERE (e.log_shard, e.log_id, e.epoch_no) = (l.log_shard, l.log_id, ep.epoch_no) ORDER BY number DESC LIMIT 1) h ON true`;

/** A body as the object that it is; null when erased or unreadable. */
function parsed(body: Buffer | null): Readonly<Record<string, unknown>> | null {
  if (body === null) return null;
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : null;
  } catch {
    return null;
  }
}

