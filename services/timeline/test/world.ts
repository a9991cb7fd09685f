/**
 * Timeline as a whole for one test: real Postgres, the real HTTP host behind the real ingress, and
 * identity and microblog as a few maps behind their calls.
 */
import 'reflect-metadata';
import type { EventLog, LogEvent, SubscribeOptions } from '@dmb/event-log';
import { routes, type Asker, type EntryAnswer, type EntryRef, type PersonEvent, type Status } from '@dmb/events';
import type { Databases } from '@dmb/postgres';
import { domainIdOf, ENTRY_KINDS, IdSource, newLogId, newMicroblogId, newObjectId, newPersonId, shardOf, type Domain, type EntryKind, type LogId, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';
import { AppError, Calls, readConfig, silentLogger } from '@dmb/runtime';
import { createIngress, createServiceApp, type Ingress, type ServiceApp } from '@dmb/runtime/http';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { MemoryLimits, MemoryLiveEvents, MemoryTimelines } from '@dmb/timelines';
import { createTimelineModule, Streams, StreamUpgrades, timelineConfig, timelineMigrations } from '../src/index.ts';

export interface FakePerson {
  readonly person: PersonId;
  readonly microblog: MicroblogId;
  readonly own: LogId;
  readonly token: string;
  readonly asker: Extract<Asker, { kind: 'person' }>;
  readonly home: Set<LogId>;
  personal: boolean;
}

export interface FakeLog {
  readonly shard: number;
  readonly log: LogId;
  readonly epochNo: 1;
  readonly microblog: MicroblogId;
  readonly entries: EntryAnswer[];
}

/** Identity and microblog. */
export class FakeServices {
  readonly tokens = new Map<string, FakePerson>();
  readonly roles = new Set<string>();
  readonly logs = new Map<LogId, FakeLog>();
  /** Logs that nobody pushes. */
  readonly merged = new Set<LogId>();
  /** Ids that presenting leaves out. */
  readonly hidden = new Set<PostId>();
  /** Every call, by name. */
  readonly asked = new Map<string, number>();
  /** What a post holds beside its id and context. */
  more: Readonly<Record<string, unknown>> = {};
  /** Names of calls that fail. */
  readonly failing = new Set<string>();
  /** Calls that are answered with what is so now, but later. */
  readonly held = new Map<string, Promise<void>>();
  private readonly ids = new IdSource();
  private readonly domain: Domain;

  constructor(domain: Domain) {
    this.domain = domain;
  }

  person(scopes: readonly string[] = ['read', 'write'], personal = true): FakePerson {
    const [person, microblog, own] = [newPersonId(), newMicroblogId(), newLogId()];
    const token = `token-${person}`;
    const asker = { kind: 'person', domain: domainIdOf(this.domain), person, microblog, scopes } as const;
    const made: FakePerson = { person, microblog, own, token, asker, home: new Set(), personal };
    this.tokens.set(token, made);
    this.roles.add(`${person}/${microblog}`);
    this.logs.set(own, { shard: shardOf(microblog), log: own, epochNo: 1, microblog, entries: [] });
    return made;
  }

  log(): FakeLog {
    const microblog = newMicroblogId();
    const log: FakeLog = { shard: shardOf(microblog), log: newLogId(), epochNo: 1, microblog, entries: [] };
    this.logs.set(log.log, log);
    return log;
  }

  append(log: FakeLog, kind: EntryKind, about: bigint | null = null): EntryRef & { readonly about: bigint | null } {
    const head = log.entries.at(-1);
    const drawn = this.ids.draw(log.shard, head?.id, Date.now());
    if (drawn.outcome !== 'drawn') throw new Error('ids ran ahead of the clock');
    const { shard, log: id, epochNo, microblog } = log;
    const entry: EntryAnswer = { shard, log: id, epochNo, number: (head?.number ?? 0n) + 1n, kind: ENTRY_KINDS[kind], id: drawn.id, audience: kind === 'happening' ? 'own' : 'public', microblog, late: false, objectId: newObjectId(shard), about, body: {} };
    log.entries.push(entry);
    return entry;
  }

  homeOf(logs: Iterable<LogId>): PostId[] {
    const posts = [...logs].flatMap((log) => this.logs.get(log)!.entries).filter(({ kind }) => kind === ENTRY_KINDS.post);
    return posts.map(({ id }) => id).toSorted((left, right) => (left < right ? 1 : -1));
  }

  bind(calls: Calls): void {
    const bind = calls.bind.bind(calls);
    const page = (ids: readonly PostId[], before: PostId | null, limit: number, above?: PostId) => {
      if (above !== undefined) return { ids: ids.filter((id) => id > above).slice(-limit), exactFrom: above };
      const below = ids.filter((id) => before === null || id < before);
      const part = below.slice(0, limit);
      return { ids: part, exactFrom: part.length < below.length ? part.at(-1)! : (0n as PostId) };
    };
    const answerOf = (token: string) => {
      const found = this.tokens.get(token);
      return found === undefined ? null : { id: found.token, asker: found.asker, app: { name: 'test', website: null }, createdAt: 0 };
    };
    const roleOf = ({ person, microblog }: { readonly person: PersonId; readonly microblog: MicroblogId }) => (this.roles.has(`${person}/${microblog}`) ? ('owner' as const) : null);
    bind('identity.token', ({ token }) => this.answer('identity.token', () => answerOf(token)));
    bind('identity.tokens', ({ tokens }) => this.answer('identity.tokens', () => ({ answers: tokens.map(answerOf) })));
    bind('microblog.role', (asked) => this.answer('microblog.role', () => {
      const role = roleOf(asked);
      return role === null ? null : { role };
    }));
    bind('microblog.roles', ({ contributions }) => this.answer('microblog.roles', () => ({ roles: contributions.map(roleOf) })));
    bind('microblog.listening', ({ asker }) => this.answer('microblog.listening', () => {
      const found = this.byAsker(asker);
      return found === undefined ? null : { home: [...found.home], notifications: found.own, personal: found.personal };
    }));
    bind('microblog.snapshot', ({ person, before, limit, only, above }) => this.answer(only === undefined ? 'microblog.snapshot' : 'microblog.snapshot of merged logs', () => {
      const found = [...this.tokens.values()].find((each) => each.person === person)!;
      return page(this.homeOf(only === undefined ? found.home : only.filter((log) => found.home.has(log))), before, limit, above);
    }));
    bind('microblog.merged-logs', () => this.answer('microblog.merged-logs', () => ({ logs: [...this.merged] })));
    bind('microblog.own-posts', ({ microblog, before, limit, above }) => this.answer('microblog.own-posts', () => {
      return page(this.homeOf([...this.logs.values()].filter((log) => log.microblog === microblog).map(({ log }) => log)), before, limit, above);
    }));
    bind('microblog.present', ({ ids, context }) => this.answer('microblog.present', () => {
      const kept = ids.filter((id) => !this.hidden.has(id));
      return { statuses: kept.map((id) => ({ id: String(id), content: `${context}\n❄` }) as unknown as Status), kept };
    }));
    bind('microblog.present-live', ({ asks }) => this.answer('microblog.present-live', () => {
      const ids = [...new Set(asks.flatMap((ask) => ask.ids))].filter((id) => !this.hidden.has(id));
      const statuses = ids.map((id) => ({ id: String(id), content: 'live\n❄', ...this.more }) as unknown as Status);
      return { statuses, seen: asks.map((ask) => ask.ids.map((id) => ids.indexOf(id)).filter((place) => place >= 0)) };
    }));
    bind('microblog.present-notifications', ({ ids }) => this.answer('microblog.present-notifications', () => ({
      notifications: ids.filter((id) => !this.hidden.has(id)).map((id) => ({ id: String(id), type: 'follow' }) as never),
    })));
    bind('microblog.entries', ({ log, after, limit }) => this.answer('microblog.entries', () => {
      const { entries } = this.logs.get(log)!;
      return { entries: entries.filter(({ number }) => number > after).slice(0, limit), head: entries.at(-1)?.number ?? 0n, floor: 0n };
    }));
  }

  private byAsker(asker: Asker): FakePerson | undefined {
    return asker.kind === 'person' && this.roles.has(`${asker.person}/${asker.microblog}`) ? [...this.tokens.values()].find(({ person }) => person === asker.person) : undefined;
  }

  private answer<T>(name: string, make: () => T): Promise<T> {
    this.asked.set(name, (this.asked.get(name) ?? 0) + 1);
    if (this.failing.has(name)) return Promise.reject(new AppError('unavailable'));
    const held = this.held.get(name);
    if (held === undefined) return Promise.resolve().then(make);
    const made = make();
    return held.then(() => made);
  }
}

/** An event log that carries what the test hands over. */
export class ScriptedEventLog implements Pick<EventLog, 'subscribe'> {
  private options: SubscribeOptions | undefined;
  subscribe(options: SubscribeOptions) {
    this.options = options;
    return Promise.resolve({ isHealthy: () => true, drain: () => Promise.resolve(), stop: () => Promise.resolve() });
  }
  async tell(payload: PersonEvent): Promise<void> {
    const event: LogEvent<'identity.person.v1'> = { topic: 'identity.person.v1', key: payload.person, payload, headers: {}, producedAt: 0 };
    await this.options?.handle([event]);
  }
}

export interface World {
  readonly services: FakeServices;
  readonly timelines: MemoryTimelines;
  readonly live: MemoryLiveEvents;
  readonly events: ScriptedEventLog;
  readonly streams: Streams;
  readonly app: ServiceApp;
  readonly origin: string;
  readonly databases: Databases;
  close(): Promise<void>;
}

export async function createWorld(environment: Readonly<Record<string, string>> = {}): Promise<World> {
  const test: TestDatabases = await createTestDatabases();
  const databases = await test.openMigrated('timeline', await timelineMigrations());
  const domain = 'localhost' as Domain;
  const services = new FakeServices(domain);
  const calls = new Calls({ checked: true });
  services.bind(calls);
  const [timelines, live, events] = [new MemoryTimelines(), new MemoryLiveEvents(), new ScriptedEventLog()];
  // Far more requests than a person makes in a test: limits have tests of their own.
  const limits = new MemoryLimits();
  const generous = { take: (limit: Parameters<MemoryLimits['take']>[0], key: string) => limits.take({ ...limit, capacity: 100_000 }, key) };
  const isKnownHost = (): boolean => true;
  const app = await createServiceApp(
    createTimelineModule({ config: readConfig(timelineConfig, environment), databases, calls, eventLog: events, timelines, live, limits: generous, logger: silentLogger, domain, baseUrl: 'http://localhost' }),
    { name: 'timeline', logger: silentLogger, isKnownHost, https: false, upgrades: StreamUpgrades },
  );
  const ingress: Ingress = createIngress({ routes, services: new Map([['timeline', app]]), host: '127.0.0.1', port: 0, https: false, isKnownHost, readiness: () => Promise.resolve({ ready: true, failing: [] }), logger: silentLogger });
  const { port } = await ingress.listen();
  const streams = app.nest.get(Streams);
  return {
    services,
    timelines,
    live,
    events,
    streams,
    app,
    databases,
    origin: `127.0.0.1:${port}`,
    async close() {
      await streams.stop();
      await ingress.close(500);
      await app.close();
      await test.drop();
    },
  };
}
