/**
 * The one place where microblogs become accounts and entries become statuses and notifications.
 *
 * Every reading path ends here, whether it is a route, a page, a feed, a stream or another
 * service's call, and every one goes the same way: skeleton (ids) → hydrate (rows, in batches) →
 * rules (`canSee` for each entry and each facet, then those of the place where it is shown) →
 * present (pure functions of what is left). Nothing is presented that `Sight` has not said yes to,
 * and what a viewer may not see leaves no trace in what they may: not in `in_reply_to_id`, not in
 * mentions, not in counts, which are of public things alone.
 *
 * Round trips for a page of twenty, one after another: entries; parents and counts of replies;
 * microblogs (kept for a moment); role and grants. None of them depends on how many posts there are.
 */
import type { Account, Asker, Context, CredentialAccount, Notification, PresentContext, Role, Status, StatusEdit } from '@dmb/events';
import { formatPostId, parseBody, type Facet, type MicroblogId, type PostId, type Shown } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import type { EntryRow, Microblog } from '../domain/model.ts';
import type { EntryStore } from '../store/entries.ts';
import type { GrantStore } from '../store/grants.ts';
import type { MicroblogStore } from '../store/microblogs.ts';
import { toAccount, toCredentialAccount } from './account.ts';
import { MicroblogFactsReader, type MicroblogFacts, type Site } from './facts.ts';
import { Kept, type Unchanged } from './kept.ts';
import { presentLimits } from './limits.ts';
import { isAboutFollowing, notificationTypeOf } from './notification-types.ts';
import { PostReader, type PostFacts } from './posts.ts';
import { Sight, type About } from './sight.ts';
import { toStatus, type StatusParts } from './status.ts';
import { depthFirst } from './thread.ts';

/** What presenting reads from. */
export interface PresenterStores {
  readonly microblogs: MicroblogStore;
  readonly entries: EntryStore;
  readonly grants: GrantStore;
}

/** Statuses in the order asked, and the ids of those that were left. */
export interface PresentedStatuses {
  readonly statuses: readonly Status[];
  readonly kept: readonly PostId[];
}

/** An entry that may be shown, with what its body says. */
interface Seen {
  readonly row: EntryRow;
  readonly post: PostFacts;
}

/** What stands around posts: their texts, those they answer, how many answer them, who is mentioned and addressed. */
interface Surroundings {
  readonly read: ReadonlyMap<PostId, PostFacts | undefined>;
  /** The posts and those that they answer. */
  readonly rows: ReadonlyMap<PostId, EntryRow>;
  readonly counts: ReadonlyMap<PostId, bigint>;
  readonly mentioned: ReadonlyMap<string, MicroblogId>;
  readonly recipients: ReadonlyMap<PostId, readonly MicroblogId[]>;
}

/** Statuses that were made in one reading: whoever sees the same parts gets the same object. */
class StatusForms {
  private readonly forms = new Map<Account, Map<string, Status>>();

  of({ row, account, mentioned, parent }: StatusParts, make: () => Status): Status {
    const ofAccount = this.forms.get(account) ?? new Map<string, Status>();
    this.forms.set(account, ofAccount);
    const key = [row.id, parent?.id ?? '', ...mentioned.map(({ id }) => id)].join(' ');
    const status = ofAccount.get(key) ?? make();
    ofAccount.set(key, status);
    return status;
  }
}

export class Presenter {
  readonly site: Site;
  private readonly stores: PresenterStores;
  private readonly facts: MicroblogFactsReader;
  private readonly posts: PostReader;
  /** Pages of home by who asks and by their ids. */
  private readonly pages: Kept<PresentedStatuses>;
  /** Accounts by the facts that they are made of, and by the facets that somebody sees: at most eight forms of one. */
  private readonly accountForms = new WeakMap<MicroblogFacts, Map<string, Account>>();

