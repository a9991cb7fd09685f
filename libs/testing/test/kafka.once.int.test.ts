/**
 * What can only happen to a log that lives in a broker, beside processes that come and go.
 *
 * Wrong implementations that would pass the conformance suite: positions that are numbers without the topic they were counted in (a topic
 * made again with more events than before), a lease that correctness rests on, a hint that dies with the lease of another
 * process, a consumer that is dead and says that all is well.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EventLog, KafkaEventLog, KafkaEventLogOptions, LogEvent, PoisonEvent, SubscribeOptions } from '@dmb/event-log';
import type { EntryRef, TopicName } from '@dmb/events';
import { insertOutbox, outboxMigrations, relayOf, type Databases } from '@dmb/postgres';
import { createLogger } from '@dmb/runtime';
import { entryEvent } from '../src/conformance/event-log.ts';
import { sharedKafka } from '../src/engines-on-demand.ts';
import { createTestDatabases, type TestDatabases } from '../src/engines.ts';
import { startTestKafka } from '../src/kafka-engine.ts';
import { KafkaPlace, Wire } from './kafka-harness.ts';

const brokers = await sharedKafka();
beforeEach(() => sharedKafka());
/** What Kafka calls a topic where it is configured. */
const topicResource = 2;
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const until = async (condition: () => boolean | Promise<boolean>, withinMs = 30_000): Promise<void> => {
  for (const deadline = Date.now() + withinMs; !(await condition()); await sleep(10)) if (Date.now() > deadline) throw new Error('waited in vain');
};

/** What several members of a group have seen. */
class Seen {
  readonly numbers = new Map<number, number[]>();
  readonly poison: PoisonEvent[] = [];
  lost = 0;
  readonly #active = new Set<string>();
  /** Keys that two handlers had at the same time. */
  readonly clashes: string[] = [];

