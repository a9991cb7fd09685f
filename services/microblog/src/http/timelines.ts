/** The public timelines: what is listed of this server, all of it or by hashtag. */
import { Controller, Get, Inject, Param, Query, Req, Res } from '@nestjs/common';
import type { Asker, Status } from '@dmb/events';
import { CalledBy, parsePaging, type Caller } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Presenter } from '../present/presenter.ts';
import type { EntryRow, Page } from '../domain/model.ts';
import { EntryStore } from '../store/entries.ts';
import { foldHashtag } from '../text/segments.ts';
import { keptStatuses, readPage, sendLinks } from './paging.ts';
import { publicTimelineQuery, type PublicTimelineQuery } from './schemas.ts';

@Controller()
export class TimelinesController {
  private readonly presenter: Presenter;
  private readonly entries: EntryStore;

  constructor(@Inject(Presenter) presenter: Presenter, @Inject(EntryStore) entries: EntryStore) {
    this.presenter = presenter;
    this.entries = entries;
  }

  @Get('/api/v1/timelines/public')
  publicTimeline(@CalledBy() { asker }: Caller, @Query({ schema: publicTimelineQuery }) query: PublicTimelineQuery, @Req() request: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<readonly Status[]> {
    return this.page({ asker, query, request, reply, context: 'public', read: (bounds) => this.entries.publicTimeline(this.presenter.site.domainId, bounds) });
  }

  @Get('/api/v1/timelines/tag/:hashtag')
  tagTimeline(
    @CalledBy() { asker }: Caller,
    @Param('hashtag') hashtag: string,
    @Query({ schema: publicTimelineQuery }) query: PublicTimelineQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<readonly Status[]> {
    const tag = foldHashtag(hashtag);
    return this.page({ asker, query, request, reply, context: 'account', read: (bounds) => this.entries.tagged(this.presenter.site.domainId, tag, bounds) });
  }

  private async page({ asker, query, request, reply, context, read }: TimelineRequest): Promise<readonly Status[]> {
    // All posts are of this server and none has media, until there are replicas and media.
    if (query.remote === true || query.only_media === true) return [];
    const page = await readPage(parsePaging(query), read, async (rows) => keptStatuses(await this.presenter.present(asker, rows, context)));
    sendLinks(this.presenter.site, request, reply, page);
    return page.items;
  }
}

interface TimelineRequest {
  readonly asker: Asker;
  readonly query: PublicTimelineQuery;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** Replies stand in a hashtag's timeline, and not in the public one. */
  readonly context: 'public' | 'account';
  readonly read: (page: Page) => Promise<EntryRow[]>;
}
