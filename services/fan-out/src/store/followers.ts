/** Table `follower`: the local readers of each log, written from own logs and walked through to deliver. */
import type { LogRef } from '@dmb/events';
import { statement, type Databases, type Transaction } from '@dmb/postgres';
import { SHARD_COUNT, type LogId, type PersonId } from '@dmb/protocol';
import type { Reader } from '@dmb/timelines';
import { LRUCache } from 'lru-cache';
import type { FollowerChange, LogReaders } from '../domain/plan.ts';
import { fanOutLimits } from '../limits.ts';
import { keyOf } from './progress.ts';

/** Readers of a log that follow one another. */
export interface Slice {
  readonly readers: Reader[];
  /** The place of the last of them. */
  readonly last: After;
  /** There are no further ones. */
  readonly isEnd: boolean;
}

/** A place in the order (person_shard, person_id). */
export interface After {
  readonly shard: number;
  readonly person: PersonId;
}

/**
 * Readers as one text, `<shard>:<id><id>… <shard>:<id>…`: read several times as fast as as many rows, and as nobody's order is asked for
 * inside a shard, nothing is sorted.
 */
const readersText = (from: string): string => `
  (SELECT string_agg(person_shard::text || ':' || ids, ' ')
   FROM (SELECT person_shard, string_agg(person_id::text, '') AS ids FROM ${from} GROUP BY person_shard) AS of_shard)`;
const idWidth = 36;

const audienceSql = statement(`
  SELECT t.ord::int4 AS ord, f.readers, f.count::int4 AS count, f.merged
  FROM unnest($1::int2[], $2::uuid[]) WITH ORDINALITY AS t(log_shard, log_id, ord)
  CROSS JOIN LATERAL (
    WITH part AS MATERIALIZED (SELECT person_shard, person_id FROM follower f WHERE f.log_shard = t.log_shard AND f.log_id = t.log_id LIMIT $3)
    SELECT ${readersText('part')} AS readers, (SELECT count(*) FROM part) AS count,
      EXISTS (SELECT FROM merged m WHERE m.log_shard = t.log_shard AND m.log_id = t.log_id) AS merged) AS f`);

const sliceSql = statement(`
  WITH part AS MATERIALIZED (
    SELECT person_shard, person_id FROM follower
    WHERE log_shard = $1 AND log_id = $2 AND (person_shard, person_id) > ($3, $4::uuid) AND person_shard <= $5
    ORDER BY person_shard, person_id LIMIT $6)
  SELECT ${readersText('part')} AS readers,
    last.person_shard AS shard, last.person_id AS person, (SELECT count(*)::int4 FROM part) AS count
  FROM (SELECT person_shard, person_id FROM part ORDER BY person_shard DESC, person_id DESC LIMIT 1) AS last`);

const estimateSql = statement(`
  SELECT count(*)::int4 AS count FROM (SELECT FROM follower WHERE log_shard = $1 AND log_id = $2 AND person_shard < $3 LIMIT $4) AS part`);
const mergeSql = statement('INSERT INTO merged (log_shard, log_id) VALUES ($1, $2) ON CONFLICT (log_shard, log_id) DO NOTHING');

const meetSql = statement(`INSERT INTO cursor (log_shard, log_id, epoch_no, number) VALUES ($1, $2, $3, $4) ON CONFLICT (log_shard, log_id, epoch_no) DO NOTHING`);
const lockSql = statement(`
  SELECT log_id AS log, epoch_no AS "epochNo", number FROM cursor
  WHERE log_shard = $1 AND log_id = ANY ($2::uuid[]) ORDER BY log_shard, log_id, epoch_no FOR UPDATE`);
const followSql = statement(`
  INSERT INTO follower (log_shard, log_id, person_shard, person_id, via, own_number)
  SELECT $1, t.* FROM unnest($2::uuid[], $3::int2[], $4::uuid[], $5::uuid[], $6::int8[]) AS t(log_id, person_shard, person_id, via, own_number)
  ORDER BY 2, 3, 4
  ON CONFLICT (log_shard, log_id, person_shard, person_id) DO UPDATE SET via = EXCLUDED.via, own_number = EXCLUDED.own_number`);
const unfollowSql = statement(`
  DELETE FROM follower f USING unnest($2::uuid[], $3::int2[], $4::uuid[]) AS t(log_id, person_shard, person_id)
  WHERE f.log_shard = $1 AND (f.log_id, f.person_shard, f.person_id) = (t.log_id, t.person_shard, t.person_id)`);

export class FollowerStore {
  private readonly databases: Databases;
  /** Logs found to have many readers lately: they are not counted again for each post. Jobs deliver to few as well. */
  private readonly known = new LRUCache<LogId, 'large' | 'merged'>({ max: fanOutLimits.largeLogsKnownMax, ttl: fanOutLimits.largeLogKnownMs });
  private readonly shardOf: (person: PersonId) => number;
  private readonly mergeReaders: number;
  private readonly onMany: (log: LogRef) => void;

  /** @param onMany hears of logs with at least `mergeReaders` readers that are pushed as yet */
  constructor(databases: Databases, shardOf: (person: PersonId) => number, mergeReaders: number, onMany: (log: LogRef) => void) {
    this.databases = databases;
    this.shardOf = shardOf;
    this.mergeReaders = mergeReaders;
    this.onMany = onMany;
  }

