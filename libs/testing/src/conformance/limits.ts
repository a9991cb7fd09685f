/** What every adapter of the Limits port must do: `capacity` at once, refilled evenly, per key. */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Limit, Limits } from '@dmb/timelines';

/** Periods are short, since an adapter without a clock of its own really waits. */
const limit: Limit = { name: 'test', capacity: 5, periodMs: 500 };

/** Runs the suite against what `create` makes; `advance` lets time pass for it. */
export function limitsConformance(name: string, create: () => Promise<{ readonly limits: Limits; advance(ms: number): Promise<void> }>): void {
  const make = async (): Promise<{ readonly limits: Limits; advance(ms: number): Promise<void> }> => {
    const made = await create();
    onTestFinished(() => made.limits.close());
    return made;
  };
  const takeMany = async (limits: Limits, count: number, key = 'key'): Promise<number> => {
    const answers = await Promise.all(Array.from({ length: count }, () => limits.take(limit, key)));
    return answers.filter(({ allowed }) => allowed).length;
  };

  describe(`limits port: ${name}`, () => {
    it('allows the capacity at once and then refuses', async () => {
      const { limits } = await make();
      const answers = [];
      for (let count = 0; count < 7; count++) answers.push(await limits.take(limit, 'key'));
      expect(answers.map(({ allowed }) => allowed)).toEqual([true, true, true, true, true, false, false]);
      expect(answers.slice(0, 5).map(({ remaining }) => remaining)).toEqual([4, 3, 2, 1, 0]);
      expect(answers[6]!.remaining).toBe(0);
    });

    it('never allows more than the capacity to many at once', async () => {
      const { limits } = await make();
      expect(await takeMany(limits, 50)).toBe(5);
    });

    it('refills evenly and never above the capacity', async () => {
      const { limits, advance } = await make();
      await takeMany(limits, 5);
      await advance(220);
      expect(await takeMany(limits, 5)).toBe(2);
      await advance(2_000);
      expect(await takeMany(limits, 50)).toBe(5);
    });

    it('takes nothing from a bucket that refused', async () => {
      const { limits, advance } = await make();
      await takeMany(limits, 5);
      for (let count = 0; count < 20; count++) await limits.take(limit, 'key');
      await advance(120);
      expect((await limits.take(limit, 'key')).allowed).toBe(true);
    });

    it('counts keys and limits apart', async () => {
      const { limits } = await make();
      await takeMany(limits, 5, 'one');
      expect(await takeMany(limits, 5, 'two')).toBe(5);
      expect((await limits.take({ ...limit, name: 'other' }, 'one')).allowed).toBe(true);
      expect((await limits.take(limit, 'one')).allowed).toBe(false);
    });

    it('takes what something costs, or nothing', async () => {
      const { limits } = await make();
      expect((await limits.take(limit, 'key', 3)).remaining).toBe(2);
      expect((await limits.take(limit, 'key', 3)).allowed).toBe(false);
      expect((await limits.take(limit, 'key', 2)).allowed).toBe(true);
      expect((await limits.take(limit, 'other', 6)).allowed).toBe(false);
    });

    it('says when the bucket is full again', async () => {
      const { limits, advance } = await make();
      const before = (await limits.take(limit, 'other')).resetAt;
      await takeMany(limits, 5);
      const { resetAt } = await limits.take(limit, 'key');
      expect(resetAt - before).toBeGreaterThan(300);
      expect(resetAt - before).toBeLessThanOrEqual(500);
      await advance(600);
      expect((await limits.take(limit, 'key')).remaining).toBe(4);
    });

    it('allows exactly the capacity where the refill is no whole number of milliseconds', async () => {
      const { limits } = await make();
      const odd: Limit = { name: 'odd', capacity: 300, periodMs: 1_000_000 / 3 };
      const answers = await Promise.all(Array.from({ length: 301 }, () => limits.take(odd, 'key')));
      expect(answers.filter(({ allowed }) => allowed).length).toBe(300);
    });
  });
}
