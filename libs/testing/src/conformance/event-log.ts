/**
 * What every adapter of the EventLog port must do, whatever it carries events with.
 *
 * A {@link EventLogHarness} is one log. It starts processes on it (each an adapter of its own),
 * kills them, commits events as a producer does, holds a transaction open, and wipes the log. The
 * wrong implementations that the suite is there for:
 *
 * - a cursor over the sequence of the outbox: skips what commits late (`a late commit`);
 * - a position that moves when events are handed over: loses what a killed process had (`a kill`);
 * - a handler that is called but not waited for: the same, and it breaks the order (`order`);
 * - one position for all groups: what one has handled, another never sees (`two groups`);
 * - an event that cannot be read, tried for ever or dropped in silence (`poison`);
 * - a new or wiped position that starts at the end, or at the beginning without a word (`lost`).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { EventLog, LogEvent, PoisonEvent, SubscribeOptions, Subscription } from '@dmb/event-log';
import { entryRefWire, personEventWire, type EntryRef, type TopicName } from '@dmb/events';
import type { LogId, MicroblogId, PersonId, PostId } from '@dmb/protocol';

/** An event as a producer writes it. */
export interface TestEvent {
  readonly topic: string;
  readonly shard: number;
  /** In the wire form of its topic, or not. */
  readonly wire: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** How a process is started. */
export interface StartOptions {
  /** The adapter is not told of commits. */
  readonly deaf?: boolean;
  /** A handler that fails for this long makes its group unhealthy. */
  readonly unhealthyAfterMs?: number;
  /** How often the adapter looks for what it was not told of. */
  readonly safetyPollMs?: number;
}

/** One log that processes come and go on. */
export interface EventLogHarness {
  /** A process: an adapter of its own on this log. */
  start(options?: StartOptions): Promise<EventLog>;
  /** Ends a process as kill -9 does: what it has under way reaches the log no more. */
  kill(log: EventLog): Promise<void>;
  /** Commits events, in order, in one transaction per shard. */
  produce(events: readonly TestEvent[]): Promise<void>;
  /** Writes events of one shard and holds the transaction open. */
  open(events: readonly TestEvent[]): Promise<{ commit(): Promise<void> }>;
  /** Everything in the log is gone: events and positions. */
  wipe(): Promise<void>;
  close(): Promise<void>;
}

const uuid = (kind: number, number: number): string => `00000000-0000-4000-8${kind.toString(16).padStart(3, '0')}-${number.toString(16).padStart(12, '0')}`;
const shardOf = (key: number): number => (key * 389) % 1_024;

/** Entry `number` of the public log of microblog `key`. */
export function entryEvent(key: number, number: number, headers: Readonly<Record<string, string>> = {}): TestEvent {
  const ref: EntryRef = {
    shard: shardOf(key),
    log: uuid(2, key) as LogId,
    epochNo: 1,
    number: BigInt(number),
    kind: 1,
    id: BigInt(number) as PostId,
    audience: 'public',
    microblog: uuid(1, key) as MicroblogId,
    late: false,
  };
  return { topic: 'microblog.entry.v1', shard: ref.shard, wire: entryRefWire(ref), headers };
}

const personEvent = (key: number): TestEvent => ({
  topic: 'identity.person.v1',
  shard: shardOf(key),
  wire: personEventWire({ shard: shardOf(key), person: uuid(3, key) as PersonId, what: 'created', microblog: null }),
});

/** What a group has seen, and how it behaves. */
class Group implements SubscribeOptions {
  readonly group: string;
  readonly topics: readonly TopicName[];
  readonly events: LogEvent[] = [];
  readonly poison: PoisonEvent[] = [];
  /** Events that the handler resolved for. */
  readonly done: LogEvent[] = [];
  /** What happened, in order. */
  readonly story: string[] = [];
  lost = 0;
  /** Keys that are being handled at this moment. */
  readonly #active = new Set<string>();
  readonly #onEvents: (events: readonly LogEvent[]) => Promise<void> | void;
  readonly #onLost: () => Promise<void> | void;
  readonly #onPoison: () => Promise<void> | void;

  constructor(
    group: string,
    behaviour: {
      readonly topics?: readonly TopicName[];
      readonly onEvents?: (events: readonly LogEvent[]) => Promise<void> | void;
      readonly onLost?: () => Promise<void> | void;
      readonly onPoison?: () => Promise<void> | void;
    } = {},
  ) {
    this.group = group;
    this.topics = behaviour.topics ?? ['microblog.entry.v1'];
    this.#onEvents = behaviour.onEvents ?? (() => undefined);
    this.#onLost = behaviour.onLost ?? (() => undefined);
    this.#onPoison = behaviour.onPoison ?? (() => undefined);
  }

