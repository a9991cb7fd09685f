import { describe, expect, it } from 'vitest';
import { MemoryLimits } from '@dmb/timelines';
import { limitsConformance } from './limits.ts';

limitsConformance('memory', () => {
  let now = 1_800_000_000_000.25;
  const advance = (ms: number): Promise<void> => {
    now += ms;
    return Promise.resolve();
  };
  return Promise.resolve({ limits: new MemoryLimits({ now: () => now }), advance });
});

describe('limits in memory', () => {
  it('keeps a bounded number of keys and forgets full buckets first', async () => {
    let now = 0;
    const limits = new MemoryLimits({ keysMax: 100, now: () => now });
    const limit = { name: 'test', capacity: 1, periodMs: 1_000 };
    for (let key = 0; key < 1_000; key++) await limits.take(limit, String(key));
    expect((await limits.take(limit, '999')).allowed).toBe(false);
    expect((await limits.take(limit, '0')).allowed).toBe(true);
    now = 5_000;
    expect((await limits.take(limit, '999')).allowed).toBe(true);
  });
});
