import 'reflect-metadata';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Databases } from '@dmb/postgres';
import { newPersonId, shardOf, type PersonId, type PostId } from '@dmb/protocol';
import { Calls, silentLogger } from '@dmb/runtime';
import { createTestDatabases, findRedis, startTestRedis, startWay, type TestDatabases, type TestRedis } from '@dmb/testing';
import { MemoryLiveEvents, RedisNodes, RedisTimelines, type Push, type Timelines } from '@dmb/timelines';
import { FanOut, fanOutLimits, fanOutMigrations } from '../src/index.ts';
import { FakeMicroblogs, ScriptedEventLog, type FakeMicroblog } from './world.ts';

const eventually = (holds: () => Promise<void> | void): Promise<void> => vi.waitFor(holds, { timeout: 30_000, interval: 20 });

const source = await findRedis({ startable: true });
if (source.from === 'nothing') process.stdout.write(`The tests of fan-out on Redis were NOT run. ${source.why}\n`);
describe.skipIf(source.from === 'nothing' && !source.required)('fan-out on Redis', () => {
  let test: TestDatabases;
  let databases: Databases;
  let world: FakeMicroblogs;
  let calls: Calls;
  let events: ScriptedEventLog;
  const cleanups: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    test = await createTestDatabases({ count: 2 });
    databases = await test.openMigrated('fan-out', await fanOutMigrations());
  });
  afterAll(() => test.drop());
  beforeEach(async () => {
    for (const database of databases.all) await database.execute('TRUNCATE follower, cursor, parked, job, plan, merged');
    world = new FakeMicroblogs();
    calls = new Calls({ checked: true });
    world.bind(calls);
    events = new ScriptedEventLog();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  const server = async (): Promise<TestRedis> => {
    const redis = await startTestRedis();
    cleanups.push(() => redis.stop());
    return redis;
  };
  const open = async (urls: readonly string[]): Promise<RedisTimelines> => {
    const nodes = await RedisNodes.open({ urls });
    const timelines = new RedisTimelines({ nodes });
    cleanups.push(async () => {
      await timelines.close();
      await nodes.close();
    });
    return timelines;
  };
  const start = async (timelines: Timelines, eventLog = events, jobLeaseMs = 30_000): Promise<FanOut> => {
    const fanOut = new FanOut({ config: { mergeReaders: 1_000_000 }, databases, calls, eventLog, timelines, live: new MemoryLiveEvents(), logger: silentLogger, jobLeaseMs });
    await fanOut.start();
    cleanups.push(() => fanOut.stop());
    return fanOut;
  };
  const readerOf = (person: PersonId) => ({ shard: shardOf(person), person });
  /** Reads as the timeline service does. */
  const homeOf = async (timelines: Timelines, person: PersonId): Promise<readonly PostId[]> => {
    const found = await timelines.read(readerOf(person));
    const read = found.state === 'absent' ? await timelines.rebuild(readerOf(person), () => calls.call('microblog.snapshot', { person, before: null, limit: 800 })) : found;
    if (read.state !== 'present') throw new Error(`the timeline is ${read.state}`);
    return read.ids;
  };
  const inLarge = async (news: FakeMicroblog, people: readonly PersonId[]): Promise<void> => {
    await databases
      .at(news.public.shard)
      .execute(`INSERT INTO follower (log_shard, log_id, person_shard, person_id, own_number) SELECT $1, $2, t.*, 1 FROM unnest($3::int2[], $4::uuid[]) AS t(s, p)`, [
        news.public.shard,
        news.public.log,
        people.map(shardOf),
        people,
      ]);
    for (const person of people) world.following.set(person, new Set([news.public.log]));
  };

  /** A master, and a replica that has everything until `cut`; `failOver` puts it in the place of the master. */
  const pair = async (others: readonly TestRedis[] = []) => {
    const [first, second] = [await server(), await server()];
    const way = await startWay(first.port);
    cleanups.push(() => way.close());
    const urls = [`redis://127.0.0.1:${way.port}`, ...others.map(({ url }) => url)];
    await second.ask('REPLICAOF', '127.0.0.1', String(first.port));
    await eventually(async () => expect(await second.ask('INFO', 'replication')).toContain('master_link_status:up'));
    const offset = async (redis: TestRedis, field: string): Promise<string | undefined> => new RegExp(`${field}:(\\d+)`).exec(await redis.ask('INFO', 'replication'))?.[1];
    const cut = async (): Promise<void> => {
      await eventually(async () => expect(await offset(second, 'slave_repl_offset')).toBe(await offset(first, 'master_repl_offset')));
      await second.ask('REPLICAOF', 'NO', 'ONE');
      // As if it had been a while ago: clocks may differ by less.
      for (const database of databases.all) await database.execute('UPDATE plan SET position = position - ($1::int8 << 20)', [fanOutLimits.planMarginMs * 2]);
    };
    const failOver = async (): Promise<void> => {
      await first.kill();
      way.point(second.port);
    };
    return { urls, cut, failOver };
  };

  // With marks compared and nothing pushed again, lists stay present, say that they are exact, and lack what was lost.
  it('delivers again what a failover lost, and removes again what was removed', async () => {
    const other = await server();
    const { urls, cut, failOver } = await pair([other]);
    const timelines = await open(urls);
    await start(timelines);
    const [news, sport, crowded] = [world.create(), world.create(), world.create()];
    const crowd = Array.from({ length: fanOutLimits.smallAudienceMax + 1_000 }, () => newPersonId());
    await inLarge(crowded, crowd);
    const people = Array.from({ length: 40 }, () => newPersonId());
    await events.deliver(people.map((person) => world.follow(person, news)));
    const looked = [...people, ...crowd.slice(0, 200)];
    for (const person of looked) await homeOf(timelines, person);
    await events.deliver([world.post(news.public), world.post(crowded.public)]);
    await eventually(async () => {
      for (const person of looked) expect(await homeOf(timelines, person)).toEqual(world.homeOf(person));
    });
    await cut();

    // All of this is on the master alone.
    await events.deliver([world.post(news.public), world.post(news.followers), world.post(crowded.public)]);
    const late = world.post(sport.public);
    await events.deliver([late]);
    await events.deliver(people.slice(0, 10).map((person) => world.follow(person, sport)));
    await eventually(async () => {
      for (const person of looked) expect(await homeOf(timelines, person)).toEqual(world.homeOf(person));
    });
    const rebuilt = (await timelines.statistics()).rebuilds;
    await failOver();
    // Whoever posts next notices it.
    const next = world.post(news.public);
    await eventually(() => events.deliver([next]));
    await eventually(async () => {
      for (const person of looked) expect(await homeOf(timelines, person)).toEqual(world.homeOf(person));
    });
    // Only those who had begun to follow were rebuilt.
    expect((await timelines.statistics()).rebuilds - rebuilt).toBeLessThanOrEqual(10);
    for (const database of databases.all) expect(await database.query('SELECT FROM job')).toEqual([]);
  });

  it('delivers again what the store lost together with whoever wrote it', async () => {
    const { urls, cut, failOver } = await pair();
    const news = world.create();
    const people = Array.from({ length: 5 }, () => newPersonId());
    const before = await open(urls);
    const first = await start(before);
    await events.deliver(people.map((person) => world.follow(person, news)));
    for (const person of people) await homeOf(before, person);
    await events.deliver([world.post(news.public)]);
    await cut();
    await events.deliver([world.post(news.public)]);
    // Nothing of the process is left but what is in Postgres.
    await first.stop();
    await failOver();
    const timelines = await open(urls);
    await start(timelines, new ScriptedEventLog());
    await eventually(async () => {
      for (const person of people) expect(await homeOf(timelines, person)).toEqual(world.homeOf(person));
    });
    expect((await timelines.statistics()).rebuilds).toBe(0);
  });

  it('repeats nothing after the store was emptied', async () => {
    const redis = await server();
    const timelines = await open([redis.url]);
    const pushed: Push[] = [];
    const watched: Timelines = Object.assign(Object.create(timelines) as Timelines, {
      push: (...parameters: Parameters<Timelines['push']>) => {
        pushed.push(...parameters[2]);
        return timelines.push(...parameters);
      },
    });
    await start(watched);
    const news = world.create();
    const ann = newPersonId();
    await events.deliver([world.follow(ann, news)]);
    await homeOf(timelines, ann);
    await events.deliver([world.post(news.public)]);
    pushed.length = 0;
    await redis.kill();
    await redis.start();
    const next = world.post(news.public);
    await eventually(() => events.deliver([next]));
    await eventually(async () => expect(await homeOf(timelines, ann)).toEqual(world.homeOf(ann)));
    expect(new Set(pushed.flatMap(({ ids }) => ids))).toEqual(new Set([next.id]));
  });

  it('has jobs shared by two processes, and each reader has each post once', async () => {
    const redis = await server();
    const timelines = await open([redis.url]);
    const second = await open([redis.url]);
    const counts = [0, 0];
    const counting = (inner: Timelines, index: number): Timelines =>
      Object.assign(Object.create(inner) as Timelines, {
        push: (...parameters: Parameters<Timelines['push']>) => {
          counts[index]! += parameters[2].reduce((sum, { readers }) => sum + readers.length, 0);
          return inner.push(...parameters);
        },
      });
    const fanOut = await start(counting(timelines, 0));
    await start(counting(second, 1), new ScriptedEventLog());
    const news = world.create();
    const people = Array.from({ length: 60_000 }, () => newPersonId());
    await inLarge(news, people);
    const looked = people.filter((_, index) => index % 100 === 0);
    for (const person of looked) await homeOf(timelines, person);
    const post = world.post(news.public);
    await events.deliver([post]);
    await fanOut.drain();
    await eventually(() => expect(counts[0]! + counts[1]!).toBe(people.length));
    for (const person of looked) expect(await homeOf(timelines, person)).toEqual([post.id]);
    expect(Math.min(...counts)).toBeGreaterThan(0);
  });
});
