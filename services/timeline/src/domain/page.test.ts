import { describe, expect, it } from 'vitest';
import type { PostId } from '@dmb/protocol';
import { homeLimits } from '../limits.ts';
import type { Skeleton, Source } from './descent.ts';
import { readPage } from './page.ts';

const ids = (...numbers: readonly number[]): PostId[] => numbers.map((number) => BigInt(number) as PostId);
const fallingFrom = (top: number): PostId[] => Array.from({ length: top }, (_, index) => BigInt(top - index) as PostId);

/** A timeline whose list in the store holds `listed` ids and whose snapshots hold `page`. */
function timelineOf(all: readonly PostId[], listed: number, page: number): { source: Source; asked: bigint[] } {
  const asked: bigint[] = [];
  const cut = (some: readonly PostId[], count: number): Skeleton => {
    const part = some.slice(0, count);
    return { ids: part, exactFrom: part.length === some.length ? (0n as PostId) : part.at(-1)! };
  };
  return {
    asked,
    source: {
      first: () => Promise.resolve(cut(all, listed)),
      below: (before) => {
        asked.push(before);
        return Promise.resolve(cut(all.filter((id) => id < before), page));
      },
      above: (after, count) => {
        asked.push(after);
        return Promise.resolve(all.filter((id) => id > after).slice(-count));
      },
    },
  };
}
const presenting = (hidden: (id: bigint) => boolean, looked: bigint[] = []) => (some: readonly PostId[]) => {
  looked.push(...some);
  const kept = some.filter((id) => !hidden(id));
  return Promise.resolve({ statuses: kept.map(String), kept });
};
const everything = presenting(() => false);
const paging = (some: Partial<{ maxId: bigint; sinceId: bigint; minId: bigint; limit: number }>) => ({ maxId: undefined, sinceId: undefined, minId: undefined, limit: 20, ...some });

