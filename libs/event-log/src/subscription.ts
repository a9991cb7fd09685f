/**
 * One consumer group on the outboxes of one process.
 *
 * The unit of work is a *source*: one relay of one outbox (producing service, database). A source
 * is idle until a hint or a look wakes it, then takes its turn (a bounded number at once), hands
 * one batch to the handler, marks it, and queues again behind the others until it finds nothing.
 * One source never works on two batches at once, and everything about a key is in one source:
 * that is the order per key. A hint that comes while it works is remembered, so none is lost
 * between "found nothing" and "idle".
 *
 * **A crash** before the mark brings the same rows again; there is nothing else to lose. **A
 * handler that rejects** makes its own source wait, longer each time, and the others go on. **A
 * database that is gone** looks the same; when it is back, all its relays are looked at, because
 * hints may have been lost with it.
 *
 * **A lost position.** The registration of a group is a row in each outbox. If it is missing, the
 * group is new or somebody has wiped the tables: `onLost` is called before anything is handled, and
 * again at the next start if we die before it has resolved.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, type Logger } from '@dmb/runtime';
import { isConnectionLost, relayCount } from '@dmb/postgres';
import type { TopicName } from '@dmb/events';
import { decode } from './decode.ts';
import type { EventLogLimits } from './limits.ts';
import type { OutboxRow, OutboxStore } from './outbox-store.ts';
import type { LogEvent, PoisonEvent, SubscribeOptions, Subscription } from './port.ts';
import { inConsumerSpan } from './trace.ts';

/** An outbox with a lock for each relay, which all groups of this process share. */
export interface Outbox {
  readonly producer: string;
  readonly databaseIndex: number;
  readonly store: OutboxStore;
  /** Runs acknowledgements of one relay one after the other. */
  inTurn<T>(relay: number, work: () => Promise<T>): Promise<T>;
}

type Phase = 'idle' | 'queued' | 'working' | 'waiting';

interface Source {
  readonly outbox: Outbox;
  readonly relay: number;
  phase: Phase;
  /** Something may have come since the last look. */
  woken: boolean;
  failures: number;
  failingSince: number | undefined;
  retryTimer: NodeJS.Timeout | undefined;
  /** The last failure was that of the database: hints may have been lost with it. */
  deaf: boolean;
}

export interface GroupOptions {
  readonly subscribe: SubscribeOptions;
  readonly outboxes: readonly Outbox[];
  readonly limits: EventLogLimits;
  readonly logger: Logger;
  readonly onStopped: () => void;
}

/** A running group. */
export class GroupSubscription implements Subscription {
  readonly name: string;
  readonly outboxes: readonly Outbox[];
  readonly #options: SubscribeOptions;
  readonly #topics: ReadonlySet<TopicName>;
  readonly #limits: EventLogLimits;
  readonly #logger: Logger;
  readonly #onStopped: () => void;
  readonly #sources: ReadonlyMap<Outbox, readonly Source[]>;
  readonly #queue: Source[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  /** Set while the group has no position and has not finished saying so. */
  #recovering: Promise<void> | undefined;
  #recoveringSince: number | undefined;
  #stopped: Promise<void> | undefined;

  constructor({ subscribe, outboxes, limits, logger, onStopped }: GroupOptions) {
    this.name = subscribe.group;
    this.outboxes = outboxes;
    this.#options = subscribe;
    this.#topics = new Set(subscribe.topics);
    this.#limits = limits;
    this.#logger = logger;
    this.#onStopped = onStopped;
    this.#sources = new Map(outboxes.map((outbox) => [outbox, Array.from({ length: relayCount }, (_, relay) => newSource(outbox, relay))]));
  }

  /** Registers the group everywhere; what it has not handled is then worked on. */
  async start(): Promise<void> {
    if (await this.#register()) this.#wakeAll();
    else this.recover();
  }

  /** There may be rows in this relay. */
  wake(outbox: Outbox, relay: number): void {
    const source = this.#sources.get(outbox)?.[relay];
    if (source === undefined) return;
    source.woken = true;
    if (source.phase !== 'idle') return;
    source.phase = 'queued';
    this.#queue.push(source);
    this.#work();
  }

  /** The group has lost its position: says so until that has been heard, then starts at the earliest event. */
  recover(): void {
    if (this.#recovering !== undefined || this.#stopping.signal.aborted) return;
    this.#recoveringSince = Date.now();
    // Every first start has three new groups: nothing to be warned of.
    this.#logger.info('the consumer group is new in the event log, or its position is gone: events may be missing', { group: this.name });
    this.#recovering = this.#recover().finally(() => {
      this.#recovering = undefined;
      this.#recoveringSince = undefined;
      this.#wakeAll();
    });
  }

