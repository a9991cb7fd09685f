import { describe, expect, it } from 'vitest';
import type { EntryAnswer, EntryRef } from '@dmb/events';
import { decide, decidePage } from './peer-rule.ts';

const ref = (number: number): EntryRef => ({ number: BigInt(number) }) as EntryRef;
const answer = (number: number): EntryAnswer => ({ number: BigInt(number) }) as EntryAnswer;
const numbers = (entries: readonly EntryRef[]): number[] => entries.map(({ number }) => Number(number));

describe('the peer rule', () => {
  it('drops what is there, applies what follows, fetches what lies beyond', () => {
    const { apply, fetch, dropped } = decide(5n, [ref(4), ref(5), ref(6), ref(7), ref(9)]);
    expect(numbers(apply)).toEqual([6, 7]);
    expect(fetch).toEqual({ after: 7n, upTo: 9n });
    expect(dropped).toBe(2);
  });

  it('puts events in order and takes each once', () => {
    const { apply, fetch, dropped } = decide(0n, [ref(3), ref(1), ref(2), ref(1), ref(3)]);
    expect(numbers(apply)).toEqual([1, 2, 3]);
    expect(fetch).toBeUndefined();
    expect(dropped).toBe(2);
  });

  it('begins a log that it never met with number 1, and asks for the floor otherwise', () => {
    expect(numbers(decide(undefined, [ref(1), ref(2)]).apply)).toEqual([1, 2]);
    expect(decide(undefined, [ref(41)])).toEqual({ apply: [], fetch: { after: 0n, upTo: 41n }, dropped: 0 });
  });

  it('has nothing to do for events that it has', () => {
    expect(decide(9n, [ref(9), ref(2)])).toEqual({ apply: [], fetch: undefined, dropped: 2 });
    expect(decide(3n, [])).toEqual({ apply: [], fetch: undefined, dropped: 0 });
  });
});

describe('a fetched page', () => {
  it('goes on where the cursor is', () => {
    expect(decidePage(4n, { entries: [answer(5), answer(6)], head: 9n, floor: 0n })).toEqual({ outcome: 'apply', cursor: 4n, entries: [answer(5), answer(6)] });
  });

  it('begins at the floor where that is higher', () => {
    expect(decidePage(0n, { entries: [answer(41)], head: 41n, floor: 40n })).toMatchObject({ outcome: 'apply', cursor: 40n });
    expect(decidePage(0n, { entries: [], head: 40n, floor: 40n })).toEqual({ outcome: 'apply', cursor: 40n, entries: [] });
  });

  it('is refused with a hole in it, and as too short', () => {
    expect(decidePage(4n, { entries: [answer(5), answer(7)], head: 9n, floor: 0n })).toEqual({ outcome: 'hole', at: 6n });
    expect(decidePage(4n, { entries: [answer(6)], head: 9n, floor: 0n })).toEqual({ outcome: 'hole', at: 5n });
    expect(decidePage(4n, { entries: [], head: 4n, floor: 0n })).toEqual({ outcome: 'short', head: 4n });
  });
});
