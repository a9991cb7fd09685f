/**
 * Entries: posts with their current version, happenings, replies, what is public.
 *
 * A post is read together with its newest edit: the row of the post gives number, id and place, the
 * edit gives the body. What may be shown is not decided here; `withheld` and `suspended` come along
 * for canSee, and so does a body that is null.
 */
import type { Audience, LogRef } from '@dmb/events';
import {
  ENTRY_KINDS,
  decodeEnvelope,
  entryKindOf,
  objectIdShard,
  postIdMs,
  postIdShard,
  type DomainId,
  type EntryKind,
  type EpochId,
  type LogId,
  type MicroblogId,
  type ObjectId,
  type PersonId,
  type PostId,
} from '@dmb/protocol';
import { statement, type Database, type Databases } from '@dmb/postgres';
import { LRUCache } from 'lru-cache';
import type { EntryRow, EntryVersion, Page } from '../domain/model.ts';
import { readLimits } from '../limits.ts';

/** Everything that {@link toEntry} needs, of the entries of a relation `e`. */
const selected = `
  e.log_shard, e.log_id, e.epoch_no, ep.epoch, e.number, e.id, e.kind, e.object_id, e.envelope, CASE WHEN e.body IS NULL THEN NULL ELSE coalesce(edit.body, e.body) END AS body,
  edit.envelope AS edit_envelope, edit.id AS edit_id, e.what, e.listed, e.reply_to, e.reply_to_microblog, e.person_id, e.app_name, e.app_website, l.audience, l.microblog_id,
  w.number IS NOT NULL AS withheld, m.state IS DISTINCT FROM 'active' AND m.microblog_id IS NOT NULL AS suspended`;
const joined = `
  JOIN log l USING (log_shard, log_id)
  JOIN epoch ep ON (ep.log_shard, ep.log_id, ep.epoch_no) = (e.log_shard, e.log_id, e.epoch_no)
  LEFT JOIN microblog m ON (m.log_shard, m.microblog_id) = (l.log_shard, l.microblog_id)
  LEFT JOIN withheld w ON (w.log_shard, w.log_id, w.epoch_no, w.number) = (e.log_shard, e.log_id, e.epoch_no, e.number)
  LEFT JOIN LATERAL (
    SELECT body, envelope, id FROM entry n WHERE (n.log_shard, n.log_id, n.epoch_no, n.about) = (e.log_shard, e.log_id, e.epoch_no, e.number) AND n.kind = ${ENTRY_KINDS.edit} AND n.body IS NOT NULL
    ORDER BY n.number DESC LIMIT 1
  ) edit ON e.kind = ${ENTRY_KINDS.post}`;

interface EntryTableRow {
  readonly log_shard: number;
  readonly log_id: LogId;
  readonly epoch_no: number;
  readonly epoch: EpochId;
  readonly number: bigint;
  readonly id: PostId;
  readonly kind: number;
  readonly object_id: ObjectId;
  readonly envelope: Buffer;
  readonly body: Buffer | null;
  readonly edit_envelope: Buffer | null;
  readonly edit_id: PostId | null;
  readonly what: string | null;
  readonly listed: boolean;
  readonly reply_to: PostId | null;
  readonly reply_to_microblog: MicroblogId | null;
  readonly person_id: PersonId | null;
  readonly app_name: string | null;
  readonly app_website: string | null;
  readonly audience: Audience;
  readonly microblog_id: MicroblogId | null;
  readonly withheld: boolean;
  readonly suspended: boolean;
}

/** When an entry was made: what its envelope claims, but never after it came in. */
export function createdAt(envelope: Uint8Array, id: PostId): Date {
  const decoded = decodeEnvelope(envelope);
  const claimedMs = decoded.result === 'envelope' || decoded.result === 'unknown-kind' ? decoded.envelope.claimedMs : Number.POSITIVE_INFINITY;
  return new Date(Math.min(claimedMs, postIdMs(id)));
}

