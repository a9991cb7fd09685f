import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readVectors, seed } from '../test/vectors.ts';
import {
  type DrawnId,
  type PostId,
  EPOCH_2000_MS,
  IdSource,
  POST_ID_AHEAD_MS_MAX,
  formatPostId,
  makePostId,
  parsePostId,
  postIdMs,
  postIdShard,
} from './post-ids.ts';

const vectors = readVectors<{
  readonly postIds: readonly { readonly unixMs: number; readonly shard: number; readonly counter: number; readonly id: string }[];
  readonly refusedPostIds: readonly string[];
}>('ids');

const now = Date.UTC(2026, 10, 22);

function drawn(outcome: DrawnId): PostId {
  if (outcome.outcome !== 'drawn') throw new Error(`ahead by ${outcome.byMs} ms`);
  return outcome.id;
}

describe('post ids', () => {
  it.each(vectors.postIds)('is $id for $unixMs, $shard, $counter', ({ unixMs, shard, counter, id }) => {
    const made = makePostId(unixMs, shard, counter);
    expect(formatPostId(made)).toBe(id);
    expect(parsePostId(id)).toBe(made);
    expect([postIdMs(made), postIdShard(made)]).toEqual([unixMs, shard]);
  });

  it.each(vectors.refusedPostIds)('refuses %j', (text) => {
    expect(parsePostId(text)).toBeUndefined();
  });

  it.each([
    [EPOCH_2000_MS - 1, 0, 0],
    [EPOCH_2000_MS + 2 ** 41, 0, 0],
    [now + 0.5, 0, 0],
    [NaN, 0, 0],
    [now, -1, 0],
    [now, 1024, 0],
    [now, 0, -1],
    [now, 0, 4096],
  ])('is not made of %d, %d, %d', (unixMs, shard, counter) => {
    expect(() => makePostId(unixMs, shard, counter)).toThrow(RangeError);
  });

  it('reads exactly what it writes', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (id) => {
        expect(parsePostId(formatPostId(id as PostId))).toBe(id);
        expect(makePostId(postIdMs(id as PostId), postIdShard(id as PostId), Number(id & 0xfffn))).toBe(id);
      }),
      { seed },
    );
  });
});

