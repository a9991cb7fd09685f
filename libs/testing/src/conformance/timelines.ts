/**
 * What every adapter of the Timelines port must do, whatever it keeps its lists in.
 *
 * The heart is {@link raceRebuilds}: a small model of the world (posts are committed, then pushed;
 * readers rebuild; somebody removes and clears) whose steps are interleaved by a seeded generator,
 * thousands of times. After each world the timeline must hold exactly what was committed, and at
 * every read in between everything whose push had ended before the read began.
 *
 * The wrong implementation that it is there for takes the snapshot first and makes the list present
 * afterwards. It passes every test that does one thing at a time; {@link SnapshotFirst} is it, and the
 * suite must find it out.
 */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { PersonId, PostId } from '@dmb/protocol';
import type { Push, Reader, TimelineRead, Timelines, TimelineSnapshot } from '@dmb/timelines';

/** Numbers in [0, 1) that are the same for the same seed. */
type Random = () => number;

const randomOf = (seed: number): Random => {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};

const reader = (number: number): Reader => ({
  shard: number % 1_024,
  person: `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}` as PersonId,
});
const ids = (...numbers: readonly number[]): PostId[] => numbers.map((number) => BigInt(number) as PostId);
const range = (from: number, to: number): PostId[] => Array.from({ length: to - from + 1 }, (_, index) => BigInt(from + index) as PostId);
const falling = (rising: readonly PostId[]): PostId[] => rising.toReversed();
const snapshotOf = (numbers: readonly PostId[], exactFrom = 0): (() => Promise<TimelineSnapshot>) => {
  return () => Promise.resolve({ ids: numbers, exactFrom: BigInt(exactFrom) as PostId });
};
const empty = snapshotOf([]);

/** Rebuilds with the snapshot taken before the list is present: loses what is pushed in between. */
export class SnapshotFirst implements Timelines {
  private readonly inner: Timelines;
  constructor(inner: Timelines) {
    this.inner = inner;
  }
  async rebuild(of: Reader, load: () => Promise<TimelineSnapshot>): Promise<TimelineRead> {
    const snapshot = await load();
    return this.inner.rebuild(of, () => Promise.resolve(snapshot));
  }
  push = (lane: number, position: bigint, pushes: readonly Push[]) => this.inner.push(lane, position, pushes);
  onLoss = () => this.inner.onLoss(() => Promise.resolve('remove all'));
  applied = (lane: number) => this.inner.applied(lane);
  read = (of: Reader) => this.inner.read(of);
  remove = (readers: readonly Reader[]) => this.inner.remove(readers);
  clear = () => this.inner.clear();
  statistics = () => this.inner.statistics();
  close = () => this.inner.close();
}

/** What went wrong in a number of worlds; all zero for a correct adapter. */
export interface RaceReport {
  readonly worlds: number;
  /** Reads that lacked an id that they had to show. */
  readonly lost: number;
  /** Reads with an id twice, out of order, or that nobody committed. */
  readonly disordered: number;
  /** Rebuilds that were really under way while something was pushed. */
  readonly raced: number;
}

/**
 * Runs `worlds` seeded worlds one after the other on one adapter. Between two steps everybody in a world lets a random
 * number of `step`s pass. A step should take about as long as what the adapter does in one go, or nothing ever meets:
 * a turn of the microtask queue in memory, a turn of the event loop or more over a network.
 */
export async function raceRebuilds(
  timelines: Timelines,
  options: { readonly seed: number; readonly worlds: number; readonly step?: (() => Promise<unknown>) | undefined },
): Promise<RaceReport> {
  const step = options.step ?? (() => Promise.resolve());
  const total = { worlds: 0, lost: 0, disordered: 0, raced: 0 };
  for (let world = 0; world < options.worlds; world++) {
    const outcome = await raceOnce(timelines, reader(world), randomOf(options.seed + world), step);
    total.worlds++;
    total.lost += outcome.lost;
    total.disordered += outcome.disordered;
    total.raced += outcome.raced;
  }
  return total;
}

