import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { EntryRef } from '@dmb/events';
import type { LogId, MicroblogId, PersonId, PostId } from '@dmb/protocol';
import { findRedis, startTestRedis, startTestRedisCluster, startWay, type TestRedis } from '@dmb/testing';
import {
  RedisLimits,
  RedisLiveEvents,
  RedisNodes,
  RedisTimelines,
  timelineLimits,
  type LiveEvent,
  type Reader,
  type RedisMode,
  type TimelineSnapshot,
} from '../src/index.ts';
import { slotOf, tagOf } from '../src/redis/keys.ts';

const reader = (number: number, shard = number % 1_024): Reader => ({
  shard,
  person: `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}` as PersonId,
});
const ids = (...numbers: readonly number[]): PostId[] => numbers.map((number) => BigInt(number) as PostId);
const snapshotOf = (...numbers: readonly number[]): (() => Promise<TimelineSnapshot>) => {
  return () => Promise.resolve({ ids: ids(...numbers), exactFrom: 0n as PostId });
};
const present = (...numbers: readonly number[]) => ({ state: 'present', ids: ids(...numbers), exactFrom: 0n });
const entry = (shard: number, number: number): LiveEvent => ({
  type: 'entry',
  ref: {
    shard,
    log: '00000000-0000-4000-9000-000000000001' as LogId,
    epochNo: 1,
    number: BigInt(number),
    kind: 1,
    id: BigInt(number) as PostId,
    audience: 'public',
    microblog: '00000000-0000-4000-a000-000000000001' as MicroblogId,
    late: false,
  } satisfies EntryRef,
});

