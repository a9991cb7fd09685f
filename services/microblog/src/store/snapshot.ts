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
 *
 * Upwards it is the same with all signs turned: the ids next above a place, however deep it lies.
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

/** Where a snapshot begins: below an id (null = at the top), or above one. */
export type From = { readonly before: PostId | null } | { readonly above: PostId };

const nothing = 0n as PostId;

/** Ids of each log beyond its bound; with a person, of logs of which they have an active grant that sees, from its number on. */
const idsSql = (isUp: boolean, isGranted: boolean) =>
  statement(`
SELECT t.ord::int4 AS ord, x.id FROM unnest($1::int2[], $2::uuid[], $3::int8[]) WITH ORDINALITY AS t(log_shard, log_id, bound, ord)
${isGranted ? "JOIN grants g ON (g.log_shard, g.log_id, g.reader_kind, g.reader_id) = (t.log_shard, t.log_id, 'person', $5::uuid) AND g.state = 'active' AND g.sees" : ''}
CROSS JOIN LATERAL (
  SELECT e.id FROM entry e WHERE (e.log_shard, e.log_id) = (t.log_shard, t.log_id) AND e.kind IN (1, 4) AND e.id IS NOT NULL AND e.id ${isUp ? '>' : '<'} t.bound
  ${isGranted ? 'AND e.number >= g.from_number' : ''} ORDER BY e.id ${isUp ? 'ASC' : 'DESC'} LIMIT $4
) x`);
const statements = { down: { own: idsSql(false, false), granted: idsSql(false, true) }, up: { own: idsSql(true, false), granted: idsSql(true, true) } };

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

  /** The home of a person from a place on; with `only`, what comes from those of these logs that they follow. */
  async home(person: PersonId, from: From, limit: number, only?: readonly LogId[]): Promise<Snapshot> {
    return await this.#merge(await this.followedLogs(person, only), person, from, limit);
  }

  /** The posts of one microblog from a place on, as its contributors have them: public and followers. */
  async ownPosts(microblog: MicroblogId, from: From, limit: number): Promise<Snapshot> {
    const shard = shardOf(microblog);
    const logs = await this.#databases.at(shard).query<{ log: LogId }>(statement(`SELECT log_id AS log FROM log WHERE log_shard = $1 AND microblog_id = $2 AND audience IN ('public', 'followers')`), [shard, microblog]);
    return await this.#merge(logs.map(({ log }) => ({ shard, log })), undefined, from, limit);
  }

  async #merge(sources: readonly Source[], person: PersonId | undefined, from: From, limit: number): Promise<Snapshot> {
    const isUp = 'above' in from;
    const wanted = Math.min(limit, readLimits.snapshotIdsMax);
    const isNearer = (a: bigint, b: bigint): boolean => (isUp ? a < b : a > b);
    let open = sources.map((source) => ({ ...source, bound: 'above' in from ? from.above : (from.before ?? (1n << 63n) - 1n) }));
    let ids: bigint[] = [];
    for (let depth = Math.min(wanted, readLimits.snapshotFirstRows); open.length > 0 && wanted > 0; depth = Math.min(wanted, depth * 2)) {
      const found = await this.#look(open, person, depth, isUp);
      ids = [...ids, ...found.flat()].sort((a, b) => (isNearer(a, b) ? -1 : 1));
      const threshold = ids[wanted - 1];
      open = open.flatMap((source, index) => {
        const furthest = found[index]?.[depth - 1];
        return furthest === undefined || (threshold !== undefined && !isNearer(furthest, threshold)) ? [] : [{ ...source, bound: furthest }];
      });
      // One more than wanted tells whether there is more.
      ids = ids.slice(0, wanted + 1);
    }
    const kept = ids.slice(0, wanted) as PostId[];
    if ('above' in from) return { ids: kept.reverse(), exactFrom: from.above };
    // Exactly `wanted` may be all there is; a log that was not looked into to its end could have more.
    return { ids: kept, exactFrom: kept.length < wanted ? nothing : (kept.at(-1) ?? nothing) };
  }

  /** At most `depth` ids of each source beyond its bound, the nearest first. */
  async #look(sources: readonly (Source & { readonly bound: bigint })[], person: PersonId | undefined, depth: number, isUp: boolean): Promise<bigint[][]> {
    const found: bigint[][] = sources.map(() => []);
    const indexed = sources.map((source, index) => ({ ...source, index }));
    const { own, granted } = statements[isUp ? 'up' : 'down'];
    await Promise.all(
      [...this.#databases.group(indexed, ({ shard }) => shard)].map(async ([database, group]) => {
        const params = [group.map(({ shard }) => shard), group.map(({ log }) => log), group.map((source) => source.bound), depth];
        const rows = await (person === undefined ? database.query<{ ord: number; id: bigint }>(own, params) : database.query<{ ord: number; id: bigint }>(granted, [...params, person]));
        for (const { ord, id } of rows) found[group[ord - 1]?.index ?? -1]?.push(id);
      }),
    );
    return found.map((of) => of.sort((a, b) => (a > b === isUp ? 1 : -1)));
  }
}