  /** The readers of each log, or that they are many, by {@link keyOf}. */
  async audiences(logs: readonly LogRef[]): Promise<Map<string, LogReaders>> {
    const found = new Map<string, LogReaders>();
    const unknown = logs.filter((log) => {
      const size = this.known.get(log.log);
      if (size !== undefined) found.set(keyOf(log), { size });
      return size === undefined;
    });
    for (const [database, ofDatabase] of this.databases.group(unknown, ({ shard }) => shard)) {
      for (let from = 0; from < ofDatabase.length; from += fanOutLimits.audienceLogsPerQueryMax) {
        const part = ofDatabase.slice(from, from + fanOutLimits.audienceLogsPerQueryMax);
        const rows = await database.query<{ ord: number; readers: string | null; count: number; merged: boolean }>(audienceSql, [
          part.map(({ shard }) => shard),
          part.map(({ log }) => log),
          fanOutLimits.smallAudienceMax + 1,
        ]);
        for (const row of rows) {
          const log = part[row.ord - 1]!;
          found.set(keyOf(log), await this.sized(log, row));
        }
      }
    }
    return found;
  }

  private async sized(log: LogRef, { readers, count, merged }: { readonly readers: string | null; readonly count: number; readonly merged: boolean }): Promise<LogReaders> {
    const isLarge = count > fanOutLimits.smallAudienceMax;
    const size = merged ? 'merged' : 'large';
    if (isLarge) this.known.set(log.log, size);
    if (!merged && (isLarge ? await this.estimate(log) : count) >= this.mergeReaders) this.onMany(log);
    return merged || isLarge ? { size } : { size: 'small', readers: readersIn(readers) };
  }

  /** About how many readers a log has, by those whose shards are the first ones: persons fall into shards by a hash. */
  private async estimate({ shard, log }: LogRef): Promise<number> {
    const { estimateShards } = fanOutLimits;
    const share = SHARD_COUNT / estimateShards;
    const [row] = await this.databases.at(shard).query<{ count: number }>(estimateSql, [shard, log, estimateShards, Math.ceil(this.mergeReaders / share)]);
    return (row?.count ?? 0) * share;
  }

  /** From now on nobody pushes the log; other processes may for `largeLogKnownMs`. */
  async merge({ shard, log }: LogRef): Promise<void> {
    await this.databases.at(shard).execute(mergeSql, [shard, log]);
    this.known.set(log, 'merged');
  }

  /** The next readers of a log after a place, up to a shard of persons, in the order of the key but for those of one shard. */
  async slice(log: { readonly shard: number; readonly log: LogId }, after: After, toPersonShard: number, count: number): Promise<Slice> {
    const [row] = await this.databases
      .at(log.shard)
      .query<{ readers: string | null; shard: number; person: PersonId; count: number }>(sliceSql, [log.shard, log.log, after.shard, after.person, toPersonShard, count]);
    if (row === undefined) return { readers: [], last: after, isEnd: true };
    return { readers: readersIn(row.readers), last: { shard: row.shard, person: row.person }, isEnd: row.count < count };
  }

  /**
   * Applies what happenings of an own log say, under the lock of the cursors of the logs concerned: a
   * handler that moves one of them has read its followers either before or after, never halfway.
   * @returns false if the own log's cursor is above `cursor` by now: somebody else applied this
   */
  async apply(ownLog: LogRef, cursor: bigint, changes: readonly FollowerChange[]): Promise<boolean> {
    return await this.databases.at(ownLog.shard).transaction(async (tx) => {
      await tx.execute(meetSql, [ownLog.shard, ownLog.log, ownLog.epochNo, cursor]);
      const logs = [ownLog.log, ...new Set(changes.map(({ log }) => log))];
      const locked = await tx.query<{ log: LogId; epochNo: number; number: bigint }>(lockSql, [ownLog.shard, logs]);
      const own = locked.find(({ log, epochNo }) => log === ownLog.log && epochNo === ownLog.epochNo);
      if (own === undefined || own.number > cursor) return false;
      await this.write(tx, ownLog.shard, changes);
      return true;
    });
  }

  private async write(tx: Transaction, logShard: number, changes: readonly FollowerChange[]): Promise<void> {
    // The last word about each reader counts.
    const last = new Map(changes.map((change) => [`${change.log}:${change.person}`, change]));
    const columns = (some: readonly FollowerChange[]) => [some.map(({ log }) => log), some.map(({ person }) => this.shardOf(person)), some.map(({ person }) => person)];
    const reading = [...last.values()].filter(({ reads }) => reads);
    const ended = [...last.values()].filter(({ reads }) => !reads);
    if (reading.length > 0) await tx.execute(followSql, [logShard, ...columns(reading), reading.map(({ via }) => via), reading.map(({ ownNumber }) => ownNumber)]);
    if (ended.length > 0) await tx.execute(unfollowSql, [logShard, ...columns(ended)]);
  }
}

function readersIn(text: string | null): Reader[] {
  const readers: Reader[] = [];
  if (text === null) return readers;
  for (let at = 0; at < text.length; at++) {
    const colon = text.indexOf(':', at);
    const shard = Number(text.slice(at, colon));
    // Up to the space before the next shard.
    for (at = colon + 1; at + idWidth <= text.length && text.charCodeAt(at) !== space; at += idWidth) readers.push({ shard, person: text.slice(at, at + idWidth) as PersonId });
  }
  return readers;
}

const space = 0x20;
