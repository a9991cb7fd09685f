import { describe, expect, it } from 'vitest';
import { Kept } from './kept.ts';

describe('kept answers', () => {
  const counted = () => {
    let reads = 0;
    return () => Promise.resolve({ read: ++reads });
  };

  it('are given again while nothing was written', async () => {
    let state = 0;
    const kept = new Kept({ state: () => state }, 10);
    const read = counted();
    const first = await kept.get('a', read);
    expect(await kept.get('a', read)).toBe(first);
    expect(await kept.get('b', read)).toEqual({ read: 2 });
    state += 1;
    expect(await kept.get('a', read)).toEqual({ read: 3 });
  });

  // Keeping what was read around a write would show for two seconds what is no more.
  it('are not kept when something was written while they were read', async () => {
    let state = 0;
    const kept = new Kept({ state: () => state }, 10);
    const read = counted();
    const overtaken = async () => {
      const answer = await read();
      state += 1;
      return answer;
    };
    expect(await kept.get('a', overtaken)).toEqual({ read: 1 });
    expect(await kept.get('a', read)).toEqual({ read: 2 });
  });

  it('are never kept where nobody knows what others write', async () => {
    for (const unchanged of [undefined, { state: () => undefined }]) {
      const kept = new Kept(unchanged, 10);
      const read = counted();
      await kept.get('a', read);
      expect(await kept.get('a', read)).toEqual({ read: 2 });
    }
  });
});