  /** @param options.unchanged without it no page is kept */
  constructor(stores: PresenterStores, site: Site, options: { readonly cachedMs?: number; readonly unchanged?: Unchanged } = {}) {
    this.site = site;
    this.stores = stores;
    this.facts = new MicroblogFactsReader(stores.microblogs, site, options.cachedMs);
    this.posts = new PostReader(site);
    this.pages = new Kept(options.unchanged, presentLimits.pagesKeptMax);
  }

  /** Something of this microblog was changed here just now: the next answer shows it. */
  forget(id: MicroblogId): void {
    this.facts.forget(id);
  }

  /** Accounts of those that the asker may know of, in the order asked. */
  async accounts(asker: Asker, ids: readonly MicroblogId[]): Promise<Account[]> {
    const sight = await this.look(asker, { microblogs: ids });
    return ids.flatMap((id) => this.accountOf(sight, id) ?? []);
  }

  async account(asker: Asker, id: MicroblogId): Promise<Account | undefined> {
    return (await this.accounts(asker, [id]))[0];
  }

  /** The same by microblog; those that the asker may not know of are missing. */
  async accountsById(asker: Asker, ids: readonly MicroblogId[]): Promise<Map<MicroblogId, Account>> {
    const sight = await this.look(asker, { microblogs: ids });
    return new Map(
      ids.flatMap((id) => {
        const account = this.accountOf(sight, id);
        return account === undefined ? [] : [[id, account] as const];
      }),
    );
  }

  /** The account that a token acts as, with its settings. Undefined when the role is over. */
  async credentials(asker: Extract<Asker, { kind: 'person' }>): Promise<CredentialAccount | undefined> {
    const [sight, requests] = await Promise.all([
      this.look(asker, { microblogs: [asker.microblog], role: true }),
      this.stores.grants.followRequestsCount(asker.microblog),
    ]);
    const account = this.accountOf(sight, asker.microblog);
    const facts = sight.factsOf(asker.microblog);
    const role = sight.actingRole;
    return account === undefined || facts === undefined || role === undefined ? undefined : toCredentialAccount(account, facts, leads(role) ? requests : 0n, role);
  }

  /** Whether the asker may see that facet. */
  async sees(asker: Asker, id: MicroblogId, ...facets: readonly Facet[]): Promise<boolean> {
    const sight = await this.look(asker, { microblogs: [id], role: true });
    return facets.every((facet) => sight.facet(id, facet));
  }

  /** What a read needs to decide by itself about microblogs and the edges between them. */
  look(asker: Asker, about: About): Promise<Sight> {
    return Sight.look(this.stores, this.facts, asker, about);
  }

  /** Statuses as the asker may see them in that place. At most `idsMax` ids are looked at. */
  async statuses(asker: Asker, ids: readonly PostId[], context: PresentContext): Promise<PresentedStatuses> {
    if (ids.length === 0) return { statuses: [], kept: [] };
    const read = async (): Promise<PresentedStatuses> => this.present(asker, await this.stores.entries.byIds(ids.slice(0, presentLimits.idsMax)), context);
    if (context !== 'home' || asker.kind !== 'person') return await read();
    return await this.pages.get(`${asker.domain} ${asker.person} ${asker.microblog} ${ids.join(' ')}`, read);
  }

  async status(asker: Asker, id: PostId): Promise<Status | undefined> {
    return (await this.statuses(asker, [id], 'thread')).statuses[0];
  }

  /** The same for rows that were read already. */
  async present(asker: Asker, rows: readonly EntryRow[], context: PresentContext): Promise<PresentedStatuses> {
    const around = await this.surroundings(rows);
    const sight = await this.look(asker, aboutPosts(rows, around, context));
    return this.presentSeen(sight, rows, around, context);
  }

