/** Following: asking, ending, deciding. */
import { Body, Controller, Get, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { Account, Relationship } from '@dmb/events';
import { accountPaging, CalledBy, parsePaging, type PersonCaller } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { FollowCommands } from '../commands/follows.ts';
import type { Actor, FollowEdge, Relation } from '../domain/model.ts';
import type { MicroblogId } from '@dmb/protocol';
import { actorOf } from '../posts/posts.ts';
import { Presenter } from '../present/presenter.ts';
import { toRelationship } from '../present/relationship.ts';
import { GrantStore } from '../store/grants.ts';
import { Lookups } from './lookups.ts';
import { readPage, sendLinks, type Kept } from './paging.ts';
import { followOptions, pagingQuery, type FollowOptions, type PagingQuery } from './schemas.ts';

@Controller()
export class FollowsController {
  private readonly presenter: Presenter;
  private readonly lookups: Lookups;
  private readonly grants: GrantStore;
  private readonly follows: FollowCommands;

  constructor(
    @Inject(Presenter) presenter: Presenter,
    @Inject(Lookups) lookups: Lookups,
    @Inject(GrantStore) grants: GrantStore,
    @Inject(FollowCommands) follows: FollowCommands,
  ) {
    this.presenter = presenter;
    this.lookups = lookups;
    this.grants = grants;
    this.follows = follows;
  }

  /** The options are those of Mastodon (boosts, notifications of each post); neither exists here yet. */
  @Post('/api/v1/accounts/:id/follow')
  follow(@CalledBy() caller: PersonCaller, @Param('id') id: string, @Body({ schema: followOptions }) _options: FollowOptions): Promise<Relationship> {
    return this.change(caller, id, (actor, target) => this.follows.follow(actor, target));
  }

  @Post('/api/v1/accounts/:id/unfollow')
  unfollow(@CalledBy() caller: PersonCaller, @Param('id') id: string): Promise<Relationship> {
    return this.change(caller, id, (actor, target) => this.follows.unfollow(actor, target));
  }

  @Post('/api/v1/accounts/:id/remove_from_followers')
  removeFollower(@CalledBy() caller: PersonCaller, @Param('id') id: string): Promise<Relationship> {
    return this.change(caller, id, (actor, target) => this.follows.removeFollower(actor, target));
  }

  @Get('/api/v1/follow_requests')
  async requests(
    @CalledBy() { asker }: PersonCaller,
    @Query({ schema: pagingQuery }) query: PagingQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<readonly Account[]> {
    const { actingRole } = await this.presenter.look(asker, { role: true });
    // Authors do not decide; an error would be shown by clients that ask at each start.
    if (actingRole !== 'owner' && actingRole !== 'editor') return [];
    const page = await readPage(
      parsePaging(query, accountPaging),
      (bounds) => this.grants.followRequests(asker.microblog, bounds),
      async (rows: readonly FollowEdge[]): Promise<Kept<Account>> => {
        const accounts = await this.presenter.accountsById(
          asker,
          rows.map((edge) => edge.microblog),
        );
        return rows.flatMap(({ id, microblog }) => {
          const item = accounts.get(microblog);
          return item === undefined ? [] : [{ id, item }];
        });
      },
    );
    sendLinks(this.presenter.site, request, reply, page);
    return page.items;
  }

  @Post('/api/v1/follow_requests/:id/authorize')
  authorize(@CalledBy() caller: PersonCaller, @Param('id') id: string): Promise<Relationship> {
    return this.change(caller, id, (actor, requester) => this.follows.authorize(actor, requester));
  }

  @Post('/api/v1/follow_requests/:id/reject')
  reject(@CalledBy() caller: PersonCaller, @Param('id') id: string): Promise<Relationship> {
    return this.change(caller, id, (actor, requester) => this.follows.reject(actor, requester));
  }

  private async change({ asker }: PersonCaller, id: string, command: (actor: Actor, other: MicroblogId) => Promise<Relation>): Promise<Relationship> {
    const other = await this.lookups.byAccountId(asker, id);
    const relation = await command(actorOf(asker), other.id);
    this.presenter.forget(other.id);
    this.presenter.forget(asker.microblog);
    return toRelationship(other.accountId, relation);
  }
}
