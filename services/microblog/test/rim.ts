/**
 * The microblog service with its HTTP rim on real databases, and people who use it. Identity is
 * played by a table of tokens; the event log by `drain`, which compares heads with cursors.
 */
import 'reflect-metadata';
import { Module, type DynamicModule } from '@nestjs/common';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { domainIdOf, IdSource, newMicroblogId, newPersonId, normaliseDomain, type Domain, type MicroblogId, type PersonId } from '@dmb/protocol';
import { newId } from '@dmb/protocol';
import type { Asker, CredentialAccount, Status, TokenAnswer } from '@dmb/events';
import type { Databases } from '@dmb/postgres';
import { Calls, silentLogger } from '@dmb/runtime';
import { createServiceApp, type RateLimiter, type ServiceApp } from '@dmb/runtime/http';
import { Appender } from '../src/append/appender.ts';
import { EntryCommands } from '../src/commands/entries.ts';
import { FollowCommands } from '../src/commands/follows.ts';
import { MicroblogCommands } from '../src/commands/microblogs.ts';
import { EntryConsumer } from '../src/events/consumer.ts';
import { OutsideEffects } from '../src/events/outside.ts';
import { clientApi } from '../src/http/client-api.ts';
import { microblogMigrations } from '../src/migrations.ts';
import { siteOf } from '../src/present/facts.ts';
import { Presenter } from '../src/present/presenter.ts';
import { EntryStore } from '../src/store/entries.ts';
import { GrantStore } from '../src/store/grants.ts';
import { MicroblogStore } from '../src/store/microblogs.ts';

@Module({})
class TestModule {}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
  /** Looked at field by field. */
  readonly json: any;
}

/** How a request is sent beside its method and path. */
export interface Sent {
  readonly json?: unknown;
  readonly form?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly raw?: { readonly type: string; readonly body: string | Buffer };
}

/** Somebody with a personal microblog and a token. */
export class Somebody {
  readonly world: World;
  readonly handle: string;
  readonly person: PersonId;
  readonly microblog: MicroblogId;
  readonly token: string;

  constructor(world: World, handle: string, person: PersonId, microblog: MicroblogId, token: string) {
    this.world = world;
    this.handle = handle;
    this.person = person;
    this.microblog = microblog;
    this.token = token;
  }

  ask(method: string, path: string, sent: Sent = {}): Promise<Answer> {
    return this.world.ask(method, path, { ...sent, headers: { authorization: `Bearer ${this.token}`, ...sent.headers } });
  }

  get(path: string): Promise<Answer> {
    return this.ask('GET', path);
  }

  /** Posts, and fails unless that was answered with 200. */
  async post(status: string, more: Record<string, unknown> = {}): Promise<Status> {
    const answer = await this.ask('POST', '/api/v1/statuses', { json: { status, ...more } });
    if (answer.status !== 200) throw new Error(`posting was answered with ${answer.status}: ${answer.text}`);
    return answer.json as Status;
  }

  async account(): Promise<CredentialAccount> {
    return (await this.get('/api/v1/accounts/verify_credentials')).json as CredentialAccount;
  }

  async follow(other: Somebody): Promise<Answer> {
    return this.ask('POST', `/api/v1/accounts/${(await other.account()).id}/follow`);
  }
}

export class World {
  readonly domain: Domain;
  readonly databases: Databases;
  readonly app: ServiceApp;
  readonly commands: MicroblogCommands;
  readonly presenter: Presenter;
  readonly microblogs: MicroblogStore;
  readonly tokens = new Map<string, TokenAnswer>();
  registration: 'open' | 'approval' | 'closed' = 'open';
  operator: MicroblogId | null = null;
  private readonly consumer: EntryConsumer;
  private readonly made: { readonly testDatabases: TestDatabases; readonly appender: Appender };

  private constructor(
    domain: Domain,
    databases: Databases,
    app: ServiceApp,
    parts: { readonly commands: MicroblogCommands; readonly presenter: Presenter; readonly microblogs: MicroblogStore; readonly consumer: EntryConsumer },
    made: World['made'],
  ) {
    this.domain = domain;
    this.databases = databases;
    this.app = app;
    this.commands = parts.commands;
    this.presenter = parts.presenter;
    this.microblogs = parts.microblogs;
    this.consumer = parts.consumer;
    this.made = made;
  }

