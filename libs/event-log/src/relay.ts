/**
 * The relays: they carry outbox rows to a broker, in order, and delete what it has.
 *
 * An outbox has sixteen queues, and everything about a key is in one of them. For each queue of
 * each database of each producer of this process there is a relay here. A hint wakes it; it asks for the
 * lease (relay-store.ts), reads rows in the order of `seq`, publishes them, waits for the broker's
 * acknowledgement, deletes them, and goes on until nothing is left. A relay whose lease another
 * process has leaves word there, and looks again when that lease would end.
 *
 * **Found by presence.** There is no cursor over `seq`: a transaction that drew a low number and
 * commits late would be skipped by one.
 *
 * **Correctness does not rest on the lease.** It saves work. A process that is paused after reading
 * and wakes when another has published and deleted the same rows publishes them again, late; a
 * crash between acknowledgement and deletion does so too. Consumers drop what they have.
 *
 * **The broker refuses or is away.** The commit of a post does not know of us: rows stay and are
 * counted (`dmb.outbox.rows`, `dmb.outbox.age`). The log has one line when that begins and one when
 * it has passed. Each relay tries again after a pause that doubles up to five seconds, with its lease
 * let go, since the broker may answer another process. Rows in memory are bounded by relays at work times
 * bytes of a batch.
 *
 * **A lost hint** (a commit whose answer never came, a process that died) costs time: one statement per
 * outbox every `safetyPollMs` finds its rows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@dmb/runtime';
import { isConnectionLost, relayCount } from '@dmb/postgres';
import type { RelayLimits } from './limits.ts';
import type { RelayRow, RelayStore } from './relay-store.ts';

/** An outbox with its place. */
export interface RelayedOutbox {
  readonly producer: string;
  readonly databaseIndex: number;
  readonly store: RelayStore;
}

/** Takes rows of one relay, in order; resolves when the broker has them for good. */
export type Publish = (rows: readonly RelayRow[], relay: string) => Promise<void>;

type Phase = 'idle' | 'queued' | 'working' | 'waiting';

interface Relay {
  readonly outbox: RelayedOutbox;
  readonly number: number;
  phase: Phase;
  /** Something may have come since the last look. */
  woken: boolean;
  failures: number;
  timer: NodeJS.Timeout | undefined;
}

export interface RelaysOptions {
  readonly outboxes: readonly RelayedOutbox[];
  readonly publish: Publish;
  readonly limits: RelayLimits;
  readonly logger: Logger;
}

/** All relays of a process. */
export class Relays {
  readonly #outboxes: readonly RelayedOutbox[];
  readonly #publish: Publish;
  readonly #limits: RelayLimits;
  readonly #logger: Logger;
  readonly #relays: ReadonlyMap<RelayedOutbox, readonly Relay[]>;
  readonly #queue: Relay[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #pollTimer: NodeJS.Timeout | undefined;
  #polling: Promise<void> = Promise.resolve();
  /** Since when nothing can be carried away. */
  #troubleSince: number | undefined;

  constructor({ outboxes, publish, limits, logger }: RelaysOptions) {
    this.#outboxes = outboxes;
    this.#publish = publish;
    this.#limits = limits;
    this.#logger = logger;
    this.#relays = new Map(outboxes.map((outbox) => [outbox, Array.from({ length: relayCount }, (_, number): Relay => ({ outbox, number, phase: 'idle', woken: false, failures: 0, timer: undefined }))]));
  }

  /** Looks at every outbox, now and from time to time. */
  start(): void {
    this.#polling = this.#poll();
  }

