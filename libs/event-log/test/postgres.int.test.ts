import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLogger, type Logger } from '@dmb/runtime';
import { insertOutbox, outboxMigrations, relayOf, type Database, type Databases, type Queryable } from '@dmb/postgres';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { OutboxStore } from '../src/outbox-store.ts';
import { PostgresEventLog, type LogEvent, type PostgresEventLogOptions, type SubscribeOptions } from '../src/index.ts';

let test: TestDatabases;
let identity: Databases;
let microblog: Databases;
const open = new Set<PostgresEventLog>();

beforeAll(async () => {
  test = await createTestDatabases();
  identity = await test.openMigrated('identity', outboxMigrations);
  microblog = await test.openMigrated('microblog', outboxMigrations);
});
beforeEach(async () => {
  for (const database of [...identity.all, ...microblog.all]) await database.execute('TRUNCATE outbox, outbox_mark, outbox_consumer');
});
afterEach(async () => {
  await Promise.all([...open].map((log) => log.close()));
  open.clear();
});
afterAll(() => test.drop());

const start = (options: Partial<PostgresEventLogOptions> = {}): PostgresEventLog => {
  const log = new PostgresEventLog({ producers: { identity, microblog }, ...options });
  open.add(log);
  return log;
};
const quiet = (group: string, handle: SubscribeOptions['handle'] = () => Promise.resolve()): SubscribeOptions => ({
  group,
  topics: ['microblog.entry.v1'],
  handle,
  onLost: () => Promise.resolve(),
  onPoison: () => Promise.resolve(),
});
const uuid = (number: number): string => `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
const entry = (shard: number, number: number): unknown[] => [shard, uuid(shard), 1, String(number), 1, String(number), 'public', uuid(shard), 0];
const produce = async (log: PostgresEventLog | undefined, shard: number, ...numbers: readonly number[]): Promise<void> => {
  const database = microblog.at(shard);
  await database.transaction((tx) => insertOutbox(tx, { topic: 'microblog.entry.v1', shard, refs: numbers.map((number) => entry(shard, number)), headers: {} }));
  log?.committed('microblog', database.index, relayOf(shard));
};
const left = async (table: string): Promise<number> => {
  const counts = await Promise.all(microblog.all.map((database) => database.query<{ n: bigint }>(`SELECT count(*) AS n FROM ${table}`)));
  return counts.reduce((sum, [row]) => sum + Number(row?.n ?? 0), 0);
};
const numbersOf = (events: readonly LogEvent[]): number[] => events.map(({ payload }) => Number((payload as { number: bigint }).number));
const shards = Array.from({ length: 64 }, (_, index) => index * 16 + (index % 16));

/** The same databases, with every statement counted. */
function counted(databases: Databases, statements: string[]): Databases {
  const count = (database: Database): Database => {
    const wrap = <Name extends keyof Queryable>(name: Name) => (sql: Parameters<Queryable[Name]>[0], params?: readonly unknown[]) => {
      statements.push(typeof sql === 'string' ? sql : sql.text);
      return database[name](sql, params);
    };
    return { ...database, index: database.index, query: wrap('query') as Database['query'], execute: wrap('execute') as Database['execute'] };
  };
  return { all: databases.all.map(count) } as unknown as Databases;
}

describe('rows', () => {
  it('stay until every group has marked them, and leave nothing behind', async () => {
    const log = start();
    const a = await log.subscribe(quiet('a'));
    let release = (): void => undefined;
    const held = new Promise<void>((done) => {
      release = done;
    });
    const b = await log.subscribe(quiet('b', () => held));
    for (const shard of shards) await produce(log, shard, 1, 2);
    await a.drain();
    expect(await left('outbox')).toBe(shards.length);
    expect(await left('outbox_mark')).toBe(shards.length);
    release();
    await b.drain();
    expect([await left('outbox'), await left('outbox_mark')]).toEqual([0, 0]);
  });

  // Both would see the other's mark missing and keep the row for ever if they were not made to take turns.
  it('leave also when groups finish them at the same moment', async () => {
    const log = start();
    const groups = await Promise.all(['a', 'b', 'c'].map((name) => log.subscribe(quiet(name))));
    for (let round = 0; round < 20; round++) await Promise.all(shards.map((shard) => produce(log, shard, round)));
    await Promise.all(groups.map((group) => group.drain()));
    expect([await left('outbox'), await left('outbox_mark')]).toEqual([0, 0]);
  });

  it('that a crash left complete are tidied away', async () => {
    await start().subscribe(quiet('a'));
    await produce(undefined, 5, 1);
    for (const database of microblog.all) {
      await database.execute(`INSERT INTO outbox_mark SELECT relay, seq, 'a' FROM outbox`);
      await database.execute(`INSERT INTO outbox_mark VALUES (3, 999999999, 'a')`);
    }
    const later = start({ limits: { safetyPollMs: 50 } });
    await later.subscribe(quiet('a'));
    await expect.poll(async () => [await left('outbox'), await left('outbox_mark')], { timeout: 5_000 }).toEqual([0, 0]);
  });

  it('of any size are handed over in bounded batches', async () => {
    const sizes: number[] = [];
    const seen: number[] = [];
    const log = start({ limits: { batchRowsMax: 10 } });
    const many = Array.from({ length: 1_000 }, (_, index) => index);
    // A small row before a full one: together they are more than a handler takes at once.
    await produce(undefined, 7, 0);
    for (let round = 0; round < 5; round++) await produce(undefined, 7, ...many.map((index) => 1 + round * 1_000 + index));
    for (let one = 0; one < 25; one++) await produce(undefined, 7, 5_001 + one);
    const group = await log.subscribe(
      quiet('a', (events) => {
        sizes.push(events.length);
        seen.push(...numbersOf(events));
        return Promise.resolve();
      }),
    );
    await group.drain();
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000);
    expect(seen).toEqual(Array.from({ length: 5_026 }, (_, index) => index));
  });
});

describe('a group', () => {
  it('that is gone for good holds up nobody, with a warning, and sweeps if it comes back', async () => {
    const lines: string[] = [];
    const logger: Logger = createLogger({ name: 'test', form: 'json', stream: { write: (line) => lines.push(line) } });
    const first = start();
    await (await first.subscribe(quiet('gone'))).stop();
    await first.close();
    for (const database of microblog.all) await database.execute(`UPDATE outbox_consumer SET seen = now() - interval '6 days' WHERE consumer = 'gone'`);
    await produce(undefined, 9, 1);

    const log = start({ logger, limits: { safetyPollMs: 50 } });
    const stays = await log.subscribe(quiet('stays'));
    await stays.drain();
    await sleep(200);
    expect(await left('outbox')).toBe(1);

    for (const database of microblog.all) await database.execute(`UPDATE outbox_consumer SET seen = now() - interval '8 days'`);
    await expect.poll(() => left('outbox'), { timeout: 5_000 }).toBe(0);
    expect(lines.filter((line) => line.includes('gone for good')).length).toBe(microblog.all.length);
    expect(lines.some((line) => line.includes('"group":"stays"') && line.includes('gone for good'))).toBe(false);

    let lost = 0;
    const back = await log.subscribe({
      ...quiet('gone'),
      onLost: () => {
        lost++;
        return Promise.resolve();
      },
    });
    await back.drain();
    expect(lost).toBe(1);
  });

  it('that wants one more topic than before is told that it may have missed some', async () => {
    const log = start();
    const stories: string[] = [];
    const subscribe = async (topics: SubscribeOptions['topics']): Promise<void> => {
      const subscription = await log.subscribe({
        ...quiet('grows'),
        topics,
        onLost: () => {
          stories.push(topics.join(' '));
          return Promise.resolve();
        },
      });
      await subscription.drain();
      await subscription.stop();
    };
    await subscribe(['microblog.entry.v1']);
    await subscribe(['microblog.entry.v1']);
    await subscribe(['microblog.entry.v1', 'identity.person.v1']);
    await subscribe(['identity.person.v1']);
    expect(stories).toEqual(['microblog.entry.v1', 'microblog.entry.v1 identity.person.v1']);
  });

  it('that wants another topic of the same producer has no position in that one', async () => {
    const store = new OutboxStore(microblog.at(0));
    expect(await store.register('grows', ['a.b.v1'])).toBe(false);
    expect(await store.register('grows', ['a.b.v1'])).toBe(false);
    await store.setTold('grows');
    expect(await store.register('grows', ['a.b.v1'])).toBe(true);
    expect(await store.register('grows', ['a.b.v1', 'a.c.v1'])).toBe(false);
    await store.setTold('grows');
    expect(await store.register('grows', ['a.c.v1'])).toBe(true);
  });

  it('runs once in a process', async () => {
    const log = start();
    const first = await log.subscribe(quiet('a'));
    await expect(log.subscribe(quiet('a'))).rejects.toThrow('runs in this process already');
    await first.stop();
    await log.subscribe(quiet('a'));
  });
});

it('asks nothing while nothing happens', async () => {
  const statements: string[] = [];
  const log = start({ producers: { identity: counted(identity, statements), microblog: counted(microblog, statements) }, limits: { safetyPollMs: 3_000 } });
  const group = await log.subscribe(quiet('a'));
  await produce(log, 1, 1);
  await group.drain();
  await sleep(100);
  statements.length = 0;
  await sleep(400);
  expect(statements).toEqual([]);
  // One look per outbox, and nothing after it, because there is nothing.
  const outboxes = microblog.all.length + identity.all.length;
  await expect.poll(() => statements.length, { timeout: 10_000 }).toBe(outboxes);
  await sleep(200);
  expect(statements).toHaveLength(outboxes);
});

it('waits longer after each failure, and no other queue waits with it', async () => {
  const attempts: number[] = [];
  let handled = 0;
  const log = start({ limits: { retryDelayMs: 20, retryDelayMsMax: 10_000 } });
  await log.subscribe(
    quiet('a', (events) => {
      if (numbersOf(events).includes(1)) {
        attempts.push(performance.now());
        return Promise.reject(new Error('no'));
      }
      handled++;
      return Promise.resolve();
    }),
  );
  await produce(log, 0, 1);
  await expect.poll(() => attempts.length, { timeout: 10_000, interval: 5 }).toBe(6);
  const pauses = attempts.slice(1).map((at, index) => at - (attempts[index] ?? 0));
  pauses.forEach((pause, index) => expect(pause).toBeGreaterThan(20 * 2 ** index * 0.45));
  const during = attempts.length;
  for (let number = 2; number < 12; number++) await produce(log, 1, number);
  await expect.poll(() => handled).toBeGreaterThan(0);
  expect(attempts.length - during).toBeLessThanOrEqual(1);
});

it('has seen everything after its database was away', async () => {
  const seen: number[] = [];
  let away = false;
  const flaky = { all: microblog.all.map((database) => flakyDatabase(database, () => away)) } as unknown as Databases;
  const log = start({ producers: { identity, microblog: flaky }, limits: { retryDelayMs: 10, retryDelayMsMax: 50, unhealthyAfterMs: 150 } });
  const group = await log.subscribe(
    quiet('a', (events) => {
      seen.push(...numbersOf(events));
      return Promise.resolve();
    }),
  );
  await group.drain();
  away = true;
  await produce(log, 1, 1);
  // Its hint is lost with the database.
  await produce(undefined, 2, 2);
  await expect.poll(() => group.isHealthy(), { timeout: 5_000 }).toBe(false);
  away = false;
  await expect.poll(() => seen.toSorted(), { timeout: 5_000 }).toEqual(microblog.at(1) === microblog.at(2) ? [1, 2] : [1]);
  await expect.poll(() => group.isHealthy(), { timeout: 5_000 }).toBe(true);
});

function flakyDatabase(database: Database, isAway: () => boolean): Database {
  const lost = async (): Promise<never> => {
    const connection = await database.dedicated(() => undefined);
    await connection.close();
    return await (connection.query('SELECT 1') as Promise<never>);
  };
  return {
    ...database,
    index: database.index,
    query: (sql, params) => (isAway() ? lost() : database.query(sql, params)),
    execute: (sql, params) => (isAway() ? lost() : database.execute(sql, params)),
  } as Database;
}