  /**
   * What open streams are told: for each asker, of the posts that it asks for, those that it may see and that belong in its
   * home. Read once for all; a status that several see alike is one object, and `seen` has its place.
   * @throws {AppError} bug for more than may be asked at once
   */
  async live(asks: readonly { readonly asker: Asker; readonly ids: readonly PostId[] }[]): Promise<{ readonly statuses: readonly Status[]; readonly seen: readonly (readonly number[])[] }> {
    const idsOfAll = asks.reduce((sum, { ids }) => sum + ids.length, 0);
    if (asks.length > presentLimits.liveAsksMax || idsOfAll > presentLimits.liveIdsMax) {
      throw new AppError('bug', undefined, { detail: `${asks.length} askers with ${idsOfAll} posts in one call` });
    }
    const rows = new Map((await this.stores.entries.byIds([...new Set(asks.flatMap(({ ids }) => ids))])).map((row) => [row.id, row]));
    const around = await this.surroundings([...rows.values()]);
    const asked = asks.map(({ asker, ids }) => ({ asker, rows: ids.flatMap((id) => rows.get(id) ?? []) }));
    const sights = await Sight.lookMany(this.stores, this.facts, asked.map((ask) => ({ asker: ask.asker, about: aboutPosts(ask.rows, around, 'home') })));
    const places = new Map<Status, number>();
    const forms = new StatusForms();
    const seen = sights.map((sight, place) =>
      this.presentSeen(sight, asked[place]?.rows ?? [], around, 'home', forms).statuses.map((status) => {
        const known = places.get(status) ?? places.size;
        places.set(status, known);
        return known;
      }),
    );
    return { statuses: [...places.keys()], seen };
  }

  /** What stands around posts, whoever asks. */
  private async surroundings(rows: readonly EntryRow[]): Promise<Surroundings> {
    const { entries } = this.stores;
    const here = new Map(rows.map((row) => [row.id, row]));
    const parentIds = [...new Set(rows.flatMap(({ replyTo }) => (replyTo === null || here.has(replyTo) ? [] : [replyTo])))];
    const read = new Map(rows.map((row) => [row.id, this.posts.read(row, undefined)]));
    const [parents, counts, mentioned] = await Promise.all([
      parentIds.length === 0 ? [] : entries.byIds(parentIds),
      rows.length === 0 ? new Map<PostId, bigint>() : entries.replyCounts(rows.map(({ id }) => id)),
      this.facts.byHandles([...read.values()].flatMap((post) => post?.mentions ?? [])),
    ]);
    for (const row of parents) here.set(row.id, row);
    return { read, rows: here, counts, mentioned, recipients: await this.recipientsOf([...here.values()]) };
  }

  /** The statuses of those rows that one asker may see in that place. */
  private presentSeen(sight: Sight, rows: readonly EntryRow[], around: Surroundings, context: PresentContext, forms = new StatusForms()): PresentedStatuses {
    const seen = rows.flatMap((row): Seen[] => {
      const post = this.postOf(sight, row, around.read.get(row.id));
      return post !== undefined && this.mayShow(sight, row, around.recipients) && belongs(sight, row, context) ? [{ row, post }] : [];
    });
    const statuses = seen.flatMap(({ row, post }): Status[] => {
      const author = sight.factsOf(row.microblog)?.microblog;
      const account = author === undefined ? undefined : this.accountOf(sight, author.id);
      if (author === undefined || account === undefined) return [];
      const parentRow = row.replyTo === null ? undefined : around.rows.get(row.replyTo);
      const parentAuthor = sight.factsOf(parentRow?.microblog ?? null)?.microblog;
      const parent =
        parentRow !== undefined && parentAuthor !== undefined && this.mayShow(sight, parentRow, around.recipients) ? { id: parentRow.id, author: parentAuthor } : undefined;
      const parts = { row, post, author, account, mentioned: this.mentionedIn(sight, post, around.mentioned), parent, repliesCount: around.counts.get(row.id) ?? 0n };
      return [forms.of(parts, () => toStatus(this.site, parts))];
    });
    const shown = new Set(statuses.map(({ id }) => id));
    return { statuses, kept: seen.flatMap(({ row }) => (shown.has(formatPostId(row.id)) ? [row.id] : [])) };
  }

