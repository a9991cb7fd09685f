/**
 * Effects in other shards than the log's: what a person follows and contributes to, replies beside
 * their parents, and the happenings that a post makes for those it mentions or answers.
 *
 * They are made before the cursor moves and may be made again: rows are written by key and revision, and a
 * happening is appended under a key that never expires ("this entry, this happening, this target").
 * So a crash between them and the cursor doubles nothing.
 */
import {
  ENTRY_KINDS,
  domainIdOf,
  parseBody,
  parseHandle,
  postIdShard,
  shardOf,
  type Domain,
  type DomainId,
  type EditBody,
  type HappeningBody,
  type MicroblogId,
  type ObjectId,
  type PersonId,
  type PostBody,
  type PostId,
} from '@dmb/protocol';
import type { LogRef } from '@dmb/events';
import { statement, type Databases, type Queryable } from '@dmb/postgres';
import { AppError } from '@dmb/runtime';
import type { Appender } from '../append/appender.ts';
import { happening, refOf } from '../domain/happenings.ts';
import type { Microblog, MicroblogLogs } from '../domain/model.ts';
import type { GrantStore } from '../store/grants.ts';
import type { MicroblogStore } from '../store/microblogs.ts';
import { reaches } from '../posts/reach.ts';
import { putContribution, putFollowing, type ContributionChange, type FollowingChange } from '../store/person.ts';
import type { Stretch, StoredEntry } from './stretch.ts';

/** What edits and deletes name, read beside their stretches. */
export interface NamedEntry {
  readonly number: bigint;
  readonly id: PostId;
  readonly kind: number;
  readonly objectId: ObjectId;
  readonly replyTo: PostId | null;
  readonly isErased: boolean;
}

/** The entries that the entries of some stretches are about. */
export class Named {
  readonly #byPlace: ReadonlyMap<string, NamedEntry>;

  private constructor(byPlace: ReadonlyMap<string, NamedEntry>) {
    this.#byPlace = byPlace;
  }

  static async read(database: Queryable, stretches: readonly Stretch[]): Promise<Named> {
    const asked = stretches.flatMap((stretch) => stretch.entries.flatMap(({ about }) => (about === null ? [] : [{ stretch, about }])));
    if (asked.length === 0) return new Named(new Map());
    const rows = await database.query<{ ord: number; number: bigint; id: PostId; kind: number; object_id: ObjectId; reply_to: PostId | null; is_erased: boolean }>(
      statement(`SELECT t.ord::int4 AS ord, e.number, e.id, e.kind, e.object_id, e.reply_to, e.body IS NULL AS is_erased
       FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[]) WITH ORDINALITY AS t(log_shard, log_id, epoch_no, number, ord) JOIN entry e USING (log_shard, log_id, epoch_no, number)`),
      [asked.map(({ stretch }) => stretch.shard), asked.map(({ stretch }) => stretch.log), asked.map(({ stretch }) => stretch.epochNo), asked.map(({ about }) => about)],
    );
    return new Named(
      new Map(
        rows.flatMap((row) => {
          const place = asked[row.ord - 1];
          return place === undefined
            ? []
            : [[placeOf(place.stretch, row.number), { number: row.number, id: row.id, kind: row.kind, objectId: row.object_id, replyTo: row.reply_to, isErased: row.is_erased }] as const];
        }),
      ),
    );
  }

  of(log: LogRef, number: bigint | null): NamedEntry | undefined {
    return number === null ? undefined : this.#byPlace.get(placeOf(log, number));
  }
}

const placeOf = ({ log, epochNo }: LogRef, number: bigint): string => `${log}/${epochNo}/${number}`;

/** A post that may have to be told to somebody. */
interface Told {
  readonly stretch: Stretch;
  readonly post: Pick<NamedEntry, 'number' | 'id' | 'objectId'>;
  readonly author: Microblog;
  readonly mentions: readonly { readonly domainId: DomainId; readonly handle: string }[];
  readonly recipients: readonly MicroblogId[];
  readonly answered: MicroblogId | null;
}

export class OutsideEffects {
  readonly #databases: Databases;
  readonly #appender: Appender;
  readonly #microblogs: MicroblogStore;
  readonly #grants: GrantStore;
  readonly #domains: ReadonlyMap<DomainId, Domain>;
  readonly #followingChanged: ((persons: readonly PersonId[]) => Promise<void>) | undefined;
  readonly #now: () => number;

  constructor(parts: {
    readonly databases: Databases;
    readonly appender: Appender;
    readonly microblogs: MicroblogStore;
    readonly grants: GrantStore;
    readonly domains: ReadonlyMap<DomainId, Domain>;
    /** Told when what these persons follow can be read; must not throw. */
    readonly followingChanged?: (persons: readonly PersonId[]) => Promise<void>;
    readonly now?: () => number;
  }) {
    this.#databases = parts.databases;
    this.#appender = parts.appender;
    this.#microblogs = parts.microblogs;
    this.#grants = parts.grants;
    this.#domains = parts.domains;
    this.#followingChanged = parts.followingChanged;
    this.#now = parts.now ?? Date.now;
  }

