/**
 * Creating, editing and deleting posts.
 *
 * A post is checked completely before it is handed to the appender, and is answered only after its
 * commit: from then on it is in its log. Which log that is follows from its visibility: public and
 * unlisted go to the public log, private to the one of followers, direct to the direct one, which
 * never leaves this server and names its recipients for ever.
 *
 * A reply needs a parent that the author may see, and reaches nobody whom that one does not reach.
 */
import type { PersonCaller } from '@dmb/runtime/http';
import type { LogRef, Status } from '@dmb/events';
import { createEntry, newObjectId, type MicroblogId, type PostBody, type NewBody, type PostId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import type { Appender } from '../append/appender.ts';
import type { EntryCommands } from '../commands/entries.ts';
import type { Actor, EntryRow, Microblog, MicroblogLogs, Visibility } from '../domain/model.ts';
import type { Presenter } from '../present/presenter.ts';
import { visibilityOf } from '../present/status.ts';
import type { EntryStore } from '../store/entries.ts';
import type { GrantStore } from '../store/grants.ts';
import type { MicroblogStore } from '../store/microblogs.ts';
import { isWider, parseDraft, parseLanguage, recipientOf, textBody, type Draft } from './draft.ts';
import { numberToBe, reaches } from './reach.ts';

/** A post as it was asked for; undefined = the microblog's default. */
export interface NewPost {
  readonly text: string;
  readonly spoilerText: string;
  readonly sensitive: boolean | undefined;
  readonly language: string | null | undefined;
  readonly visibility: Visibility | undefined;
  readonly inReplyTo: PostId | undefined;
  readonly idempotencyKey: string | undefined;
}

export type PostChanges = Pick<NewPost, 'text' | 'spoilerText' | 'sensitive' | 'language'>;

/** A status whose text goes back to whoever deleted it, to be written again. */
export type DeletedStatus = Status & { readonly text: string };

export interface PostsParts {
  readonly microblogs: Pick<MicroblogStore, 'byId' | 'logsOf' | 'byHandles' | 'contributors' | 'role'>;
  readonly grants: Pick<GrantStore, 'ofPerson'>;
  readonly entries: Pick<EntryStore, 'byIds'>;
  readonly appender: Pick<Appender, 'append'>;
  readonly commands: Pick<EntryCommands, 'edit' | 'delete'>;
  readonly presenter: Presenter;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

type PersonAsker = PersonCaller['asker'];

export class Posts {
  private readonly parts: PostsParts;

  constructor(parts: PostsParts) {
    this.parts = parts;
  }

  /** Posts as the caller's microblog. @throws {AppError} 422, 404 for a parent that the caller may not see */
  async create({ asker, token }: PersonCaller, post: NewPost): Promise<Status> {
    const draft = parseDraft(post.text, post.spoilerText);
    const [{ microblog, logs }, named, parent] = await Promise.all([this.acting(asker), this.namedBy(asker, draft), this.parentOf(asker, post.inReplyTo)]);
    const visibility = post.visibility ?? microblog.defaultVisibility;
    const mentioned = visibility === 'private' ? await this.reachedBy(logs.followers, asker.microblog, named) : named;
    if (parent !== undefined && isWider(visibility, visibilityOf(parent.row))) {
      throw new AppError('invalid', 'Validation failed: A reply cannot have a wider audience than the post that it answers');
    }
    if (parent !== undefined && visibility === 'direct') await this.checkCircle(asker, parent.row, mentioned);
    const body: NewBody<PostBody> = {
      ...textBody(draft, this.parts.presenter.site, {
        mentioned,
        sensitive: draft.spoilerText !== '' || (post.sensitive ?? microblog.defaultSensitive),
        language: parseLanguage(post.language, microblog.defaultLanguage),
      }),
      ...(parent === undefined ? {} : { inReplyTo: parent.uri }),
      ...(visibility === 'unlisted' ? { unlisted: true } : {}),
      ...(visibility === 'direct' ? { to: uniqueRecipients([microblog, ...mentioned]) } : {}),
    };
    const log = logOf(logs, visibility);
    const entry = createEntry('post', newObjectId(log.shard), (this.parts.now ?? Date.now)(), body);
    const { id } = await this.parts.appender.append({
      log,
      kind: 'post',
      envelope: entry.envelope,
      body: entry.body,
      objectId: entry.objectId,
      person: asker.person,
      app: token.app,
      listed: visibility === 'public',
      ...(parent === undefined ? {} : { replyTo: parent.row.id, ...(parent.row.microblog === null ? {} : { replyToMicroblog: parent.row.microblog }) }),
      ...(post.idempotencyKey === undefined ? {} : { key: { scope: token.id, key: post.idempotencyKey, expires: 'token' } }),
    });
    const status = await this.parts.presenter.status(asker, id);
    if (status === undefined) throw new AppError('gone', 'This post was made by an earlier request and has been deleted since');
    return status;
  }

  /** A new version of a post of the caller's microblog. @throws {AppError} 404, 403 for an author of another's post, 422 */
  async edit(asker: PersonAsker, id: PostId, changes: PostChanges): Promise<Status> {
    const { row, status } = await this.ownPost(asker, id);
    const draft = parseDraft(changes.text, changes.spoilerText);
    const named = await this.namedBy(asker, draft);
    const body = textBody(draft, this.parts.presenter.site, {
      mentioned: row.audience === 'followers' ? await this.reachedBy(row, asker.microblog, named) : named,
      sensitive: draft.spoilerText !== '' || (changes.sensitive ?? (status.sensitive && status.spoiler_text === '')),
      language: parseLanguage(changes.language, status.language ?? null),
    });
    await this.parts.commands.edit(actorOf(asker), row, body);
    const edited = await this.parts.presenter.status(asker, id);
    if (edited === undefined) throw new AppError('not-found');
    return edited;
  }

  /** Deletes a post of the caller's microblog for good. @throws {AppError} 404, 403 */
  async delete(asker: PersonAsker, id: PostId): Promise<DeletedStatus> {
    const { row, status } = await this.ownPost(asker, id);
    const source = await this.parts.presenter.source(asker, id);
    await this.parts.commands.delete(actorOf(asker), row);
    return { ...status, text: source?.text ?? '' };
  }

  private async acting(asker: PersonAsker): Promise<{ readonly microblog: Microblog; readonly logs: MicroblogLogs }> {
    const [microblog, logs] = await Promise.all([this.parts.microblogs.byId(asker.microblog), this.parts.microblogs.logsOf(asker.microblog)]);
    if (microblog === undefined || logs === undefined) throw new AppError('not-found');
    return { microblog, logs };
  }

  /** Post, status and parent of what the caller's own microblog wrote; others' posts are not there. */
  private async ownPost(asker: PersonAsker, id: PostId): Promise<{ readonly row: EntryRow; readonly status: Status }> {
    const [row] = await this.parts.entries.byIds([id]);
    if (row === undefined || row.kind !== 'post' || row.microblog !== asker.microblog) throw new AppError('not-found');
    const [status] = (await this.parts.presenter.present(asker, [row], 'thread')).statuses;
    if (status === undefined) throw new AppError('not-found');
    return { row, status };
  }

  private async parentOf(asker: PersonAsker, id: PostId | undefined): Promise<{ readonly row: EntryRow; readonly uri: string } | undefined> {
    if (id === undefined) return undefined;
    const [row] = await this.parts.entries.byIds([id]);
    const [status] = row === undefined ? [] : (await this.parts.presenter.present(asker, [row], 'thread')).statuses;
    if (row === undefined || status === undefined) throw new AppError('not-found', 'The post that you are trying to reply to does not seem to exist');
    return { row, uri: status.uri };
  }

  /** A direct reply to a direct post stays among those who are in it. @throws {AppError} 422 */
  private async checkCircle(asker: PersonAsker, parent: EntryRow, mentioned: readonly Microblog[]): Promise<void> {
    if (parent.audience !== 'direct') return;
    const recipients = (await this.parts.presenter.recipientsOf([parent])).get(parent.id) ?? [];
    const circle = new Set([asker.microblog, parent.microblog, ...recipients]);
    const outside = mentioned.find(({ id }) => !circle.has(id));
    if (outside !== undefined) throw new AppError('invalid', `Validation failed: @${outside.handle} is not part of this conversation; write a new post to add somebody`);
  }

  /** Those of the named microblogs whom a private post reaches. */
  private async reachedBy(log: LogRef, author: MicroblogId, named: readonly Microblog[]): Promise<Microblog[]> {
    const reaching = { log, audience: 'followers', number: numberToBe, author, recipients: [] } as const;
    const reached = await Promise.all(named.map((target) => reaches(this.parts, reaching, target)));
    return named.filter((_, index) => reached[index]);
  }

  /** The named microblogs that the author may know of, in the order of the text. */
  private async namedBy(asker: PersonAsker, { mentions }: Draft): Promise<Microblog[]> {
    if (mentions.length === 0) return [];
    const { site } = this.parts.presenter;
    // Other servers' microblogs are not known yet: their mentions stay text.
    const local = [...new Set(mentions.flatMap(({ name, domain }) => (domain === undefined || domain === site.domain ? [name] : [])))];
    const found = new Map((await this.parts.microblogs.byHandles(local.map((handle) => ({ domainId: site.domainId, handle })))).map((microblog) => [microblog.handle, microblog]));
    const sight = await this.parts.presenter.look(asker, { microblogs: [...found.values()].map(({ id }) => id) });
    return local.flatMap((name) => {
      const microblog = found.get(name);
      return microblog !== undefined && sight.facet(microblog.id, 'exists') ? [microblog] : [];
    });
  }
}

/** The token's person and microblog, as commands take them. */
export function actorOf({ domain, person, microblog }: PersonAsker): Actor {
  return { domain, person, microblog };
}

function logOf(logs: MicroblogLogs, visibility: Visibility): MicroblogLogs['public'] {
  switch (visibility) {
    case 'public':
    case 'unlisted':
      return logs.public;
    case 'private':
      return logs.followers;
    case 'direct':
      return logs.direct;
  }
}

function uniqueRecipients(microblogs: readonly Microblog[]): NonNullable<PostBody['to']> {
  return [...new Map(microblogs.map((microblog) => [microblog.id, recipientOf(microblog)])).values()];
}
