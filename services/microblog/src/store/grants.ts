/**
 * Grants: who may read which log, and the lists made of them. The table is the only authority;
 * `following`, which lies with the person, is a projection of it that may be behind.
 */
import type { LogRef } from '@dmb/events';
import { shardOf, type DomainId, type LogId, type MicroblogId, type PersonId, type PostId, type Shown } from '@dmb/protocol';
import { statement, type Databases, type Queryable } from '@dmb/postgres';
import type { FollowEdge, Grant, GrantState, Page } from '../domain/model.ts';

const columns = 'g.log_shard, g.log_id, g.reader_id, g.reader_shard, g.via, g.domain_id, g.state, g.sees, g.shown, g.is_owner, g.from_number, g.id, g.rev, g.since';

interface GrantRow {
  readonly log_shard: number;
  readonly log_id: LogId;
  readonly reader_id: PersonId;
  readonly reader_shard: number;
  readonly via: MicroblogId | null;
  readonly domain_id: DomainId;
  readonly state: GrantState;
  readonly sees: boolean;
  readonly shown: Shown;
  readonly is_owner: boolean;
  readonly from_number: bigint;
  readonly id: PostId;
  readonly rev: bigint;
  readonly since: Date;
}

function toGrant(row: GrantRow): Grant {
  return {
    shard: row.log_shard,
    log: row.log_id,
    reader: row.reader_id,
    readerShard: row.reader_shard,
    via: row.via,
    domainId: row.domain_id,
    state: row.state,
    sees: row.sees,
    shown: row.shown,
    isOwner: row.is_owner,
    fromNumber: row.from_number,
    id: row.id,
    rev: row.rev,
    since: row.since,
  };
}

type Place = Pick<LogRef, 'shard' | 'log'>;

/** The grants of one person on logs of one shard, locked until the transaction ends. */
export async function lockGrants(tx: Queryable, person: PersonId, logs: readonly Place[]): Promise<Map<LogId, Grant>> {
  const rows = await tx.query<GrantRow>(
    statement(`SELECT ${columns} FROM unnest($1::int2[], $2::uuid[]) AS t(log_shard, log_id) JOIN grants g USING (log_shard, log_id)
     WHERE g.reader_kind = 'person' AND g.reader_id = $3 ORDER BY g.log_id FOR UPDATE OF g`),
    [logs.map(({ shard }) => shard), logs.map(({ log }) => log), person],
  );
  return new Map(rows.map((row) => [row.log_id, toGrant(row)]));
}

/** Writes one grant as it is from now on. */
export async function putGrant(tx: Queryable, grant: Grant): Promise<void> {
  await tx.execute(
    statement(`INSERT INTO grants AS g (log_shard, log_id, reader_kind, reader_id, reader_shard, via, via_shard, domain_id, state, sees, shown, is_owner, from_number, id, rev)
     VALUES ($1, $2, 'person', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
     ON CONFLICT (log_shard, log_id, reader_kind, reader_id) DO UPDATE SET via = excluded.via, via_shard = excluded.via_shard, state = excluded.state, sees = excluded.sees,
       shown = excluded.shown, from_number = excluded.from_number, id = excluded.id, rev = excluded.rev, since = CASE WHEN g.state = excluded.state THEN g.since ELSE now() END`),
    [grant.shard, grant.log, grant.reader, grant.readerShard, grant.via, grant.via === null ? null : shardOf(grant.via), grant.domainId, grant.state, grant.sees, grant.shown, grant.isOwner, grant.fromNumber, grant.id, grant.rev],
  );
  await tx.execute(
    statement('INSERT INTO acl AS a (log_shard, log_id, domain_id) VALUES ($1, $2, $3) ON CONFLICT (log_shard, log_id, domain_id) DO UPDATE SET acl_rev = a.acl_rev + 1'),
    [grant.shard, grant.log, grant.domainId],
  );
}

export class GrantStore {
  readonly #databases: Databases;

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  /** The grants that a person has on these logs, whatever their state. */
  async ofPerson(person: PersonId, logs: readonly Place[]): Promise<Map<LogId, Grant>> {
    return (await this.ofPersons(logs.map(({ shard, log }) => ({ person, shard, log })))).get(person) ?? new Map<LogId, Grant>();
  }

  /** The same for several persons, each with logs of their own. */
  async ofPersons(asked: readonly (Place & { readonly person: PersonId })[]): Promise<Map<PersonId, Map<LogId, Grant>>> {
    const rows = await Promise.all(
      [...this.#databases.group(asked, ({ shard }) => shard)].map(([database, group]) =>
        database.query<GrantRow>(
          statement(`SELECT ${columns} FROM unnest($1::int2[], $2::uuid[], $3::uuid[]) AS t(log_shard, log_id, reader_id) JOIN grants g USING (log_shard, log_id, reader_id) WHERE g.reader_kind = 'person'`),
          [group.map(({ shard }) => shard), group.map(({ log }) => log), group.map(({ person }) => person)],
        ),
      ),
    );
    const grants = new Map<PersonId, Map<LogId, Grant>>();
    for (const row of rows.flat()) {
      const theirs = grants.get(row.reader_id) ?? new Map<LogId, Grant>();
      grants.set(row.reader_id, theirs.set(row.log_id, toGrant(row)));
    }
    return grants;
  }

