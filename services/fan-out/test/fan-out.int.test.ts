import 'reflect-metadata';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EntryRef } from '@dmb/events';
import type { Databases } from '@dmb/postgres';
import { newPersonId, shardOf, type PersonId, type PostId } from '@dmb/protocol';
import { AppError, Calls, silentLogger } from '@dmb/runtime';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { MemoryLiveEvents, MemoryTimelines, type LiveEvent, type Push, type Timelines } from '@dmb/timelines';
import { FanOut, fanOutLimits, fanOutMigrations } from '../src/index.ts';
import { FakeMicroblogs, ScriptedEventLog, type FakeMicroblog } from './world.ts';

let test: TestDatabases;
let databases: Databases;
let world: FakeMicroblogs;
let calls: Calls;
let events: ScriptedEventLog;
let timelines: MemoryTimelines;
let live: MemoryLiveEvents;
let heard: LiveEvent[];
let running: FanOut[];

beforeAll(async () => {
  test = await createTestDatabases();
  databases = await test.openMigrated('fan-out', await fanOutMigrations());
});
afterAll(() => test.drop());

beforeEach(async () => {
  for (const database of databases.all) await database.execute('TRUNCATE follower, cursor, parked, job, plan, merged');
  world = new FakeMicroblogs();
  calls = new Calls({ checked: true });
  world.bind(calls);
  events = new ScriptedEventLog();
  timelines = new MemoryTimelines();
  live = new MemoryLiveEvents();
  heard = [];
  await live.listen((event) => heard.push(event));
  running = [];
});
afterEach(async () => {
  for (const fanOut of running) await fanOut.stop();
});

async function start(options: { readonly timelines?: Timelines; readonly mergeReaders?: number } = {}): Promise<FanOut> {
  const config = { mergeReaders: options.mergeReaders ?? 1_000_000 };
  const fanOut = new FanOut({ config, databases, calls, eventLog: events, timelines: options.timelines ?? timelines, live, logger: silentLogger });
  running.push(fanOut);
  await fanOut.start();
  return fanOut;
}
const readerOf = (person: PersonId) => ({ shard: shardOf(person), person });
/** Reads as the timeline service does: rebuilds what is absent. */
async function homeOf(person: PersonId): Promise<readonly PostId[]> {
  const found = await timelines.read(readerOf(person));
  const read = found.state === 'absent' ? await timelines.rebuild(readerOf(person), () => calls.call('microblog.snapshot', { person, before: null, limit: 800 })) : found;
  if (read.state !== 'present') throw new Error(`the timeline is ${read.state}`);
  return read.ids;
}
const makePresent = homeOf;
async function rows<Row extends object>(sql: string): Promise<Row[]> {
  return (await Promise.all(databases.all.map((database) => database.query<Row>(sql)))).flat();
}
async function until(done: () => Promise<boolean> | boolean, ms = 10_000): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('it did not happen');
}
const isEverythingApplied = async (fanOut: FanOut): Promise<boolean> => {
  const { accepted, accounted, parkedLogs } = await fanOut.sweep();
  return accepted === accounted && parkedLogs === 0;
};

