/** Public pages, feeds and their files: what somebody sees who is not logged in, and nothing more. */
import { Controller, Get, Header, Headers, Inject, Param, Query, Req, Res } from '@nestjs/common';
import type { Asker, Status } from '@dmb/events';
import { parseObjectId, type PostId } from '@dmb/protocol';
import { AppError, stylesheet, stylesheetHash, type Calls } from '@dmb/runtime';
import { addressBucket, assetCache, clientAddress, parseId, parsePaging, publicCache } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Microblog } from '../domain/model.ts';
import { atomFeed } from '../pages/feed.ts';
import { frontPage, type PageContext } from '../pages/front.ts';
import { permalinkPage } from '../pages/permalink.ts';
import { favicon, Pictures } from '../pages/pictures.ts';
import { profilePage } from '../pages/profile.ts';
import { tagPage } from '../pages/tag.ts';
import { Presenter } from '../present/presenter.ts';
import { profileUrl, tagUrl } from '../present/posts.ts';
import type { Sight } from '../present/sight.ts';
import { EntryStore } from '../store/entries.ts';
import { MicroblogStore } from '../store/microblogs.ts';
import { foldHashtag } from '../text/segments.ts';
import { CALLS } from './instance.ts';
import { Lookups } from './lookups.ts';
import { keptStatuses, readPage, type PageOf } from './paging.ts';
import { pagingQuery, type PagingQuery } from './schemas.ts';

const postsOnFront = 15;
const postsOfPage = 20;
/** Pages may be this old. */
const pageSeconds = 15;

const htmlType = 'text/html; charset=utf-8';

@Controller()
export class PagesController {
  private readonly presenter: Presenter;
  private readonly lookups: Lookups;
  private readonly entries: EntryStore;
  private readonly microblogs: MicroblogStore;
  private readonly calls: Pick<Calls, 'call'>;
  private readonly pictures: Pictures;

  constructor(
    @Inject(Presenter) presenter: Presenter,
    @Inject(Lookups) lookups: Lookups,
    @Inject(EntryStore) entries: EntryStore,
    @Inject(MicroblogStore) microblogs: MicroblogStore,
    @Inject(CALLS) calls: Pick<Calls, 'call'>,
    @Inject(Pictures) pictures: Pictures,
  ) {
    this.pictures = pictures;
    this.presenter = presenter;
    this.lookups = lookups;
    this.entries = entries;
    this.microblogs = microblogs;
    this.calls = calls;
  }

  @Get('/')
  @Header('content-type', htmlType)
  async front(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const { site } = this.presenter;
    const [context, totals, latest] = await Promise.all([
      this.context(),
      this.microblogs.totals(site.domainId),
      readPage(
        { maxId: undefined, sinceId: undefined, minId: undefined, limit: postsOnFront },
        (bounds) => this.entries.publicTimeline(site.domainId, bounds),
        async (rows) => keptStatuses(await this.presenter.present(this.nobody, rows, 'public')),
      ),
    ]);
    publicCache(reply, pageSeconds);
    return frontPage({ ...context, microblogs: totals.microblogs, postsCount: totals.posts, latest: latest.items });
  }

  @Get('/:handle')
  @Header('content-type', htmlType)
  async profile(@Param('handle') handle: string, @Query({ schema: pagingQuery }) query: PagingQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const microblog = await this.named(handle);
    const url = this.urlOf(microblog);
    if (handle !== `@${microblog.handle}`) return redirect(reply, 301, url);
    const [account, sight, context] = await Promise.all([this.presenter.account(this.nobody, microblog.id), this.presenter.look(this.nobody, { microblogs: [microblog.id] }), this.context()]);
    if (account === undefined) throw nothingHere();
    const history = sight.facet(microblog.id, 'history');
    const paging = parsePaging({ ...query, limit: postsOfPage });
    const page = history ? await this.postsOf(sight, microblog, paging) : { items: [], next: undefined, prev: undefined };
    const isPaged = paging.maxId !== undefined || paging.minId !== undefined || paging.sinceId !== undefined;
    publicCache(reply, pageSeconds);
    return profilePage({
      ...context,
      account,
      statuses: page.items,
      shows: { counts: sight.facet(microblog.id, 'counts'), history, feed: sight.facet(microblog.id, 'feeds') },
      newer: !isPaged ? undefined : page.prev === undefined ? url : `${url}?min_id=${page.prev}`,
      older: page.next === undefined ? undefined : `${url}?max_id=${page.next}`,
      isPaged,
    });
  }

  @Get('/tags/:tag')
  @Header('content-type', htmlType)
  async tag(@Param('tag') written: string, @Query({ schema: pagingQuery }) query: PagingQuery, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const { site } = this.presenter;
    const tag = foldHashtag(written);
    const url = tagUrl(site, tag);
    const paging = parsePaging({ ...query, limit: postsOfPage });
    const page = await readPage(
      paging,
      (bounds) => this.entries.tagged(site.domainId, tag, bounds),
      async (rows) => keptStatuses(await this.presenter.present(this.nobody, rows, 'account')),
    );
    const isPaged = paging.maxId !== undefined || paging.minId !== undefined || paging.sinceId !== undefined;
    if (page.items.length === 0 && !isPaged) throw nothingHere();
    publicCache(reply, pageSeconds);
    return tagPage({
      ...(await this.context()),
      tag,
      url,
      statuses: page.items,
      newer: !isPaged ? undefined : page.prev === undefined ? url : `${url}?min_id=${page.prev}`,
      older: page.next === undefined ? undefined : `${url}?max_id=${page.next}`,
      isPaged,
    });
  }