  /** Posts above and below one that the asker may see; undefined if they may not see that one. */
  async context(asker: Asker, id: PostId): Promise<Context | undefined> {
    const [row] = await this.stores.entries.byIds([id]);
    if (row === undefined || (await this.present(asker, [row], 'thread')).kept.length === 0) return undefined;
    const [above, below] = await Promise.all([this.ancestors(asker, row), this.descendants(asker, row)]);
    return { ancestors: above, descendants: below };
  }

  /** The versions of a post, oldest first; undefined if the asker may not see it. */
  async history(asker: Asker, id: PostId): Promise<StatusEdit[] | undefined> {
    const [row] = await this.stores.entries.byIds([id]);
    if (row === undefined) return undefined;
    const { statuses } = await this.present(asker, [row], 'thread');
    const [newest] = statuses;
    if (newest === undefined) return undefined;
    const linked = new Set(newest.mentions.map(({ acct }) => (acct.includes('@') ? acct : `${acct}@${this.site.domain}`)));
    const versions = await this.stores.entries.versions(row);
    return versions.slice(0, presentLimits.versionsMax).flatMap((version) => {
      const post = version.body === null ? undefined : this.posts.readBody(version.body);
      if (post === undefined) return [];
      return [
        {
          content: post.html(linked),
          spoiler_text: post.spoilerText,
          sensitive: post.sensitive,
          created_at: version.createdAt.toISOString(),
          account: newest.account,
          media_attachments: [],
          emojis: [],
          quote: null,
        },
      ];
    });
  }

  /** The text of a post as it was written; undefined if the asker may not see it. */
  async source(asker: Asker, id: PostId): Promise<{ readonly row: EntryRow; readonly text: string; readonly spoilerText: string } | undefined> {
    const [row] = await this.stores.entries.byIds([id]);
    if (row === undefined || (await this.present(asker, [row], 'thread')).kept.length === 0) return undefined;
    const post = this.posts.read(row, undefined);
    return post === undefined ? undefined : { row, text: post.text, spoilerText: post.spoilerText };
  }

  /** Notifications of the asker's microblog, in the order asked. */
  async notifications(asker: Asker, ids: readonly PostId[]): Promise<Notification[]> {
    if (asker.kind !== 'person' || ids.length === 0) return [];
    return this.presentNotifications(asker, await this.stores.entries.byIds(ids.slice(0, presentLimits.idsMax)));
  }

  /** The same for rows that were read already. */
  async presentNotifications(asker: Extract<Asker, { kind: 'person' }>, rows: readonly EntryRow[]): Promise<Notification[]> {
    const happenings = rows.flatMap((row) => {
      const body = row.kind === 'happening' && row.microblog === asker.microblog && row.body !== null ? parseBody('happening', row.body) : undefined;
      // What a microblog does to itself is no news to it.
      return body?.result === 'body' && body.body.actor !== undefined && body.body.actor.id !== asker.microblog ? [{ row, body: body.body, actor: body.body.actor.id }] : [];
    });
    const postRows = await this.stores.entries.byIds([...new Set(happenings.flatMap(({ row }) => row.replyTo ?? []))]);
    const [sight, presented, parents] = await Promise.all([
      this.look(asker, { entries: happenings.map(({ row }) => row), microblogs: happenings.map(({ actor }) => actor) }),
      this.present(asker, postRows, 'notification'),
      this.stores.entries.byIds([...new Set(postRows.flatMap(({ replyTo }) => replyTo ?? []))]),
    ]);
    const follows = await this.followsNow(
      sight.factsOf(asker.microblog),
      happenings.flatMap(({ body, actor }) => (isAboutFollowing(body) ? [actor] : [])),
    );
    const posts = new Map(postRows.map((row) => [row.id, row]));
    const statuses = new Map(presented.statuses.map((status) => [status.id, status]));
    const authors = new Map(parents.map(({ id, person }) => [id, person]));
    return happenings.flatMap(({ row, body, actor }): Notification[] => {
      const type = notificationTypeOf(body);
      const post = row.replyTo === null ? undefined : posts.get(row.replyTo);
      const concerns = post?.replyTo != null && authors.get(post.replyTo) === asker.person;
      if (type === undefined || !sight.entry(row, [], concerns)) return [];
      const account = this.accountOf(sight, actor);
      if (account === undefined) return [];
      const base = { id: formatPostId(row.id), created_at: row.createdAt.toISOString(), account, group_key: `ungrouped-${row.id}` };
      if (type !== 'mention') {
        // A follow that is over, and a request that was decided, notify of nothing any more.
        const shown = follows.get(`${actor} ${type === 'follow' ? 'active' : 'asked'}`);
        return shown !== undefined && sight.edge(actor, asker.microblog, shown) ? [{ ...base, type }] : [];
      }
      const status = post === undefined ? undefined : statuses.get(formatPostId(post.id));
      return status === undefined ? [] : [{ ...base, type, status }];
    });
  }