describe('delivery', () => {
  it('puts a post into the homes of those who follow its log, at once and once', async () => {
    await start();
    const news = world.create();
    const [ann, bob, eve] = [newPersonId(), newPersonId(), newPersonId()];
    await events.deliver([world.follow(ann, news), world.follow(bob, news)]);
    await Promise.all([ann, bob, eve].map(makePresent));
    const post = world.post(news.public);
    const secret = world.post(news.followers);
    const direct = world.append(news.direct, 'post', {});
    await events.deliver([post, secret, direct, post]);
    expect((await timelines.statistics()).rebuilds).toBe(3);
    const both = [post.id, secret.id].toSorted((left, right) => (left < right ? 1 : -1));
    expect(await homeOf(ann)).toEqual(both);
    expect(await homeOf(bob)).toEqual(both);
    expect(await homeOf(eve)).toEqual([]);
    expect((await timelines.statistics()).rebuilds).toBe(3);
  });

  it('tells open streams of every entry once, in order, with references and no bodies', async () => {
    await start();
    const news = world.create();
    const refs = [world.post(news.public), world.append(news.public, 'edit', { content: 'x' }, { about: 1n }), world.append(news.direct, 'post', { content: 'secret' }), world.append(news.own, 'happening', { what: 'mention' })];
    await events.deliver([...refs, ...refs]);
    await events.deliver(refs);
    const told = heard.flatMap((event) => (event.type === 'entry' ? [event.ref] : []));
    expect(told).toHaveLength(4);
    expect(told).toEqual(expect.arrayContaining(refs));
    expect(JSON.stringify(told, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))).not.toMatch(/secret|body|content/);
  });

  it('makes one push of a burst', async () => {
    const pushes: Push[] = [];
    const watched: Timelines = Object.assign(Object.create(timelines) as Timelines, {
      push: (lane: number, position: bigint, some: readonly Push[]) => {
        pushes.push(...some);
        return timelines.push(lane, position, some);
      },
    });
    await start({ timelines: watched });
    const news = world.create();
    const ann = newPersonId();
    await events.deliver([world.follow(ann, news)]);
    const burst = Array.from({ length: 20 }, () => world.post(news.public));
    await events.deliver(burst);
    expect(pushes).toEqual([{ ids: burst.map(({ id }) => id), readers: [readerOf(ann)] }]);
  });

  it('lets nobody read on who does not follow any more', async () => {
    await start();
    const news = world.create();
    const ann = newPersonId();
    await events.deliver([world.follow(ann, news)]);
    await makePresent(ann);
    await events.deliver([world.post(news.public)]);
    expect(await homeOf(ann)).toHaveLength(1);
    await events.deliver([world.follow(ann, news, false)]);
    expect(await timelines.read(readerOf(ann))).toEqual({ state: 'absent' });
    await events.deliver([world.post(news.public)]);
    expect(await homeOf(ann)).toEqual([]);
    expect(await rows('SELECT FROM follower')).toHaveLength(0);
  });

  it('says that following changed, to the streams of whom it concerns', async () => {
    await start();
    const ann = newPersonId();
    await events.deliver([world.follow(ann, world.create())]);
    expect(heard[0]).toEqual({ type: 'person', event: { shard: shardOf(ann), person: ann, what: 'following-changed' } });
  });
});

