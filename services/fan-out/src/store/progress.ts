/** Tables `cursor` and `parked`: how far each log is, and which ones stand still. */
import type { LogRef } from '@dmb/events';
import { statement, type Database, type Databases } from '@dmb/postgres';
import type { PersonId, PostId } from '@dmb/protocol';
import { fanOutLimits } from '../limits.ts';
import { jobChannel } from './jobs.ts';

/** A log and epoch as a key of maps. */
export const keyOf = (log: LogRef): string => `${log.log}:${log.epochNo}`;

/** How far a log is. */
export interface Progress {
  /** Undefined: never met. */
  readonly cursor: bigint | undefined;
  /** Set while the log is parked: the highest number that is waited for. */
  readonly wanted: bigint | undefined;
}

/** What was done for a stretch in the store. */
export interface Plan {
  readonly lane: number;
  readonly position: bigint;
  readonly ids: readonly PostId[];
  /** Whose timelines were removed. */
  readonly persons: readonly PersonId[];
}

/** A job to insert; `lease` if this process begins with it at once. */
export interface NewJob {
  readonly jobId: string;
  readonly ids: readonly PostId[];
  readonly from: number;
  readonly to: number;
  readonly lease: string | null;
}

/** A cursor that moves, with the jobs that its entries leave behind, and what to do again should the store lose it. */
export interface Move {
  readonly log: LogRef;
  readonly number: bigint;
  readonly plan: Plan | undefined;
  readonly jobs: readonly NewJob[];
}

/** A log that cannot go on. */
export interface ParkRequest {
  readonly log: LogRef;
  readonly number: bigint;
  readonly wanted: bigint;
  readonly cause: string;
}

/** A parked log whose turn has come. */
export interface ParkedLog extends LogRef {
  readonly wanted: bigint;
  readonly attempts: number;
}

const loadSql = statement(`
  SELECT t.ord::int4 AS ord, c.number AS cursor, p.wanted
  FROM unnest($1::int2[], $2::uuid[], $3::int4[]) WITH ORDINALITY AS t(log_shard, log_id, epoch_no, ord)
  LEFT JOIN cursor c USING (log_shard, log_id, epoch_no)
  LEFT JOIN parked p USING (log_shard, log_id, epoch_no)`);

// One statement, hence one transaction: a cursor moves together with the jobs and the plan of what it passes.
const moveSql = statement(`
  WITH moved AS (
    INSERT INTO cursor (log_shard, log_id, epoch_no, number)
    SELECT * FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[]) AS t(log_shard, log_id, epoch_no, number)
    ORDER BY log_shard, log_id, epoch_no
    ON CONFLICT (log_shard, log_id, epoch_no) DO UPDATE SET number = EXCLUDED.number WHERE cursor.number < EXCLUDED.number
    RETURNING log_shard, log_id, epoch_no, number
  ), unparked AS (
    DELETE FROM parked p USING moved m
    WHERE (p.log_shard, p.log_id, p.epoch_no) = (m.log_shard, m.log_id, m.epoch_no) AND p.wanted <= m.number
  ), planned AS (
    INSERT INTO plan (log_shard, log_id, number, lane, position, ids, persons)
    SELECT m.log_shard, m.log_id, m.number, p.lane, p.position, p.ids::int8[], p.persons::uuid[]
    FROM unnest($11::uuid[], $12::int4[], $13::int2[], $14::int8[], $15::text[], $16::text[]) AS p(log_id, epoch_no, lane, position, ids, persons)
    JOIN moved m USING (log_id, epoch_no)
  ), made AS (
    INSERT INTO job (log_shard, job_id, log_id, ids, from_person_shard, to_person_shard, lease, leased_until)
    SELECT m.log_shard, j.job_id, m.log_id, j.ids::int8[], j.from_shard, j.to_shard, j.lease,
      CASE WHEN j.lease IS NULL THEN '-infinity' ELSE clock_timestamp() + $18 * interval '1 ms' END
    FROM unnest($5::uuid[], $6::int4[], $7::uuid[], $8::text[], $9::int2[], $10::int2[], $17::uuid[]) AS j(log_id, epoch_no, job_id, ids, from_shard, to_shard, lease)
    JOIN moved m USING (log_id, epoch_no)
    RETURNING job_id
  )
  SELECT pg_notify('${jobChannel}', '') WHERE EXISTS (SELECT FROM made)`);

