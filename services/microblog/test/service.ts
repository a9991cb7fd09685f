/** The real service on real databases, without HTTP: sign-up, posting and following in a line each. */
import { PostgresEventLog } from '@dmb/event-log';
import { outboxMigrations, type Databases } from '@dmb/postgres';
import {
  HAPPENINGS,
  createEntry,
  domainIdOf,
  newMicroblogId,
  newObjectId,
  newPersonId,
  objectUri,
  parseBody,
  type Domain,
  type HappeningBody,
  type MicroblogId,
  type PersonId,
  type PostBody,
} from '@dmb/protocol';
import { Calls, silentLogger } from '@dmb/runtime';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { Microblog } from '../src/microblog.ts';
import type { Actor, Appended, EntryRow, MicroblogLogs } from '../src/domain/model.ts';
import { microblogMigrations } from '../src/migrations.ts';

export const domain = 'dmb.test' as Domain;
export const domainId = domainIdOf(domain);

/** Somebody with a personal microblog, as a token of theirs would act. */
export interface Somebody extends Actor {
  readonly handle: string;
}

interface PostOptions {
  readonly audience?: 'public' | 'followers' | 'direct';
  readonly mentions?: readonly Somebody[];
  readonly replyTo?: EntryRow;
  readonly listed?: boolean;
}

export class World {
  readonly test: TestDatabases;
  readonly databases: Databases;
  readonly identity: Databases;
  calls = new Calls({ checked: true });
  eventLog: PostgresEventLog;
  microblog: Microblog;

  private constructor(test: TestDatabases, databases: Databases, identity: Databases) {
    this.test = test;
    this.databases = databases;
    this.identity = identity;
    this.eventLog = this.#newEventLog();
    this.microblog = this.#newMicroblog();
  }

  static async create(): Promise<World> {
    const test = await createTestDatabases({ domain });
    const databases = await test.openMigrated('microblog', await microblogMigrations(), { connectionsMax: 10 });
    const identity = await test.openMigrated('identity', outboxMigrations);
    return new World(test, databases, identity);
  }

  #newEventLog(): PostgresEventLog {
    return new PostgresEventLog({ producers: { microblog: this.databases, identity: this.identity } });
  }

  #newMicroblog(): Microblog {
    return new Microblog({ config: { appendLanes: 2 }, databases: this.databases, calls: this.calls, eventLog: this.eventLog, logger: silentLogger, domain });
  }

  /** Ends the service and begins it anew, as after a restart; not started. */
  async restart(): Promise<void> {
    await this.microblog.stop();
    await this.eventLog.close();
    this.calls = new Calls({ checked: true });
    this.eventLog = this.#newEventLog();
    this.microblog = this.#newMicroblog();
  }

  async drop(): Promise<void> {
    await this.microblog.stop();
    await this.eventLog.close();
    await this.test.drop();
  }

  /** Signs somebody up, as identity does. */
  async signUp(handle: string, options: { readonly person?: PersonId; readonly personal?: boolean } = {}): Promise<Somebody> {
    const { person = newPersonId(), personal = true } = options;
    const microblog = newMicroblogId();
    const reservation = newPersonId();
    await this.calls.call('microblog.reserve-handle', { domain: domainId, handle, reservation });
    await this.calls.call('microblog.create', { domain: domainId, microblog, handle, reservation, owner: person, personal, title: handle, locale: null });
    await this.calls.call('microblog.confirm-handle', { domain: domainId, handle, reservation, microblog });
    return { domain: domainId, person, microblog, handle };
  }

  async logs(microblog: MicroblogId): Promise<MicroblogLogs> {
    const logs = await this.microblog.stores.microblogs.logsOf(microblog);
    if (logs === undefined) throw new Error('no logs');
    return logs;
  }

  /** Appends a post, as the client API does. */
  async post(actor: Somebody, text: string, { audience = 'public', mentions = [], replyTo, listed = audience === 'public' }: PostOptions = {}): Promise<Appended> {
    const log = (await this.logs(actor.microblog))[audience];
    const body: Omit<PostBody, 'salt'> = {
      type: 'Note',
      content: text,
      ...(mentions.length === 0 || audience === 'direct' ? {} : { tag: mentions.map(({ handle }) => ({ type: 'Mention', name: `@${handle}@${domain}`, href: `https://${domain}/@${handle}` })) }),
      ...(audience === 'direct' ? { to: mentions.map(({ microblog, handle }) => ({ id: microblog, handle: `${handle}@${domain}` })) } : {}),
      ...(replyTo === undefined ? {} : { inReplyTo: objectUri(domain, replyTo.objectId) }),
    };
    return await this.microblog.appender.append({
      ...createEntry('post', newObjectId(log.shard), Date.now(), body),
      log: { shard: log.shard, log: log.log, epochNo: log.epochNo },
      kind: 'post',
      listed,
      person: actor.person,
      ...(replyTo === undefined ? {} : { replyTo: replyTo.id, ...(replyTo.microblog === null ? {} : { replyToMicroblog: replyTo.microblog }) }),
    });
  }

  async entry({ id }: Pick<Appended, 'id'>): Promise<EntryRow> {
    const [row] = await this.microblog.stores.entries.byIds([id]);
    if (row === undefined) throw new Error(`no entry ${id}`);
    return row;
  }

  /** What happened to a microblog, oldest first: its own log, read. */
  async happenings(microblog: MicroblogId): Promise<HappeningBody[]> {
    const rows = (await this.microblog.stores.entries.happenings((await this.logs(microblog)).own, { limit: 500 }, HAPPENINGS)).reverse();
    return rows.flatMap(({ body }) => {
      const parsed = body === null ? undefined : parseBody('happening', body);
      return parsed?.result === 'body' ? [parsed.body] : [];
    });
  }

  /** What an SQL statement finds in all databases. */
  async all<R extends object>(sql: string, params: readonly unknown[] = []): Promise<R[]> {
    return (await Promise.all(this.databases.all.map((database) => database.query<R>(sql, params)))).flat();
  }
}
