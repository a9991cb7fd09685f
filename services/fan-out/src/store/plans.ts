/** Table `plan`: what was delivered where within the last hour. Rows are inserted by the move of a cursor (progress.ts) and the end of a job (jobs.ts). */
import { statement, type Database } from '@dmb/postgres';
import type { PersonId } from '@dmb/protocol';
import { jobChannel } from './jobs.ts';

const positionsSql = statement('SELECT lane, max(position) AS position FROM plan GROUP BY lane');
const countSql = statement('SELECT count(*)::int4 AS count FROM plan WHERE position >= $1');
const removedSql = statement('SELECT DISTINCT unnest(persons) AS person FROM plan WHERE position >= $1');
const tidySql = statement('DELETE FROM plan WHERE position < $1');

// Together with the jobs that are under way: what they have pushed already may be lost as well. One snapshot, so that a job that
// ends meanwhile is seen as a job or as a plan.
const againSql = statement(`
  WITH lost AS (
    SELECT log_shard, log_id, unnest(ids) AS id, from_person_shard AS from_shard, to_person_shard AS to_shard FROM plan WHERE position >= $1
    UNION
    SELECT log_shard, log_id, unnest(ids), from_person_shard, to_person_shard FROM job WHERE after_person_shard IS NOT NULL OR leased_until > clock_timestamp()
  ), made AS (
    INSERT INTO job (log_shard, job_id, log_id, ids, from_person_shard, to_person_shard)
    SELECT log_shard, gen_random_uuid(), log_id, array_agg(DISTINCT id ORDER BY id), greatest(from_shard, r.low), least(to_shard, r.high)
    FROM lost JOIN unnest($2::int2[], $3::int2[]) AS r(low, high) ON r.low <= to_shard AND r.high >= from_shard
    GROUP BY log_shard, log_id, greatest(from_shard, r.low), least(to_shard, r.high)
    RETURNING job_id
  ), told AS (SELECT pg_notify('${jobChannel}', '') WHERE EXISTS (SELECT FROM made))
  SELECT (SELECT count(*)::int4 FROM made) AS jobs, (SELECT count(*) FROM told) AS told`);

export class PlanStore {
  /** The highest position of each lane. */
  async positions(database: Database): Promise<{ readonly lane: number; readonly position: bigint }[]> {
    return await database.query<{ lane: number; position: bigint }>(positionsSql);
  }

  async countSince(database: Database, position: bigint): Promise<number> {
    const [row] = await database.query<{ count: number }>(countSql, [position]);
    return row?.count ?? 0;
  }

  /** Makes jobs of everything that was delivered from a position on, for readers in these shards; how many. */
  async again(database: Database, since: bigint, ranges: readonly { readonly from: number; readonly to: number }[]): Promise<number> {
    const [row] = await database.query<{ jobs: number }>(againSql, [since, ranges.map(({ from }) => from), ranges.map(({ to }) => to)]);
    return row?.jobs ?? 0;
  }

  /** Whose timelines were removed from a position on. */
  async removedSince(database: Database, since: bigint): Promise<PersonId[]> {
    return (await database.query<{ person: PersonId }>(removedSql, [since])).map(({ person }) => person);
  }

  /** Forgets what was delivered before a position. */
  async tidy(database: Database, before: bigint): Promise<void> {
    await database.execute(tidySql, [before]);
  }
}