async function eventually(holds: () => Promise<void> | void, withinMs = 20_000): Promise<void> {
  for (const end = Date.now() + withinMs; ; await new Promise((done) => setTimeout(done, 20))) {
    try {
      await holds();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

const source = await findRedis({ startable: true });
if (source.from === 'nothing') process.stdout.write(`The tests of failures of Redis were NOT run. ${source.why}\n`);
// Without an engine they fail where they must run, and say so above where they need not.
describe.skipIf(source.from === 'nothing' && !source.required)('redis that fails', () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });
  const server = async (args: readonly string[] = []): Promise<TestRedis> => {
    const redis = await startTestRedis({ args });
    cleanups.push(() => redis.stop());
    return redis;
  };
  const open = async (urls: readonly string[], mode: RedisMode = 'nodes') => {
    const nodes = await RedisNodes.open({ urls, mode });
    const timelines = new RedisTimelines({ nodes });
    const live = new RedisLiveEvents({ nodes });
    const limits = new RedisLimits({ nodes });
    cleanups.push(async () => {
      await Promise.all([timelines.close(), live.close(), limits.close()]);
      await nodes.close();
    });
    return { nodes, timelines, live, limits };
  };

  describe('independent nodes', () => {
    it('are absent after FLUSHALL, and whole again when read', async () => {
      const redis = await server();
      const { timelines } = await open([redis.url]);
      await timelines.rebuild(reader(1), snapshotOf(1));
      await timelines.push(0, 5n, [{ ids: ids(2), readers: [reader(1)] }]);
      await redis.ask('FLUSHALL');
      expect(await timelines.applied(0)).toBeUndefined();
      expect(await timelines.read(reader(1))).toEqual({ state: 'absent' });
      await timelines.push(0, 6n, [{ ids: ids(3), readers: [reader(1)] }]);
      expect(await timelines.applied(0)).toBe(6n);
      expect(await timelines.rebuild(reader(1), snapshotOf(3, 2, 1))).toEqual(present(3, 2, 1));
    });

    it('fail at once while one is away, and go on when it is back without anything', async () => {
      const [first, second] = [await server(), await server()];
      const { timelines, nodes } = await open([first.url, second.url]);
      const [here, there] = [reader(1, 0), reader(2, 1_023)];
      await timelines.rebuild(here, snapshotOf(1));
      await timelines.rebuild(there, snapshotOf(1));
      await timelines.push(0, 1n, [{ ids: ids(2), readers: [here, there] }]);
      expect(nodes.ready).toBe(true);

      await second.kill();
      const began = Date.now();
      await expect(timelines.read(there)).rejects.toMatchObject({ kind: 'unavailable' });
      await expect(timelines.push(0, 2n, [{ ids: ids(3), readers: [here, there] }])).rejects.toMatchObject({ kind: 'unavailable' });
      await expect(timelines.rebuild(there, snapshotOf(1))).rejects.toMatchObject({ kind: 'unavailable' });
      await expect(timelines.remove([there])).rejects.toMatchObject({ kind: 'unavailable' });
      expect(Date.now() - began).toBeLessThan(4_000);
      expect(nodes.ready).toBe(false);
      // The other node's readers notice nothing.
      expect(await timelines.read(here)).toEqual(present(3, 2, 1));

      await second.start();
      // As its consumer does: the same again, until it is applied.
      await eventually(() => timelines.push(0, 3n, [{ ids: ids(3), readers: [here, there] }]));
      await eventually(async () => expect(await timelines.read(there)).toEqual({ state: 'absent' }));
      expect(await timelines.rebuild(there, snapshotOf(3, 2, 1))).toEqual(present(3, 2, 1));
      expect(await timelines.read(here)).toEqual(present(3, 2, 1));
      expect(await timelines.applied(0)).toBe(3n);
      expect(nodes.ready).toBe(true);
    });

    it('start without Redis and use it when it comes', async () => {
      const redis = await server();
      await redis.kill();
      const { timelines } = await open([redis.url]);
      await expect(timelines.read(reader(1))).rejects.toMatchObject({ kind: 'unavailable' });
      await redis.start();
      await eventually(async () => expect(await timelines.rebuild(reader(1), snapshotOf(1))).toEqual(present(1)));
    });

    it('rebuild what a failover lost', async () => {
      // Without comparing marks, ids 3 would be missing for as long as the list lives: the list is present and says it is exact.
      const [first, second] = [await server(), await server()];
      const proxy = await startWay(first.port);
      cleanups.push(() => proxy.close());
      const { timelines } = await open([`redis://127.0.0.1:${proxy.port}`]);
      await second.ask('REPLICAOF', '127.0.0.1', String(first.port));
      await timelines.rebuild(reader(1), snapshotOf(1));
      await timelines.push(7, 1n, [{ ids: ids(2), readers: [reader(1)] }]);
      await eventually(async () => {
        expect(await second.ask('INFO', 'replication')).toContain('master_link_status:up');
        expect(Number(await second.ask('LLEN', `tl:${tagOf(1)}:${reader(1).person}`).then((reply) => reply.slice(1)))).toBe(3);
      });
      await second.ask('REPLICAOF', 'NO', 'ONE');
      await timelines.push(7, 2n, [{ ids: ids(3), readers: [reader(1)] }]);
      await first.kill();
      proxy.point(second.port);

      await eventually(() => timelines.push(7, 3n, [{ ids: ids(4), readers: [reader(1)] }]));
      expect(await timelines.read(reader(1))).toEqual({ state: 'absent' });
      expect(await timelines.rebuild(reader(1), snapshotOf(4, 3, 2, 1))).toEqual(present(4, 3, 2, 1));
    });

    it('keep their lists when only the connection was lost', async () => {
      const redis = await server();
      const proxy = await startWay(redis.port);
      cleanups.push(() => proxy.close());
      const { timelines } = await open([`redis://127.0.0.1:${proxy.port}`]);
      await timelines.rebuild(reader(1), snapshotOf(1));
      for (let id = 2; id <= 40; id++) {
        const pushed = timelines.push(id % 3, BigInt(id), [{ ids: ids(id), readers: [reader(1)] }]).catch(() => false);
        if (id % 10 === 0) proxy.drop();
        if ((await pushed) === false) await eventually(() => timelines.push(id % 3, BigInt(id), [{ ids: ids(id), readers: [reader(1)] }]));
      }
      await eventually(async () => {
        expect(await timelines.read(reader(1))).toEqual(present(...Array.from({ length: 40 }, (_, index) => 40 - index)));
      });
    });

    it('do not push to a node that became a replica', async () => {
      const [redis, other] = [await server(), await server()];
      const { timelines } = await open([redis.url]);
      await timelines.rebuild(reader(1), snapshotOf(1));
      await timelines.push(0, 1n, [{ ids: ids(2), readers: [reader(1)] }]);
      await redis.ask('REPLICAOF', '127.0.0.1', String(other.port));
      await expect(timelines.push(0, 2n, [{ ids: ids(3), readers: [reader(1)] }])).rejects.toMatchObject({ kind: 'unavailable' });
      await redis.ask('REPLICAOF', 'NO', 'ONE');
      await eventually(() => timelines.push(0, 2n, [{ ids: ids(3), readers: [reader(1)] }]));
    });

    it('reject pushes when memory is full, and forget old timelines where they may', async () => {
      const redis = await server(['--maxmemory', '3mb', '--maxmemory-policy', 'noeviction']);
      const { timelines } = await open([redis.url]);
      const many = Array.from({ length: 400 }, (_, index) => index + 1);
      const long = snapshotOf(...Array.from({ length: 800 }, (_, index) => 1e15 + 800 - index));
      await expect(Promise.all(many.map((number) => timelines.rebuild(reader(number), long)))).rejects.toMatchObject({ kind: 'unavailable' });
      await expect(timelines.push(0, 1n, [{ ids: ids(2e15), readers: many.map((number) => reader(number)) }])).rejects.toMatchObject({ kind: 'unavailable' });
      await redis.ask('CONFIG', 'SET', 'maxmemory-policy', 'volatile-lru');
      await timelines.push(0, 2n, [{ ids: ids(2e15), readers: many.map((number) => reader(number)) }]);
      for (const number of many) await timelines.rebuild(reader(number), long);
      const { present: left } = await timelines.statistics();
      expect(left).toBeGreaterThan(10);
      expect(left).toBeLessThan(400);
      expect(await timelines.applied(0)).toBe(2n);
    });

    it('cut a list that is pushed to and never read', async () => {
      const redis = await server();
      const { timelines } = await open([redis.url]);
      const max = timelineLimits.idsPerTimelineMax;
      await timelines.rebuild(reader(1), snapshotOf(1));
      for (let first = 0; first < max * 4; first += 10) {
        await timelines.push(0, BigInt(first), [{ ids: Array.from({ length: 10 }, (_, index) => BigInt(10_000 + first + index) as PostId), readers: [reader(1)] }]);
      }
      const key = `tl:${tagOf(1)}:${reader(1).person}`;
      await eventually(async () => expect(Number((await redis.ask('LLEN', key)).slice(1))).toBeLessThan(max * 1.6));
      const found = await timelines.read(reader(1));
      if (found.state !== 'present') throw new Error(found.state);
      expect(found.ids).toEqual(Array.from({ length: found.ids.length }, (_, index) => BigInt(10_000 + max * 4 - 1 - index)));
      expect(found.ids.length).toBe(max);
      expect(found.exactFrom).toBe(found.ids.at(-1));
    });

    it('show what was pushed during a rebuild also after the list was cut', async () => {
      // Cutting the first elements alone would lose 9,000: it was pushed before the snapshot was stored.
      const redis = await server();
      const { timelines } = await open([redis.url]);
      await timelines.rebuild(reader(1), async () => {
        await timelines.push(0, 1n, [{ ids: ids(9_000), readers: [reader(1)] }]);
        return { ids: ids(...Array.from({ length: 800 }, (_, index) => 900 - index)), exactFrom: 0n as PostId };
      });
      for (let id = 1_001; id <= 1_200; id++) await timelines.push(0, BigInt(id), [{ ids: ids(id), readers: [reader(1)] }]);
      const before = await timelines.read(reader(1));
      await eventually(async () => expect(Number((await redis.ask('LLEN', `tl:${tagOf(1)}:${reader(1).person}`)).slice(1))).toBeLessThan(810));
      expect(await timelines.read(reader(1))).toEqual(before);
      if (before.state !== 'present') throw new Error(before.state);
      expect([before.ids[0], before.ids.length]).toEqual([9_000n, 800]);
    });

    it('still limit, each process by itself, while Redis is away', async () => {
      const redis = await server();
      const { limits } = await open([redis.url]);
      const limit = { name: 'test', capacity: 3, periodMs: 60_000 };
      const allowed = async (): Promise<number> => {
        const answers = [];
        for (let count = 0; count < 10; count++) answers.push(await limits.take(limit, 'key'));
        return answers.filter((answer) => answer.allowed).length;
      };
      expect(await allowed()).toBe(3);
      await redis.kill();
      expect(await allowed()).toBe(3);
      expect(await allowed()).toBe(0);
      await redis.start();
      await eventually(async () => expect(await allowed()).toBe(3));
    });

    it('tell live events to this process while Redis is away, and to all when it is back', async () => {
      const redis = await server();
      const [here, there] = [await open([redis.url]), await open([redis.url])];
      const heard: { here: LiveEvent[]; there: LiveEvent[] } = { here: [], there: [] };
      await here.live.listen((event) => heard.here.push(event));
      await there.live.listen((event) => heard.there.push(event));
      await redis.kill();
      await here.live.publish([entry(3, 1)]);
      expect(heard.here).toEqual([entry(3, 1)]);
      await redis.start();
      await eventually(async () => {
        await here.live.publish([entry(3, 2)]);
        expect(heard.there.length).toBeGreaterThan(0);
        expect(heard.here.length).toBeGreaterThan(1);
      });
      expect(heard.there[0]).toEqual(entry(3, 2));
    });
  });

  describe('a cluster', () => {
    let cluster: Awaited<ReturnType<typeof startTestRedisCluster>>;
    beforeAll(async () => {
      cluster = await startTestRedisCluster({ replicas: true });
      return () => cluster.stop();
    });

    const idOf = async (redis: TestRedis): Promise<string> => await redis.ask('CLUSTER', 'MYID');
    const masterOf = async (slot: number): Promise<TestRedis> => {
      for (const master of cluster.masters) {
        const reply = await master.ask('GET', `{${tagOf([...Array(1_024).keys()].find((shard) => slotOf(shard) === slot) ?? 0).slice(1, -1)}}`).catch(() => '-');
        if (!reply.startsWith('-')) return master;
      }
      throw new Error(`nobody has slot ${slot}`);
    };

    it('hashes tags as we do', async () => {
      for (const shard of [0, 1, 16, 511, 1_023]) {
        expect(await cluster.masters[0]!.ask('CLUSTER', 'KEYSLOT', tagOf(shard))).toBe(`:${slotOf(shard)}`);
      }
    });

    it('follows a shard that moves, in the middle of its move and afterwards', async () => {
      const { timelines, live } = await open([cluster.urls[0]!], 'cluster');
      const other = await open([cluster.urls[1]!], 'cluster');
      // Two readers of one shard: the list of the first moves early.
      const [first, second] = [reader(16, 16), reader(17, 16)];
      const slot = String(slotOf(16));
      await timelines.rebuild(first, snapshotOf(1));
      await timelines.rebuild(second, snapshotOf(1));
      const heard: LiveEvent[] = [];
      await other.live.listen((event) => heard.push(event));

      const from = await masterOf(slotOf(16));
      const to = cluster.masters.find((master) => master !== from)!;
      await to.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await idOf(from));
      await from.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await idOf(to));
      const move = (key: string): Promise<string> => from.ask('MIGRATE', '127.0.0.1', String(to.port), key, '0', '2000');
      await move(`tl:${tagOf(16)}:${first.person}`);
      await timelines.push(0, 1n, [{ ids: ids(2, 3), readers: [first, second] }]);
      await move(`tl:${tagOf(16)}:${second.person}`);
      await timelines.push(0, 2n, [{ ids: ids(4), readers: [first, second] }]);
      for (const node of [to, from]) await node.ask('CLUSTER', 'SETSLOT', slot, 'NODE', await idOf(to));

      await timelines.push(0, 3n, [{ ids: ids(5), readers: [first, second, reader(99, 99)] }]);
      expect(await timelines.read(first)).toEqual(present(5, 4, 3, 2, 1));
      expect(await timelines.read(second)).toEqual(present(5, 4, 3, 2, 1));
      // This process has an old table until it asks.
      await eventually(async () => expect(await other.timelines.read(second)).toEqual(present(5, 4, 3, 2, 1)));
      await other.timelines.remove([second]);
      expect(await timelines.read(second)).toEqual({ state: 'absent' });
      await eventually(async () => {
        await live.publish([entry(16, 7)]);
        expect(heard.length).toBeGreaterThan(0);
      });
    });

    it('goes on with the replica when a master is lost', async () => {
      const { timelines, nodes } = await open(cluster.urls, 'cluster');
      const [lost] = cluster.masters;
      const readers = Array.from({ length: 60 }, (_, index) => reader(1_000 + index));
      for (const each of readers) await timelines.rebuild(each, snapshotOf(1));
      await timelines.push(2, 1n, [{ ids: ids(2), readers }]);
      await eventually(async () => expect(await lost!.ask('WAIT', '1', '1000')).toBe(':1'));
      await lost!.kill();
      await eventually(() => timelines.push(2, 2n, [{ ids: ids(3), readers }]), 60_000);
      await eventually(() => expect(nodes.table.nodes.map(({ name }) => name)).not.toContain(`127.0.0.1:${lost!.port}`));
      for (const each of readers) {
        const found = await timelines.read(each);
        expect(found.state === 'present' ? found : await timelines.rebuild(each, snapshotOf(3, 2, 1))).toEqual(present(3, 2, 1));
      }
    }, 90_000);
  });
});