const parkSql = statement(`
  INSERT INTO parked (log_shard, log_id, epoch_no, number, wanted, cause, next_attempt)
  SELECT log_shard, log_id, epoch_no, number, wanted, cause, clock_timestamp() + $7 * interval '1 ms'
  FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[], $5::int8[], $6::text[]) AS t(log_shard, log_id, epoch_no, number, wanted, cause)
  ORDER BY log_shard, log_id, epoch_no
  ON CONFLICT (log_shard, log_id, epoch_no) DO UPDATE SET wanted = greatest(parked.wanted, EXCLUDED.wanted)`);

const takeParkedSql = statement(`
  UPDATE parked SET attempts = attempts + 1,
    next_attempt = clock_timestamp() + least($2 * 2 ^ least(attempts, 30), $3) * interval '1 ms'
  WHERE (log_shard, log_id, epoch_no) IN (
    SELECT log_shard, log_id, epoch_no FROM parked WHERE next_attempt <= clock_timestamp() ORDER BY next_attempt LIMIT $1 FOR UPDATE SKIP LOCKED)
  RETURNING log_shard AS shard, log_id AS log, epoch_no AS "epochNo", wanted, attempts`);

const failedSql = statement('UPDATE parked SET cause = $4, number = $5 WHERE (log_shard, log_id, epoch_no) = ($1, $2, $3)');
const unparkSql = statement('DELETE FROM parked WHERE (log_shard, log_id, epoch_no) = ($1, $2, $3) AND wanted <= $4');
const nextSql = statement('SELECT (extract(epoch FROM min(next_attempt) - clock_timestamp()) * 1000)::float8 AS wait FROM parked');
const sumsSql = statement(`
  SELECT (SELECT coalesce(sum(number), 0)::int8 FROM cursor) AS cursors,
    (SELECT coalesce(sum(p.wanted - coalesce(c.number, 0)), 0)::int8 FROM parked p LEFT JOIN cursor c USING (log_shard, log_id, epoch_no)
     WHERE p.wanted > coalesce(c.number, 0)) AS parked,
    (SELECT count(*)::int8 FROM parked) AS "parkedLogs"`);

export class ProgressStore {
  private readonly databases: Databases;
  private readonly jobLeaseMs: number;

  constructor(databases: Databases, jobLeaseMs: number) {
    this.databases = databases;
    this.jobLeaseMs = jobLeaseMs;
  }

  /** Cursor and parked row of each log, by {@link keyOf}. */
  async load(logs: readonly LogRef[]): Promise<Map<string, Progress>> {
    const found = new Map<string, Progress>();
    for (const [database, ofDatabase] of this.databases.group(logs, ({ shard }) => shard)) {
      for (const part of partsOf(ofDatabase)) {
        const rows = await database.query<{ ord: number; cursor: bigint | null; wanted: bigint | null }>(loadSql, logColumns(part));
        for (const { ord, cursor, wanted } of rows) found.set(keyOf(part[ord - 1]!), { cursor: cursor ?? undefined, wanted: wanted ?? undefined });
      }
    }
    return found;
  }

  /** Moves cursors up, never back, and inserts their jobs; a cursor that somebody else moved as far leaves none. */
  async move(moves: readonly Move[]): Promise<void> {
    for (const [database, ofDatabase] of this.databases.group(moves, ({ log }) => log.shard)) {
      for (const part of partsOf(ofDatabase)) {
        const jobs = part.flatMap(({ log, jobs: some }) => some.map((job) => ({ log, ...job })));
        await database.execute(moveSql, [
          ...logColumns(part.map(({ log }) => log)),
          part.map(({ number }) => number),
          jobs.map(({ log }) => log.log),
          jobs.map(({ log }) => log.epochNo),
          jobs.map(({ jobId }) => jobId),
          jobs.map(({ ids }) => `{${ids.join(',')}}`),
          jobs.map(({ from }) => from),
          jobs.map(({ to }) => to),
          ...planColumns(part),
          jobs.map(({ lease }) => lease),
          this.jobLeaseMs,
        ]);
      }
    }
  }