  options(group: string, onEvents: (events: readonly LogEvent[]) => Promise<void> = () => Promise.resolve()): SubscribeOptions {
    return {
      group,
      topics: ['microblog.entry.v1'],
      handle: async (events) => {
        const keys = new Set(events.map(({ key }) => key));
        for (const key of keys) if (this.#active.has(key)) this.clashes.push(key);
        for (const key of keys) this.#active.add(key);
        try {
          await onEvents(events);
          for (const { key, payload } of events) this.of(Number.parseInt(key.slice(-12), 16)).push(Number((payload as EntryRef).number));
        } finally {
          for (const key of keys) this.#active.delete(key);
        }
      },
      onLost: () => {
        this.lost++;
        return Promise.resolve();
      },
      onPoison: (event) => {
        this.poison.push(event);
        return Promise.resolve();
      },
    };
  }

  of(key: number): number[] {
    const numbers = this.numbers.get(key) ?? [];
    this.numbers.set(key, numbers);
    return numbers;
  }

  get count(): number {
    return [...this.numbers.values()].reduce((sum, { length }) => sum + length, 0);
  }
}

describe.skipIf(brokers === undefined)('the event log on Kafka', () => {
  const place = new KafkaPlace(brokers ?? []);
  let test: TestDatabases;
  let microblog: Databases;
  const open = new Set<EventLog>();
  let groups = 0;
  const fresh = (): string => `group-${++groups}`;

  beforeAll(async () => {
    test = await createTestDatabases({ count: 1 });
    microblog = await test.openMigrated('microblog', outboxMigrations);
  });
  afterEach(async () => {
    await Promise.all([...open].map((log) => log.close()));
    open.clear();
    await microblog.at(0).execute(`TRUNCATE outbox`);
    await microblog.at(0).execute(`UPDATE outbox_lease SET holder = NULL, until = '-infinity'`);
    await place.wipe();
  });
  afterAll(() => test.drop());

  const start = (options: Partial<KafkaEventLogOptions> & { readonly wire?: Wire } = {}, at = place): KafkaEventLog => {
    const log = at.open({ producers: { microblog }, ...options });
    open.add(log);
    return log;
  };
  const stop = async (log: EventLog): Promise<void> => {
    open.delete(log);
    await log.close();
  };
  /** Commits entries of a key, and tells `log`. */
  const produce = async (log: EventLog | undefined, key: number, ...numbers: readonly number[]): Promise<void> => {
    const { shard } = entryEvent(key, 0);
    const refs = numbers.map((number) => entryEvent(key, number).wire as unknown[]);
    await microblog.at(shard).transaction((tx) => insertOutbox(tx, { topic: 'microblog.entry.v1', shard, refs, headers: {} }));
    log?.committed('microblog', 0, relayOf(shard));
  };
  const rowsLeft = async (): Promise<number> => Number((await microblog.at(0).query<{ n: bigint }>('SELECT count(*) AS n FROM outbox'))[0]?.n);

  it('makes its topics, in our number of partitions and with a bound of time', async () => {
    const log = start({ prefix: `${place.prefix}made.` });
    await (await log.subscribe(new Seen().options(fresh()))).drain();
    const names = (await place.topics()).filter((name) => name.includes('.made.'));
    expect(names.map((name) => name.slice(`${place.prefix}made.`.length)).sort()).toEqual(['identity.person', 'microblog.entry']);
    const offsets = await place.withAdmin((admin) => admin.fetchTopicOffsets(names.find((name) => name.endsWith('microblog.entry')) ?? ''));
    expect(offsets).toHaveLength(16);
  });

  // The position of before is a valid number in the topic of now.
  it.each(['while the group runs', 'while nobody runs'])('tells of a topic that was deleted and made again with more events in it, %s', async (when) => {
    const seen = new Seen();
    const log = start();
    const group = fresh();
    const subscription = await log.subscribe(seen.options(group));
    await produce(log, 1, 1, 2, 3);
    await subscription.drain();
    expect([seen.of(1), seen.lost]).toEqual([[1, 2, 3], 1]);
    if (when === 'while nobody runs') await subscription.stop();
    await place.wipe();
    for (const number of range(4, 30)) await produce(log, 1, number);
    if (when === 'while nobody runs') await (await log.subscribe(seen.options(group))).drain();
    await until(() => seen.of(1).includes(30));
    expect(seen.lost).toBe(2);
    // Nothing of the new topic is skipped, whatever number the old position was.
    expect(seen.of(1).slice(3)).toEqual(range(4, 30));
  });

  // What a consumer does that was paused while its topic was made again, and commits when it wakes.
  it('does not take a number for a position that was counted in another topic', async () => {
    const seen = new Seen();
    const log = start();
    const group = fresh();
    const subscription = await log.subscribe(seen.options(group));
    await subscription.drain();
    await subscription.stop();
    await place.wipe();
    const other = await log.subscribe(new Seen().options(fresh()));
    for (const number of range(1, 5)) await produce(log, 1, number);
    await other.drain();
    const topic = `${place.prefix}microblog.entry`;
    await place.withAdmin(async (admin) => {
      const offsets = await admin.fetchTopicOffsets(topic);
      const committed = offsets.map(({ partition, high }) => ({ partition, offset: high === '0' ? '0' : '3' }));
      await admin.setOffsets({ groupId: `${place.prefix}${group}`, topic, partitions: committed });
    });
    await (await log.subscribe(seen.options(group))).drain();
    expect([seen.of(1), seen.lost]).toEqual([range(1, 5), 2]);
  });

  it('tells of offsets that are gone, and hands over everything again', async () => {
    const seen = new Seen();
    const log = start();
    const group = fresh();
    const first = await log.subscribe(seen.options(group));
    await produce(log, 1, 1, 2);
    await first.drain();
    await first.stop();
    await place.withAdmin((admin) => admin.deleteGroups([`${place.prefix}${group}`]));
    await (await start().subscribe(seen.options(group))).drain();
    expect([seen.of(1), seen.lost]).toEqual([[1, 2, 1, 2], 2]);
  });

  it('tells of events that were removed before the group came to them', async () => {
    const seen = new Seen();
    const log = start();
    const group = fresh();
    const first = await log.subscribe(seen.options(group));
    await produce(log, 1, 1);
    await first.drain();
    await first.stop();
    const other = await log.subscribe(new Seen().options(fresh()));
    await produce(log, 1, 2, 3);
    await produce(log, 1, 4);
    await other.drain();
    const topic = `${place.prefix}microblog.entry`;
    await place.withAdmin(async (admin) => {
      const offsets = await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({ topic, partitions: offsets.filter(({ high }) => high !== '0').map(({ partition, high }) => ({ partition, offset: String(BigInt(high) - 1n) })) });
    });
    await (await start().subscribe(seen.options(group))).drain();
    expect([seen.of(1), seen.lost]).toEqual([[1, 4], 2]);
  });

  it('divides the work anew in the middle of a batch: nothing lost, nothing twice, no key with two handlers at once', async () => {
    const seen = new Seen();
    const group = fresh();
    // Longer than a rebalance takes, shorter than one waits for it.
    const work = (): Promise<void> => sleep(300);
    const first = start({ limits: { batchEventsMax: 5 } });
    const a = await first.subscribe(seen.options(group, work));
    await a.drain();
    const keys = range(1, 40);
    const producing = (async () => {
      for (const number of range(1, 15)) for (const key of keys) await produce(first, key, number);
    })();
    await until(() => seen.count > 50);
    const second = start({ limits: { batchEventsMax: 5 } });
    await second.subscribe(seen.options(group, work));
    await until(() => seen.count > 250);
    await stop(second);
    await producing;
    await a.drain();
    for (const key of keys) expect(seen.of(key)).toEqual(range(1, 15));
    expect(seen.clashes).toEqual([]);
  });

  it('has members without work when there are more than partitions, and they take over', async () => {
    const few = new KafkaPlace(brokers ?? []);
    const seen = new Seen();
    const group = fresh();
    const members = range(1, 4).map(() => start({ partitions: 2 }, few));
    const subscriptions = await Promise.all(members.map((log) => log.subscribe(seen.options(group))));
    const keys = range(1, 20);
    for (const key of keys) await produce(members[0], key, 1);
    await subscriptions[0]?.drain();
    for (const log of members.slice(0, 3)) await stop(log);
    for (const key of keys) await produce(members[3], key, 2);
    await subscriptions[3]?.drain();
    for (const key of keys) expect([...new Set(seen.of(key))]).toEqual([1, 2]);
    await stop(members[3] as EventLog);
    await few.wipe();
  });

  it('publishes again what a paused process had read, and loses nothing of it', async () => {
    const seen = new Seen();
    const subscription = await start({ producers: {} }).subscribe(seen.options(fresh()));
    const [wire, relayLimits] = [new Wire(), { leaseMs: 400 }];
    const paused = start({ wire, relayLimits });
    const other = start({ relayLimits });
    await produce(paused, 1, 1);
    await until(async () => (await rowsLeft()) === 0);
    wire.freeze();
    await produce(paused, 1, 2, 3);
    // It has read the rows and handed them to the client.
    await until(async () => (await microblog.at(0).query(`SELECT FROM outbox_lease WHERE holder IS NOT NULL`)).length > 0);
    await sleep(100);
    await produce(other, 1, 4);
    await until(async () => (await rowsLeft()) === 0);
    wire.thaw();
    await until(() => seen.of(1).length >= 6);
    await subscription.drain();
    expect(seen.of(1)).toEqual([1, 2, 3, 4, 2, 3]);
    await produce(paused, 1, 5);
    await until(() => seen.of(1).at(-1) === 5);
  });

  // Otherwise its rows would wait until the lease ends, or for the next look.
  it('hears of rows that were committed while another process held the lease', async () => {
    const seen = new Seen();
    await start({ producers: {} }).subscribe(seen.options(fresh()));
    const wire = new Wire();
    const holder = start({ wire });
    const other = start();
    await produce(holder, 1, 1);
    await until(() => seen.of(1).length === 1);
    wire.freeze();
    await produce(holder, 1, 2);
    await until(async () => (await microblog.at(0).query(`SELECT FROM outbox_lease WHERE holder IS NOT NULL`)).length > 0);
    await sleep(100);
    await produce(other, 1, 3);
    await sleep(100);
    wire.thaw();
    await until(() => seen.of(1).length === 3, 5_000);
    expect(seen.of(1)).toEqual([1, 2, 3]);
  });

  it('leaves rows of a topic alone that only a newer release knows', async () => {
    const log = start();
    const seen = new Seen();
    const subscription = await log.subscribe(seen.options(fresh()));
    await microblog.at(0).transaction((tx) => insertOutbox(tx, { topic: 'microblog.poll.v1' as TopicName, shard: 0, refs: [[1]], headers: {} }));
    await produce(log, 1, 1);
    await subscription.drain();
    expect([await rowsLeft(), seen.of(1), seen.poison]).toEqual([1, [1], []]);
  });

  it('is not healthy while the brokers cannot be reached, and goes on by itself', async () => {
    const wire = new Wire();
    const seen = new Seen();
    const log = start({ wire, limits: { unhealthyAfterMs: 300 } });
    const subscription = await log.subscribe(seen.options(fresh()));
    await produce(log, 1, 1);
    await subscription.drain();
    expect(subscription.isHealthy()).toBe(true);
    wire.cut();
    await until(() => !subscription.isHealthy());
    await produce(log, 1, 2);
    wire.mend();
    await subscription.drain();
    await until(() => subscription.isHealthy());
    expect([...new Set(seen.of(1))]).toEqual([1, 2]);
  });

  // As brokers are whose disks are full, or that have lost too many of each other: they answer, and acknowledge nothing.
  it('keeps what the brokers refuse in the outbox, says so once and by its gauge, and carries it away when they take it', { timeout: 120_000 }, async () => {
    const lines: string[] = [];
    const logger = createLogger({ name: 'test', level: 'info', form: 'json', stream: { write: (line: string) => lines.push(line) } as unknown as NodeJS.WriteStream });
    const told = (text: string): number => lines.filter((line) => line.includes(text)).length;
    const seen = new Seen();
    const log = start({ logger });
    const subscription = await log.subscribe(seen.options(fresh()));
    await produce(log, 1, 1);
    await subscription.drain();
    const topic = `${place.prefix}microblog.entry`;
    const takeAtMost = (bytes: number): Promise<unknown> =>
      place.withAdmin((admin) => admin.alterConfigs({ validateOnly: false, resources: [{ type: topicResource, name: topic, configEntries: [{ name: 'max.message.bytes', value: String(bytes) }] }] }));
    await takeAtMost(1);
    for (const number of range(2, 40)) await produce(log, 1 + (number % 3), number);
    await until(() => told('events cannot be published') === 1);
    for (const number of range(41, 60)) await produce(log, 1 + (number % 3), number);
    expect(await rowsLeft()).toBe(59);
    expect(await log.oldestAgeSeconds()).toBeGreaterThan(0);
    expect([seen.of(1), seen.count]).toEqual([[1], 1]);
    await takeAtMost(1_048_588);
    await until(async () => (await rowsLeft()) === 0);
    await subscription.drain();
    for (const key of [1, 2, 3]) expect([...new Set(seen.of(key))]).toEqual([...(key === 1 ? [1] : []), ...range(2, 60).filter((number) => 1 + (number % 3) === key)]);
    expect([told('events cannot be published'), told('events are published again'), seen.lost]).toEqual([1, 1, 1]);
  });

  it('outlives its broker, and is told when everything in it is gone', { timeout: 300_000 }, async () => {
    const broker = await startTestKafka();
    try {
      const lines: string[] = [];
      const logger = createLogger({ name: 'test', level: 'info', form: 'json', stream: { write: (line: string) => lines.push(line) } as unknown as NodeJS.WriteStream });
      const told = (text: string): number => lines.filter((line) => line.includes(text)).length;
      const seen = new Seen();
      const log = start({ logger, limits: { unhealthyAfterMs: 1_000 } }, new KafkaPlace(broker.brokers));
      const subscription = await log.subscribe(seen.options(fresh()));
      await produce(log, 1, 1);
      await subscription.drain();

      await broker.kill();
      for (const number of range(2, 20)) {
        await produce(log, 1, number);
        await sleep(100);
      }
      expect(await rowsLeft()).toBe(19);
      await until(() => !subscription.isHealthy());
      expect(told('events cannot be published')).toBe(1);
      await broker.start();
      await subscription.drain();
      expect(await rowsLeft()).toBe(0);
      expect([...new Set(seen.of(1))]).toEqual(range(1, 20));
      expect([told('events cannot be published'), told('events are published again'), seen.lost]).toEqual([1, 1, 1]);
      await until(() => subscription.isHealthy());

      await broker.kill();
      await broker.wipe();
      await produce(log, 1, 21);
      await broker.start();
      await until(() => seen.lost === 2 && seen.of(1).at(-1) === 21, 60_000);
      expect([...new Set(seen.of(1))]).toEqual(range(1, 21));
      await stop(log);
    } finally {
      await broker.stop();
    }
  });
});
