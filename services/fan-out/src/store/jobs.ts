/** Table `job`: deliveries to large audiences, leased, with a durable place. They are inserted by the move of a cursor (progress.ts). */
import { randomUUID } from 'node:crypto';
import { statement, type Database } from '@dmb/postgres';
import type { LogId, PersonId, PostId } from '@dmb/protocol';
import { fanOutLimits } from '../limits.ts';
import type { Delivered } from '../work/deliverer.ts';
import type { After } from './followers.ts';

/** A job that this process holds. */
export interface Job {
  readonly shard: number;
  readonly jobId: string;
  readonly log: LogId;
  readonly ids: readonly PostId[];
  readonly from: number;
  readonly to: number;
  readonly lease: string;
  readonly after: After;
}

type Row = Omit<Job, 'after'> & { readonly afterShard: number | null; readonly afterPerson: PersonId | null };

/** Processes hear by it that there are jobs. */
export const jobChannel = 'dmb_fan_out_job';

// Whatever is lost of these when Postgres dies is a repetition. Waiting for the disk would cost as much as pushing to thousands.
const unsafely = `unsafely AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS is_off)`;

// The oldest job that nobody works on; further ones of the same log and range that have not begun either are
// taken into it, so that posts which have piled up are pushed together.
const leaseSql = statement(`
  WITH ${unsafely}, turn AS (
    SELECT log_shard, job_id, log_id, from_person_shard, to_person_shard, after_person_shard IS NULL AS is_new, ids
    FROM job WHERE leased_until < clock_timestamp() ORDER BY since LIMIT 1 FOR UPDATE SKIP LOCKED
  ), same AS (
    SELECT j.log_shard, j.job_id, j.ids FROM job j JOIN turn t USING (log_shard, log_id, from_person_shard, to_person_shard)
    WHERE t.is_new AND j.after_person_shard IS NULL AND j.leased_until < clock_timestamp() AND j.job_id <> t.job_id
    ORDER BY j.since LIMIT $3 FOR UPDATE OF j SKIP LOCKED
  ), taken AS (DELETE FROM job USING same s WHERE (job.log_shard, job.job_id) = (s.log_shard, s.job_id))
  UPDATE job SET lease = $1, leased_until = clock_timestamp() + $2 * interval '1 ms', attempts = attempts + 1,
    ids = (SELECT array_agg(DISTINCT id ORDER BY id) FROM (SELECT unnest(t.ids) AS id UNION SELECT unnest(s.ids) FROM same s) AS all_ids)
  FROM turn t, unsafely WHERE (job.log_shard, job.job_id) = (t.log_shard, t.job_id) AND is_off IS NOT NULL
  RETURNING job.log_shard AS shard, job.job_id AS "jobId", job.log_id AS log, job.ids, job.from_person_shard AS "from", job.to_person_shard AS "to", lease,
    after_person_shard AS "afterShard", after_person_id AS "afterPerson"`);
const advanceSql = statement(`
  WITH ${unsafely}
  UPDATE job SET after_person_shard = $4, after_person_id = $5, leased_until = clock_timestamp() + $6 * interval '1 ms'
  FROM unsafely WHERE log_shard = $1 AND job_id = $2 AND lease = $3 AND is_off IS NOT NULL`);
const finishSql = statement(`
  WITH ${unsafely}, done AS (
    DELETE FROM job USING unsafely WHERE log_shard = $1 AND job_id = $2 AND lease = $3 AND is_off IS NOT NULL
    RETURNING log_shard, log_id, ids, from_person_shard, to_person_shard)
  INSERT INTO plan (log_shard, log_id, lane, position, ids, from_person_shard, to_person_shard)
  SELECT log_shard, log_id, $4, $5, ids, from_person_shard, to_person_shard FROM done WHERE $4::int2 IS NOT NULL`);
const letGoSql = statement(`
  WITH ${unsafely}
  UPDATE job SET leased_until = clock_timestamp() + $4 * interval '1 ms', lease = NULL, since = clock_timestamp()
  FROM unsafely WHERE log_shard = $1 AND job_id = $2 AND lease = $3 AND is_off IS NOT NULL`);
const countSql = statement('SELECT count(*)::int4 AS count FROM job');
const nextSql = statement(`SELECT (extract(epoch FROM min(greatest(leased_until, to_timestamp(0))) - clock_timestamp()) * 1000)::float8 AS wait FROM job`);

/** Before every person: no id is below it, and a range begins with the first person of its first shard. */
const beforeAll = '00000000-0000-0000-0000-000000000000' as PersonId;

/** The place before the first reader of a range. */
export const beginOf = (from: number): After => ({ shard: from, person: beforeAll });

export class JobStore {
  private readonly leaseMs: number;

  constructor(leaseMs: number) {
    this.leaseMs = leaseMs;
  }

  /** Takes the oldest job that nobody works on, with what waits for the same readers. */
  async lease(database: Database): Promise<Job | undefined> {
    const [row] = await database.query<Row & Record<string, unknown>>(leaseSql, [randomUUID(), this.leaseMs, fanOutLimits.jobsTogetherMax]);
    if (row === undefined) return undefined;
    const { afterShard, afterPerson, ...job } = row;
    return { ...job, after: afterShard === null || afterPerson === null ? beginOf(job.from) : { shard: afterShard, person: afterPerson } };
  }

  /** Remembers how far a job is and keeps the lease; false if somebody else has it now. */
  async advance(database: Database, job: Job, after: After): Promise<boolean> {
    return (await database.execute(advanceSql, [job.shard, job.jobId, job.lease, after.shard, after.person, this.leaseMs])) === 1;
  }

  /** Takes the row away, and writes down what was delivered where; nothing, if it had no readers. */
  async finish(database: Database, job: Job, delivered: Delivered | undefined): Promise<void> {
    await database.execute(finishSql, [job.shard, job.jobId, job.lease, delivered?.lane ?? null, delivered?.position ?? null]);
  }

  /** Gives a job back, behind the others; it is taken again after `pauseMs` at the earliest. */
  async letGo(database: Database, job: Job, pauseMs: number): Promise<void> {
    await database.execute(letGoSql, [job.shard, job.jobId, job.lease, pauseMs]);
  }

  async count(database: Database): Promise<number> {
    const [row] = await database.query<{ count: number }>(countSql);
    return row?.count ?? 0;
  }

  /** Milliseconds until a job may be taken, below 0 if one may now; undefined without any. */
  async nextMs(database: Database): Promise<number | undefined> {
    const [row] = await database.query<{ wait: number | null }>(nextSql);
    return row?.wait ?? undefined;
  }
}
