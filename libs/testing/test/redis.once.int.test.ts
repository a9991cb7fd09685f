import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { RedisLimits, RedisLiveEvents, RedisNodes, RedisTimelines, type RedisMode } from '@dmb/timelines';
import { limitsConformance } from '../src/conformance/limits.ts';
import { liveEventsConformance } from '../src/conformance/live-events.ts';
import { timelinesConformance } from '../src/conformance/timelines.ts';
import { findRedis, startTestRedis, startTestRedisCluster } from '../src/redis-engine.ts';

/** Servers of one kind of installation, for all tests of this file. */
interface Installation {
  readonly mode: RedisMode;
  readonly urls: readonly string[];
  empty(): Promise<void>;
  stop(): Promise<void>;
}

async function independent(count: number): Promise<Installation> {
  const servers = await Promise.all(Array.from({ length: count }, () => startTestRedis()));
  return {
    mode: 'nodes',
    urls: servers.map(({ url }) => url),
    empty: async () => void (await Promise.all(servers.map((server) => server.ask('FLUSHALL')))),
    stop: async () => void (await Promise.all(servers.map((server) => server.stop()))),
  };
}

async function cluster(): Promise<Installation> {
  const { masters, urls, stop } = await startTestRedisCluster();
  return { mode: 'cluster', urls, empty: async () => void (await Promise.all(masters.map((master) => master.ask('FLUSHALL')))), stop };
}

const installations = {
  'redis, one node': () => independent(1),
  'redis, three nodes': () => independent(3),
  'redis cluster': cluster,
};

const source = await findRedis({ startable: true });

if (source.from === 'nothing') {
  if (process.env['CI'] !== 'true') process.stdout.write(`The tests on Redis were NOT run. ${source.why}\n`);
  describe('redis', () => {
    it.skipIf(process.env['CI'] !== 'true')('can be had', () => expect.fail(source.why));
  });
} else {
  for (const [name, install] of Object.entries(installations)) {
    describe(name, () => {
      let installation: Installation;
      beforeAll(async () => {
        installation = await install();
      });
      afterAll(() => installation.stop());

      const open = async (): Promise<RedisNodes> => {
        const nodes = await RedisNodes.open(installation);
        onTestFinished(() => nodes.close());
        return nodes;
      };

      const create = async (): Promise<RedisTimelines> => {
        await installation.empty();
        return new RedisTimelines({ nodes: await open() });
      };
      timelinesConformance(name, create, { step: () => new Promise((done) => setImmediate(done)) });

      liveEventsConformance(name, async () => ({
        here: new RedisLiveEvents({ nodes: await open() }),
        there: new RedisLiveEvents({ nodes: await open() }),
      }));

      limitsConformance(name, async () => {
        await installation.empty();
        // The clock is the server's, which nobody can advance.
        return { limits: new RedisLimits({ nodes: await open() }), advance: (ms) => new Promise((done) => setTimeout(done, ms)) };
      });
    });
  }
}
