/** Finding: a handle, an address of ours, or the beginning of a handle or hashtag. */
import { Controller, Get, Inject, Query } from '@nestjs/common';
import type { Account, Asker, Search, Status } from '@dmb/events';
import { parseObjectUri, type MicroblogId, type PostId } from '@dmb/protocol';
import { CalledBy, parseId, parseLimit, type Caller, type PersonCaller } from '@dmb/runtime/http';
import { readLimits } from '../limits.ts';
import { tagUrl } from '../present/posts.ts';
import { Presenter } from '../present/presenter.ts';
import { EntryStore } from '../store/entries.ts';
import { MicroblogStore } from '../store/microblogs.ts';
import { foldHashtag } from '../text/segments.ts';
import { Lookups } from './lookups.ts';
import { searchQuery, type SearchQuery } from './schemas.ts';

const searchLimits = { limitDefault: 20, limitMax: 40 };
const queryCharsMax = 2_048;

@Controller()
export class SearchController {
  private readonly presenter: Presenter;
  private readonly lookups: Lookups;
  private readonly microblogs: MicroblogStore;
  private readonly entries: EntryStore;

  constructor(
    @Inject(Presenter) presenter: Presenter,
    @Inject(Lookups) lookups: Lookups,
    @Inject(MicroblogStore) microblogs: MicroblogStore,
    @Inject(EntryStore) entries: EntryStore,
  ) {
    this.presenter = presenter;
    this.lookups = lookups;
    this.microblogs = microblogs;
    this.entries = entries;
  }

  /** Always all three lists. The text of posts is not searched yet. */
  @Get('/api/v2/search')
  async search(@CalledBy() { asker }: Caller, @Query({ schema: searchQuery }) query: SearchQuery): Promise<Search> {
    const q = (query.q ?? '').trim().slice(0, queryCharsMax);
    const limit = parseLimit(query.limit, searchLimits);
    const isFirst = !(Number(query.offset ?? 0) > 0);
    const wants = (type: string): boolean => isFirst && q !== '' && (query.type === undefined || query.type === '' || query.type === type);
    const [accounts, statuses, hashtags] = await Promise.all([
      wants('accounts') ? this.accounts(asker, q, limit) : [],
      wants('statuses') ? this.statuses(asker, q) : [],
      wants('hashtags') ? this.hashtags(asker, q, limit) : [],
    ]);
    return { accounts, statuses, hashtags };
  }

  @Get('/api/v1/accounts/search')
  async searchAccounts(@CalledBy() { asker }: PersonCaller, @Query({ schema: searchQuery }) query: SearchQuery): Promise<Account[]> {
    const q = (query.q ?? '').trim().slice(0, queryCharsMax);
    return q === '' ? [] : this.accounts(asker, q, parseLimit(query.limit, { limitDefault: 40, limitMax: 80 }));
  }

  /** Whom the query names comes first; then those whose handle begins with it and who let themselves be found. */
  private async accounts(asker: Asker, q: string, limit: number): Promise<Account[]> {
    const { site } = this.presenter;
    if (/^https?:\/\//.test(q)) {
      const path = q.startsWith(`${site.origin}/@`) ? q.slice(site.origin.length + 1) : '';
      const named = /^@[^/?#]+$/.test(path) ? await this.lookups.byHandle(asker, path) : undefined;
      return named === undefined ? [] : this.presenter.accounts(asker, [named.id]);
    }
    const named = await this.lookups.byHandle(asker, q);
    const prefix = q.replace(/^@/, '').toLowerCase();
    const begin = /^[a-z0-9_]{1,30}$/.test(prefix) ? await this.microblogs.search(site.domainId, prefix, limit) : [];
    const sight = await this.presenter.look(asker, { microblogs: begin.map(({ id }) => id) });
    const findable = begin.filter(({ id }) => sight.facet(id, 'search')).map(({ id }) => id);
    const ids = [...new Set<MicroblogId>([...(named === undefined ? [] : [named.id]), ...findable])];
    return this.presenter.accounts(asker, ids.slice(0, limit));
  }

  /** Hashtags that begin with the query, of public posts that the asker may see. */
  private async hashtags(asker: Asker, q: string, limit: number): Promise<Search['hashtags']> {
    const { site } = this.presenter;
    const prefix = foldHashtag(q.replace(/^#/, ''));
    if (!/^[\p{L}\p{M}\p{N}\p{Pc}]{1,100}$/u.test(prefix)) return [];
    const found = await this.entries.hashtags(site.domainId, prefix, limit);
    const { kept } = await this.presenter.statuses(asker, [...new Set(found.flatMap(({ posts }) => posts))], 'account');
    const seen = new Set(kept);
    const named = new Set(found.flatMap(({ tag, posts }) => (posts.some((id) => seen.has(id)) ? [tag] : [])));
    // Where the newest are all hidden, an older one may not be.
    let looksLeft: number = readLimits.hashtagLooksMax;
    for (const { tag, posts } of found) {
      if (named.has(tag) || posts.length < readLimits.postsPerHashtagMax) continue;
      for (let before: PostId | undefined; looksLeft > 0; ) {
        const rows = await this.entries.tagged(site.domainId, tag, { limit: Math.min(looksLeft, readLimits.hashtagLooksAtOnce), ...(before === undefined ? {} : { before }) });
        before = rows.at(-1)?.id;
        if (before === undefined) break;
        looksLeft -= rows.length;
        if ((await this.presenter.present(asker, rows, 'account')).kept.length === 0) continue;
        named.add(tag);
        break;
      }
    }
    return found.filter(({ tag }) => named.has(tag)).map(({ tag }) => ({ id: tag, name: tag, url: tagUrl(site, tag), history: [], following: false }));
  }

  /** A post by its address: its page here, or the name of the object. */
  private async statuses(asker: Asker, q: string): Promise<Status[]> {
    const { site } = this.presenter;
    const object = parseObjectUri(q);
    const [, page] = q.startsWith(`${site.origin}/`) ? (/^\/@[^/?#]+\/(\d+)$/.exec(q.slice(site.origin.length)) ?? []) : [];
    const id = object?.domain === site.domain ? (await this.entries.byObject(object.objectId))?.id : (parseId(page) as PostId | undefined);
    const status = id === undefined ? undefined : await this.presenter.status(asker, id);
    return status === undefined ? [] : [status];
  }
}
