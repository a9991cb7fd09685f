import { describe, expect, it } from 'vitest';
import type { PersonId, PostId } from '@dmb/protocol';
import { IdList } from './id-list.ts';
import { MemoryTimelines } from './memory.ts';
import type { Reader, TimelineSnapshot } from './ports.ts';

const reader = (number: number): Reader => ({ shard: 0, person: `person-${number}` as PersonId });
const snapshot = (...ids: readonly number[]): (() => Promise<TimelineSnapshot>) => {
  return () => Promise.resolve({ ids: ids.map((id) => BigInt(id) as PostId), exactFrom: 0n as PostId });
};
const id = (number: number): PostId => BigInt(number) as PostId;

describe('memory of timelines', () => {
  it('forgets the lists read longest ago when all together are too long', async () => {
    const timelines = new MemoryTimelines({ limits: { idsPerTimelineMax: 16, idsSlack: 0, idsTotalMax: 32 } });
    for (let number = 1; number <= 4; number++) await timelines.rebuild(reader(number), snapshot(1));
    await timelines.read(reader(1));
    await timelines.rebuild(reader(5), snapshot(1));
    expect((await timelines.read(reader(2))).state).toBe('absent');
    expect((await timelines.read(reader(1))).state).toBe('present');
    // Growing by pushes counts as well.
    for (let number = 2; number <= 16; number++) await timelines.push(0, 1n, [{ ids: [id(number)], readers: [reader(1)] }]);
    expect((await timelines.statistics()).present).toBe(3);
  });

  it('forgets a list that nobody reads, and keeps one that is read', async () => {
    let now = 0;
    const timelines = new MemoryTimelines({ now: () => now });
    await timelines.rebuild(reader(1), snapshot(1));
    await timelines.rebuild(reader(2), snapshot(1));
    now = 6 * 86_400_000;
    await timelines.read(reader(2));
    now = 8 * 86_400_000;
    expect((await timelines.read(reader(1))).state).toBe('absent');
    expect((await timelines.read(reader(2))).state).toBe('present');
    await timelines.push(0, 1n, []);
    expect((await timelines.statistics()).present).toBe(1);
  });

  it('starts again when the snapshot took longer than the sentinel lasts, and lets others in after the lock', async () => {
    let now = 0;
    const timelines = new MemoryTimelines({ now: () => now });
    let loads = 0;
    const slow = await timelines.rebuild(reader(1), () => {
      loads++;
      if (loads === 1) now += 31_000;
      return snapshot(1)();
    });
    expect([slow.state, loads]).toEqual(['present', 2]);

    let release: (value: TimelineSnapshot) => void = () => undefined;
    const stuck = timelines.rebuild(reader(2), () => new Promise((resolve) => (release = resolve)));
    now += 41_000;
    expect((await timelines.rebuild(reader(2), snapshot(7))).state).toBe('present');
    release(await snapshot(1)());
    expect((await stuck).state).toBe('rebuilding');
    expect(await timelines.read(reader(2))).toMatchObject({ ids: [7n] });
  });
});

describe('a list of ids', () => {
  it('takes about 8 bytes an id and never more than its bound', () => {
    const list = new IdList(800, 80);
    for (let number = 1; number <= 100_000; number++) list.add(BigInt(number));
    expect(list.capacity).toBe(880);
    expect(list.read()).toHaveLength(800);
    expect(list.exactFrom).toBe(99_201n);
  });

  it('agrees with sorting and deduplicating, whatever is added in whatever order', () => {
    let state = 5;
    const below = (bound: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return state % bound;
    };
    for (let round = 0; round < 300; round++) {
      const list = new IdList(64, 16);
      const added = new Set<bigint>();
      for (let count = below(60); count > 0; count--) {
        const value = BigInt(1 + below(70));
        added.add(value);
        list.add(value);
        if (below(9) === 0) list.read();
      }
      expect(list.read()).toEqual([...added].toSorted((left, right) => Number(right - left)));
    }
  });
});