  static async make(options: { readonly domain?: string; readonly limiter?: RateLimiter; readonly requestsMax?: number; readonly cachedMs?: number } = {}): Promise<World> {
    const domain = normaliseDomain(options.domain ?? 'dmb.test') as Domain;
    const testDatabases = await createTestDatabases({ domain });
    const databases = await testDatabases.openMigrated('microblog', await microblogMigrations());
    const ids = new IdSource();
    const appender = new Appender({ databases, ids, lanes: 2, committed: () => undefined });
    const microblogs = new MicroblogStore(databases);
    const grants = new GrantStore(databases);
    const entries = new EntryStore(databases);
    const commands = new MicroblogCommands({ databases, appender, microblogs, ids, domains: new Map([[domainIdOf(domain), domain]]) });
    const follows = new FollowCommands({ databases, appender, microblogs, grants });
    const outside = new OutsideEffects({ databases, appender, microblogs, grants, domains: new Map([[domainIdOf(domain), domain]]) });
    const consumer = new EntryConsumer({ databases, outside, persons: { applyPersonEvent: () => Promise.resolve() }, logger: silentLogger });
    const presenter = new Presenter({ microblogs, entries, grants }, siteOf(domain), { cachedMs: options.cachedMs ?? 0 });
    const calls = new Calls({ checked: true });
    const { controllers, providers } = clientApi({
      stores: { microblogs, entries, grants },
      commands: { entries: new EntryCommands(appender), follows, microblogs: commands },
      appender,
      calls,
      presenter,
      limiter: options.limiter,
      requestsMax: options.requestsMax,
    });
    const module: DynamicModule = { module: TestModule, controllers, providers };
    const app = await createServiceApp(module, { name: 'microblog', logger: silentLogger, isKnownHost: (host) => host === domain, https: !domain.startsWith('localhost') });
    const world = new World(domain, databases, app, { commands, presenter, microblogs, consumer }, { testDatabases, appender });
    calls.bind('identity.token', ({ token }) => Promise.resolve(world.tokens.get(token) ?? null));
    calls.bind('identity.registration', () => Promise.resolve({ mode: world.registration, persons: 3, operatorMicroblog: world.operator }));
    calls.bind('microblog.role', async ({ person, microblog }) => {
      const role = await microblogs.role(person, microblog);
      return role === undefined ? null : { role };
    });
    return world;
  }

  async ask(method: string, path: string, { json, form, headers = {}, raw }: Sent = {}): Promise<Answer> {
    const body =
      raw !== undefined
        ? { payload: raw.body, headers: { 'content-type': raw.type } }
        : json !== undefined
          ? { payload: JSON.stringify(json), headers: { 'content-type': 'application/json' } }
          : form !== undefined
            ? { payload: form, headers: { 'content-type': 'application/x-www-form-urlencoded' } }
            : { headers: {} };
    const answer = await this.app.fastify.inject({ method: method as 'GET', url: path, ...body, headers: { host: this.domain, ...body.headers, ...headers } });
    const text = answer.body;
    const isJson = String(answer.headers['content-type']).includes('json');
    return { status: answer.statusCode, headers: answer.headers as Answer['headers'], text, json: isJson ? JSON.parse(text) : undefined };
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.ask('GET', path, { headers });
  }

  /** A person with a personal microblog and a token for it. */
  async somebody(handle: string): Promise<Somebody> {
    const person = newPersonId();
    const microblog = await this.microblog(handle, person, true);
    return new Somebody(this, handle, person, microblog, this.token(person, microblog));
  }

  /** A group whose owner is somebody, and that somebody acting as it. */
  async group(handle: string, owner: Somebody): Promise<Somebody> {
    const microblog = await this.microblog(handle, owner.person, false);
    return new Somebody(this, handle, owner.person, microblog, this.token(owner.person, microblog));
  }

  /** Somebody acting as a microblog that they contribute to. */
  async contributor(group: Somebody, person: Somebody, role: 'editor' | 'author'): Promise<Somebody> {
    const shard = (await this.microblogs.byId(group.microblog))?.shard ?? 0;
    await this.databases
      .at(shard)
      .execute('INSERT INTO contributor (log_shard, microblog_id, person_id, person_shard, role) VALUES ($1, $2, $3, 0, $4)', [shard, group.microblog, person.person, role]);
    return new Somebody(this, group.handle, person.person, group.microblog, this.token(person.person, group.microblog));
  }

  async end(contributor: Somebody): Promise<void> {
    await Promise.all(this.databases.all.map((database) => database.execute('DELETE FROM contributor WHERE microblog_id = $1 AND person_id = $2', [contributor.microblog, contributor.person])));
  }

  token(person: PersonId, microblog: MicroblogId, scopes: readonly string[] = ['read', 'write', 'follow', 'push']): string {
    return this.addToken({ kind: 'person', domain: domainIdOf(this.domain), person, microblog, scopes });
  }

  addToken(asker: Asker, app: TokenAnswer['app'] = { name: 'Test', website: null }): string {
    const id = newId();
    const token = `token-${id}`;
    this.tokens.set(token, { id, asker, app, createdAt: Date.now() });
    return token;
  }

  /** Everything that entries cause has been caused. */
  async drain(): Promise<void> {
    // What the first pass appends is seen by the second.
    await this.consumer.sweep();
    await this.consumer.sweep();
  }

  async facet(who: Somebody, facet: string, audience: string): Promise<void> {
    await Promise.all(
      this.databases.all.map((database) => database.execute('UPDATE access SET audience = $3 WHERE microblog_id = $1 AND facet = $2', [who.microblog, facet, audience])),
    );
  }

  async close(): Promise<void> {
    await this.app.close();
    await this.made.appender.close();
    await this.made.testDatabases.drop();
  }

  private async microblog(handle: string, owner: PersonId, personal: boolean): Promise<MicroblogId> {
    const microblog = newMicroblogId();
    const domain = domainIdOf(this.domain);
    const reservation = newId();
    const outcome = await this.commands.reserveHandle({ domain, handle, reservation });
    if (outcome !== 'reserved') throw new Error(`the handle ${handle} is ${outcome}`);
    await this.commands.create({ domain, microblog, handle, reservation, owner, personal, title: personal ? handle : `Group ${handle}`, locale: 'en' });
    await this.commands.confirmHandle({ domain, handle, reservation, microblog });
    return microblog;
  }
}