describe('the peer rule at work', () => {
  it('reaches the same end from replays, reordering, gaps and lost events', async () => {
    // An implementation without cursors passes where events come once and in order.
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const fanOut = await start();
      let state = seed;
      const below = (bound: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff) % bound;
      const blogs = Array.from({ length: 4 }, () => world.create());
      const people = Array.from({ length: 5 }, () => newPersonId());
      const pick = <T>(some: readonly T[]): T => some[below(some.length)]!;
      let sent: EntryRef[] = [];
      for (let step = 0; step < 60; step++) {
        const action = below(10);
        const blog = pick(blogs);
        const ref = action < 2 ? world.follow(pick(people), blog) : action < 3 ? world.follow(pick(people), blog, false) : world.post(action < 7 ? blog.public : blog.followers);
        if (below(6) > 0) sent.push(ref);
        if (below(4) === 0) sent.push(pick(sent));
        if (below(3) === 0) await makePresent(pick(people));
        if (below(5) === 0) {
          // Turned round in part, and some of it again later.
          const batch = sent.toSorted(() => below(3) - 1);
          sent = sent.filter(() => below(4) === 0);
          await events.deliver(batch);
        }
      }
      await events.deliver(sent);
      expect(await isEverythingApplied(fanOut)).toBe(true);
      for (const person of people) expect(await homeOf(person)).toEqual(world.homeOf(person));
      await fanOut.stop();
    }
  });

  it('repeats a stretch whose cursor was not moved, and shows it once', async () => {
    let fail = false;
    const failing: Timelines = Object.assign(Object.create(timelines) as Timelines, {
      push: async (lane: number, position: bigint, some: readonly Push[]) => {
        await timelines.push(lane, position, some);
        // As if we died after the push and before the cursor moved.
        if (fail) throw new AppError('unavailable', undefined, { detail: 'killed' });
      },
    });
    await start({ timelines: failing });
    const news = world.create();
    const ann = newPersonId();
    await events.deliver([world.follow(ann, news)]);
    await makePresent(ann);
    const post = world.post(news.public);
    fail = true;
    await expect(events.deliver([post])).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await rows(`SELECT FROM cursor WHERE log_id = '${news.public.log}'`)).toHaveLength(0);
    fail = false;
    await running.pop()!.stop();
    await start();
    await events.deliver([post]);
    expect(await homeOf(ann)).toEqual([post.id]);
    expect((await timelines.statistics()).rebuilds).toBe(1);
  });

  it('comes to the same end whichever step it dies at', async () => {
    // Every effect (statement, push, removal, live event, call) fails once, before or after it was done.
    let left = Infinity;
    const step = async <T>(work: () => Promise<T>): Promise<T> => {
      if (--left === 0) throw new AppError('unavailable', undefined, { detail: 'killed before' });
      const done = await work();
      if (--left === 0) throw new AppError('unavailable', undefined, { detail: 'killed after' });
      return done;
    };
    const undo: (() => void)[] = [];
    const wrap = (target: object, ...names: readonly string[]): void => {
      for (const name of names) {
        const original = (target as Record<string, (...parameters: unknown[]) => Promise<unknown>>)[name]!;
        Object.assign(target, { [name]: (...parameters: unknown[]) => step(() => original.apply(target, parameters)) });
        undo.push(() => Object.assign(target, { [name]: original }));
      }
    };
    let deaths = 0;
    // Every second step with one database, the others with two.
    for (let at = databases.all.length === 1 ? 1 : 2, died = true; died && at < 400; at += 2) {
      for (const database of databases.all) await database.execute('TRUNCATE follower, cursor, parked, job, plan, merged');
      world = new FakeMicroblogs();
      calls = new Calls({ checked: true });
      world.bind(calls);
      timelines = new MemoryTimelines();
      let fanOut = await start();
      for (const database of databases.all) wrap(database, 'query', 'execute', 'transaction');
      wrap(timelines, 'push', 'remove');
      wrap(live, 'publish');
      wrap(calls, 'call');
      const news = world.create();
      const [ann, bob] = [newPersonId(), newPersonId()];
      const sent = [world.follow(ann, news), world.post(news.public), world.follow(bob, news), world.post(news.followers)];
      left = Infinity;
      await Promise.all([ann, bob].map(makePresent));
      left = at;
      const dies = async (refs: readonly EntryRef[]): Promise<void> => {
        await events.deliver(refs).catch(async () => {
          // The process is gone; another one takes over and is told the same again.
          await fanOut.stop();
          fanOut = await start();
          await events.deliver(refs);
        });
      };
      await dies(sent);
      await dies([world.post(news.public), world.follow(ann, news, false), world.post(news.public)]);
      died = left <= 0;
      if (died) deaths++;
      left = Infinity;
      for (const restore of undo.splice(0).reverse()) restore();
      await until(() => isEverythingApplied(fanOut));
      for (const person of [ann, bob]) expect(await homeOf(person), `died at step ${at}`).toEqual(world.homeOf(person));
      expect(await rows('SELECT FROM follower')).toHaveLength(2);
      await fanOut.stop();
    }
    expect(deaths).toBeGreaterThan(15);
  });

  it('builds everything again from the logs when its own tables were lost', async () => {
    let fanOut = await start();
    const [news, sport] = [world.create(), world.create()];
    const ann = newPersonId();
    await events.deliver([world.follow(ann, news), world.follow(ann, sport), world.follow(ann, sport, false)]);
    for (let count = 0; count < 30; count++) await events.deliver([world.post(news.public)]);
    await fanOut.stop();
    for (const database of databases.all) await database.execute('TRUNCATE follower, cursor, parked, job, plan, merged');
    fanOut = await start();
    await events.lose();
    await until(() => isEverythingApplied(fanOut));
    expect(await rows('SELECT FROM follower')).toHaveLength(2);
    const post = world.post(news.public);
    await makePresent(ann);
    await events.deliver([post]);
    expect(await homeOf(ann)).toEqual(world.homeOf(ann));
  });

  it('begins a replica at its floor', async () => {
    const fanOut = await start();
    const news = world.create();
    news.public.floor = 40n;
    const post = world.post(news.public);
    expect(post.number).toBe(41n);
    await events.deliver([post]);
    expect(await rows<{ number: bigint }>('SELECT number FROM cursor')).toEqual([{ number: 41n }]);
    expect(await isEverythingApplied(fanOut)).toBe(true);
  });
});