describe('a page of home', () => {
  it('leads from page to page through everything that survives, once, whatever the seams', async () => {
    let state = 3;
    const below = (bound: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff) % bound;
    for (let round = 0; round < 200; round++) {
      const all = fallingFrom(below(300)).filter(() => below(10) > 2);
      const hiddenIds = new Set(all.filter(() => below(3) === 0));
      const visible = all.filter((id) => !hiddenIds.has(id));
      const { source } = timelineOf(all, 1 + below(100), 1 + below(60));
      const limit = 1 + below(40);
      const read: string[] = [];
      let pages = 0;
      for (let maxId: bigint | undefined; pages < 1_000; pages++) {
        const page = await readPage(source, presenting((id) => hiddenIds.has(id as PostId)), paging({ limit, ...(maxId === undefined ? {} : { maxId }) }));
        read.push(...page.rows);
        expect(page.rows.length).toBeLessThanOrEqual(limit);
        expect(page.prev).toBe(page.rows.length === 0 ? undefined : BigInt(page.rows[0]!));
        if (page.next === undefined) break;
        maxId = page.next;
      }
      expect(read).toEqual(visible.map(String));
    }
  });

  it('gives the newest above since_id, and the nearest above min_id', async () => {
    const { source } = timelineOf(fallingFrom(100), 30, 25);
    const newest = await readPage(source, everything, paging({ sinceId: 40n, limit: 5 }));
    expect(newest.rows).toEqual(['100', '99', '98', '97', '96']);
    const nearest = await readPage(source, everything, paging({ minId: 40n, limit: 5 }));
    expect(nearest.rows).toEqual(['45', '44', '43', '42', '41']);
    expect(nearest).toMatchObject({ next: 41n, prev: 45n });
    expect((await readPage(source, everything, paging({ minId: 0n, limit: 3 }))).rows).toEqual(['3', '2', '1']);
    expect((await readPage(source, everything, paging({ minId: 40n, maxId: 43n, limit: 5 }))).rows).toEqual(['42', '41']);
    expect((await readPage(source, everything, paging({ minId: 100n }))).rows).toEqual([]);
  });

  it('fills a page above min_id with what lies nearest, past what is hidden', async () => {
    const { source } = timelineOf(fallingFrom(100), 100, 25);
    const odd = await readPage(source, presenting((id) => id % 2n === 0n), paging({ minId: 40n, limit: 4 }));
    expect(odd.rows).toEqual(['47', '45', '43', '41']);
  });

  it('stops at since_id without taking it for the end of the timeline', async () => {
    const { source } = timelineOf(fallingFrom(100), 100, 25);
    const page = await readPage(source, everything, paging({ sinceId: 95n }));
    expect(page.rows).toHaveLength(5);
    expect(page.next).toBe(96n);
    expect(await readPage(source, everything, paging({ sinceId: 100n }))).toEqual({ rows: [], next: undefined, prev: undefined });
  });

  it('asks Postgres at once for what lies below the list', async () => {
    const { source, asked } = timelineOf(fallingFrom(1_000), 100, 50);
    expect((await readPage(source, everything, paging({ maxId: 500n, limit: 2 }))).rows).toEqual(['499', '498']);
    expect(asked).toEqual([500n]);
  });

  it('looks at so many rows at most, and then leads on from where it looked', async () => {
    const looked: bigint[] = [];
    const { source } = timelineOf(fallingFrom(10_000), 800, 800);
    const page = await readPage(source, presenting((id) => id < 9_995n, looked), paging({}));
    expect(page.rows).toHaveLength(6);
    expect(looked.length).toBeGreaterThanOrEqual(homeLimits.looksMax);
    expect(looked.length).toBeLessThan(homeLimits.looksMax + homeLimits.chunkMax);
    expect(page.next).toBe(looked.at(-1));
  });

  it('goes further before it gives out an empty page, and even then shows a way on', async () => {
    const { source } = timelineOf(fallingFrom(10_000), 800, 800);
    const found = await readPage(source, presenting((id) => id > 7_000n), paging({ limit: 2 }));
    expect(found.rows[0]).toBe('7000');
    const nothing = await readPage(source, presenting(() => true), paging({}));
    expect(nothing.rows).toEqual([]);
    expect(nothing.next).toBeLessThan(6_100n);
    expect(nothing.next).toBeGreaterThan(5_000n);
  });

  it('presents no more than it needs where nothing is hidden', async () => {
    const looked: bigint[] = [];
    const { source } = timelineOf(fallingFrom(100), 100, 25);
    await readPage(source, presenting(() => false, looked), paging({ limit: 20 }));
    expect(looked).toHaveLength(20);
  });

  it('goes up from a min_id at the bottom of a long timeline with as little work as at its top, and up through all of it', async () => {
    const { source, asked } = timelineOf(fallingFrom(100_000), 800, 800);
    const looked: bigint[] = [];
    const page = await readPage(source, presenting(() => false, looked), paging({ minId: 1n, limit: 40 }));
    expect(page.rows).toEqual(Array.from({ length: 40 }, (_, index) => String(41 - index)));
    expect([page.prev, page.next]).toEqual([41n, 2n]);
    expect([asked.length, looked.length]).toEqual([1, 40]);
    expect((await readPage(source, everything, paging({ minId: 1n, maxId: 4n }))).rows).toEqual(['3', '2']);
    const read: string[] = [];
    const all = fallingFrom(5_000);
    const hidden = (id: bigint): boolean => id % 3n === 0n || (id > 1_000n && id < 4_200n);
    const long = timelineOf(all, 100, 100).source;
    for (let minId: bigint | undefined = 0n, pages = 0; minId !== undefined && pages < 500; pages++) {
      const part: Awaited<ReturnType<typeof readPage<string>>> = await readPage(long, presenting(hidden), paging({ minId, limit: 17 }));
      read.unshift(...part.rows);
      minId = part.prev;
    }
    expect(read).toEqual(all.filter((id) => !hidden(id)).map(String));
  });

  it('refuses a source that goes nowhere', async () => {
    const stuck: Source = { first: () => Promise.resolve({ ids: ids(9), exactFrom: 9n as PostId }), below: (before) => Promise.resolve({ ids: [], exactFrom: before }), above: (after) => Promise.resolve([after]) };
    await expect(readPage(stuck, everything, paging({}))).rejects.toMatchObject({ kind: 'bug' });
    await expect(readPage(stuck, everything, paging({ minId: 1n }))).rejects.toMatchObject({ kind: 'bug' });
  });
});
