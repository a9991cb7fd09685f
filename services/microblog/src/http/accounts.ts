/** Accounts: who they are, what they posted, whom they follow and who follows them. */
import { Controller, Get, Inject, Param, Query, Req, Res } from '@nestjs/common';
import type { Account, Asker, Relationship, Status } from '@dmb/events';
import { AppError } from '@dmb/runtime';
import { accountPaging, CalledBy, parsePaging, type Caller, type PersonCaller } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { FollowCommands } from '../commands/follows.ts';
import type { EntryRow, FollowEdge, LogRow, Microblog, Page } from '../domain/model.ts';
import { actorOf } from '../posts/posts.ts';
import { Presenter } from '../present/presenter.ts';
import { toRelationship } from '../present/relationship.ts';
import { EntryStore } from '../store/entries.ts';
import { GrantStore } from '../store/grants.ts';
import { foldHashtag } from '../text/segments.ts';
import { Lookups } from './lookups.ts';
import { keptStatuses, readPage, sendLinks, type Kept } from './paging.ts';
import { accountStatusesQuery, idsQuery, lookupQuery, pagingQuery, type AccountStatusesQuery, type IdsQuery, type LookupQuery, type PagingQuery } from './schemas.ts';

/** Relationships that one request answers. */
const relationshipsMax = 80;

@Controller()
export class AccountsController {
  private readonly presenter: Presenter;
  private readonly lookups: Lookups;
  private readonly entries: EntryStore;
  private readonly grants: GrantStore;
  private readonly follows: FollowCommands;

  constructor(
    @Inject(Presenter) presenter: Presenter,
    @Inject(Lookups) lookups: Lookups,
    @Inject(EntryStore) entries: EntryStore,
    @Inject(GrantStore) grants: GrantStore,
    @Inject(FollowCommands) follows: FollowCommands,
  ) {
    this.presenter = presenter;
    this.lookups = lookups;
    this.entries = entries;
    this.grants = grants;
    this.follows = follows;
  }

  @Get('/api/v1/accounts/lookup')
  async lookup(@CalledBy() { asker }: Caller, @Query({ schema: lookupQuery }) { acct }: LookupQuery): Promise<Account> {
    return this.accountOf(asker, acct === undefined ? undefined : await this.lookups.byHandle(asker, acct));
  }

  @Get('/api/v1/accounts/relationships')
  async relationships(@CalledBy() { asker }: PersonCaller, @Query({ schema: idsQuery }) { id = [] }: IdsQuery): Promise<Relationship[]> {
    const targets = await this.lookups.byAccountIds(asker, id.slice(0, relationshipsMax));
    const accountIds = new Map(targets.map((target) => [target.id, target.accountId]));
    const relations = await this.follows.relations(
      actorOf(asker),
      targets.map((target) => target.id),
    );
    return relations.flatMap((relation) => {
      const accountId = accountIds.get(relation.target);
      return accountId === undefined ? [] : [toRelationship(accountId, relation)];
    });
  }

  @Get('/api/v1/accounts/:id')
  async one(@CalledBy() { asker }: Caller, @Param('id') id: string): Promise<Account> {
    return this.accountOf(asker, await this.lookups.byAccountId(asker, id));
  }

  @Get('/api/v1/accounts/:id/statuses')
  async statuses(
    @CalledBy() { asker }: Caller,
    @Param('id') id: string,
    @Query({ schema: accountStatusesQuery }) query: AccountStatusesQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<readonly Status[]> {
    const microblog = await this.lookups.byAccountId(asker, id);
    // Nothing is pinned and nothing has media yet; boosts do not exist, so leaving them out changes nothing.
    if (query.pinned === true || query.only_media === true) return [];
    const logs = await this.readableLogs(asker, microblog);
    if (logs.length === 0) return [];
    const page = await readPage(
      parsePaging(query),
      (bounds) => this.entries.ofLogs(logs, bounds),
      (rows) => this.present(asker, rows, query),
    );
    sendLinks(this.presenter.site, request, reply, page);
    return page.items;
  }

  @Get('/api/v1/accounts/:id/followers')
  followers(
    @CalledBy() { asker }: Caller,
    @Param('id') id: string,
    @Query({ schema: pagingQuery }) query: PagingQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<readonly Account[]> {
    return this.edges(asker, id, 'followers', query, request, reply);
  }

  @Get('/api/v1/accounts/:id/following')
  following(
    @CalledBy() { asker }: Caller,
    @Param('id') id: string,
    @Query({ schema: pagingQuery }) query: PagingQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<readonly Account[]> {
    return this.edges(asker, id, 'following', query, request, reply);
  }

  private async accountOf(asker: Asker, microblog: Microblog | undefined): Promise<Account> {
    const account = microblog === undefined ? undefined : await this.presenter.account(asker, microblog.id);
    if (account === undefined) throw new AppError('not-found');
    return account;
  }

  /** The logs of a microblog whose entries the asker may see at all. */
  private async readableLogs(asker: Asker, { id }: Microblog): Promise<LogRow[]> {
    const sight = await this.presenter.look(asker, { microblogs: [id], readers: true, role: true });
    const logs = sight.factsOf(id)?.logs;
    if (logs === undefined || !sight.facet(id, 'history')) return [];
    return [logs.public, logs.followers, logs.direct].filter(({ audience }) => sight.reads(id, audience));
  }

  private async present(asker: Asker, rows: readonly EntryRow[], query: AccountStatusesQuery): Promise<Kept<Status>> {
    const asked = query.exclude_replies === true ? rows.filter(({ replyTo, replyToMicroblog, microblog }) => replyTo === null || replyToMicroblog === microblog) : rows;
    const kept = keptStatuses(await this.presenter.present(asker, asked, 'account'));
    if (query.tagged === undefined) return kept;
    const tag = foldHashtag(query.tagged.replace(/^#/, ''));
    return kept.filter(({ item }) => item.tags.some(({ name }) => name === tag));
  }

  /** A list of followers or followed ones: those that the asker may see, in a list that they may see. */
  private async edges(asker: Asker, id: string, list: 'followers' | 'following', query: PagingQuery, request: FastifyRequest, reply: FastifyReply): Promise<readonly Account[]> {
    const microblog = await this.lookups.byAccountId(asker, id);
    if (!(await this.presenter.sees(asker, microblog.id, list))) return [];
    const page = await readPage(
      parsePaging(query, accountPaging),
      (bounds: Page) => (list === 'followers' ? this.grants.followers(microblog.id, bounds) : this.grants.following(microblog.id, bounds)),
      async (rows: readonly FollowEdge[]): Promise<Kept<Account>> => {
        const others = rows.map((edge) => edge.microblog);
        const [sight, accounts] = await Promise.all([this.presenter.look(asker, { microblogs: [microblog.id, ...others], readers: true, role: true }), this.presenter.accountsById(asker, others)]);
        return rows.flatMap((edge) => {
          const item = accounts.get(edge.microblog);
          const [follower, followed] = list === 'followers' ? [edge.microblog, microblog.id] : [microblog.id, edge.microblog];
          return item !== undefined && sight.edge(follower, followed, edge.shown, list) ? [{ id: edge.id, item }] : [];
        });
      },
    );
    sendLinks(this.presenter.site, request, reply, page);
    return page.items;
  }
}