  /** Writes one row per log that cannot go on; for one that has a row already, only `wanted` rises. */
  async park(requests: readonly ParkRequest[]): Promise<void> {
    for (const [database, ofDatabase] of this.databases.group(requests, ({ log }) => log.shard)) {
      for (const part of partsOf(ofDatabase)) {
        await database.execute(parkSql, [
          ...logColumns(part.map(({ log }) => log)),
          part.map(({ number }) => number),
          part.map(({ wanted }) => wanted),
          part.map(({ cause }) => cause.slice(0, fanOutLimits.causeLengthMax)),
          fanOutLimits.parkedPauseMs,
        ]);
      }
    }
  }

  /** Parked logs whose turn has come; their next one is put off at once, so that nobody else takes them. */
  async takeParked(database: Database, count: number): Promise<ParkedLog[]> {
    return await database.query<ParkedLog & Record<string, unknown>>(takeParkedSql, [count, fanOutLimits.parkedPauseMs * 2, fanOutLimits.parkedPauseMsMax]);
  }

  /** Why a parked log still cannot go on. */
  async stillParked({ log, number, cause }: ParkRequest): Promise<void> {
    await this.databases.at(log.shard).execute(failedSql, [log.shard, log.log, log.epochNo, cause.slice(0, fanOutLimits.causeLengthMax), number]);
  }

  /** Takes the row of a log away that has reached what was wanted of it. */
  async unpark(log: LogRef, cursor: bigint): Promise<void> {
    await this.databases.at(log.shard).execute(unparkSql, [log.shard, log.log, log.epochNo, cursor]);
  }

  /** Milliseconds until a parked log's turn comes; undefined while none is parked. */
  async nextParkedMs(): Promise<number | undefined> {
    const waits = await Promise.all(this.databases.all.map((database) => database.query<{ wait: number | null }>(nextSql)));
    const known = waits.flatMap(([row]) => (row?.wait === undefined || row.wait === null ? [] : [row.wait]));
    return known.length === 0 ? undefined : Math.max(0, Math.min(...known));
  }

  /** Σ of cursors, and of what parked logs still want; both in entries. */
  async sums(): Promise<{ readonly cursors: bigint; readonly parked: bigint; readonly parkedLogs: bigint }> {
    const sums = { cursors: 0n, parked: 0n, parkedLogs: 0n };
    for (const database of this.databases.all) {
      const [row] = await database.query<typeof sums>(sumsSql);
      sums.cursors += row?.cursors ?? 0n;
      sums.parked += row?.parked ?? 0n;
      sums.parkedLogs += row?.parkedLogs ?? 0n;
    }
    return sums;
  }
}

const logColumns = (logs: readonly LogRef[]): [number[], string[], number[]] => [
  logs.map(({ shard }) => shard),
  logs.map(({ log }) => log),
  logs.map(({ epochNo }) => epochNo),
];

function planColumns(moves: readonly Move[]): unknown[] {
  const planned = moves.flatMap(({ log, plan }) => (plan === undefined ? [] : [{ log, ...plan }]));
  return [
    planned.map(({ log }) => log.log),
    planned.map(({ log }) => log.epochNo),
    planned.map(({ lane }) => lane),
    planned.map(({ position }) => position),
    planned.map(({ ids }) => `{${ids.join(',')}}`),
    planned.map(({ persons }) => `{${persons.join(',')}}`),
  ];
}

function* partsOf<T>(items: readonly T[]): Generator<T[]> {
  for (let from = 0; from < items.length; from += fanOutLimits.logsPerStatementMax) yield items.slice(from, from + fanOutLimits.logsPerStatementMax);
}