function toEntry(row: EntryTableRow, madeAt: typeof createdAt): EntryRow[] {
  const kind = entryKindOf(row.kind);
  if (kind === undefined) return [];
  return [
    {
      shard: row.log_shard,
      log: row.log_id,
      epochNo: row.epoch_no,
      epoch: row.epoch,
      number: row.number,
      id: row.id,
      kind,
      objectId: row.object_id,
      audience: row.audience,
      microblog: row.microblog_id,
      body: row.body,
      createdAt: madeAt(row.envelope, row.id),
      editedAt: row.edit_envelope === null || row.edit_id === null ? null : madeAt(row.edit_envelope, row.edit_id),
      what: row.what,
      listed: row.listed,
      replyTo: row.reply_to,
      replyToMicroblog: row.reply_to_microblog,
      person: row.person_id,
      app: row.app_name === null ? null : { name: row.app_name, website: row.app_website },
      withheld: row.withheld,
      suspended: row.suspended,
    },
  ];
}

export class EntryStore {
  readonly #databases: Databases;
  /** By id: envelopes never change, and decoding one costs more than the rest of its row. */
  readonly #madeAt = new LRUCache<PostId, Date>({ max: readLimits.timesKeptMax });

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  readonly #toEntry = (row: EntryTableRow): EntryRow[] =>
    toEntry(row, (envelope, id) => {
      const known = this.#madeAt.get(id);
      if (known !== undefined) return known;
      const made = createdAt(envelope, id);
      this.#madeAt.set(id, made);
      return made;
    });

