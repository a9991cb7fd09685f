import { mkdtemp, rm } from 'node:fs/promises';
import { chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { findKafka, findRedis } from '@dmb/testing';
import { RedisNodes, RedisTimelines } from '@dmb/timelines';
import { Cluster } from '../src/bench/fan-out/cluster.ts';
import { checkAll, fill, placeOf } from '../src/bench/fan-out/lists.ts';

const sources = await Promise.all([findKafka({ startable: true }), findRedis({ startable: true })]);
const missing = sources.filter(({ from }) => from === 'nothing').map(({ why }) => why);
if (missing.length > 0) process.stdout.write(`The tests of fan-out processes that are killed were NOT run. ${missing.join(' ')}\n`);

/** Processes, Kafka, Redis and Postgres as in a cluster; see src/bench/fan-out/cluster.ts. */
describe.skipIf(missing.length > 0 && process.env['CI'] !== 'true')('fan-out processes', () => {
  const persons = 240_000;
  const jobLeaseMs = 3_000;
  const everybody = Array.from({ length: persons }, (_, number) => number);
  let cluster: Cluster;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `dmb-test-${process.pid}-`));
    chmodSync(folder, 0o711);
    cluster = await Cluster.open(folder);
    await cluster.renew(2);
    await fill(cluster.redis, persons, 2);
  }, 300_000);
  afterAll(async () => {
    await cluster.close();
    await rm(folder, { recursive: true, force: true });
  });

  // A worker that begins anew passes as well, but only if somebody does; one that waits for the next post does not.
  it('share a large audience, and when one is killed in the middle another goes on within a lease: everybody has the post, once when read', { timeout: 300_000 }, async () => {
    await cluster.run(2, { jobLeaseMs });
    const audience = await cluster.follow(everybody);
    const post = await cluster.post(audience);
    await vi.waitFor(() => expect(cluster.readersOf(post.id)).toBeGreaterThan(persons / 10), { timeout: 60_000, interval: 1 });
    const [victim] = cluster.processes.splice(0, 1);
    await victim!.kill();
    expect(cluster.readersOf(post.id)).toBeLessThan(persons);
    expect(await cluster.jobs()).toBeGreaterThan(0);
    await cluster.drained();
    await checkAll(cluster.redis, everybody, [post.id], 2);
    const nodes = await RedisNodes.open({ urls: cluster.redis.map(({ url }) => url) });
    const timelines = new RedisTimelines({ nodes });
    try {
      for (let number = 0; number < persons; number += 400) {
        const found = await timelines.read(placeOf(number));
        if (found.state !== 'present') throw new Error(found.state);
        // Some have been posted to before, until the cluster had settled.
        expect([found.ids[0], found.ids.length]).toEqual([post.id, new Set(found.ids).size]);
        expect(found.ids.length).toBeGreaterThanOrEqual(3);
      }
    } finally {
      await timelines.close();
      await nodes.close();
    }
  });
});