  isHealthy(): boolean {
    const since = [this.#recoveringSince, ...this.#allSources().map(({ failingSince }) => failingSince)].filter((at) => at !== undefined);
    return Date.now() - Math.min(Date.now(), ...since) < this.#limits.unhealthyAfterMs;
  }

  async drain(): Promise<void> {
    await this.#recovering;
    await Promise.all(this.outboxes.map((outbox) => this.#drainOne(outbox)));
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    for (const { retryTimer } of this.#allSources()) clearTimeout(retryTimer);
    const timer = new AbortController();
    const late = sleep(this.#limits.stopTimeoutMs, true, { signal: timer.signal, ref: false }).catch(() => false);
    if (await Promise.race([late, Promise.all([...this.#running, this.#recovering]).then(() => false)])) {
      this.#logger.warn('a handler did not end in time; its events come again', { group: this.name });
    }
    timer.abort();
    this.#onStopped();
  }

  async #drainOne(outbox: Outbox): Promise<void> {
    const { last } = await outbox.store.unhandled(this.name);
    for (;;) {
      const { rows, relays } = await outbox.store.unhandled(this.name, last);
      await this.#recovering;
      if (rows === 0n) return;
      if (this.#stopping.signal.aborted) throw new AppError('unavailable', undefined, { detail: `group ${this.name} was stopped before it had handled everything` });
      for (const relay of relays) this.wake(outbox, relay);
      await sleep(this.#limits.drainPollMs);
    }
  }

  /** True if the group has had a position in every outbox, and knows all that was lost. */
  async #register(): Promise<boolean> {
    const told = await Promise.all(this.outboxes.map(({ store }) => store.register(this.name, [...this.#topics])));
    return told.every((each) => each);
  }

  async #recover(): Promise<void> {
    for (let failures = 0; !this.#stopping.signal.aborted; failures++) {
      try {
        await this.#register();
        await this.#options.onLost();
        await Promise.all(this.outboxes.map(({ store }) => store.setTold(this.name)));
        return;
      } catch (error) {
        const pauseMs = this.#pauseMs(failures);
        this.#logger.error('what a lost position asks for failed; trying again', { group: this.name, pauseMs, error });
        await sleep(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      }
    }
  }

  #work(): void {
    while (!this.#stopping.signal.aborted && this.#recovering === undefined && this.#running.size < this.#limits.relaysInParallelMax) {
      const source = this.#queue.shift();
      if (source === undefined) return;
      source.phase = 'working';
      const run = this.#turn(source).finally(() => {
        this.#running.delete(run);
        this.#work();
      });
      this.#running.add(run);
    }
  }

  /** One batch of a source, and what comes of it. Never rejects. */
  async #turn(source: Source): Promise<void> {
    source.woken = false;
    try {
      const found = await this.#batch(source);
      const wasDeaf = source.deaf;
      source.failures = 0;
      source.failingSince = undefined;
      source.deaf = false;
      if (found) source.woken = true;
      if (wasDeaf) for (const other of this.#sources.get(source.outbox) ?? []) if (other !== source) this.wake(other.outbox, other.relay);
      source.phase = 'idle';
      if (source.woken) this.wake(source.outbox, source.relay);
    } catch (error) {
      this.#wait(source, error);
    }
  }

  #wait(source: Source, error: unknown): void {
    const pauseMs = this.#pauseMs(source.failures);
    source.failures++;
    source.failingSince ??= Date.now();
    source.deaf ||= isConnectionLost(error);
    source.phase = 'waiting';
    this.#logger.warn('events were not handled; trying again', { group: this.name, producer: source.outbox.producer, relay: source.relay, failures: source.failures, pauseMs, error });
    if (this.#stopping.signal.aborted) return;
    source.retryTimer = setTimeout(() => {
      source.phase = 'idle';
      this.wake(source.outbox, source.relay);
    }, pauseMs).unref();
  }

  /** Hands over and marks the next rows; false if there are none. */
  async #batch({ outbox, relay }: Source): Promise<boolean> {
    const rows = await outbox.store.unmarked(this.name, relay, this.#limits.batchRowsMax, this.#limits.batchEventsMax);
    if (rows === undefined) {
      this.recover();
      return false;
    }
    if (rows.length === 0 || this.#stopping.signal.aborted) return false;
    await this.#handle(rows);
    const seqs = rows.map(({ seq }) => seq);
    await outbox.inTurn(relay, () => outbox.store.setHandled(this.name, relay, seqs));
    return true;
  }

  async #handle(rows: readonly OutboxRow[]): Promise<void> {
    const events: LogEvent[] = [];
    const poison: PoisonEvent[] = [];
    for (const row of rows) {
      const decoded = decode(row, this.#topics);
      events.push(...decoded.events);
      poison.push(...decoded.poison);
    }
    for (let from = 0; from < events.length; from += this.#limits.batchEventsMax) {
      const batch = events.slice(from, from + this.#limits.batchEventsMax);
      await inConsumerSpan(this.name, batch, () => this.#options.handle(batch));
    }
    for (const event of poison) {
      this.#logger.error('an event cannot be read', { group: this.name, topic: event.topic, error: event.cause });
      await this.#options.onPoison(event);
    }
  }

  /** Doubling, and varied by half either way. */
  #pauseMs(failures: number): number {
    const pauseMs = Math.min(this.#limits.retryDelayMs * 2 ** failures, this.#limits.retryDelayMsMax);
    return Math.round(pauseMs * (0.5 + Math.random()));
  }

  #wakeAll(): void {
    for (const { outbox, relay } of this.#allSources()) this.wake(outbox, relay);
    this.#work();
  }

  #allSources(): Source[] {
    return [...this.#sources.values()].flat();
  }
}

function newSource(outbox: Outbox, relay: number): Source {
  return { outbox, relay, phase: 'idle', woken: false, failures: 0, failingSince: undefined, retryTimer: undefined, deaf: false };
}
