/** The public timeline: what is listed of this server. */
import { Controller, Get, Inject, Query, Req, Res } from '@nestjs/common';
import type { Status } from '@dmb/events';
import { CalledBy, parsePaging, type Caller } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Presenter } from '../present/presenter.ts';
import { EntryStore } from '../store/entries.ts';
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
  async publicTimeline(
    @CalledBy() { asker }: Caller,
    @Query({ schema: publicTimelineQuery }) query: PublicTimelineQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<readonly Status[]> {
    // All posts are of this server and none has media, until there are replicas and media.
    if (query.remote === true || query.only_media === true) return [];
    const { site } = this.presenter;
    const page = await readPage(
      parsePaging(query),
      (bounds) => this.entries.publicTimeline(site.domainId, bounds),
      async (rows) => keptStatuses(await this.presenter.present(asker, rows, 'public')),
    );
    sendLinks(site, request, reply, page);
    return page.items;
  }
}