  /** The grants shown as `via` on these logs: usually one person's per log. */
  async shownAs(via: MicroblogId, logs: readonly Place[]): Promise<Grant[]> {
    const rows = await Promise.all(
      [...this.#databases.group(logs, ({ shard }) => shard)].map(([database, group]) =>
        database.query<GrantRow>(
          statement(`SELECT ${columns} FROM unnest($1::int2[], $2::uuid[]) AS t(log_shard, log_id) JOIN grants g USING (log_shard, log_id) WHERE g.via = $3 AND NOT g.is_owner`),
          [group.map(({ shard }) => shard), group.map(({ log }) => log), via],
        ),
      ),
    );
    return rows.flat().map(toGrant);
  }

  /** For each of these microblogs as follower: its grants on the logs of `followed`. */
  async followersAmong(followed: { readonly public: Place; readonly followers: Place }, followers: readonly MicroblogId[]): Promise<Grant[]> {
    const { shard } = followed.public;
    const rows = await this.#databases.at(shard).query<GrantRow>(
      statement(`SELECT ${columns} FROM grants g WHERE g.log_shard = $1 AND g.log_id = ANY ($2::uuid[]) AND g.via = ANY ($3::uuid[]) AND NOT g.is_owner`),
      [shard, [followed.public.log, followed.followers.log], [...followers]],
    );
    return rows.map(toGrant);
  }

  /** Accepted followers of a microblog that are shown as a microblog, falling by id; the owner's own is left out. */
  async followers(microblog: MicroblogId, page: Page): Promise<FollowEdge[]> {
    const shard = shardOf(microblog);
    return await pageOf<FollowEdge>(
      this.#databases.at(shard),
      `SELECT g.id, g.via AS microblog, g.shown FROM log l JOIN grants g USING (log_shard, log_id)
       WHERE l.log_shard = $1 AND l.microblog_id = $2 AND l.audience = 'public' AND g.state = 'active' AND NOT g.is_owner AND g.via IS NOT NULL AND g.shown <> 'none'`,
      [shard, microblog],
      'g.id',
      page,
    );
  }

  /** What a microblog is shown to follow, accepted only, falling by id. */
  async following(microblog: MicroblogId, page: Page): Promise<FollowEdge[]> {
    const shard = shardOf(microblog);
    const [row] = await this.#databases.at(shard).query<{ personal_of: PersonId | null }>(statement('SELECT personal_of FROM microblog WHERE (log_shard, microblog_id) = ($1, $2)'), [shard, microblog]);
    const person = row?.personal_of;
    if (person === undefined || person === null) return [];
    return await pageOf<FollowEdge>(
      this.#databases.at(shardOf(person)),
      `SELECT f.id, f.microblog_id AS microblog, f.shown FROM following f
       WHERE f.person_shard = $1 AND f.person_id = $2 AND f.state = 'active' AND f.via = $3 AND NOT f.is_owner AND f.shown <> 'none'`,
      [shardOf(person), person, microblog],
      'f.id',
      page,
    );
  }

  /** Who asked to follow and waits, falling by id; `microblog` of an edge is the asking one. */
  async followRequests(microblog: MicroblogId, page: Page): Promise<FollowEdge[]> {
    const shard = shardOf(microblog);
    return await pageOf<FollowEdge>(
      this.#databases.at(shard),
      `SELECT g.id, g.via AS microblog, g.shown FROM log l JOIN grants g USING (log_shard, log_id)
       WHERE l.log_shard = $1 AND l.microblog_id = $2 AND l.audience = 'followers' AND g.state = 'asked' AND g.via IS NOT NULL`,
      [shard, microblog],
      'g.id',
      page,
    );
  }

  async followRequestsCount(microblog: MicroblogId): Promise<bigint> {
    const shard = shardOf(microblog);
    const [row] = await this.#databases.at(shard).query<{ count: bigint }>(
      statement(`SELECT count(*) AS count FROM log l JOIN grants g USING (log_shard, log_id) WHERE l.log_shard = $1 AND l.microblog_id = $2 AND l.audience = 'followers' AND g.state = 'asked'`),
      [shard, microblog],
    );
    return row?.count ?? 0n;
  }

  /** How many microblogs a person follows or has asked to. */
  async followsCount(person: PersonId): Promise<bigint> {
    const shard = shardOf(person);
    const [row] = await this.#databases.at(shard).query<{ count: bigint }>(
      statement(`SELECT count(*) AS count FROM following WHERE person_shard = $1 AND person_id = $2 AND state <> 'ended'`),
      [shard, person],
    );
    return row?.count ?? 0n;
  }
}

/** One page of a statement that ends in its WHERE: falling by `id`; with `min` the rows next above it, falling too. */
export async function pageOf<R extends object>(database: Queryable, sql: string, params: readonly unknown[], id: string, { before, since, min, limit }: Page): Promise<R[]> {
  const all = [...params];
  const bound = (value: unknown): string => `$${all.push(value)}`;
  let where = sql;
  if (before !== undefined) where += ` AND ${id} < ${bound(before)}`;
  if (since !== undefined) where += ` AND ${id} > ${bound(since)}`;
  if (min !== undefined) where += ` AND ${id} > ${bound(min)}`;
  const rows = await database.query<R>(`${where} ORDER BY ${id} ${min === undefined ? 'DESC' : 'ASC'} LIMIT ${bound(limit)}`, all);
  return min === undefined ? rows : rows.reverse();
}