async function raceOnce(
  timelines: Timelines,
  of: Reader,
  random: Random,
  step: () => Promise<unknown>,
): Promise<{ lost: number; disordered: number; raced: number }> {
  const outcome = { lost: 0, disordered: 0, raced: 0 };
  const below = (bound: number): number => Math.floor(random() * bound);
  const pause = async (): Promise<void> => {
    for (let steps = below(6); steps > 0; steps--) await step();
  };
  /** Postgres: what is committed. The queue: what is committed and not yet pushed. */
  const committed: PostId[] = [];
  const queue: PostId[] = [];
  const pushed = new Set<PostId>();
  const lane = of.shard % 16;
  let loading = 0;
  let position = BigInt(below(1_000_000));

  const commits = 6 + below(10);
  const committer = async (): Promise<void> => {
    for (let number = 1; number <= commits; number++) {
      // One in five is late: its id lies below ids that are there already.
      const id = BigInt(number * 10 - (random() < 0.2 ? 35 : 0)) as PostId;
      if (id > 0n && !committed.includes(id)) {
        committed.push(id);
        queue.push(id);
      }
      await pause();
    }
  };
  const pushOnce = async (): Promise<void> => {
    const some = queue.splice(0, 1 + below(3)).toSorted((left, right) => Number(left - right));
    if (some.length === 0) return;
    if (loading > 0) outcome.raced++;
    await timelines.push(lane, ++position, [{ ids: some, readers: [of] }]);
    if (random() < 0.3) await timelines.push(lane, ++position, [{ ids: some, readers: [of, of] }]);
    for (const id of some) pushed.add(id);
  };
  const pusher = async (): Promise<void> => {
    for (let turn = 0; turn < commits * 2; turn++) {
      await pause();
      await pushOnce();
    }
  };
  const load = async (): Promise<TimelineSnapshot> => {
    loading++;
    await pause();
    const all = committed.toSorted((left, right) => Number(right - left));
    await pause();
    loading--;
    return { ids: all, exactFrom: 0n as PostId };
  };
  const check = (found: TimelineRead, required: ReadonlySet<PostId>): void => {
    if (found.state !== 'present') return;
    const shown = new Set(found.ids);
    if (found.ids.some((id, index) => (index > 0 && found.ids[index - 1]! <= id) || !committed.includes(id))) outcome.disordered++;
    for (const id of required) if (id >= found.exactFrom && !shown.has(id)) outcome.lost++;
  };
  const readOnce = async (): Promise<TimelineRead> => {
    const required = new Set(pushed);
    const found = await timelines.read(of);
    check(found, required);
    if (found.state !== 'absent') return found;
    const rebuilt = await timelines.rebuild(of, load);
    check(rebuilt, required);
    return rebuilt;
  };
  const readerWorks = async (): Promise<void> => {
    for (let turn = 0; turn < 4; turn++) {
      await pause();
      await readOnce();
    }
  };
  const remover = async (): Promise<void> => {
    for (let turn = 0; turn < 3; turn++) {
      await pause();
      await pause();
      const chance = random();
      if (chance < 0.3) await timelines.remove([of]);
      else if (chance < 0.4) await timelines.clear();
    }
  };
  await Promise.all([committer(), pusher(), readerWorks(), readerWorks(), remover()]);
  while (queue.length > 0) await pushOnce();
  for (let attempt = 0; ; attempt++) {
    const found = await readOnce();
    if (found.state === 'present') {
      check(found, new Set(committed));
      return outcome;
    }
    if (attempt > 10) throw new Error(`the timeline is ${found.state} although nobody rebuilds it`);
  }
}

