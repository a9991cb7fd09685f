/** Notifications: happenings of the own log of the token's microblog. */
import { Controller, Get, Inject, Param, Query, Req, Res } from '@nestjs/common';
import type { Notification } from '@dmb/events';
import { AppError } from '@dmb/runtime';
import { CalledBy, parsePaging, type PersonCaller } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { happeningsOf, notificationTypes } from '../present/notification-types.ts';
import { Presenter } from '../present/presenter.ts';
import { EntryStore } from '../store/entries.ts';
import { MicroblogStore } from '../store/microblogs.ts';
import { postIdOf } from './lookups.ts';
import { readPage, sendLinks } from './paging.ts';
import { notificationsQuery, type NotificationsQuery } from './schemas.ts';

@Controller()
export class NotificationsController {
  private readonly presenter: Presenter;
  private readonly entries: EntryStore;
  private readonly microblogs: MicroblogStore;

  constructor(@Inject(Presenter) presenter: Presenter, @Inject(EntryStore) entries: EntryStore, @Inject(MicroblogStore) microblogs: MicroblogStore) {
    this.presenter = presenter;
    this.entries = entries;
    this.microblogs = microblogs;
  }

  @Get('/api/v1/notifications')
  async list(
    @CalledBy() { asker }: PersonCaller,
    @Query({ schema: notificationsQuery }) query: NotificationsQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<readonly Notification[]> {
    const { types, exclude_types: excluded = [], account_id: accountId } = query;
    const wanted = notificationTypes.filter((type) => (types === undefined || types.length === 0 || types.includes(type)) && !excluded.includes(type));
    const what = happeningsOf(wanted);
    const logs = await this.microblogs.logsOf(asker.microblog);
    if (what.length === 0 || logs === undefined) return [];
    const page = await readPage(
      parsePaging(query),
      (bounds) => this.entries.happenings(logs.own, bounds, what),
      async (rows) => {
        const notifications = await this.presenter.presentNotifications(asker, rows);
        const ids = new Map(rows.map(({ id }) => [String(id), id]));
        return notifications.flatMap((item) => {
          const id = ids.get(item.id);
          return id === undefined || (accountId !== undefined && item.account.id !== String(accountId)) ? [] : [{ id, item }];
        });
      },
    );
    sendLinks(this.presenter.site, request, reply, page);
    return page.items;
  }

  @Get('/api/v1/notifications/:id')
  async one(@CalledBy() { asker }: PersonCaller, @Param('id') id: string): Promise<Notification> {
    const [notification] = await this.presenter.notifications(asker, [postIdOf(id)]);
    if (notification === undefined) throw new AppError('not-found');
    return notification;
  }
}
