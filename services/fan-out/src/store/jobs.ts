/** Table `job`: deliveries to large audiences, leased, with a durable place. They are inserted by the move of a cursor (progress.ts). */
import { randomUUID } from 'node:crypto';
import { statement, type Database } from '@dmb/postgres';
import type { LogId, PersonId, PostId } from '@dmb/protocol';
import { fanOutLimits } from '../limits.ts';
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

const leaseSql = statement(`
  UPDATE job SET lease = $1, leased_until = clock_timestamp() + $2 * interval '1 ms', attempts = attempts + 1
  WHERE (log_shard, job_id) IN (
    SELECT log_shard, job_id FROM job WHERE leased_until < clock_timestamp() ORDER BY since LIMIT $3 FOR UPDATE SKIP LOCKED)
  RETURNING log_shard AS shard, job_id AS "jobId", log_id AS log, ids, from_person_shard AS "from", to_person_shard AS "to", lease,
    after_person_shard AS "afterShard", after_person_id AS "afterPerson"`);
const advanceSql = statement(`
  UPDATE job SET after_person_shard = $4, after_person_id = $5, leased_until = clock_timestamp() + $6 * interval '1 ms'
  WHERE log_shard = $1 AND job_id = $2 AND lease = $3`);
const finishSql = statement('DELETE FROM job WHERE log_shard = $1 AND job_id = $2 AND lease = $3');
const letGoSql = statement(`UPDATE job SET leased_until = clock_timestamp() + $4 * interval '1 ms', lease = NULL WHERE log_shard = $1 AND job_id = $2 AND lease = $3`);
const countSql = statement('SELECT count(*)::int4 AS count FROM job');

/** Before every person: no id is below it, and a range begins with the first person of its first shard. */
const beforeAll = '00000000-0000-0000-0000-000000000000' as PersonId;

export class JobStore {
  /** Takes the oldest jobs that nobody works on. */
  async lease(database: Database, count: number): Promise<Job[]> {
    const rows = await database.query<Row & Record<string, unknown>>(leaseSql, [randomUUID(), fanOutLimits.jobLeaseMs, count]);
    return rows.map(({ afterShard, afterPerson, ...job }) => ({
      ...job,
      after: afterShard === null || afterPerson === null ? { shard: job.from, person: beforeAll } : { shard: afterShard, person: afterPerson },
    }));
  }

  /** Remembers how far a job is and keeps the lease; false if somebody else has it now. */
  async advance(database: Database, job: Job, after: After): Promise<boolean> {
    return (await database.execute(advanceSql, [job.shard, job.jobId, job.lease, after.shard, after.person, fanOutLimits.jobLeaseMs])) === 1;
  }

  async finish(database: Database, job: Job): Promise<void> {
    await database.execute(finishSql, [job.shard, job.jobId, job.lease]);
  }

  /** Gives a job back; it is taken again after `pauseMs`. */
  async letGo(database: Database, job: Job, pauseMs: number): Promise<void> {
    await database.execute(letGoSql, [job.shard, job.jobId, job.lease, pauseMs]);
  }

  async count(database: Database): Promise<number> {
    const [row] = await database.query<{ count: number }>(countSql);
    return row?.count ?? 0;
  }
}
