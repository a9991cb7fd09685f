/**
 * Followers of many logs at once, for load tests: by COPY, and as applying the happenings of own logs leaves
 * them. microblog's loader says what it wrote into which own log; here the readers become rows and the cursor
 * of the own log goes to where it would be, in one transaction per database and part, so that followers are never there twice or without their cursor.
 *
 * A sweep may have found those entries before us (it comes a minute after a start): the cursors are locked first, as applying
 * does, and what is below them is there already.
 *
 * Timelines are not touched: whoever has one already gets one without what was loaded, until it is rebuilt.
 */
import type { LogRef } from '@dmb/events';
import type { Databases, Transaction } from '@dmb/postgres';
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

const meetSql = `INSERT INTO cursor (log_shard, log_id, epoch_no, number)
  SELECT * FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[]) AS t(log_shard, log_id, epoch_no, number) ORDER BY 1, 2, 3 ON CONFLICT (log_shard, log_id, epoch_no) DO NOTHING`;
const lockSql = `SELECT c.log_id AS log, c.number FROM unnest($1::int2[], $2::uuid[], $3::int4[]) AS t(log_shard, log_id, epoch_no) JOIN cursor c USING (log_shard, log_id, epoch_no)
  ORDER BY c.log_shard, c.log_id, c.epoch_no FOR UPDATE OF c`;
const moveSql = `UPDATE cursor c SET number = t.number FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[]) AS t(log_shard, log_id, epoch_no, number)
  WHERE (c.log_shard, c.log_id, c.epoch_no) = (t.log_shard, t.log_id, t.epoch_no) AND c.number < t.number`;

/**
 * Loads followers. Each own log at most once per call.
 * @throws {AppError} conflict where a cursor is below `from`; nothing of that part was written
 */
export async function loadFollowers(databases: Databases, wanted: readonly FollowersToLoad[]): Promise<void> {
  for (const [database, group] of databases.group(wanted, ({ shard }) => shard)) {
    for (let from = 0; from < group.length; from += fanOutLimits.logsPerLoadMax) {
      const part = group.slice(from, from + fanOutLimits.logsPerLoadMax);
      await database.transaction((tx) => load(tx, part));
    }
  }
}

async function load(tx: Transaction, part: readonly FollowersToLoad[]): Promise<void> {
  const keys = [part.map(({ shard }) => shard), part.map(({ log }) => log), part.map(({ epochNo }) => epochNo)];
  await tx.execute(meetSql, [...keys, part.map(({ from }) => from)]);
  const cursors = new Map((await tx.query<{ log: LogId; number: bigint }>(lockSql, keys)).map(({ log, number }) => [log, number]));
  const behind = part.find(({ log, from }) => (cursors.get(log) ?? 0n) < from);
  if (behind !== undefined) throw new AppError('conflict', undefined, { detail: `the own log ${behind.log} has not been applied up to ${behind.from}` });
  await tx.copyIn({
    table: 'follower',
    columns: ['log_shard', 'log_id', 'person_shard', 'person_id', 'via', 'own_number'],
    rows: part.flatMap(({ shard, log: ownLog, readers }) =>
      readers.filter(({ ownNumber }) => ownNumber > (cursors.get(ownLog) ?? 0n)).map(({ log, person, via, ownNumber }) => [shard, log, shardOf(person), person, via, ownNumber]),
    ),
  });
  await tx.execute(moveSql, [...keys, part.map(({ to }) => to)]);
}