/** Runs the suite against what `create` makes; each test gets an empty store of its own. `step`: see {@link raceRebuilds}. */
export function timelinesConformance(name: string, create: () => Promise<Timelines>, { step }: { readonly step?: () => Promise<unknown> } = {}): void {
  const make = async (): Promise<Timelines> => {
    const timelines = await create();
    onTestFinished(() => timelines.close());
    return timelines;
  };
  const presentIds = async (timelines: Timelines, of: Reader): Promise<readonly PostId[]> => {
    const found = await timelines.read(of);
    if (found.state !== 'present') throw new Error(`the timeline is ${found.state}`);
    return found.ids;
  };

  describe(`timelines port: ${name}`, () => {
    it('does not create a list by pushing', async () => {
      const timelines = await make();
      await timelines.push(0, 1n, [{ ids: ids(1), readers: [reader(1)] }]);
      expect(await timelines.read(reader(1))).toEqual({ state: 'absent' });
      expect((await timelines.statistics()).present).toBe(0);
    });

    it('keeps an empty timeline present', async () => {
      const timelines = await make();
      expect(await timelines.rebuild(reader(1), empty)).toEqual({ state: 'present', ids: [], exactFrom: 0n });
      await timelines.push(0, 1n, [{ ids: ids(5), readers: [reader(1)] }]);
      expect(await presentIds(timelines, reader(1))).toEqual(ids(5));
    });

    it('pushes several ids to many readers and to those only', async () => {
      const timelines = await make();
      for (let number = 1; number <= 20; number++) await timelines.rebuild(reader(number), snapshotOf(ids(3, 1)));
      const readers = Array.from({ length: 15 }, (_, index) => reader(index + 1));
      await timelines.push(3, 1n, [
        { ids: ids(7, 8), readers },
        { ids: ids(9), readers: [reader(2)] },
      ]);
      expect(await presentIds(timelines, reader(1))).toEqual(ids(8, 7, 3, 1));
      expect(await presentIds(timelines, reader(2))).toEqual(ids(9, 8, 7, 3, 1));
      expect(await presentIds(timelines, reader(16))).toEqual(ids(3, 1));
    });

    it('shows an id once however often and in whatever order it was pushed', async () => {
      const timelines = await make();
      await timelines.rebuild(reader(1), snapshotOf(ids(30, 20, 10)));
      const random = randomOf(7);
      for (let turn = 0; turn < 300; turn++) {
        const id = 1 + Math.floor(random() * 60);
        await timelines.push(turn % 4, BigInt(turn), [{ ids: ids(id), readers: [reader(1), reader(1)] }]);
      }
      await timelines.push(0, 1_000n, [{ ids: range(1, 60), readers: [reader(1)] }]);
      expect(await presentIds(timelines, reader(1))).toEqual(falling(range(1, 60)));
    });

    it('merges late ids into their place', async () => {
      const timelines = await make();
      await timelines.rebuild(reader(1), snapshotOf(ids(50, 40, 10)));
      await timelines.push(0, 1n, [{ ids: ids(60), readers: [reader(1)] }]);
      await timelines.push(0, 2n, [{ ids: ids(20, 45), readers: [reader(1)] }]);
      expect(await presentIds(timelines, reader(1))).toEqual(ids(60, 50, 45, 40, 20, 10));
    });

    it('is exact down to its oldest id once older ones went, and shows nothing below that', async () => {
      const timelines = await make();
      await timelines.rebuild(reader(1), snapshotOf(falling(range(1_001, 1_700)), 0));
      for (let id = 1_701; id <= 3_000; id++) await timelines.push(1, BigInt(id), [{ ids: ids(id), readers: [reader(1)] }]);
      const found = await timelines.read(reader(1));
      if (found.state !== 'present') throw new Error(found.state);
      expect(found.ids.length).toBeLessThanOrEqual(800);
      expect(found.ids.length).toBeGreaterThan(600);
      expect(found.exactFrom).toBe(found.ids.at(-1));
      expect(found.ids).toEqual(falling(range(Number(found.exactFrom), 3_000)));
      // What lies below is Postgres's to answer, also when it is pushed late.
      await timelines.push(1, 9_000n, [{ ids: ids(1_002), readers: [reader(1)] }]);
      expect(await timelines.read(reader(1))).toEqual(found);
    });

    it('takes over how far down a snapshot is exact', async () => {
      const timelines = await make();
      const found = await timelines.rebuild(reader(1), snapshotOf(ids(900, 800, 700), 650));
      expect(found).toEqual({ state: 'present', ids: ids(900, 800, 700), exactFrom: 650n });
      await timelines.push(1, 1n, [{ ids: ids(100, 660), readers: [reader(1)] }]);
      expect(await presentIds(timelines, reader(1))).toEqual(ids(900, 800, 700, 660));
    });

    it('keeps what is pushed while the snapshot is taken', async () => {
      // A rebuild that takes the snapshot before the list is present loses 5 here.
      const timelines = await make();
      const found = await timelines.rebuild(reader(1), async () => {
        const snapshot = { ids: ids(4, 3), exactFrom: 0n as PostId };
        await timelines.push(0, 1n, [{ ids: ids(5), readers: [reader(1)] }]);
        return snapshot;
      });
      expect(found).toEqual({ state: 'present', ids: ids(5, 4, 3), exactFrom: 0n });
    });

    it('starts again when the list is removed while it is rebuilt', async () => {
      const timelines = await make();
      let loads = 0;
      const found = await timelines.rebuild(reader(1), async () => {
        loads++;
        if (loads === 1) await timelines.remove([reader(1)]);
        return { ids: loads === 1 ? ids(1) : ids(2, 1), exactFrom: 0n as PostId };
      });
      expect(loads).toBe(2);
      expect(found).toEqual({ state: 'present', ids: ids(2, 1), exactFrom: 0n });
    });

    it('gives up in the end when the list is removed again and again', async () => {
      const timelines = await make();
      let loads = 0;
      const found = await timelines.rebuild(reader(1), async () => {
        loads++;
        await timelines.remove([reader(1)]);
        return { ids: ids(1), exactFrom: 0n as PostId };
      });
      expect(found.state).toBe('absent');
      expect(loads).toBeLessThanOrEqual(20);
      expect((await timelines.rebuild(reader(1), snapshotOf(ids(1)))).state).toBe('present');
    });

    it('loads once for many who find the list absent', async () => {
      const timelines = await make();
      let loads = 0;
      let release = (): void => undefined;
      const gate = new Promise<void>((resolve) => (release = resolve));
      const load = async (): Promise<TimelineSnapshot> => {
        loads++;
        await gate;
        return { ids: ids(1), exactFrom: 0n as PostId };
      };
      const first = timelines.rebuild(reader(1), load);
      while (loads === 0) await new Promise((resolve) => setImmediate(resolve));
      const others = await Promise.all(Array.from({ length: 10 }, () => timelines.rebuild(reader(1), load)));
      expect(others.map(({ state }) => state)).toEqual(Array<string>(10).fill('rebuilding'));
      expect(await timelines.read(reader(1))).toEqual({ state: 'rebuilding' });
      release();
      expect((await first).state).toBe('present');
      expect(loads).toBe(1);
    });

    it('answers what is there instead of loading again', async () => {
      const timelines = await make();
      await timelines.rebuild(reader(1), snapshotOf(ids(1)));
      const found = await timelines.rebuild(reader(1), () => Promise.reject(new Error('must not be asked')));
      expect(found).toEqual({ state: 'present', ids: ids(1), exactFrom: 0n });
    });

    it('is absent again when the snapshot cannot be had', async () => {
      const timelines = await make();
      await expect(timelines.rebuild(reader(1), () => Promise.reject(new Error('no database')))).rejects.toThrow('no database');
      expect(await timelines.read(reader(1))).toEqual({ state: 'absent' });
      expect((await timelines.rebuild(reader(1), snapshotOf(ids(1)))).state).toBe('present');
    });

    it('forgets lists and takes no push for them', async () => {
      const timelines = await make();
      await timelines.rebuild(reader(1), snapshotOf(ids(1)));
      await timelines.rebuild(reader(2), snapshotOf(ids(1)));
      await timelines.remove([reader(1), reader(3)]);
      await timelines.push(0, 1n, [{ ids: ids(2), readers: [reader(1), reader(2)] }]);
      expect(await timelines.read(reader(1))).toEqual({ state: 'absent' });
      expect(await presentIds(timelines, reader(2))).toEqual(ids(2, 1));
    });

    it('remembers the highest position of each lane until it is wiped', async () => {
      const timelines = await make();
      expect(await timelines.applied(4)).toBeUndefined();
      await timelines.push(4, 10n, []);
      await timelines.push(4, 12n, [{ ids: ids(1), readers: [reader(1)] }]);
      await timelines.push(5, 3n, []);
      expect(await timelines.applied(4)).toBe(12n);
      expect(await timelines.applied(5)).toBe(3n);
      await timelines.clear();
      expect(await timelines.applied(4)).toBeUndefined();
      expect((await timelines.statistics()).present).toBe(0);
    });

    it('is whole again after everything was wiped in the middle of a rebuild', async () => {
      const timelines = await make();
      let loads = 0;
      const found = await timelines.rebuild(reader(1), async () => {
        loads++;
        if (loads === 1) {
          await timelines.clear();
          await timelines.push(0, 1n, [{ ids: ids(9), readers: [reader(1)] }]);
        }
        return { ids: loads === 1 ? ids(1) : ids(9, 1), exactFrom: 0n as PostId };
      });
      expect(found).toEqual({ state: 'present', ids: ids(9, 1), exactFrom: 0n });
    });

    it('shows once what arrives long after the snapshot had it', async () => {
      const timelines = await make();
      await timelines.rebuild(reader(1), snapshotOf(falling(range(1, 200))));
      for (const id of range(1, 200)) await timelines.push(0, id, [{ ids: [id], readers: [reader(1)] }]);
      expect(await presentIds(timelines, reader(1))).toEqual(falling(range(1, 200)));
    });

    it('counts what it holds', async () => {
      const timelines = await make();
      await timelines.rebuild(reader(1), snapshotOf(ids(3, 2, 1)));
      await timelines.rebuild(reader(2), empty);
      const { present, rebuilds } = await timelines.statistics();
      expect(present).toBe(2);
      expect(rebuilds).toBe(2);
    });

    it('loses and doubles nothing in thousands of interleavings of commit, push, rebuild, removal and wipe', async () => {
      const report = await raceRebuilds(await make(), { seed: 20_261_122, worlds: 2_000, step });
      expect(report).toMatchObject({ worlds: 2_000, lost: 0, disordered: 0 });
      expect(report.raced).toBeGreaterThan(500);
    });

    it('would be found out if it took the snapshot first', async () => {
      const report = await raceRebuilds(new SnapshotFirst(await make()), { seed: 20_261_122, worlds: 300, step });
      expect(report.lost).toBeGreaterThan(20);
    });
  });
}
