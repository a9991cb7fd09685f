/**
 * Whether each of many followers has certain posts exactly once, in order: all of them are asked, not a sample.
 *
 * Where timelines are in Redis, each list is read through the same port that the product reads it through; whoever has none
 * is absent, and reads home over HTTP, which makes it. A part of those with a list reads home over HTTP as well. Where the store is in the memory of
 * the server, everybody reads home over HTTP.
 */
import { shardOf } from '@dmb/protocol';
import { createLogger } from '@dmb/runtime';
import { RedisNodes, RedisTimelines, type Timelines } from '@dmb/timelines';
import { forEach, type Client } from './client.ts';
import { loadTestLimits } from './limits.ts';
import { sampleOf, type Person } from './seed.ts';

export interface Swept {
  /** Followers who have not exactly these. */
  readonly wrong: number;
  /** Read through the port, and over HTTP. */
  readonly byPort: number;
  readonly byHttp: number;
}

/** @param wanted ids of posts, the newest first: what every follower has at the top */
export async function sweep(client: Client, redisUrls: readonly string[], followers: readonly Person[], wanted: readonly string[]): Promise<Swept> {
  const expected = wanted.join();
  let wrong = 0;
  const overHttp = async (some: readonly Person[]): Promise<void> => {
    await forEach(some, async ({ token }) => void (wrong += (await client.home(token, loadTestLimits.homePageMax)).slice(0, wanted.length).join() === expected ? 0 : 1));
  };
  if (redisUrls.length === 0) {
    await overHttp(followers);
    return { wrong, byPort: 0, byHttp: followers.length };
  }
  const nodes = await RedisNodes.open({ urls: redisUrls, mode: 'nodes', logger: createLogger({ name: 'sweep', level: 'error' }) });
  const timelines: Timelines = new RedisTimelines({ nodes });
  try {
    const absent: Person[] = [];
    const present: Person[] = [];
    await forEach(followers, async (follower) => {
      const found = await timelines.read({ shard: shardOf(follower.person), person: follower.person });
      if (found.state !== 'present') absent.push(follower);
      else {
        present.push(follower);
        wrong += found.ids.slice(0, wanted.length).join() === expected ? 0 : 1;
      }
    });
    const again = sampleOf(present, loadTestLimits.sweptOverHttp);
    await overHttp([...absent, ...again]);
    return { wrong, byPort: present.length, byHttp: absent.length + again.length };
  } finally {
    await timelines.close();
    await nodes.close();
  }
}