  /** Entries of these ids in the order asked; unknown ones are left out. */
  async byIds(ids: readonly PostId[]): Promise<EntryRow[]> {
    const asked = [...new Set(ids)].slice(0, readLimits.idsMax);
    const rows = await Promise.all(
      [...this.#databases.group(asked, postIdShard)].map(([database, group]) =>
        database.query<EntryTableRow>(statement(`SELECT ${selected} FROM unnest($1::int2[], $2::int8[]) AS t(log_shard, id) JOIN entry e USING (log_shard, id) ${joined}`), [group.map(postIdShard), group]),
      ),
    );
    const byId = new Map(rows.flat().flatMap(this.#toEntry).map((entry) => [entry.id, entry]));
    return ids.flatMap((id) => byId.get(id) ?? []);
  }

  /** Posts and boosts (or `kinds`) of these logs, merged, falling by id; deleted ones left out. */
  async ofLogs(logs: readonly LogRef[], page: Page, options: { readonly kinds?: readonly EntryKind[]; readonly withoutReplies?: boolean } = {}): Promise<EntryRow[]> {
    const kinds = (options.kinds ?? ['post', 'boost']).map((kind) => ENTRY_KINDS[kind]);
    const more = options.withoutReplies === true ? 'AND (e.reply_to IS NULL OR e.reply_to_microblog = (SELECT microblog_id FROM log o WHERE (o.log_shard, o.log_id) = (e.log_shard, e.log_id)))' : '';
    // `kind IN (1, 4)` again, so that the partial index is found to serve.
    const each = `SELECT e.* FROM entry e WHERE (e.log_shard, e.log_id) = (t.log_shard, t.log_id) AND e.kind IN (1, 4) AND e.id IS NOT NULL AND e.kind = ANY ($3::int2[]) AND e.body IS NOT NULL ${more}`;
    const found = await Promise.all([...this.#databases.group(logs, ({ shard }) => shard)].map(([database, group]) => this.#page(database, each, [group.map(({ shard }) => shard), group.map(({ log }) => log), kinds], page)));
    return cutPage(found.flat(), page);
  }

  /** Happenings of an own log, falling by id; only those whose `what` is listed. */
  async happenings(ownLog: LogRef, page: Page, what: readonly string[]): Promise<EntryRow[]> {
    const each = `SELECT e.* FROM entry e WHERE (e.log_shard, e.log_id) = (t.log_shard, t.log_id) AND e.kind = 9 AND e.id IS NOT NULL AND e.what = ANY ($3::text[]) AND e.body IS NOT NULL`;
    return await this.#page(this.#databases.at(ownLog.shard), each, [[ownLog.shard], [ownLog.log], [...what]], page);
  }

  /** The post or boost with that object id, of our own logs. */
  async byObject(objectId: ObjectId): Promise<EntryRow | undefined> {
    const shard = objectIdShard(objectId);
    const rows = await this.#databases.at(shard).query<EntryTableRow>(
      statement(`SELECT ${selected} FROM (SELECT * FROM entry WHERE log_shard = $1 AND object_id = $2 AND kind IN (1, 4) AND id IS NOT NULL ORDER BY epoch_no DESC LIMIT 1) e ${joined}`),
      [shard, objectId],
    );
    return rows.flatMap(this.#toEntry)[0];
  }

  /** All versions of a post, oldest first. */
  async versions(post: LogRef & { readonly number: bigint }): Promise<EntryVersion[]> {
    const rows = await this.#databases.at(post.shard).query<{ number: bigint; id: PostId; envelope: Buffer; body: Buffer | null }>(
      statement(`SELECT number, id, envelope, body FROM entry WHERE log_shard = $1 AND log_id = $2 AND epoch_no = $3 AND (number = $4 OR (about = $4 AND kind = ${ENTRY_KINDS.edit})) AND id IS NOT NULL ORDER BY number LIMIT $5`),
      [post.shard, post.log, post.epochNo, post.number, readLimits.idsMax],
    );
    return rows.map(({ number, id, envelope, body }) => ({ number, id, body, createdAt: createdAt(envelope, id) }));
  }

  /** Ids of the replies to each of these posts, rising, a bounded number each. */
  async replies(parents: readonly PostId[]): Promise<Map<PostId, PostId[]>> {
    const replies = new Map<PostId, PostId[]>();
    for (const [database, group] of this.#databases.group([...new Set(parents)], postIdShard)) {
      const rows = await database.query<{ parent: PostId; child: PostId }>(
        statement(`SELECT t.parent_id AS parent, r.child_id AS child FROM unnest($1::int2[], $2::int8[]) AS t(log_shard, parent_id)
         CROSS JOIN LATERAL (SELECT child_id FROM reply r WHERE (r.log_shard, r.parent_id) = (t.log_shard, t.parent_id) ORDER BY child_id LIMIT $3) r ORDER BY 1, 2`),
        [group.map(postIdShard), group, readLimits.repliesMax],
      );
      for (const { parent, child } of rows) replies.set(parent, [...(replies.get(parent) ?? []), child]);
    }
    return replies;
  }

  /** Number of public replies to each of these posts (missing = 0). */
  async replyCounts(parents: readonly PostId[]): Promise<Map<PostId, bigint>> {
    const counts = new Map<PostId, bigint>();
    for (const [database, group] of this.#databases.group([...new Set(parents)], postIdShard)) {
      const rows = await database.query<{ parent: PostId; count: bigint }>(
        statement(`SELECT r.parent_id AS parent, count(*) AS count FROM unnest($1::int2[], $2::int8[]) AS t(log_shard, parent_id) JOIN reply r USING (log_shard, parent_id) WHERE r.is_public GROUP BY 1`),
        [group.map(postIdShard), group],
      );
      for (const { parent, count } of rows) counts.set(parent, count);
    }
    return counts;
  }

  /** Listed public posts of a domain, falling by id. */
  async publicTimeline(domainId: DomainId, page: Page): Promise<EntryRow[]> {
    const found = await Promise.all(
      this.#databases.all.map((database) => {
        const params: unknown[] = [domainId];
        const sql = `SELECT ${selected} FROM (SELECT e.* FROM entry e JOIN log o USING (log_shard, log_id) WHERE e.listed AND e.body IS NOT NULL AND o.domain_id = $1 ${bounds(page, params)}) e ${joined} ORDER BY e.id DESC`;
        return database.query<EntryTableRow>(sql, params);
      }),
    );
    return cutPage(found.flat().flatMap(this.#toEntry), page);
  }

  /** Listed public posts of a domain with a hashtag (folded), falling by id. */
  async tagged(domainId: DomainId, tag: string, page: Page): Promise<EntryRow[]> {
    const found = await Promise.all(
      this.#databases.all.map((database) => {
        const params: unknown[] = [domainId, tag];
        const sql = `SELECT ${selected} FROM (
          SELECT e.* FROM tagging g JOIN entry e USING (log_shard, id) JOIN log o ON (o.log_shard, o.log_id) = (e.log_shard, e.log_id)
          WHERE g.tag = $2 AND e.listed AND e.body IS NOT NULL AND o.domain_id = $1 ${bounds(page, params)}) e ${joined} ORDER BY e.id DESC`;
        return database.query<EntryTableRow>(sql, params);
      }),
    );
    return cutPage(found.flat().flatMap(this.#toEntry), page);
  }

  /**
   * Hashtags that begin with `prefix` (folded), in alphabetical order, each with its newest posts. A hashtag
   * is a part of what they say: whether it may be named is decided by whether one of them may be seen.
   */
  async hashtags(domainId: DomainId, prefix: string, limit: number): Promise<{ readonly tag: string; readonly posts: readonly PostId[] }[]> {
    const pattern = `${prefix.replace(/[\\%_]/g, '\\$&')}%`;
    const listed = 'tagging g JOIN entry e USING (log_shard, id) JOIN log o ON (o.log_shard, o.log_id) = (e.log_shard, e.log_id) WHERE e.listed AND e.body IS NOT NULL AND o.domain_id = $1';
    const found = await Promise.all(
      this.#databases.all.map((database) =>
        database.query<{ tag: string; id: PostId }>(
          `SELECT t.tag, p.id FROM (SELECT DISTINCT g.tag FROM ${listed} AND g.tag LIKE $2 ORDER BY 1 LIMIT $3) t
           CROSS JOIN LATERAL (SELECT g.id FROM ${listed} AND g.tag = t.tag ORDER BY g.id DESC LIMIT $4) p`,
          [domainId, pattern, limit, readLimits.postsPerHashtagMax],
        ),
      ),
    );
    const posts = Map.groupBy(found.flat(), ({ tag }) => tag);
    const tags = [...posts.keys()].sort().slice(0, limit);
    return tags.map((tag) => ({ tag, posts: (posts.get(tag) ?? []).map(({ id }) => id) }));
  }

  /** One page over `each` of the logs in the first two parameters. */
  async #page(database: Database, each: string, params: readonly unknown[], page: Page): Promise<EntryRow[]> {
    const all = [...params];
    const limited = bounds(page, all);
    const sql = `SELECT ${selected} FROM (SELECT x.* FROM unnest($1::int2[], $2::uuid[]) AS t(log_shard, log_id) CROSS JOIN LATERAL (${each} ${limited}) x) e ${joined}`;
    return cutPage((await database.query<EntryTableRow>(sql, all)).flatMap(this.#toEntry), page);
  }
}

/** The bounds of a page as the end of a WHERE over `e`, with its order and limit. */
function bounds({ before, since, min, limit }: Page, params: unknown[]): string {
  const bound = (value: unknown): string => `$${params.push(value)}`;
  let sql = '';
  if (before !== undefined) sql += ` AND e.id < ${bound(before)}`;
  if (since !== undefined) sql += ` AND e.id > ${bound(since)}`;
  if (min !== undefined) sql += ` AND e.id > ${bound(min)}`;
  return `${sql} ORDER BY e.id ${min === undefined ? 'DESC' : 'ASC'} LIMIT ${bound(Math.min(limit, readLimits.idsMax))}`;
}

/** Falling by id; the newest of the page, or with `min` those next above it. */
function cutPage(entries: readonly EntryRow[], { min, limit }: Page): EntryRow[] {
  const falling = entries.toSorted((a, b) => (a.id > b.id ? -1 : 1));
  return min === undefined ? falling.slice(0, limit) : falling.slice(-limit);
}