  /** Makes the effects of these stretches; may be repeated. */
  async apply(stretches: readonly Stretch[], named: Named): Promise<void> {
    const own = stretches.filter(({ audience }) => audience === 'own');
    const posts = stretches.filter(({ audience }) => audience !== 'own' && audience !== 'mail');
    await this.#project(own);
    await this.#thread(posts, named);
    await this.#tell(posts, named);
  }

  /** following and contribution, from what own logs say. */
  async #project(stretches: readonly Stretch[]): Promise<void> {
    const ids = stretches.flatMap(({ microblog }) => microblog ?? []);
    if (ids.length === 0) return;
    const [microblogs, logs] = await Promise.all([this.#microblogs.many(ids), this.#microblogs.logsOfMany(ids)]);
    const follows = new Map<string, FollowingChange>();
    const roles: ContributionChange[] = [];
    for (const { microblog: id, entries } of stretches) {
      const microblog = id === null ? undefined : microblogs.get(id);
      const four = id === null ? undefined : logs.get(id);
      if (microblog === undefined || four === undefined) continue;
      for (const entry of entries) {
        const body = happeningOf(entry);
        if (body?.person === undefined) continue;
        if (body.what === 'contributor-changed' && body.role !== undefined) {
          roles.push({ person: body.person, microblog: microblog.id, role: body.role === 'none' ? null : body.role, personal: microblog.personalOf === body.person });
        }
        const change = followingOf(microblog, four, entry, body, body.person);
        if (change === undefined) continue;
        const key = `${change.person}/${change.microblog}`;
        follows.set(key, laterOf(follows.get(key), change));
      }
    }
    for (const [database, changes] of this.#databases.group([...follows.values()], ({ person }) => shardOf(person))) await putFollowing(database, changes);
    if (follows.size > 0) await this.#followingChanged?.([...new Set([...follows.values()].map(({ person }) => person))]);
    for (const change of roles) await putContribution(this.#databases.at(shardOf(change.person)), change);
  }

  /** Replies beside the post that they answer; out again when they are deleted. */
  async #thread(stretches: readonly Stretch[], named: Named): Promise<void> {
    const added: { readonly parent: PostId; readonly child: PostId; readonly isPublic: boolean }[] = [];
    const removed: { readonly parent: PostId; readonly child: PostId }[] = [];
    for (const stretch of stretches) {
      for (const entry of stretch.entries) {
        if (entry.kind === ENTRY_KINDS.post && entry.replyTo !== null) added.push({ parent: entry.replyTo, child: entry.id, isPublic: stretch.audience === 'public' });
        const gone = entry.kind === ENTRY_KINDS.delete ? named.of(stretch, entry.about) : undefined;
        if (gone?.replyTo !== null && gone?.replyTo !== undefined) removed.push({ parent: gone.replyTo, child: gone.id });
      }
    }
    for (const [database, group] of this.#databases.group(added, ({ parent }) => postIdShard(parent))) {
      await database.execute(
        statement('INSERT INTO reply (log_shard, parent_id, child_id, is_public) SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::bool[]) ON CONFLICT DO NOTHING'),
        [group.map(({ parent }) => postIdShard(parent)), group.map(({ parent }) => parent), group.map(({ child }) => child), group.map(({ isPublic }) => isPublic)],
      );
    }
    for (const [database, group] of this.#databases.group(removed, ({ parent }) => postIdShard(parent))) {
      await database.execute(
        statement(`DELETE FROM reply r USING unnest($1::int2[], $2::int8[], $3::int8[]) AS t(log_shard, parent_id, child_id) WHERE (r.log_shard, r.parent_id, r.child_id) = (t.log_shard, t.parent_id, t.child_id)`),
        [group.map(({ parent }) => postIdShard(parent)), group.map(({ parent }) => parent), group.map(({ child }) => child)],
      );
    }
  }

  /** Mentions and replies, into the own logs of the local microblogs concerned. */
  async #tell(stretches: readonly Stretch[], named: Named): Promise<void> {
    const authors = await this.#microblogs.many(stretches.flatMap(({ microblog }) => microblog ?? []));
    const told = stretches.flatMap((stretch) => stretch.entries.flatMap((entry) => this.#toldOf(stretch, entry, authors, named) ?? []));
    if (told.length === 0) return;
    const byHandle = new Map((await this.#microblogs.byHandles(told.flatMap(({ mentions }) => mentions))).map((microblog) => [`${microblog.domainId} ${microblog.handle}`, microblog]));
    const byId = await this.#microblogs.many(told.flatMap(({ recipients, answered }) => [...recipients, ...(answered === null ? [] : [answered])]));
    const addressed = told.flatMap((post) => {
      const mentioned = [...post.mentions.flatMap(({ domainId, handle }) => byHandle.get(`${domainId} ${handle}`) ?? []), ...post.recipients.flatMap((id) => byId.get(id) ?? [])];
      const targets = new Map(mentioned.map((target) => [target.id, { post, target, what: 'mention' as 'mention' | 'reply' }]));
      const answered = post.answered === null ? undefined : byId.get(post.answered);
      if (answered !== undefined && !targets.has(answered.id)) targets.set(answered.id, { post, target: answered, what: 'reply' });
      return [...targets.values()].filter(({ target }) => target.id !== post.author.id && target.state === 'active');
    });
    const logs = await this.#microblogs.logsOfMany(addressed.map(({ target }) => target.id));
    await Promise.all(
      addressed.map(async ({ post, target, what }) => {
        const four = logs.get(target.id);
        if (four !== undefined && (await this.#reaches(target, post))) await this.#append(four.own, what, post, target);
      }),
    );
  }

  #toldOf(stretch: Stretch, entry: StoredEntry, authors: ReadonlyMap<MicroblogId, Microblog>, named: Named): Told | undefined {
    const author = stretch.microblog === null ? undefined : authors.get(stretch.microblog);
    if (author?.state !== 'active' || entry.body === null) return undefined;
    if (entry.kind === ENTRY_KINDS.post) {
      const parsed = parseBody('post', entry.body);
      if (parsed.result === 'malformed') return undefined;
      // A direct post is for its recipients; whom its text names besides learns nothing.
      const isDirect = stretch.audience === 'direct';
      const recipients = isDirect ? (parsed.body.to ?? []).map(({ id }) => id) : [];
      return { stretch, post: entry, author, mentions: isDirect ? [] : this.#mentionsOf(parsed.body), recipients, answered: isDirect ? null : entry.replyToMicroblog };
    }
    if (entry.kind !== ENTRY_KINDS.edit || stretch.audience === 'direct') return undefined;
    const post = named.of(stretch, entry.about);
    const parsed = parseBody('edit', entry.body);
    if (post === undefined || post.isErased || parsed.result === 'malformed') return undefined;
    // Told under the number of the post: whoever was mentioned before hears nothing again.
    return { stretch, post, author, mentions: this.#mentionsOf(parsed.body), recipients: [], answered: null };
  }

  /** Local microblogs that a text mentions, by handle. */
  #mentionsOf(body: PostBody | EditBody): { readonly domainId: DomainId; readonly handle: string }[] {
    return (body.tag ?? []).flatMap(({ type, name }) => {
      const handle = type === 'Mention' ? parseHandle(name.slice(1)) : undefined;
      if (handle?.domain === undefined) return [];
      const domainId = domainIdOf(handle.domain);
      return this.#domains.has(domainId) ? [{ domainId, handle: handle.name }] : [];
    });
  }

  async #reaches(target: Microblog, { stretch, post, author, recipients }: Told): Promise<boolean> {
    const reaching = { log: stretch, audience: stretch.audience, number: post.number, author: author.id, recipients };
    return await reaches({ grants: this.#grants, microblogs: this.#microblogs }, reaching, target);
  }

  async #append(ownLog: MicroblogLogs['own'], what: 'mention' | 'reply', { stretch, post, author }: Told, target: Microblog): Promise<void> {
    const body: Omit<HappeningBody, 'salt'> = { what, actor: refOf(author), post: { log: stretch.log, epoch: stretch.epoch, number: Number(post.number), id: post.objectId } };
    const key = `${stretch.epochNo}:${post.number}:${what}:${target.id}`;
    try {
      await this.#appender.append({ ...happening(ownLog, body, this.#now(), post.id), key: { scope: stretch.log, key, expires: 'never' } });
    } catch (error) {
      // The target was closed meanwhile: there is nobody to tell.
      if (error instanceof AppError && (error.kind === 'gone' || error.kind === 'not-found')) return;
      throw error;
    }
  }
}

function happeningOf({ kind, body }: StoredEntry): HappeningBody | undefined {
  if (kind !== ENTRY_KINDS.happening || body === null) return undefined;
  const parsed = parseBody('happening', body);
  return parsed.result === 'body' ? parsed.body : undefined;
}

/** What a happening says of a person's follow; undefined if nothing. */
function followingOf(microblog: Microblog, logs: MicroblogLogs, entry: StoredEntry, { what, grants, actor, shown }: HappeningBody, person: PersonId): FollowingChange | undefined {
  if (!what.startsWith('follow-') || grants === undefined) return undefined;
  const onPublic = grants.find(({ audience }) => audience === 'public');
  const onFollowers = grants.find(({ audience }) => audience === 'followers');
  return {
    person,
    microblog: microblog.id,
    publicLog: logs.public.log,
    followersLog: logs.followers.log,
    via: actor?.id ?? null,
    state: onPublic?.state ?? null,
    seesFollowers: onFollowers === undefined ? null : onFollowers.state === 'active' && onFollowers.sees,
    shown: shown ?? 'owner',
    isOwner: microblog.personalOf === person,
    id: entry.id,
    rev: entry.number,
  };
}

/** Two happenings of one follow in one stretch, as one. */
function laterOf(before: FollowingChange | undefined, after: FollowingChange): FollowingChange {
  if (before === undefined) return after;
  return { ...after, state: after.state ?? before.state, seesFollowers: after.seesFollowers ?? before.seesFollowers, id: after.state === null ? before.id : after.id };
}