describe('a follow that microblog has not projected yet', () => {
  it('leaves the timeline until it has, so that no rebuild comes without the new log', async () => {
    // Removing the timeline at once passes where the projection is always first.
    await start();
    const news = world.create();
    const ann = newPersonId();
    const old = world.post(news.public);
    await events.deliver([old]);
    world.isBehind = true;
    expect(await homeOf(ann)).toEqual([]);
    const delivered = events.deliver([world.follow(ann, news)]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await homeOf(ann)).toEqual([]);
    expect(heard.some(({ type }) => type === 'person')).toBe(false);
    world.project();
    await delivered;
    expect(heard.some(({ type }) => type === 'person')).toBe(true);
    expect(await homeOf(ann)).toEqual([old.id]);
  });

  it('is parked when it takes long, and holds nobody else up', async () => {
    await start();
    const [news, sport] = [world.create(), world.create()];
    const [ann, bob] = [newPersonId(), newPersonId()];
    await events.deliver([world.follow(bob, sport)]);
    await makePresent(bob);
    world.isBehind = true;
    const [follow, post] = [world.follow(ann, news), world.post(sport.public)];
    await events.deliver([follow, post]);
    expect(await homeOf(bob)).toEqual([post.id]);
    expect(await rows<{ cause: string }>('SELECT cause FROM parked')).toMatchObject([{ cause: expect.stringMatching(/has not taken a follow in/) as string }]);
    world.project();
    await until(async () => (await rows('SELECT FROM parked')).length === 0);
    const next = world.post(news.public);
    await makePresent(ann);
    await events.deliver([next]);
    expect(await homeOf(ann)).toEqual([next.id]);
  });
});

describe('parking', () => {
  it('puts a log aside that cannot be fetched, lets the others go on, and repairs it', async () => {
    await start();
    const [news, sport] = [world.create(), world.create()];
    const ann = newPersonId();
    await events.deliver([world.follow(ann, news), world.follow(ann, sport)]);
    await makePresent(ann);
    world.post(news.public);
    const second = world.post(news.public);
    world.isDown = true;
    const other = world.post(sport.public);
    await events.deliver([second, other]);
    expect(await homeOf(ann)).toEqual([other.id]);
    const third = world.post(news.public);
    await events.deliver([third]);
    expect(await rows('SELECT number, wanted FROM parked')).toEqual([{ number: 1n, wanted: 3n }]);
    world.isDown = false;
    await until(async () => (await rows('SELECT FROM parked')).length === 0);
    expect(await homeOf(ann)).toEqual(world.homeOf(ann));
    expect((await timelines.statistics()).rebuilds).toBe(1);
  });

  it('says why a log stands still, and counts it as accounted for', async () => {
    const fanOut = await start();
    const news = world.create();
    for (let count = 0; count < 3; count++) world.post(news.public);
    news.public.entries.splice(1, 1);
    await events.deliver([{ ...news.public.entries[1]!, number: 3n } as EntryRef]);
    const [row] = await rows<{ cause: string; wanted: bigint; number: bigint }>('SELECT cause, wanted, number FROM parked');
    expect(row).toMatchObject({ wanted: 3n, number: 1n });
    expect(row!.cause).toMatch(/entry 2 is missing/);
    const ledger = await fanOut.sweep();
    expect(ledger).toMatchObject({ parkedLogs: 1, accepted: 3n, accounted: 3n });
  });

  it('finds by a sweep what no event told of', async () => {
    const fanOut = await start();
    const news = world.create();
    const ann = newPersonId();
    world.follow(ann, news);
    await makePresent(ann);
    for (let count = 0; count < 5; count++) world.post(news.public);
    expect(await isEverythingApplied(fanOut)).toBe(true);
    expect(await homeOf(ann)).toEqual(world.homeOf(ann));
  });
});

