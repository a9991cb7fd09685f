/**
 * The event log of one process: the outbox tables of the producing services are themselves the log.
 *
 * A producer commits a row and hints ({@link EventLog.committed}); every group that wants it is
 * woken, finds it by its presence, handles and marks it; with the last mark it is gone. There is
 * no copy, no broker and no position that could be ahead of the data. See `subscription.ts` for
 * how a group works and `outbox-store.ts` for the rows.
 *
 * **Quiet when idle.** Without hints nothing is asked, except one statement per outbox every
 * `safetyPollMs`: it finds rows whose hint was lost (a commit whose answer never came), says that
 * our groups are alive, and finds groups that have not been for so long that rows wait for them no
 * more. Hints before `subscribe` are not lost either: a group that starts looks everywhere.
 *
 * **Whose SQL.** The adapter works in each producer's schema with that producer's own
 * `Databases`. Nobody else reads an outbox, and the handlers never see one.
 */
import { silentLogger, type Logger } from '@dmb/runtime';
import { relayCount, type Databases } from '@dmb/postgres';
import { topics } from '@dmb/events';
import { eventLogLimits, type EventLogLimits } from './limits.ts';
import { OutboxStore } from './outbox-store.ts';
import type { EventLog, SubscribeOptions, Subscription } from './port.ts';
import { GroupSubscription, type Outbox } from './subscription.ts';

/** Services that have an outbox. */
export type Producer = Parameters<EventLog['committed']>[0];

export interface PostgresEventLogOptions {
  /** The databases of each producing service, opened as that service. They are not closed with the log. */
  readonly producers: Readonly<Record<Producer, Databases>>;
  readonly logger?: Logger;
  /** Bounds that replace ours, for tests. */
  readonly limits?: Partial<EventLogLimits>;
}

/** The event log on the outboxes of the services of one process. */
export class PostgresEventLog implements EventLog {
  readonly #outboxes: readonly Outbox[];
  readonly #limits: EventLogLimits;
  readonly #logger: Logger;
  readonly #groups = new Set<GroupSubscription>();
  #pollTimer: NodeJS.Timeout | undefined;
  #polling: Promise<void> | undefined;
  #closed = false;

  constructor({ producers, logger = silentLogger, limits = {} }: PostgresEventLogOptions) {
    this.#limits = { ...eventLogLimits, ...limits };
    this.#logger = logger;
    this.#outboxes = Object.entries(producers).flatMap(([producer, databases]) =>
      databases.all.map((database) => ({ producer, databaseIndex: database.index, store: new OutboxStore(database), inTurn: turns() })),
    );
    this.#schedulePoll();
  }

  async subscribe(options: SubscribeOptions): Promise<Subscription> {
    if (this.#closed) throw new Error('the event log is closed');
    if (options.topics.length === 0) throw new Error(`the group ${options.group} subscribes to nothing`);
    if ([...this.#groups].some(({ name }) => name === options.group)) throw new Error(`the group ${options.group} runs in this process already`);
    const producers = new Set<string>(options.topics.map((topic) => topics[topic].producer));
    const group: GroupSubscription = new GroupSubscription({
      subscribe: options,
      outboxes: this.#outboxes.filter(({ producer }) => producers.has(producer)),
      limits: this.#limits,
      logger: this.#logger,
      onStopped: () => this.#groups.delete(group),
    });
    this.#groups.add(group);
    try {
      await group.start();
    } catch (error) {
      await group.stop();
      throw error;
    }
    return group;
  }

  committed(producer: Producer, databaseIndex: number, relay: number): void {
    const outbox = this.#outboxes.find((each) => each.producer === producer && each.databaseIndex === databaseIndex);
    if (outbox === undefined) throw new RangeError(`${producer} has no database ${databaseIndex}`);
    for (const group of this.#groups) group.wake(outbox, relay);
  }

  async oldestAgeSeconds(): Promise<number> {
    return Math.max(0, ...(await Promise.all(this.#outboxes.map(({ store }) => store.oldestAgeSeconds()))));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#pollTimer);
    await Promise.all([...this.#groups].map((group) => group.stop()));
    await this.#polling;
  }

  #schedulePoll(): void {
    if (this.#closed) return;
    const pauseMs = this.#limits.safetyPollMs * (0.9 + Math.random() / 5);
    this.#pollTimer = setTimeout(() => {
      this.#polling = Promise.all(this.#outboxes.map((outbox) => this.#poll(outbox)))
        .catch((error: unknown) => this.#logger.warn('the event log could not be looked at', { error }))
        .then(() => this.#schedulePoll());
    }, pauseMs).unref();
  }

  async #poll(outbox: Outbox): Promise<void> {
    const groups = [...this.#groups].filter((group) => group.outboxes.includes(outbox));
    const { seenEveryMs, groupRetireAfterMs } = this.#limits;
    const look = await outbox.store.look(groups.map(({ name }) => name), seenEveryMs, groupRetireAfterMs);
    for (const { consumer, seen } of look.absent) {
      this.#logger.warn('a consumer group has not run for so long that it is gone for good; if it comes back, it sweeps', { group: consumer, producer: outbox.producer, seen });
      await outbox.store.retire(consumer, groupRetireAfterMs);
    }
    for (const group of groups) if (look.missing.includes(group.name)) group.recover();
    if (look.relays.length === 0 && !look.marks) return;
    for (let relay = 0; relay < relayCount; relay++) await outbox.inTurn(relay, () => outbox.store.tidy(relay));
    for (const relay of look.relays) for (const group of groups) group.wake(outbox, relay);
  }
}

/** A lock for each relay: work of one relay runs in the order it was asked for. */
function turns(): Outbox['inTurn'] {
  const last: Promise<unknown>[] = Array.from({ length: relayCount }, () => Promise.resolve());
  return (relay, work) => {
    const result = (last[relay] ?? Promise.resolve()).then(work);
    last[relay] = result.catch(() => undefined);
    return result;
  };
}
