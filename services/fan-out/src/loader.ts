/**
 * Followers of many logs at once, for load tests: by COPY, and as applying the happenings of own logs leaves
 * them. microblog's loader says what it wrote into which own log; here the readers become rows and the cursor
 * of the own log goes to where it would be, in one transaction per database and part, so that followers are never there twice or without their cursor.
 *
 * Timelines are not touched: whoever has one already gets one without what was loaded, until it is rebuilt.
 */
import type { LogRef } from '@dmb/events';
import type { Databases } from '@dmb/postgres';
import { shardOf, type LogId, type MicroblogId, type PersonId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import { fanOutLimits } from './limits.ts';

/** Followers of logs of one microblog, and the stretch of its own log that says so. */
export interface FollowersToLoad extends LogRef {
  /** Where our cursor is, and where it goes. */
  readonly from: bigint;
  readonly to: bigint;
  readonly readers: readonly { readonly log: LogId; readonly person: PersonId; readonly via: MicroblogId; readonly ownNumber: bigint }[];
}

// The row of a log that was never met is made; anywhere else than at `from` nothing is moved.
const moveSql = `
  INSERT INTO cursor AS c (log_shard, log_id, epoch_no, number)
  SELECT log_shard, log_id, epoch_no, upto FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[], $5::int8[]) AS t(log_shard, log_id, epoch_no, above, upto)
  WHERE above = 0 OR EXISTS (SELECT FROM cursor h WHERE (h.log_shard, h.log_id, h.epoch_no, h.number) = (t.log_shard, t.log_id, t.epoch_no, t.above))
  ON CONFLICT (log_shard, log_id, epoch_no) DO UPDATE SET number = EXCLUDED.number WHERE c.number < EXCLUDED.number`;

/**
 * Loads followers. Each own log at most once per call.
 * @throws {AppError} conflict where a cursor is not at `from`; nothing of that part was written
 */
export async function loadFollowers(databases: Databases, wanted: readonly FollowersToLoad[]): Promise<void> {
  for (const [database, group] of databases.group(wanted, ({ shard }) => shard)) {
    for (let from = 0; from < group.length; from += fanOutLimits.logsPerLoadMax) {
      const part = group.slice(from, from + fanOutLimits.logsPerLoadMax);
      await database.transaction(async (tx) => {
        await tx.copyIn({
          table: 'follower',
          columns: ['log_shard', 'log_id', 'person_shard', 'person_id', 'via', 'own_number'],
          rows: part.flatMap(({ shard, readers }) => readers.map(({ log, person, via, ownNumber }) => [shard, log, shardOf(person), person, via, ownNumber])),
        });
        const columns = [part.map(({ shard }) => shard), part.map(({ log }) => log), part.map(({ epochNo }) => epochNo), part.map((each) => each.from), part.map(({ to }) => to)];
        const moved = await tx.execute(moveSql, columns);
        if (moved !== part.length) throw new AppError('conflict', undefined, { detail: `${part.length - moved} own logs are not where the load begins` });
      });
    }
  }
}