  /** There may be rows in this relay. */
  wake(outbox: RelayedOutbox, number: number): void {
    const relay = this.#relays.get(outbox)?.[number];
    if (relay === undefined || this.#stopping.signal.aborted) return;
    relay.woken = true;
    if (relay.phase !== 'idle') return;
    relay.phase = 'queued';
    clearTimeout(relay.timer);
    this.#queue.push(relay);
    this.#work();
  }

  /** Resolves when nothing of these outboxes that was committed before the call is still to be published. */
  async drain(outboxes: readonly RelayedOutbox[], pollMs: number): Promise<void> {
    await Promise.all(
      outboxes.map(async (outbox) => {
        const last = await outbox.store.last();
        for (;;) {
          const relays = await outbox.store.relaysUntil(last);
          if (relays.length === 0) return;
          if (this.#stopping.signal.aborted) throw new Error('the relays have stopped');
          for (const relay of relays) this.wake(outbox, relay);
          await sleep(pollMs);
        }
      }),
    );
  }

  /** Takes nothing more, lets what is being published end, and leaves the leases to others. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#pollTimer);
    for (const { timer } of this.#allRelays()) clearTimeout(timer);
    await Promise.all([...this.#running, this.#polling]);
  }

  async #poll(): Promise<void> {
    try {
      let found = 0;
      for (const outbox of this.#outboxes) {
        for (const relay of await outbox.store.relays()) {
          found++;
          this.wake(outbox, relay);
        }
      }
      if (found === 0) this.#passed();
    } catch (error) {
      this.#failed(error);
    }
    if (this.#stopping.signal.aborted) return;
    // Until the database answers, nobody knows what is waiting there.
    const pauseMs = this.#troubleSince === undefined ? this.#limits.safetyPollMs : this.#limits.retryDelayMsMax;
    this.#pollTimer = setTimeout(() => {
      this.#polling = this.#poll();
    }, pauseMs * (0.9 + Math.random() / 5)).unref();
  }

  #work(): void {
    while (!this.#stopping.signal.aborted && this.#running.size < this.#limits.inParallelMax) {
      const relay = this.#queue.shift();
      if (relay === undefined) return;
      relay.phase = 'working';
      const run = this.#turn(relay).finally(() => {
        this.#running.delete(run);
        this.#work();
      });
      this.#running.add(run);
    }
  }

  /** One lease of a relay, and what comes of it. Never rejects. */
  async #turn(relay: Relay): Promise<void> {
    relay.woken = false;
    try {
      const heldMs = await this.#lease(relay);
      relay.failures = 0;
      relay.phase = 'idle';
      if (relay.woken) this.wake(relay.outbox, relay.number);
      // Whoever has it may never come back.
      else if (heldMs !== undefined) this.#later(relay, heldMs);
    } catch (error) {
      this.#failed(error);
      if (!isConnectionLost(error)) await relay.outbox.store.letGo([relay.number]).catch(() => undefined);
      relay.phase = 'waiting';
      this.#later(relay, Math.min(this.#limits.retryDelayMs * 2 ** relay.failures++, this.#limits.retryDelayMsMax) * (0.5 + Math.random()));
    }
  }

  #later(relay: Relay, pauseMs: number): void {
    if (this.#stopping.signal.aborted) return;
    relay.timer = setTimeout(() => {
      if (relay.phase === 'waiting') relay.phase = 'idle';
      this.wake(relay.outbox, relay.number);
    }, pauseMs).unref();
  }

  /** Publishes until nothing is left; if another has the lease, for how long it may have it. */
  async #lease(relay: Relay): Promise<number | undefined> {
    const { store } = relay.outbox;
    const { rowsMax, bytesMax, leaseMs } = this.#limits;
    const ask = async () => ({ askedAt: performance.now(), ...(await store.ask(relay.number, leaseMs)) });
    let lease = await ask();
    for (;;) {
      if (!lease.isMine) return lease.leftMs + 10;
      const rows = await store.rows(relay.number, rowsMax, bytesMax);
      // A process that was paused meanwhile has lost the lease: what it has read may be old.
      if (performance.now() - lease.askedAt > leaseMs) {
        lease = await ask();
        continue;
      }
      if (rows.length > 0) {
        await this.#publish(rows, `${relay.outbox.producer} ${relay.outbox.databaseIndex} ${relay.number}`);
        this.#passed();
      }
      const seqs = rows.map(({ seq }) => seq);
      const isLast = rows.length < rowsMax && rows.reduce((sum, { bytes }) => sum + bytes, 0) < bytesMax;
      if (isLast || this.#stopping.signal.aborted) {
        if (await store.removeLast(relay.number, seqs, lease.wanted)) return undefined;
        if (this.#stopping.signal.aborted) return void (await store.letGo([relay.number]));
      } else {
        await store.remove(relay.number, seqs);
      }
      lease = await ask();
    }
  }

  /** One line when it begins, whatever fails and how often. */
  #failed(error: unknown): void {
    if (this.#troubleSince !== undefined || this.#stopping.signal.aborted) return;
    this.#troubleSince = Date.now();
    this.#logger.warn('events cannot be published and wait in the outbox; trying again', { error });
  }

  #passed(): void {
    if (this.#troubleSince === undefined) return;
    const seconds = Math.round((Date.now() - this.#troubleSince) / 1000);
    this.#troubleSince = undefined;
    this.#logger.info('events are published again', { afterSeconds: seconds });
    for (const relay of this.#allRelays()) {
      if (relay.phase !== 'waiting') continue;
      clearTimeout(relay.timer);
      relay.phase = 'idle';
      this.wake(relay.outbox, relay.number);
    }
  }

  #allRelays(): Relay[] {
    return [...this.#relays.values()].flat();
  }
}
