/** Posts: reading one, its thread and its versions; creating, editing, deleting. */
import { Body, Controller, Delete, Get, Headers, Inject, Param, Post, Put, Query } from '@nestjs/common';
import type { Context, Status, StatusEdit, StatusSource } from '@dmb/events';
import type { PostId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import { CalledBy, parseId, type Caller, type PersonCaller } from '@dmb/runtime/http';
import { Posts, type DeletedStatus } from '../posts/posts.ts';
import { Presenter } from '../present/presenter.ts';
import { postIdOf } from './lookups.ts';
import { idsQuery, newStatus, statusEdit, type IdsQuery, type NewStatus, type StatusChanges } from './schemas.ts';

/** Statuses that one request for several answers. */
const statusesMax = 40;
const idempotencyKeyCharsMax = 255;

@Controller()
export class StatusesController {
  private readonly posts: Posts;
  private readonly presenter: Presenter;

  constructor(@Inject(Posts) posts: Posts, @Inject(Presenter) presenter: Presenter) {
    this.posts = posts;
    this.presenter = presenter;
  }

  @Post('/api/v1/statuses')
  create(@CalledBy() caller: PersonCaller, @Body({ schema: newStatus }) body: NewStatus, @Headers('idempotency-key') key: string | undefined): Promise<Status> {
    refuseWhatIsNotServed(body);
    if (key !== undefined && key.length > idempotencyKeyCharsMax) throw new AppError('invalid', `Validation failed: Idempotency-Key is longer than ${idempotencyKeyCharsMax} characters`);
    return this.posts.create(caller, {
      text: body.status ?? '',
      spoilerText: body.spoiler_text ?? '',
      sensitive: body.sensitive,
      language: body.language,
      visibility: body.visibility,
      inReplyTo: body.in_reply_to_id === undefined ? undefined : postIdOf(body.in_reply_to_id),
      idempotencyKey: key === undefined || key === '' ? undefined : key,
    });
  }

  @Get('/api/v1/statuses')
  async several(@CalledBy() { asker }: Caller, @Query({ schema: idsQuery }) query: IdsQuery): Promise<readonly Status[]> {
    const ids = (query.id ?? []).slice(0, statusesMax).flatMap((id) => (parseId(String(id)) as PostId | undefined) ?? []);
    return (await this.presenter.statuses(asker, [...new Set(ids)], 'thread')).statuses;
  }

  @Get('/api/v1/statuses/:id')
  async one(@CalledBy() { asker }: Caller, @Param('id') id: string): Promise<Status> {
    return found(await this.presenter.status(asker, postIdOf(id)));
  }

  @Put('/api/v1/statuses/:id')
  edit(@CalledBy() { asker }: PersonCaller, @Param('id') id: string, @Body({ schema: statusEdit }) body: StatusChanges): Promise<Status> {
    refuseWhatIsNotServed(body);
    return this.posts.edit(asker, postIdOf(id), { text: body.status ?? '', spoilerText: body.spoiler_text ?? '', sensitive: body.sensitive, language: body.language });
  }

  @Delete('/api/v1/statuses/:id')
  delete(@CalledBy() { asker }: PersonCaller, @Param('id') id: string): Promise<DeletedStatus> {
    return this.posts.delete(asker, postIdOf(id));
  }

  @Get('/api/v1/statuses/:id/context')
  async context(@CalledBy() { asker }: Caller, @Param('id') id: string): Promise<Context> {
    return found(await this.presenter.context(asker, postIdOf(id)));
  }

  @Get('/api/v1/statuses/:id/source')
  async source(@CalledBy() { asker }: PersonCaller, @Param('id') id: string): Promise<StatusSource> {
    const { text, spoilerText } = found(await this.presenter.source(asker, postIdOf(id)));
    return { id, text, spoiler_text: spoilerText };
  }

  @Get('/api/v1/statuses/:id/history')
  async history(@CalledBy() { asker }: Caller, @Param('id') id: string): Promise<StatusEdit[]> {
    return found(await this.presenter.history(asker, postIdOf(id)));
  }
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new AppError('not-found');
  return value;
}

/** What clients offer and this server has not yet: said clearly, since the sentence is shown to whoever posts. */
function refuseWhatIsNotServed(body: Partial<NewStatus>): void {
  const refused = [
    { what: body.media_ids, text: 'Media attachments are not supported yet' },
    { what: body.poll, text: 'Polls are not supported yet' },
    { what: body.scheduled_at, text: 'Scheduled posts are not supported yet' },
    { what: body.quoted_status_id, text: 'Quotes are not supported yet' },
  ].find(({ what }) => !isEmpty(what));
  if (refused !== undefined) throw new AppError('invalid', `Validation failed: ${refused.text}`);
}

/** Nothing, an empty text, or an object and list with nothing but such: what forms send for what was left out. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && !(value instanceof Blob) && Object.values(value).every(isEmpty);
}