describe('a source of ids', () => {
  it('takes the clock, the shard and a counter in the lower half', () => {
    const counters = Array.from({ length: 500 }, () => Number(drawn(new IdSource().draw(517, undefined, now)) & 0xfffn));
    expect(Math.max(...counters)).toBeLessThan(2048);
    expect(new Set(counters).size).toBeGreaterThan(300);
    const id = drawn(new IdSource(() => 7).draw(517, undefined, now));
    expect([postIdMs(id), postIdShard(id), Number(id & 0xfffn)]).toEqual([now, 517, 7]);
  });

  it('counts on inside a millisecond, shard by shard', () => {
    const source = new IdSource(() => 100);
    const ids = [1, 1, 2, 1, 2].map((shard) => drawn(source.draw(shard, undefined, now)));
    expect(ids).toEqual([makePostId(now, 1, 100), makePostId(now, 1, 101), makePostId(now, 2, 100), makePostId(now, 1, 102), makePostId(now, 2, 101)]);
  });

  it('begins the next millisecond past counter 4095', () => {
    const source = new IdSource(() => 2047);
    const ids = Array.from({ length: 2050 }, () => drawn(source.draw(0, undefined, now)));
    expect(ids.at(2048)).toBe(makePostId(now, 0, 4095));
    expect(ids.at(2049)).toBe(makePostId(now + 1, 0, 2047));
  });

  it('goes above a head of the same millisecond with a higher counter', () => {
    expect(drawn(new IdSource(() => 0).draw(0, makePostId(now, 0, 4095), now))).toBe(makePostId(now + 1, 0, 0));
    expect(drawn(new IdSource(() => 9).draw(0, makePostId(now, 0, 8), now))).toBe(makePostId(now, 0, 9));
    expect(drawn(new IdSource(() => 9).draw(0, makePostId(now, 0, 9), now))).toBe(makePostId(now + 1, 0, 9));
  });

  it('follows a head that is ahead of the clock, up to a second', () => {
    const head = (ms: number): PostId => makePostId(now + ms, 0, 4095);
    expect(drawn(new IdSource(() => 0).draw(0, head(999), now))).toBe(makePostId(now + 1000, 0, 0));
    expect(new IdSource(() => 0).draw(0, head(1000), now)).toEqual({ outcome: 'ahead', byMs: 1001 });
  });

  it('remembers nothing of a draw that was ahead', () => {
    const source = new IdSource(() => 5);
    expect(source.draw(0, makePostId(now + 60_000, 0, 0), now).outcome).toBe('ahead');
    expect(drawn(source.draw(0, undefined, now))).toBe(makePostId(now, 0, 5));
  });

  it('holds back once a second of counters is used up, and goes on with the clock', () => {
    const source = new IdSource(() => 4094);
    let ids = 0;
    while (ids < 10_000 && source.draw(0, undefined, now).outcome === 'drawn') ids += 1;
    expect(ids).toBe(2 * (POST_ID_AHEAD_MS_MAX + 1));
    expect(source.draw(0, undefined, now + 1).outcome).toBe('drawn');
  });

  it('holds back while a clock that was set back catches up', () => {
    const source = new IdSource();
    source.draw(0, undefined, now);
    expect(source.draw(0, undefined, now - 5000).outcome).toBe('ahead');
    expect(source.draw(0, undefined, now - 900).outcome).toBe('drawn');
  });

  it('refuses a head of another shard', () => {
    expect(() => new IdSource().draw(1, makePostId(now, 2, 0), now)).toThrow(RangeError);
  });

  // Without the head, two processes with different clocks would make ids fall inside a log.
  it('rises inside each log and is unique in the shard, whatever several processes and their clocks do', () => {
    const step = fc.record({ process: fc.nat(2), log: fc.nat(2), passesMs: fc.integer({ min: -300, max: 40 }), stale: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 300 }), (steps) => {
        const processes = [new IdSource(() => 4090), new IdSource(() => 0), new IdSource()];
        const skewMs = [0, 700, -700];
        const logs: PostId[][] = [[], [], []];
        const taken = new Set<PostId>();
        let clock = now;
        for (const { process, log, passesMs, stale } of steps) {
          clock += Math.max(0, passesMs);
          const nowMs = clock + (skewMs[process] ?? 0) + Math.min(0, passesMs);
          const entries = logs[log] ?? [];
          const head = stale ? entries.at(-2) : entries.at(-1);
          const outcome = processes[process]?.draw(7, head, nowMs) ?? { outcome: 'ahead', byMs: 0 };
          if (outcome.outcome === 'ahead') {
            expect(outcome.byMs).toBeGreaterThan(POST_ID_AHEAD_MS_MAX);
            expect(processes[process]?.draw(7, head, nowMs + outcome.byMs).outcome).toBe('drawn');
            continue;
          }
          expect(outcome.id).toBeGreaterThan(head ?? -1n);
          expect(postIdShard(outcome.id)).toBe(7);
          expect(postIdMs(outcome.id) - nowMs).toBeLessThanOrEqual(POST_ID_AHEAD_MS_MAX);
          const commits = head === entries.at(-1) && !taken.has(outcome.id);
          if (commits) {
            taken.add(outcome.id);
            entries.push(outcome.id);
          }
        }
        for (const entries of logs) expect(entries).toEqual(entries.toSorted((a, b) => (a < b ? -1 : 1)));
      }),
      { seed, numRuns: 200 },
    );
  });

  it('never draws one id twice in a process', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 2, maxLength: 500 }), (moves) => {
        const source = new IdSource();
        let nowMs = now;
        const ids = moves.map((ms) => drawn(source.draw(3, undefined, (nowMs += ms % 3))));
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids).toEqual(ids.toSorted((a, b) => (a < b ? -1 : 1)));
      }),
      { seed, numRuns: 50 },
    );
  });
});