describe('a large audience', () => {
  const crowd = 12_000;
  let news: FakeMicroblog;
  let people: PersonId[];

  beforeEach(async () => {
    news = world.create();
    people = Array.from({ length: crowd }, () => newPersonId());
    await databases.at(news.public.shard).execute(
      `INSERT INTO follower (log_shard, log_id, person_shard, person_id, own_number) SELECT $1, $2, t.*, 1 FROM unnest($3::int2[], $4::uuid[]) AS t(s, p)`,
      [news.public.shard, news.public.log, people.map(shardOf), people],
    );
    for (const person of people) {
      world.following.set(person, new Set([news.public.log]));
      await makePresent(person);
    }
  });

  it('is delivered to by jobs, whole, and nothing is left behind', async () => {
    const fanOut = await start();
    const posts = [world.post(news.public), world.post(news.public)];
    await events.deliver(posts);
    await fanOut.drain();
    let missing = 0;
    for (const person of people) if ((await homeOf(person)).length !== 2) missing++;
    expect(missing).toBe(0);
    expect((await timelines.statistics()).rebuilds).toBe(crowd);
    expect(await rows('SELECT FROM job')).toEqual([]);
  });

  it('goes on where it was when its worker dies', async () => {
    let bury: (error: Error) => void = () => undefined;
    let slices = 0;
    let dies = true;
    let readers = 0;
    const dying: Timelines = Object.assign(Object.create(timelines) as Timelines, {
      push: (lane: number, position: bigint, some: readonly Push[]) => {
        if (dies && ++slices > 3) return new Promise<void>((_, reject) => (bury = reject));
        readers += some.reduce((sum, push) => sum + push.readers.length, 0);
        return timelines.push(lane, position, some);
      },
    });
    await start({ timelines: dying });
    const post = world.post(news.public);
    await events.deliver([post]);
    await until(() => slices > 3);
    // Killed: its leases stay until they run out.
    const dead = running.pop()!;
    dies = false;
    const before = readers;
    for (const database of databases.all) await database.execute(`UPDATE job SET leased_until = '-infinity'`);
    const fanOut = await start({ timelines: dying });
    await fanOut.drain();
    for (const person of people) expect(await homeOf(person)).toEqual([post.id]);
    expect(before).toBeGreaterThan(0);
    bury(new Error('it is dead'));
    await dead.stop();
    // At most one slice of each job that was held is pushed twice.
    expect(readers).toBeLessThanOrEqual(crowd + fanOutLimits.jobsAtOnce * fanOutLimits.sliceReadersMax);
  });
});

describe('an audience so large that it is merged when reading', () => {
  it('is pushed to until whoever reads has heard of it, and then told only', async () => {
    const fanOut = await start({ mergeReaders: 3 });
    const [news, sport] = [world.create(), world.create()];
    const people = Array.from({ length: 3 }, () => newPersonId());
    await events.deliver(people.map((person) => world.follow(person, news)));
    await events.deliver(people.slice(1).map((person) => world.follow(person, sport)));
    for (const person of people) await makePresent(person);
    const first = world.post(news.public);
    await events.deliver([first]);
    expect(await homeOf(people[0]!)).toEqual([first.id]);
    await until(() => world.merged.has(news.public.log));
    await until(async () => (await rows(`SELECT FROM merged WHERE log_id = '${news.public.log}'`)).length === 1);
    heard.length = 0;
    const [second, other] = [world.post(news.public), world.post(sport.public)];
    await events.deliver([second, other]);
    expect(await homeOf(people[0]!)).toEqual([first.id]);
    expect(await homeOf(people[1]!)).toEqual([other.id, first.id]);
    expect(heard).toEqual([second, other].toSorted((left, right) => (left.id < right.id ? -1 : 1)).map((ref) => ({ type: 'entry', ref })));
    expect(await isEverythingApplied(fanOut)).toBe(true);
    expect([...world.merged]).toEqual([news.public.log]);
    // Another process knows it from the first post on.
    await fanOut.stop();
    await start({ mergeReaders: 3 });
    await events.deliver([world.post(news.public)]);
    expect(await homeOf(people[0]!)).toEqual([first.id]);
  });
});

describe('an idle service', () => {
  it('asks its databases nothing', async () => {
    const fanOut = await start();
    const news = world.create();
    await events.deliver([world.follow(newPersonId(), news), world.post(news.public)]);
    await fanOut.drain();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    let asked = 0;
    const originals = databases.all.map((database) => ({ database, query: database.query, execute: database.execute, transaction: database.transaction }));
    for (const { database, ...methods } of originals) {
      for (const [name, method] of Object.entries(methods)) {
        Object.assign(database, { [name]: (...parameters: unknown[]) => (asked++, (method as (...p: unknown[]) => unknown).apply(database, parameters)) });
      }
    }
    world.calls = 0;
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    for (const { database, ...methods } of originals) Object.assign(database, methods);
    expect(asked).toBe(0);
    expect(world.calls).toBe(0);
  });
});