  handle = async (events: readonly LogEvent[]): Promise<void> => {
    this.story.push('handle');
    const keys = new Set(events.map(({ key }) => key));
    for (const key of keys) {
      if (this.#active.has(key)) throw new Error(`two calls at once for ${key}`);
      this.#active.add(key);
    }
    try {
      this.events.push(...events);
      await this.#onEvents(events);
      this.done.push(...events);
    } finally {
      for (const key of keys) this.#active.delete(key);
    }
  };

  onLost = async (): Promise<void> => {
    this.lost++;
    this.story.push('lost');
    await this.#onLost();
    this.story.push('found');
  };

  onPoison = async (event: PoisonEvent): Promise<void> => {
    this.poison.push(event);
    await this.#onPoison();
  };

  /** Numbers of a key in the order in which they were handled. */
  numbers(key: number, events: readonly LogEvent[] = this.done): number[] {
    return events.filter((event) => event.key === uuid(1, key)).map(({ payload }) => Number((payload as EntryRef).number));
  }
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const unique = (numbers: readonly number[]): number[] => [...new Set(numbers)];
const waitFor = async (condition: () => boolean, timeoutMs = 20_000): Promise<void> => {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited in vain');
    await sleep(5);
  }
};
/** A door that things wait at until it is opened. */
const door = (): { readonly opened: Promise<void>; open(): void } => {
  let open = (): void => undefined;
  const opened = new Promise<void>((done) => {
    open = done;
  });
  return { opened, open: () => open() };
};

/** Runs the suite on an adapter. `makeHarness` makes a log that nobody has used. */
export function eventLogConformance(name: string, makeHarness: () => Promise<EventLogHarness>): void {
  describe(`the event log: ${name}`, () => {
    let harness: EventLogHarness;
    const alive = new Set<EventLog>();
    let count = 0;
    /** A name that no earlier test has used. */
    const fresh = (): string => `group-${++count}`;
    const start = async (options?: StartOptions): Promise<EventLog> => {
      const log = await harness.start(options);
      alive.add(log);
      return log;
    };
    const kill = async (log: EventLog): Promise<void> => {
      alive.delete(log);
      await harness.kill(log);
    };
    const stop = async (log: EventLog): Promise<void> => {
      alive.delete(log);
      await log.close();
    };

    beforeAll(async () => {
      harness = await makeHarness();
    });
    afterEach(async () => {
      for (const log of alive) await stop(log);
      await harness.wipe();
    });
    afterAll(() => harness.close());

    /** A running process with one group. */
    const run = async (group: Group, options?: StartOptions): Promise<{ readonly log: EventLog; readonly subscription: Subscription }> => {
      const log = await start(options);
      return { log, subscription: await log.subscribe(group) };
    };

    it('hands over an event as it was written', async () => {
      const group = new Group(fresh(), { topics: ['microblog.entry.v1', 'identity.person.v1'] });
      const { subscription } = await run(group);
      const before = Date.now();
      await harness.produce([entryEvent(7, 41, { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }), personEvent(8)]);
      await subscription.drain();
      expect(group.done).toHaveLength(2);
      const entry = group.done.find(({ topic }) => topic === 'microblog.entry.v1');
      expect(entry).toMatchObject({
        key: uuid(1, 7),
        payload: { shard: shardOf(7), log: uuid(2, 7), epochNo: 1, number: 41n, kind: 1, id: 41n, audience: 'public', microblog: uuid(1, 7), late: false },
        headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      });
      expect(Math.abs((entry?.producedAt ?? 0) - before)).toBeLessThan(60_000);
      expect(group.done.find(({ topic }) => topic === 'identity.person.v1')).toMatchObject({ key: uuid(3, 8), payload: { person: uuid(3, 8), what: 'created' } });
    });

    it('keeps the order of a key, and never handles a key twice at once', async () => {
      const keys = range(1, 30);
      const group = new Group(fresh(), { onEvents: () => sleep(Math.random() * 4) });
      const { subscription } = await run(group);
      for (const number of range(1, 25)) await harness.produce(keys.map((key) => entryEvent(key, number)));
      await subscription.drain();
      for (const key of keys) expect(group.numbers(key)).toEqual(range(1, 25));
    });

    it('brings the same events again, in order, when the handler rejects', async () => {
      let failures = 3;
      const group = new Group(fresh(), {
        onEvents: () => {
          if (failures-- > 0) throw new Error('not now');
        },
      });
      const { subscription } = await run(group);
      await harness.produce(range(1, 10).map((number) => entryEvent(1, number)));
      await subscription.drain();
      expect(group.numbers(1)).toEqual(range(1, 10));
      expect(group.events.length).toBeGreaterThan(10);
    });

    it('goes on with other keys while the handler rejects one', async () => {
      const refused = door();
      let broken = true;
      const group = new Group(fresh(), {
        onEvents: (events) => {
          if (!broken || !events.some(({ key }) => key === uuid(1, 1))) return;
          refused.open();
          throw new Error('not this one');
        },
      });
      const { subscription } = await run(group);
      await harness.produce([entryEvent(1, 1)]);
      await refused.opened;
      // Keys in every queue there may be; at most those that share one with the refused key wait.
      const others = range(2, 200);
      await harness.produce(others.map((key) => entryEvent(key, 1)));
      await waitFor(() => others.filter((key) => group.numbers(key).length > 0).length > others.length * 0.8);
      broken = false;
      await subscription.drain();
      for (const key of [1, ...others]) expect(group.numbers(key)).toEqual([1]);
    });

    it('is unhealthy while a handler keeps failing, and healthy again afterwards', async () => {
      let broken = true;
      const group = new Group(fresh(), {
        onEvents: () => {
          if (broken) throw new Error('no');
        },
      });
      const { subscription } = await run(group, { unhealthyAfterMs: 200 });
      expect(subscription.isHealthy()).toBe(true);
      await harness.produce([entryEvent(1, 1)]);
      await waitFor(() => !subscription.isHealthy());
      broken = false;
      await subscription.drain();
      await waitFor(() => subscription.isHealthy());
    });

    // A cursor over the sequence passes every other test here.
    it('sees a transaction that began before others and commits after them', async () => {
      const group = new Group(fresh());
      const { log, subscription } = await run(group);
      const late = await harness.open([entryEvent(1, 1)]);
      const later = await harness.open([entryEvent(1 + 1_024, 1)]);
      await harness.produce([entryEvent(1, 2), entryEvent(1 + 1_024, 2), entryEvent(2, 1)]);
      await subscription.drain();
      expect(group.numbers(1)).toEqual([2]);
      await late.commit();
      await subscription.drain();
      expect(group.numbers(1)).toEqual([2, 1]);
      await stop(log);
      await later.commit();
      const next = new Group(group.group);
      await (await run(next)).subscription.drain();
      expect(next.numbers(1 + 1_024)).toEqual([1]);
      expect(next.done).toHaveLength(1);
    });

    it('does not move before the effect: a process killed in the middle of a batch has handled nothing', async () => {
      const group = new Group(fresh(), { onEvents: () => new Promise(() => undefined) });
      const { log } = await run(group);
      await harness.produce(range(1, 20).map((number) => entryEvent(1, number)));
      await waitFor(() => group.events.length > 0);
      await kill(log);
      const next = new Group(group.group);
      await (await run(next)).subscription.drain();
      expect(next.numbers(1)).toEqual(range(1, 20));
      expect(next.lost).toBe(0);
    });

    it('repeats what was handled when the process is killed before it could say so', async () => {
      const killed = door();
      const group = new Group(fresh(), { onEvents: () => killed.opened });
      const { log } = await run(group);
      await harness.produce(range(1, 20).map((number) => entryEvent(1, number)));
      await waitFor(() => group.events.length > 0);
      const [handled] = [group.events.length];
      await kill(log);
      // The effect is durable, the position is not.
      killed.open();
      await waitFor(() => group.done.length === handled);
      const next = new Group(group.group);
      await (await run(next)).subscription.drain();
      expect(unique([...group.numbers(1), ...next.numbers(1)])).toEqual(range(1, 20));
      expect(next.numbers(1)).toEqual(range(1, 20));
    });

    it('begins again where it was after a restart, without repeating', async () => {
      const group = new Group(fresh());
      const { log, subscription } = await run(group);
      await harness.produce(range(1, 5).map((number) => entryEvent(1, number)));
      await subscription.drain();
      await stop(log);
      await harness.produce(range(6, 9).map((number) => entryEvent(1, number)));
      const next = new Group(group.group);
      await run(next);
      // Draining would itself make it look.
      await waitFor(() => next.numbers(1).length >= 4);
      expect(next.numbers(1)).toEqual(range(6, 9));
      expect(next.lost).toBe(0);
    });

    it('finds what was committed before anybody listened, and what nobody hinted at', async () => {
      const group = new Group(fresh());
      await harness.produce([entryEvent(1, 1)]);
      const { subscription } = await run(group, { deaf: true, safetyPollMs: 100 });
      await subscription.drain();
      expect(group.numbers(1)).toEqual([1]);
      await harness.produce([entryEvent(1, 2)]);
      await waitFor(() => group.numbers(1).length === 2);
    });

    it('hears a hint that comes while it works', async () => {
      const working = door();
      const group = new Group(fresh(), { onEvents: () => working.opened });
      await run(group);
      await harness.produce([entryEvent(1, 1)]);
      await waitFor(() => group.events.length === 1);
      await harness.produce([entryEvent(1, 2)]);
      working.open();
      await waitFor(() => group.numbers(1).length === 2);
      await harness.produce([entryEvent(1, 3)]);
      await waitFor(() => group.numbers(1).length === 3);
    });

    describe('poison', () => {
      const good = (number: number): TestEvent => entryEvent(1, number);
      const bad: readonly TestEvent[] = [
        { ...good(0), wire: ['nonsense'] },
        { ...good(0), wire: { an: 'object' } },
        { ...good(0), wire: null },
        { ...good(0), topic: 'microblog.entry.v99' },
      ];

      it('is told with its cause, and the log goes on around it', async () => {
        const group = new Group(fresh());
        const { subscription } = await run(group);
        await harness.produce(bad.flatMap((event, index) => [good(index + 1), event]));
        await harness.produce([good(5)]);
        await subscription.drain();
        expect(group.numbers(1)).toEqual([1, 2, 3, 4, 5]);
        expect(group.poison.map(({ topic, raw }) => ({ topic, raw }))).toEqual(
          expect.arrayContaining([
            { topic: 'microblog.entry.v1', raw: ['nonsense'] },
            { topic: 'microblog.entry.v1', raw: { an: 'object' } },
            { topic: 'microblog.entry.v1', raw: null },
          ]),
        );
        expect(group.poison.filter(({ topic }) => topic === 'microblog.entry.v99')).toHaveLength(1);
        expect(group.poison).toHaveLength(4);
        for (const { cause } of group.poison) expect(cause).toBeInstanceOf(Error);
      });

      it('is not forgotten while it cannot be written down', async () => {
        let failures = 2;
        const group = new Group(fresh(), {
          onPoison: () => {
            if (failures-- > 0) throw new Error('disk full');
          },
        });
        const { subscription } = await run(group);
        await harness.produce([bad[0] ?? good(1), good(2)]);
        await subscription.drain();
        expect(group.poison).toHaveLength(3);
        expect(unique(group.numbers(1))).toEqual([2]);
      });
    });

    describe('a lost position', () => {
      it('is told to a new group, once, and before it handles anything', async () => {
        const group = new Group(fresh(), {
          onLost: async () => {
            await harness.produce([entryEvent(1, 2)]);
            await sleep(50);
          },
        });
        await harness.produce([entryEvent(1, 1)]);
        const { log, subscription } = await run(group);
        await subscription.drain();
        expect(group.story.slice(0, 3)).toEqual(['lost', 'found', 'handle']);
        expect(group.numbers(1)).toEqual([1, 2]);
        await stop(log);
        const next = new Group(group.group);
        await harness.produce([entryEvent(1, 3)]);
        await (await run(next)).subscription.drain();
        expect(next.story).toEqual(['handle']);
      });

      it('is told again until it was heard, also by the next process', async () => {
        let failures = 2;
        const group = new Group(fresh(), {
          onLost: () => {
            if (failures-- > 0) throw new Error('cannot sweep now');
          },
        });
        const { subscription } = await run(group);
        await subscription.drain();
        expect(group.lost).toBe(3);

        const deafened = new Group(fresh(), { onLost: () => new Promise(() => undefined) });
        const { log } = await run(deafened);
        await waitFor(() => deafened.lost === 1);
        await kill(log);
        const next = new Group(deafened.group);
        await (await run(next)).subscription.drain();
        expect(next.lost).toBe(1);
      });

      it('starts at the earliest event that is still there', async () => {
        const slow = new Group(fresh(), { onEvents: () => new Promise(() => undefined) });
        const { log } = await run(slow);
        await harness.produce(range(1, 5).map((number) => entryEvent(1, number)));
        await waitFor(() => slow.events.length > 0);
        const group = new Group(fresh());
        await (await log.subscribe(group)).drain();
        expect(group.numbers(1)).toEqual(range(1, 5));
        await kill(log);
      });

      it('is told when the log was wiped, after a restart and while running', async () => {
        const group = new Group(fresh());
        const { log, subscription } = await run(group);
        await harness.produce([entryEvent(1, 1)]);
        await subscription.drain();
        await stop(log);
        await harness.wipe();
        const next = new Group(group.group);
        const second = await run(next);
        await harness.produce([entryEvent(1, 2)]);
        await second.subscription.drain();
        expect([next.lost, next.numbers(1)]).toEqual([1, [2]]);
        await harness.wipe();
        await harness.produce([entryEvent(1, 3)]);
        await waitFor(() => next.lost === 2);
        await second.subscription.drain();
        expect(next.numbers(1)).toEqual([2, 3]);
      });
    });

    it('works off a lag of 20,000 events, in order', { timeout: 120_000 }, async () => {
      const group = new Group(fresh());
      const first = await run(group);
      await first.subscription.drain();
      await stop(first.log);
      const keys = range(1, 100);
      for (const from of range(0, 3)) {
        await harness.produce(keys.flatMap((key) => range(from * 50 + 1, from * 50 + 50).map((number) => entryEvent(key, number))));
      }
      // More of one key than any adapter reads at once, each written by itself.
      await harness.produce(range(201, 900).map((number) => entryEvent(1, number, { tracestate: `n=${number}` })));
      const log = await start();
      await sleep(20);
      expect(await log.oldestAgeSeconds()).toBeGreaterThan(0);
      const next = new Group(group.group);
      const subscription = await log.subscribe(next);
      await waitFor(() => next.done.length >= 20_700, 100_000);
      await subscription.drain();
      expect(next.done).toHaveLength(20_700);
      for (const key of keys) expect(next.numbers(key)).toEqual(range(1, key === 1 ? 900 : 200));
      expect(await log.oldestAgeSeconds()).toBe(0);
    });

    it('keeps two groups apart: one that hangs holds up nobody, and misses nothing', async () => {
      const hanging = door();
      const slow = new Group(fresh(), { onEvents: () => hanging.opened });
      const quick = new Group(fresh());
      const log = await start();
      const slowly = await log.subscribe(slow);
      const quickly = await log.subscribe(quick);
      for (const number of range(1, 30)) await harness.produce(range(1, 20).map((key) => entryEvent(key, number)));
      await quickly.drain();
      expect(quick.done).toHaveLength(600);
      expect(slow.done).toHaveLength(0);
      expect(await log.oldestAgeSeconds()).toBeGreaterThan(0);
      hanging.open();
      await slowly.drain();
      for (const key of range(1, 20)) {
        expect(slow.numbers(key)).toEqual(range(1, 30));
        expect(quick.numbers(key)).toEqual(range(1, 30));
      }
      expect(await log.oldestAgeSeconds()).toBe(0);
    });

    it('lets a running handler end when it stops, takes nothing more, and does not repeat it', async () => {
      const running = door();
      const group = new Group(fresh(), { onEvents: () => running.opened });
      const { log, subscription } = await run(group);
      await harness.produce([entryEvent(1, 1)]);
      await waitFor(() => group.events.length > 0);
      let stopped = false;
      const stopping = subscription.stop().then(() => {
        stopped = true;
      });
      await harness.produce([entryEvent(1, 2), entryEvent(2, 1), entryEvent(3, 1)]);
      await sleep(50);
      expect(stopped).toBe(false);
      running.open();
      await stopping;
      expect(group.events).toHaveLength(1);
      const next = new Group(group.group);
      await (await log.subscribe(next)).drain();
      expect(next.numbers(1)).toEqual([2]);
      expect(next.done).toHaveLength(3);
    });

    it('drains what was committed, not what is still being written', async () => {
      const group = new Group(fresh());
      const { subscription } = await run(group);
      const open = await harness.open([entryEvent(1, 1)]);
      await harness.produce([entryEvent(2, 1)]);
      await subscription.drain();
      expect(group.numbers(2)).toEqual([1]);
      await open.commit();
      await subscription.drain();
      expect(group.numbers(1)).toEqual([1]);
    });
  });
}