  /** How these follow a microblog now, or ask to: `<follower> <state>` → who may know. */
  private async followsNow(followed: MicroblogFacts | undefined, followers: readonly MicroblogId[]): Promise<Map<string, Shown>> {
    if (followed?.logs === undefined || followers.length === 0) return new Map();
    const grants = await this.stores.grants.followersAmong(followed.logs, [...new Set(followers)]);
    return new Map(grants.map(({ via, state, shown }) => [`${via ?? ''} ${state}`, shown]));
  }

  private accountOf(sight: Sight, id: MicroblogId): Account | undefined {
    const facts = sight.factsOf(id);
    if (facts === undefined || !sight.facet(id, 'exists')) return undefined;
    const seen = accountFacets.filter((facet) => sight.facet(id, facet));
    const forms = this.accountForms.get(facts) ?? new Map<string, Account>();
    this.accountForms.set(facts, forms);
    const key = seen.join(' ');
    const known = forms.get(key);
    if (known !== undefined) return known;
    const account = toAccount(facts, this.site, (facet) => seen.includes(facet), this.posts.htmlOptions);
    forms.set(key, account);
    return account;
  }

  /** What a post says; a mention without a domain means its author's. */
  private postOf(sight: Sight, row: EntryRow, read: PostFacts | undefined): PostFacts | undefined {
    const home = sight.factsOf(row.microblog)?.microblog.domain;
    return home === undefined || home === this.site.domain ? read : this.posts.read(row, home);
  }

  /** The author may be known, and the entry seen. */
  private mayShow(sight: Sight, row: EntryRow, recipients: ReadonlyMap<PostId, readonly MicroblogId[]>): boolean {
    return row.microblog !== null && sight.facet(row.microblog, 'exists') && sight.entry(row, recipients.get(row.id) ?? []);
  }

  private mentionedIn(sight: Sight, post: PostFacts, known: ReadonlyMap<string, MicroblogId>): Microblog[] {
    return post.mentions.flatMap(({ name, domain }) => {
      const id = known.get(`${name}@${domain}`);
      const facts = id === undefined ? undefined : sight.factsOf(id);
      return facts !== undefined && sight.facet(facts.microblog.id, 'exists') ? [facts.microblog] : [];
    });
  }

  /** Recipients of direct posts stand in the first body; an edit adds none and does not repeat them. */
  async recipientsOf(rows: readonly EntryRow[]): Promise<Map<PostId, readonly MicroblogId[]>> {
    const found = new Map<PostId, readonly MicroblogId[]>();
    for (const row of rows) {
      if (row.audience !== 'direct') continue;
      const [first] = row.editedAt === null ? [] : await this.stores.entries.versions(row);
      const post = first?.body == null ? this.posts.read(row, undefined) : this.posts.readBody(first.body);
      found.set(row.id, post?.recipients ?? []);
    }
    return found;
  }

