/**
 * What one lane believes about the heads of its logs. Only committed state is in here: a head is
 * read from the database, or is the last row of a batch that was committed. It may be behind
 * (another process appended: the batch is lost for that log, which is then read again) or, after a
 * failover that lost commits, ahead (the statement's fence says lost, too).
 */
import { LRUCache } from 'lru-cache';
import type { Audience, LogRef } from '@dmb/events';
import type { LogId, MicroblogId, PostId } from '@dmb/protocol';
import { statement, type Queryable } from '@dmb/postgres';
import { appendLimits } from '../limits.ts';

/** The newest entry of a log (or the fork of an empty epoch), and what never changes about the log. */
export interface Head {
  readonly number: bigint;
  /** Undefined while the log has no entry. */
  readonly id: PostId | undefined;
  readonly audience: Audience;
  readonly microblog: MicroblogId | null;
}

/** Why a log takes no entries. */
export type Refusal = 'unknown' | 'closed' | 'old-epoch';

const sql = statement(`
SELECT t.ord::int4 AS ord, l.audience, l.microblog_id, l.state, l.epoch_no, coalesce(h.number, e.fork) AS number, coalesce(h.id, p.id) AS id
FROM unnest($1::int2[], $2::uuid[], $3::int4[]) WITH ORDINALITY AS t(log_shard, log_id, epoch_no, ord)
JOIN log l USING (log_shard, log_id)
JOIN epoch e ON (e.log_shard, e.log_id, e.epoch_no) = (t.log_shard, t.log_id, t.epoch_no)
LEFT JOIN LATERAL (SELECT number, id FROM entry n WHERE (n.log_shard, n.log_id, n.epoch_no) = (t.log_shard, t.log_id, t.epoch_no) ORDER BY number DESC LIMIT 1) h ON true
LEFT JOIN LATERAL (SELECT id FROM entry n WHERE n.log_shard = t.log_shard AND n.log_id = t.log_id AND n.epoch_no < t.epoch_no AND n.id IS NOT NULL
                   ORDER BY epoch_no DESC, number DESC LIMIT 1) p ON h.number IS NULL`);

interface HeadRow {
  readonly ord: number;
  readonly audience: Audience;
  readonly microblog_id: MicroblogId | null;
  readonly state: string;
  readonly epoch_no: number;
  readonly number: bigint;
  readonly id: PostId | null;
}

/** A log and epoch as one text. */
export function logKey({ log, epochNo }: LogRef): string {
  return `${log}/${epochNo}`;
}

export class Heads {
  readonly #heads = new LRUCache<string, Head>({ max: appendLimits.headsMax });

  /** Heads of these logs, those that are not known read from the database; why not, for a log that takes no entries. */
  async of(logs: readonly LogRef[], database: Queryable): Promise<Map<string, Head | Refusal>> {
    const found = new Map<string, Head | Refusal>();
    const missing = new Map<string, LogRef>();
    for (const log of logs) {
      const key = logKey(log);
      const head = this.#heads.get(key);
      if (head === undefined) missing.set(key, log);
      else found.set(key, head);
    }
    if (missing.size === 0) return found;
    const asked = [...missing.values()];
    const rows = await database.query<HeadRow>(sql, [asked.map(({ shard }) => shard), asked.map(({ log }) => log as LogId), asked.map(({ epochNo }) => epochNo)]);
    for (const key of missing.keys()) found.set(key, 'unknown');
    for (const row of rows) {
      const log = asked[row.ord - 1];
      if (log === undefined) continue;
      const head = toHead(row, log);
      found.set(logKey(log), head);
      if (typeof head !== 'string') this.#heads.set(logKey(log), head);
    }
    return found;
  }

  /** The head of a log by its {@link logKey}, if it need not be read. */
  known(key: string): Head | undefined {
    return this.#heads.get(key);
  }

  /** After a commit: this is the head now. */
  advance(log: LogRef, number: bigint, id: PostId): void {
    const head = this.#heads.peek(logKey(log));
    if (head !== undefined) this.#heads.set(logKey(log), { ...head, number, id });
  }

  forget(log: LogRef): void {
    this.#heads.delete(logKey(log));
  }

  forgetAll(): void {
    this.#heads.clear();
  }
}

function toHead(row: HeadRow, log: LogRef): Head | Refusal {
  if (row.state !== 'ours') return 'closed';
  if (row.epoch_no !== log.epochNo) return 'old-epoch';
  return { number: row.number, id: row.id ?? undefined, audience: row.audience, microblog: row.microblog_id };
}