  @Get('/:handle/feed.atom')
  @Header('content-type', 'application/atom+xml; charset=utf-8')
  async feed(@Param('handle') handle: string, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const microblog = await this.named(handle);
    if (handle !== `@${microblog.handle}`) return redirect(reply, 301, `${this.urlOf(microblog)}/feed.atom`);
    const [account, sight] = await Promise.all([this.presenter.account(this.nobody, microblog.id), this.presenter.look(this.nobody, { microblogs: [microblog.id] })]);
    if (account === undefined || !sight.facet(microblog.id, 'feeds') || !sight.facet(microblog.id, 'history')) throw nothingHere();
    const { items } = await this.postsOf(sight, microblog, parsePaging({ limit: postsOfPage }));
    publicCache(reply);
    return atomFeed({ site: this.presenter.site, account, statuses: items });
  }

  @Get('/:handle/:id')
  @Header('content-type', htmlType)
  async permalink(@Param('handle') handle: string, @Param('id') id: string, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    if (!handle.startsWith('@')) throw nothingHere();
    const postId = parseId(id) as PostId | undefined;
    if (postId === undefined) throw nothingHere();
    const status = await this.presenter.status(this.nobody, postId);
    if (status?.url == null) throw nothingHere();
    // The id alone finds the post: whatever handle stands before it, there is one address.
    if (status.url !== `${this.presenter.site.origin}/${handle}/${id}`) return redirect(reply, 301, status.url);
    const [thread, author, context] = await Promise.all([this.presenter.context(this.nobody, postId), this.named(handle), this.context()]);
    const hasFeed = await this.presenter.sees(this.nobody, author.id, 'feeds');
    publicCache(reply, pageSeconds);
    return permalinkPage({ ...context, status, context: thread ?? { ancestors: [], descendants: [] }, hasFeed });
  }

  /** The name of an object for ever: leads people to its page, and tells programs what it is. */
  @Get('/objects/:id')
  async object(@Param('id') id: string, @Headers('accept') accept: string | undefined, @Res({ passthrough: true }) reply: FastifyReply): Promise<Status | string> {
    const objectId = parseObjectId(id);
    const row = objectId === undefined ? undefined : await this.entries.byObject(objectId);
    const status = row === undefined ? undefined : await this.presenter.status(this.nobody, row.id);
    if (status?.url == null) throw nothingHere();
    publicCache(reply, pageSeconds);
    if (/^application\/([\w.-]+\+)?json\b/.test((accept ?? '').split(',')[0]?.trim() ?? '')) return status;
    return redirect(reply, 302, status.url);
  }

  @Get('/assets/:file')
  async asset(@Param('file') file: string, @Query('v') version: unknown, @Req() request: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<string | Buffer> {
    if (file === 'dmb.css') {
      if (version === stylesheetHash) assetCache(reply);
      else publicCache(reply);
      reply.header('content-type', 'text/css; charset=utf-8');
      return stylesheet;
    }
    const picture = await this.pictures.of(file, addressBucket(clientAddress(request)));
    if (picture === undefined) throw nothingHere();
    assetCache(reply);
    // Programs in other people's browsers show these too.
    reply.headers({ 'content-type': 'image/png', 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' });
    return picture;
  }

  @Get('/favicon.ico')
  @Header('content-type', 'image/x-icon')
  @Header('cache-control', 'public, max-age=86400')
  icon(): Buffer {
    return favicon();
  }

  @Get('/robots.txt')
  @Header('content-type', 'text/plain; charset=utf-8')
  @Header('cache-control', 'public, max-age=3600')
  robots(): string {
    return 'User-agent: *\nDisallow: /api/\nDisallow: /oauth/\nDisallow: /log-in\nDisallow: /sign-up\nDisallow: /settings\nDisallow: /operator\n';
  }

  private async context(): Promise<PageContext> {
    const { site } = this.presenter;
    const { mode } = await this.calls.call('identity.registration', { domain: site.domainId });
    return { site, registration: mode, now: Date.now() };
  }

  private get nobody(): Extract<Asker, { kind: 'anonymous' }> {
    return { kind: 'anonymous', domain: this.presenter.site.domainId };
  }

  private urlOf(microblog: Microblog): string {
    return profileUrl(this.presenter.site, microblog.handle, microblog.domain);
  }

  /** The microblog of an address that begins with @. @throws {AppError} 404 */
  private async named(handle: string): Promise<Microblog> {
    const microblog = handle.startsWith('@') ? await this.lookups.byHandle(this.nobody, handle) : undefined;
    if (microblog === undefined) throw nothingHere();
    return microblog;
  }

  private async postsOf(sight: Sight, microblog: Microblog, paging: ReturnType<typeof parsePaging>): Promise<PageOf<Status>> {
    const log = sight.factsOf(microblog.id)?.logs?.public;
    if (log === undefined) return { items: [], next: undefined, prev: undefined };
    return readPage(
      paging,
      (bounds) => this.entries.ofLogs([log], bounds),
      async (rows) => keptStatuses(await this.presenter.present(this.nobody, rows, 'account')),
    );
  }
}

/** Unknown and hidden read the same. */
const nothingHere = (): AppError => new AppError('not-found', 'There is nothing at this address, or nothing that everybody may see');

function redirect(reply: FastifyReply, status: 301 | 302, url: string): string {
  reply.code(status).header('location', url);
  return '';
}