  /** Upwards, until the first that may not be seen: who may not see a post learns nothing of what is above it. */
  private async ancestors(asker: Asker, from: EntryRow): Promise<Status[]> {
    const above: Status[] = [];
    const passed = new Set<PostId>([from.id]);
    for (let next = from.replyTo; next !== null && !passed.has(next) && above.length < presentLimits.ancestorsMax; ) {
      passed.add(next);
      const [row] = await this.stores.entries.byIds([next]);
      if (row === undefined) break;
      const [status] = (await this.present(asker, [row], 'thread')).statuses;
      if (status === undefined) break;
      above.unshift(status);
      next = row.replyTo;
    }
    return above;
  }

  /** Downwards, level by level; below a post that may not be seen nothing is shown. */
  private async descendants(asker: Asker, root: EntryRow): Promise<Status[]> {
    const max = asker.kind === 'person' ? presentLimits.descendantsMax : presentLimits.descendantsPublicMax;
    const children = new Map<PostId, PostId[]>();
    const statuses = new Map<PostId, Status>();
    let level: readonly PostId[] = [root.id];
    for (let depth = 0; level.length > 0 && statuses.size < max && depth < presentLimits.descendantsDepthMax; depth++) {
      const replies = await this.stores.entries.replies(level);
      const ids = [...new Set([...replies.values()].flat())].filter((id) => id !== root.id && !statuses.has(id)).slice(0, max - statuses.size);
      const { statuses: shown, kept } = await this.statuses(asker, ids, 'thread');
      kept.forEach((id, index) => {
        const status = shown[index];
        if (status !== undefined) statuses.set(id, status);
      });
      for (const [parent, under] of replies) children.set(parent, under);
      level = kept;
    }
    return depthFirst(root.id, children).flatMap((id) => statuses.get(id) ?? []);
  }
}

/** Facets that an account has beside `exists`. */
const accountFacets: readonly Facet[] = ['profile', 'counts', 'last-activity'];

const leads = (role: Role): boolean => role === 'owner' || role === 'editor';

/** What a read of posts is about. */
function aboutPosts(rows: readonly EntryRow[], { rows: known, mentioned, read }: Surroundings, context: PresentContext): About {
  const parents = rows.flatMap(({ replyTo }) => (replyTo === null ? [] : (known.get(replyTo) ?? [])));
  const entries = [...new Set([...rows, ...parents])];
  const names = rows.flatMap(({ id }) => read.get(id)?.mentions ?? []).map(({ name, domain }) => mentioned.get(`${name}@${domain}`));
  return { entries, microblogs: [...names, ...entries.map(({ replyToMicroblog }) => replyToMicroblog)].flatMap((id) => id ?? []), follows: context === 'home' };
}

/** The rules of the place where a post is shown. */
function belongs(sight: Sight, row: EntryRow, context: PresentContext): boolean {
  switch (context) {
    case 'home':
      return belongsInHome(sight, row);
    case 'public':
      // Replies to others are read in their thread; one's own thread goes on.
      return row.audience === 'public' && row.listed && (row.replyTo === null || row.replyToMicroblog === row.microblog);
    case 'account':
    case 'thread':
    case 'notification':
      return true;
  }
}

/** Posts of what is followed; a reply only if the one replied to is followed too; nothing direct. For a group its own posts. */
function belongsInHome(sight: Sight, row: EntryRow): boolean {
  if (row.audience !== 'public' && row.audience !== 'followers') return false;
  const { asker } = sight;
  if (asker.kind !== 'person') return false;
  const acting = sight.factsOf(asker.microblog)?.microblog;
  if (acting?.kind === 'group') return row.microblog === acting.id;
  return sight.follows(row.microblog) && (row.replyToMicroblog === null || sight.follows(row.replyToMicroblog));
}

