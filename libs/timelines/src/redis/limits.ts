/**
 * Rate limits on Redis: one bucket for all processes, one round trip by one script (GCRA, see scripts.ts).
 *
 * The clock is the server's, so that processes with different clocks share a bucket. A bucket is one number and expires
 * when it is full again: what is kept is what was asked for within a period.
 *
 * With the node of a bucket away, or slower than `limitMsMax`, this process counts by itself, and asks that node again after
 * `limitsPauseMs`. So N processes allow up to N times as much meanwhile, and never everything.
 */
import { redisLimits } from '../limits.ts';
import { MemoryLimits } from '../memory.ts';
import type { Limit, LimitAnswer, Limits } from '../ports.ts';
import { limitKey } from './keys.ts';
import type { RedisNode, RedisNodes } from './nodes.ts';
import { evaluate, takeScript } from './scripts.ts';

/** Rate limits in Redis, shared by all processes of an installation. */
export class RedisLimits implements Limits {
  private readonly nodes: RedisNodes;
  private readonly alone = new MemoryLimits();
  /** Until when a node is not asked. */
  private readonly pausedUntil = new WeakMap<RedisNode, number>();

  constructor(options: { readonly nodes: RedisNodes }) {
    this.nodes = options.nodes;
  }

  async take(limit: Limit, key: string, cost = 1): Promise<LimitAnswer> {
    const place = limitKey(limit.name, key);
    const node = this.nodes.table.byShard[place.shard];
    if (node === undefined || performance.now() < (this.pausedUntil.get(node) ?? 0)) return await this.alone.take(limit, key, cost);
    try {
      const taken = this.nodes.run(place.shard, (redis) => evaluate(redis, takeScript, [place.key], [limit.capacity, limit.periodMs, cost]));
      return answerOf(limit, (await within(taken, redisLimits.limitMsMax)) as [number, string, string]);
    } catch (error) {
      this.pausedUntil.set(node, performance.now() + redisLimits.limitsPauseMs);
      this.nodes.logger.debug('limits are counted by this process alone', { node: node.name, error });
      return await this.alone.take(limit, key, cost);
    }
  }

  async close(): Promise<void> {
    await this.alone.close();
  }
}

function answerOf({ capacity, periodMs }: Limit, [allowed, fullAtText, nowText]: readonly [number, string, string]): LimitAnswer {
  const fullAtMs = Number(fullAtText) / 1_000;
  const unitMs = periodMs / capacity;
  const remaining = Math.max(0, Math.floor((periodMs - (fullAtMs - Number(nowText) / 1_000)) / unitMs + 1 / 1_000));
  return { allowed: allowed === 1, remaining, resetAt: Math.ceil(fullAtMs) };
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let limit: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, failed) => {
    limit = setTimeout(() => failed(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(limit);
  }
}
