import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { RedisLimits, RedisLiveEvents, RedisNodes, RedisTimelines, type RedisMode } from '@dmb/timelines';
import { limitsConformance } from '../src/conformance/limits.ts';
import { liveEventsConformance } from '../src/conformance/live-events.ts';
import { timelinesConformance } from '../src/conformance/timelines.ts';
import { askRedis, findRedis, startTestRedis, startTestRedisCluster } from '../src/redis-engine.ts';

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

const named = await findRedis();
const startable = await findRedis({ startable: true });

/** A server that is named takes the place of the one node that would be started. */
function oneNode(): Promise<Installation> {
  if (named.from !== 'url') return independent(1);
  const { url } = named;
  return Promise.resolve({ mode: 'nodes', urls: [url], empty: async () => void (await askRedis(url, ['FLUSHALL'])), stop: () => Promise.resolve() });
}

const installations = {
  ...(named.from === 'nothing' ? {} : { 'redis, one node': oneNode }),
  ...(startable.from === 'nothing' ? {} : { 'redis, three nodes': () => independent(3), 'redis cluster': cluster }),
};

if (startable.from === 'nothing') {
  const { required, why } = startable;
  if (!required) process.stdout.write(`Tests on Redis were NOT run${named.from === 'url' ? ' but those on one node' : ''}. ${why}\n`);
  it.skipIf(!required)('has Redis', () => expect.fail(why));
}

for (const [name, install] of Object.entries(installations)) {
  describe(name, () => {
    let installation: Installation;
    beforeAll(async () => {
      installation = await install();
      return () => installation.stop();
    });

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
