/**
 * The home of a person from Postgres: the ids of posts and boosts in the logs that they follow.
 *
 * Thousands of logs are merged without reading much of any: each is first looked into for a few
 * ids. The `limit`-th newest of all found so far is a threshold that can only rise. A log is
 * done when it has no more ids, or when the oldest found of it is not above the threshold; only the
 * others are looked into again, twice as deep. All ids found in a log that is not done are above the
 * threshold, so together those logs have fewer than `limit`, and each further look reads fewer than
 * that; there are at most log₂(limit / first look) of them. What is returned is exact: nothing between
 * its newest and its oldest is missing.
 */
import { shardOf, type LogId, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';
import { statement, type Databases } from '@dmb/postgres';
import { microblogLimits, readLimits } from '../limits.ts';

/** Ids, falling; exact down to `exactFrom` (0 = to the end). */
export interface Snapshot {
  readonly ids: readonly PostId[];
  readonly exactFrom: PostId;
}

interface Source {
  readonly shard: number;
  readonly log: LogId;
}

const nothing = 0n as PostId;

const idsSql = statement(`
SELECT t.ord::int4 AS ord, x.id FROM unnest($1::int2[], $2::uuid[], $3::int8[]) WITH ORDINALITY AS t(log_shard, log_id, below, ord)
CROSS JOIN LATERAL (
  SELECT e.id FROM entry e WHERE (e.log_shard, e.log_id) = (t.log_shard, t.log_id) AND e.kind IN (1, 4) AND e.id IS NOT NULL AND e.id < t.below ORDER BY e.id DESC LIMIT $4
) x`);

/** The same, for logs of which the person has an active grant that sees, from its number on. */
const grantedIdsSql = statement(`
SELECT t.ord::int4 AS ord, x.id FROM unnest($1::int2[], $2::uuid[], $3::int8[]) WITH ORDINALITY AS t(log_shard, log_id, below, ord)
JOIN grants g ON (g.log_shard, g.log_id, g.reader_kind, g.reader_id) = (t.log_shard, t.log_id, 'person', $5::uuid) AND g.state = 'active' AND g.sees
CROSS JOIN LATERAL (
  SELECT e.id FROM entry e WHERE (e.log_shard, e.log_id) = (t.log_shard, t.log_id) AND e.kind IN (1, 4) AND e.id IS NOT NULL AND e.id < t.below AND e.number >= g.from_number ORDER BY e.id DESC LIMIT $4
) x`);

export class SnapshotStore {
  readonly #databases: Databases;

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  /** Logs that a person follows, as the projection has it: public ones, and followers logs that they were let into. */
  async followedLogs(person: PersonId, only?: readonly LogId[]): Promise<Source[]> {
    const shard = shardOf(person);
    const rows = await this.#databases.at(shard).query<{ log_shard: number; public_log: LogId; followers_log: LogId; sees_followers: boolean }>(
      statement(`SELECT log_shard, public_log, followers_log, sees_followers FROM following 
        WHERE person_shard = $1 AND person_id = $2 AND state = 'active' AND ($4::uuid[] IS NULL OR public_log = ANY($4) OR followers_log = ANY($4)) LIMIT $3`),
      [shard, person, microblogLimits.followsMax + 1, only ?? null],
    );
    const wanted = only === undefined ? undefined : new Set(only);
    return rows
      .flatMap((row) => [{ shard: row.log_shard, log: row.public_log }, ...(row.sees_followers ? [{ shard: row.log_shard, log: row.followers_log }] : [])])
      .filter(({ log }) => wanted?.has(log) ?? true);
  }

  /** The home of a person below `before`; with `only`, what comes from those of these logs that they follow. */
  async home(person: PersonId, before: PostId | null, limit: number, only?: readonly LogId[]): Promise<Snapshot> {
    return await this.#merge(await this.followedLogs(person, only), person, before, limit);
  }

  /** The posts of one microblog below `before`, as its contributors have them: public and followers. */
  async ownPosts(microblog: MicroblogId, before: PostId | null, limit: number): Promise<Snapshot> {
    const shard = shardOf(microblog);
    const logs = await this.#databases.at(shard).query<{ log: LogId }>(statement(`SELECT log_id AS log FROM log WHERE log_shard = $1 AND microblog_id = $2 AND audience IN ('public', 'followers')`), [shard, microblog]);
    return await this.#merge(logs.map(({ log }) => ({ shard, log })), undefined, before, limit);
  }

  async #merge(sources: readonly Source[], person: PersonId | undefined, before: PostId | null, limit: number): Promise<Snapshot> {
    const wanted = Math.min(limit, readLimits.snapshotIdsMax);
    const below = before ?? ((1n << 63n) - 1n);
    let open = sources.map((source) => ({ ...source, below }));
    let ids: bigint[] = [];
    for (let depth = Math.min(wanted, readLimits.snapshotFirstRows); open.length > 0 && wanted > 0; depth = Math.min(wanted, depth * 2)) {
      const found = await this.#look(open, person, depth);
      ids = [...ids, ...found.flat()].sort((a, b) => (a > b ? -1 : 1));
      const threshold = ids[wanted - 1] ?? -1n;
      open = open.flatMap((source, index) => {
        const oldest = found[index]?.[depth - 1];
        return oldest === undefined || oldest <= threshold ? [] : [{ ...source, below: oldest }];
      });
      // One more than wanted tells whether there is more.
      ids = ids.slice(0, wanted + 1);
    }
    const kept = ids.slice(0, wanted) as PostId[];
    // Exactly `wanted` may be all there is; a log that was not looked into to its end could have more.
    return { ids: kept, exactFrom: kept.length < wanted ? nothing : (kept.at(-1) ?? nothing) };
  }

  /** At most `depth` ids of each source below its bound, falling. */
  async #look(sources: readonly (Source & { readonly below: bigint })[], person: PersonId | undefined, depth: number): Promise<bigint[][]> {
    const found: bigint[][] = sources.map(() => []);
    const indexed = sources.map((source, index) => ({ ...source, index }));
    await Promise.all(
      [...this.#databases.group(indexed, ({ shard }) => shard)].map(async ([database, group]) => {
        const params = [group.map(({ shard }) => shard), group.map(({ log }) => log), group.map((source) => source.below), depth];
        const rows = await (person === undefined ? database.query<{ ord: number; id: bigint }>(idsSql, params) : database.query<{ ord: number; id: bigint }>(grantedIdsSql, [...params, person]));
        for (const { ord, id } of rows) found[group[ord - 1]?.index ?? -1]?.push(id);
      }),
    );
    return found.map((of) => of.sort((a, b) => (a > b ? -1 : 1)));
  }
}
