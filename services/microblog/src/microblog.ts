/** The service put together: its pieces, and their common beginning and end. */
import type { Subscription } from '@dmb/event-log';
import { domainIdOf, IdSource, shardOf, type PersonId } from '@dmb/protocol';
import { Background } from '@dmb/runtime';
import { Appender } from './append/appender.ts';
import { bindCalls } from './calls.ts';
import { EntryCommands } from './commands/entries.ts';
import { FollowCommands } from './commands/follows.ts';
import { MicroblogCommands } from './commands/microblogs.ts';
import { PersonCommands } from './commands/persons.ts';
import type { MicroblogContext } from './context.ts';
import { EntryConsumer } from './events/consumer.ts';
import { OutsideEffects } from './events/outside.ts';
import { siteOf } from './present/facts.ts';
import { Presenter } from './present/presenter.ts';
import { EntryStore } from './store/entries.ts';
import { GrantStore } from './store/grants.ts';
import { LogStore } from './store/logs.ts';
import { MicroblogStore } from './store/microblogs.ts';
import { SnapshotStore } from './store/snapshot.ts';
import { Writes } from './store/writes.ts';

export class Microblog {
  readonly appender: Appender;
  readonly stores: { readonly microblogs: MicroblogStore; readonly entries: EntryStore; readonly grants: GrantStore; readonly logs: LogStore; readonly snapshots: SnapshotStore };
  readonly commands: { readonly entries: EntryCommands; readonly follows: FollowCommands; readonly microblogs: MicroblogCommands };
  readonly presenter: Presenter;
  readonly consumer: EntryConsumer;
  readonly #context: MicroblogContext;
  readonly #background: Background;
  #subscription: Subscription | undefined;

  /** Builds the service and binds its calls. */
  constructor(context: MicroblogContext) {
    const { config, calls, eventLog, logger, domain, isAlone = () => false, now = Date.now } = context;
    const writes = new Writes();
    const databases = writes.observe(context.databases);
    this.#context = context;
    this.#background = new Background({ logger });
    const ids = new IdSource();
    const domains = new Map([[domainIdOf(domain), domain]]);
    const committed = (databaseIndex: number, relay: number): void => eventLog.committed('microblog', databaseIndex, relay);
    const appender = new Appender({ databases, ids, lanes: config.appendLanes, committed, now });
    const stores = {
      microblogs: new MicroblogStore(databases),
      entries: new EntryStore(databases),
      grants: new GrantStore(databases),
      logs: new LogStore(databases),
      snapshots: new SnapshotStore(databases),
    };
    const parts = { databases, appender, ...stores, domains, ids, now, followingChanged: (persons: readonly PersonId[]) => this.#tellFollowing(persons) };
    this.appender = appender;
    this.stores = stores;
    this.commands = { entries: new EntryCommands(appender, now), follows: new FollowCommands(parts), microblogs: new MicroblogCommands(parts) };
    const unchanged = { state: () => (isAlone() ? writes.count : undefined) };
    this.presenter = new Presenter(stores, siteOf(domain), { unchanged });
    this.consumer = new EntryConsumer({ databases, outside: new OutsideEffects(parts), persons: new PersonCommands(parts), logger });
    bindCalls(calls, { commands: this.commands.microblogs, ...stores, presenter: this.presenter, unchanged });
  }

  /** Begins to consume; resolves when it does. */
  async start(): Promise<void> {
    this.appender.startCleaning(this.#background);
    this.#subscription = await this.consumer.start(this.#context.eventLog, this.#background);
  }

  /** Takes no more, commits what was taken in, and lets go. */
  async stop(): Promise<void> {
    await this.#subscription?.stop();
    this.#subscription = undefined;
    this.consumer.stop();
    await this.#background.stop();
    await this.appender.close();
  }

  /** To the streams of these persons. Who misses it asks again within a minute. */
  async #tellFollowing(persons: readonly PersonId[]): Promise<void> {
    const { live, logger } = this.#context;
    try {
      await live?.publish(persons.map((person) => ({ type: 'person', event: { shard: shardOf(person), person, what: 'following-changed' } })));
    } catch (error) {
      logger.debug('streams could not be told that following changed', { error });
    }
  }

  /** Why entries cannot be accepted now; undefined when they can. */
  unready(): Promise<string | undefined> {
    return this.appender.unready();
  }

  /** False while events cannot be had or handled. */
  isHealthy(): boolean {
    return this.#subscription?.isHealthy() ?? false;
  }

  /** Resolves when everything committed before the call has had its effects here, parked logs excepted. */
  async drain(): Promise<void> {
    await this.#subscription?.drain();
  }
}
