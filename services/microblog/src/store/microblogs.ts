/**
 * Microblogs, their logs, contributors, facets and counts: every table that is keyed by a microblog,
 * and the directory of handles. A list of ids becomes one statement per database.
 */
import type { Contribution, Role } from '@dmb/events';
import { postIdShard, shardOf, shardOfKey, type DomainId, type EpochId, type Facet, type LogId, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';
import { statement, type Databases, type Queryable } from '@dmb/postgres';
import { LRUCache } from 'lru-cache';
import type { AccessAudience, Contributor, LogRow, Microblog, MicroblogLogs, ProfileField, Statistics } from '../domain/model.ts';

/** Shard of the directory row of a handle. */
export function handleShard(domainId: DomainId, handle: string): number {
  return shardOfKey(`handle ${domainId} ${handle}`);
}

const totalsTtlMs = 15_000;

const microblogColumns = `m.log_shard, m.microblog_id, m.domain_id, m.domain, m.handle, m.account_id, m.kind, m.personal_of, m.title, m.summary, m.fields, m.locked, m.discoverable,
  m.private_to, m.history, m.servers, m.default_visibility, m.default_sensitive, m.default_language, m.state, m.created`;

interface MicroblogRow {
  readonly log_shard: number;
  readonly microblog_id: MicroblogId;
  readonly domain_id: DomainId;
  readonly domain: string;
  readonly handle: string;
  readonly account_id: PostId;
  readonly kind: 'personal' | 'group';
  readonly personal_of: PersonId | null;
  readonly title: string;
  readonly summary: string;
  readonly fields: readonly ProfileField[];
  readonly locked: boolean;
  readonly discoverable: boolean;
  readonly private_to: Microblog['privateTo'];
  readonly history: Microblog['history'];
  readonly servers: Microblog['servers'];
  readonly default_visibility: Microblog['defaultVisibility'];
  readonly default_sensitive: boolean;
  readonly default_language: string | null;
  readonly state: Microblog['state'];
  readonly created: Date;
}

function toMicroblog(row: MicroblogRow): Microblog {
  return {
    shard: row.log_shard,
    id: row.microblog_id,
    domainId: row.domain_id,
    domain: row.domain,
    handle: row.handle,
    accountId: row.account_id,
    kind: row.kind,
    personalOf: row.personal_of,
    title: row.title,
    summary: row.summary,
    fields: row.fields,
    locked: row.locked,
    discoverable: row.discoverable,
    privateTo: row.private_to,
    history: row.history,
    servers: row.servers,
    defaultVisibility: row.default_visibility,
    defaultSensitive: row.default_sensitive,
    defaultLanguage: row.default_language,
    state: row.state,
    created: row.created,
  };
}

interface LogTableRow {
  readonly log_shard: number;
  readonly log_id: LogId;
  readonly origin_log_id: LogId;
  readonly domain_id: DomainId;
  readonly microblog_id: MicroblogId;
  readonly audience: LogRow['audience'];
  readonly epoch_no: number;
  readonly epoch: EpochId;
  readonly floor: bigint;
  readonly state: LogRow['state'];
}

/** One microblog of a shard, locked against change until the transaction ends. */
export async function lockMicroblog(tx: Queryable, id: MicroblogId): Promise<Microblog | undefined> {
  const [row] = await tx.query<MicroblogRow>(statement(`SELECT ${microblogColumns} FROM microblog m WHERE (log_shard, microblog_id) = ($1, $2) FOR SHARE`), [shardOf(id), id]);
  return row === undefined ? undefined : toMicroblog(row);
}

/** The role in an active microblog, locked against change until the transaction ends. */
export async function lockRole(tx: Queryable, person: PersonId, microblog: MicroblogId): Promise<Role | undefined> {
  const [row] = await tx.query<{ role: Role }>(
    statement(`SELECT c.role FROM contributor c JOIN microblog m USING (log_shard, microblog_id)
     WHERE (c.log_shard, c.microblog_id, c.person_id) = ($1, $2, $3) AND m.state = 'active' FOR SHARE`),
    [shardOf(microblog), microblog, person],
  );
  return row?.role;
}

export class MicroblogStore {
  readonly #databases: Databases;
  readonly #totals = new LRUCache<DomainId, { readonly microblogs: number; readonly posts: number }>({ max: 1_000, ttl: totalsTtlMs });

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  /** By handle and domain, whatever its state, once the handle is confirmed. */
  async byHandle(domainId: DomainId, handle: string): Promise<Microblog | undefined> {
    const found = await this.byHandles([{ domainId, handle }]);
    return found[0];
  }

  /** By handles of local domains; those without a microblog are left out. */
  async byHandles(handles: readonly { readonly domainId: DomainId; readonly handle: string }[]): Promise<Microblog[]> {
    const ids: MicroblogId[] = [];
    for (const [database, group] of this.#databases.group(handles, ({ domainId, handle }) => handleShard(domainId, handle))) {
      const rows = await database.query<{ microblog_id: MicroblogId }>(
        statement(`SELECT h.microblog_id FROM unnest($1::int2[], $2::uuid[], $3::text[]) AS t(handle_shard, domain_id, handle)
         JOIN handle h USING (handle_shard, domain_id, handle) WHERE h.state = 'confirmed' AND h.microblog_id IS NOT NULL`),
        [group.map(({ domainId, handle }) => handleShard(domainId, handle)), group.map(({ domainId }) => domainId), group.map(({ handle }) => handle)],
      );
      ids.push(...rows.map(({ microblog_id }) => microblog_id));
    }
    return [...(await this.many(ids)).values()];
  }

  async byAccountId(id: PostId): Promise<Microblog | undefined> {
    const shard = postIdShard(id);
    const [row] = await this.#databases.at(shard).query<MicroblogRow>(statement(`SELECT ${microblogColumns} FROM microblog m WHERE log_shard = $1 AND account_id = $2`), [shard, id]);
    return row === undefined ? undefined : toMicroblog(row);
  }

  /** By their ids in the client API; unknown ones are missing. */
  async byAccountIds(ids: readonly PostId[]): Promise<Map<PostId, Microblog>> {
    const found = new Map<PostId, Microblog>();
    for (const [database, group] of this.#databases.group([...new Set(ids)], postIdShard)) {
      const rows = await database.query<MicroblogRow>(
        statement(`SELECT ${microblogColumns} FROM unnest($1::int2[], $2::int8[]) AS t(log_shard, account_id) JOIN microblog m USING (log_shard, account_id)`),
        [group.map(postIdShard), group],
      );
      for (const row of rows) found.set(row.account_id, toMicroblog(row));
    }
    return found;
  }

  async byId(id: MicroblogId): Promise<Microblog | undefined> {
    return (await this.many([id])).get(id);
  }

  async many(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, Microblog>> {
    const rows = await this.#byMicroblog<MicroblogRow>(ids, `SELECT ${microblogColumns} FROM asked JOIN microblog m USING (log_shard, microblog_id)`);
    return new Map(rows.map((row) => [row.microblog_id, toMicroblog(row)]));
  }

  /** Active and discoverable microblogs of a domain whose handle begins with `prefix`, at most `limit`, by handle. */
  async search(domainId: DomainId, prefix: string, limit: number): Promise<Microblog[]> {
    const pattern = `${prefix.replace(/[\\%_]/g, '\\$&')}%`;
    const found = await Promise.all(
      this.#databases.all.map((database) =>
        database.query<MicroblogRow>(
          `SELECT ${microblogColumns} FROM microblog m WHERE domain_id = $1 AND handle LIKE $2 AND state = 'active' AND discoverable ORDER BY handle USING ~<~ LIMIT $3`,
          [domainId, pattern, limit],
        ),
      ),
    );
    const candidates = found.flat().map(toMicroblog);
    // A row whose handle was never confirmed may stand beside the one that has it.
    const confirmed = new Set((await this.byHandles(candidates)).map(({ id }) => id));
    return candidates.filter(({ id }) => confirmed.has(id)).sort((a, b) => (a.handle < b.handle ? -1 : 1)).slice(0, limit);
  }

  async logsOf(id: MicroblogId): Promise<MicroblogLogs | undefined> {
    return (await this.logsOfMany([id])).get(id);
  }

  async logsOfMany(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, MicroblogLogs>> {
    const rows = await this.#byMicroblog<LogTableRow>(
      ids,
      `SELECT l.log_shard, l.log_id, l.origin_log_id, l.domain_id, l.microblog_id, l.audience, l.epoch_no, e.epoch, l.floor, l.state
       FROM asked JOIN log l USING (log_shard, microblog_id) JOIN epoch e USING (log_shard, log_id, epoch_no)`,
    );
    const logs = new Map<MicroblogId, Partial<Record<string, LogRow>>>();
    for (const row of rows) {
      const log: LogRow = {
        shard: row.log_shard,
        log: row.log_id,
        epochNo: row.epoch_no,
        originLog: row.origin_log_id,
        epoch: row.epoch,
        domainId: row.domain_id,
        microblog: row.microblog_id,
        audience: row.audience,
        floor: row.floor,
        state: row.state,
      };
      logs.set(row.microblog_id, { ...logs.get(row.microblog_id), [row.audience]: log });
    }
    const complete = [...logs].filter((pair): pair is [MicroblogId, MicroblogLogs & Record<string, LogRow>] => {
      const four = pair[1];
      return four['public'] !== undefined && four['followers'] !== undefined && four['direct'] !== undefined && four['own'] !== undefined;
    });
    return new Map(complete);
  }

  /** The role in an active microblog, from the authority. */
  async role(person: PersonId, microblog: MicroblogId): Promise<Role | undefined> {
    const shard = shardOf(microblog);
    const [row] = await this.#databases.at(shard).query<{ role: Role }>(
      statement(`SELECT c.role FROM contributor c JOIN microblog m USING (log_shard, microblog_id) WHERE (c.log_shard, c.microblog_id, c.person_id) = ($1, $2, $3) AND m.state = 'active'`),
      [shard, microblog, person],
    );
    return row?.role;
  }

  /** The roles of persons in active microblogs, in the order asked, from the authority. */
  async rolesOf(contributions: readonly { readonly person: PersonId; readonly microblog: MicroblogId }[]): Promise<(Role | undefined)[]> {
    const roles: (Role | undefined)[] = contributions.map(() => undefined);
    const places = this.#databases.group([...contributions.entries()], ([, { microblog }]) => shardOf(microblog));
    await Promise.all(
      [...places].map(async ([database, group]) => {
        const rows = await database.query<{ ord: number; role: Role }>(
          statement(`SELECT asked.ord::int4, c.role FROM unnest($1::int2[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS asked(log_shard, microblog_id, person_id, ord)
           JOIN contributor c USING (log_shard, microblog_id, person_id) JOIN microblog m USING (log_shard, microblog_id) WHERE m.state = 'active'`),
          [group.map(([, { microblog }]) => shardOf(microblog)), group.map(([, { microblog }]) => microblog), group.map(([, { person }]) => person)],
        );
        for (const { ord, role } of rows) {
          const place = group[ord - 1]?.[0];
          if (place !== undefined) roles[place] = role;
        }
      }),
    );
    return roles;
  }

  /** The roles of one person in these microblogs, active ones only, from the authority. */
  async roles(person: PersonId, microblogs: readonly MicroblogId[]): Promise<Map<MicroblogId, Role>> {
    const roles = await this.rolesOf(microblogs.map((microblog) => ({ person, microblog })));
    return new Map(microblogs.flatMap((microblog, place) => (roles[place] === undefined ? [] : [[microblog, roles[place]] as const])));
  }

  async contributors(microblog: MicroblogId): Promise<Contributor[]> {
    const shard = shardOf(microblog);
    return await this.#databases.at(shard).query<{ person: PersonId; role: Role; attributed: boolean }>(
      statement('SELECT person_id AS person, role, attributed FROM contributor WHERE log_shard = $1 AND microblog_id = $2 ORDER BY since, person_id'),
      [shard, microblog],
    );
  }

  /** What a person may act as, personal first. */
  async contributions(person: PersonId): Promise<Contribution[]> {
    const shard = shardOf(person);
    const rows = await this.#databases.at(shard).query<{ microblog_id: MicroblogId; personal: boolean }>(
      statement('SELECT microblog_id, personal FROM contribution WHERE person_shard = $1 AND person_id = $2'),
      [shard, person],
    );
    const ids = rows.map(({ microblog_id }) => microblog_id);
    // The projection says where to look; the authority says what is true.
    const [microblogs, roles] = await Promise.all([this.many(ids), this.roles(person, ids)]);
    return rows
      .flatMap(({ microblog_id, personal }) => {
        const microblog = microblogs.get(microblog_id);
        const role = roles.get(microblog_id);
        if (microblog === undefined || role === undefined) return [];
        return [{ microblog: microblog_id, handle: microblog.handle, domain: microblog.domain, title: microblog.title, role, personal }];
      })
      .sort((a, b) => Number(b.personal) - Number(a.personal) || (a.handle < b.handle ? -1 : 1));
  }

  /** The personal microblog of a person, whatever its state. */
  async personalOf(person: PersonId): Promise<Microblog | undefined> {
    const shard = shardOf(person);
    const [row] = await this.#databases.at(shard).query<{ microblog_id: MicroblogId }>(
      statement('SELECT microblog_id FROM contribution WHERE person_shard = $1 AND person_id = $2 AND personal'),
      [shard, person],
    );
    return row === undefined ? undefined : await this.byId(row.microblog_id);
  }

  /** Who may see which facet; a facet without a row is missing: nobody. */
  async facets(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, ReadonlyMap<Facet, AccessAudience>>> {
    const rows = await this.#byMicroblog<{ microblog_id: MicroblogId; facet: Facet; audience: AccessAudience }>(
      ids,
      'SELECT a.microblog_id, a.facet, a.audience FROM asked JOIN access a USING (log_shard, microblog_id)',
    );
    const facets = new Map<MicroblogId, Map<Facet, AccessAudience>>();
    for (const { microblog_id, facet, audience } of rows) {
      const of = facets.get(microblog_id) ?? new Map<Facet, AccessAudience>();
      facets.set(microblog_id, of.set(facet, audience));
    }
    return facets;
  }

  async statistics(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, Statistics>> {
    const rows = await this.#byMicroblog<{ microblog_id: MicroblogId; followers: bigint; posts: bigint; last_post_at: Date | null }>(
      ids,
      'SELECT s.microblog_id, s.followers, s.posts, s.last_post_at FROM asked JOIN statistics s USING (log_shard, microblog_id)',
    );
    return new Map(rows.map(({ microblog_id, followers, posts, last_post_at }) => [microblog_id, { followers, posts, lastPostAt: last_post_at }]));
  }

  /** How many microblogs each of these is shown to follow, accepted ones only. */
  async followingCounts(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, bigint>> {
    const persons = [...(await this.many(ids)).values()].flatMap(({ id, personalOf }) => (personalOf === null ? [] : [{ id, person: personalOf }]));
    const counts = new Map<MicroblogId, bigint>();
    for (const [database, group] of this.#databases.group(persons, ({ person }) => shardOf(person))) {
      const rows = await database.query<{ via: MicroblogId; count: bigint }>(
        statement(`SELECT f.via, count(*) AS count FROM unnest($1::int2[], $2::uuid[], $3::uuid[]) AS t(person_shard, person_id, via) JOIN following f USING (person_shard, person_id, via)
         WHERE f.state = 'active' AND NOT f.is_owner AND f.shown <> 'none' GROUP BY f.via`),
        [group.map(({ person }) => shardOf(person)), group.map(({ person }) => person), group.map(({ id }) => id)],
      );
      for (const { via, count } of rows) counts.set(via, count);
    }
    return counts;
  }

  /** Active microblogs of a domain and their public posts; at most 15 s old. */
  async totals(domainId: DomainId): Promise<{ readonly microblogs: number; readonly posts: number }> {
    const known = this.#totals.get(domainId);
    if (known !== undefined) return known;
    const rows = await Promise.all(
      this.#databases.all.map((database) =>
        database.query<{ microblogs: bigint; posts: bigint }>(
          `SELECT count(*) AS microblogs, coalesce(sum(s.posts), 0)::int8 AS posts FROM microblog m LEFT JOIN statistics s USING (log_shard, microblog_id)
           WHERE m.domain_id = $1 AND m.state = 'active'`,
          [domainId],
        ),
      ),
    );
    const totals = { microblogs: sum(rows.flat().map((row) => row.microblogs)), posts: sum(rows.flat().map((row) => row.posts)) };
    this.#totals.set(domainId, totals);
    return totals;
  }

  /** Rows of `asked (log_shard, microblog_id)` joined as `sql` says, from every database concerned. */
  async #byMicroblog<R extends object>(ids: readonly MicroblogId[], sql: string, more: readonly unknown[] = []): Promise<R[]> {
    const distinct = [...new Set(ids)];
    const groups = this.#databases.group(distinct, shardOf);
    const rows = await Promise.all(
      [...groups].map(([database, group]) => database.query<R>(statement(`WITH asked AS (SELECT * FROM unnest($1::int2[], $2::uuid[]) AS t(log_shard, microblog_id)) ${sql}`), [group.map(shardOf), group, ...more])),
    );
    return rows.flat();
  }
}

const sum = (values: readonly bigint[]): number => Number(values.reduce((total, value) => total + value, 0n));
