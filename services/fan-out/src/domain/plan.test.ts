import { describe, expect, it } from 'vitest';
import type { Audience, EntryRef, LogRef } from '@dmb/events';
import type { LogId, PersonId, PostId } from '@dmb/protocol';
import type { Reader } from '@dmb/timelines';
import { followerChanges, planStretches, rangesOf, slicesOf, type LogReaders, type Stretch } from './plan.ts';
import { Turns } from './turns.ts';

const logOf = (number: number, shard = number): LogRef => ({ shard, log: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}` as LogId, epochNo: 1 });
const entry = (log: LogRef, number: number, kind: number, audience: Audience = 'public'): EntryRef => ({
  ...log,
  number: BigInt(number),
  kind,
  id: BigInt(1_000 + number) as PostId,
  audience,
  microblog: null,
  late: false,
});
const stretch = (log: LogRef, ...entries: readonly EntryRef[]): Stretch => ({ log, cursor: entries[0]!.number - 1n, entries });
const readers = (count: number): Reader[] => Array.from({ length: count }, (_, index) => ({ shard: index % 1_024, person: `person-${index}` as PersonId }));
const small = (count: number) => (): LogReaders => ({ size: 'small', readers: readers(count) });

describe('the plan', () => {
  it('delivers posts and boosts of public and followers logs, and nothing else', () => {
    const kinds = Array.from({ length: 10 }, (_, index) => index + 1);
    for (const audience of ['public', 'followers'] as const) {
      const log = logOf(3);
      const plan = planStretches([stretch(log, ...kinds.map((kind) => entry(log, kind, kind, audience)))], small(1), 16);
      expect(plan.pushes.get(3)).toEqual([{ log, ids: [1_001n, 1_004n], readers: readers(1) }]);
      expect(plan.told).toHaveLength(10);
    }
    for (const audience of ['direct', 'own', 'mail'] as const) {
      const log = logOf(3);
      const plan = planStretches([stretch(log, entry(log, 1, 1, audience), entry(log, 2, 9, audience))], small(1), 16);
      expect(plan.pushes.size).toBe(0);
      expect(plan.told).toHaveLength(audience === 'mail' ? 0 : 2);
    }
  });

  it('makes one push of a burst, and puts logs of one lane together', () => {
    const [first, second] = [logOf(1, 5), logOf(2, 21)];
    const plan = planStretches([stretch(first, entry(first, 1, 1), entry(first, 2, 1)), stretch(second, entry(second, 1, 1))], small(2), 16);
    expect([...plan.pushes.keys()]).toEqual([5]);
    expect(plan.pushes.get(5)!.map(({ ids }) => ids)).toEqual([[1_001n, 1_002n], [1_001n]]);
  });

  it('leaves a large audience to jobs, and an empty one alone', () => {
    const log = logOf(1);
    expect(planStretches([stretch(log, entry(log, 1, 1))], () => ({ size: 'large' }), 16)).toMatchObject({ large: [{ log, ids: [1_001n] }] });
    expect(planStretches([stretch(log, entry(log, 1, 1))], small(0), 16).pushes.size).toBe(0);
  });

  it('cuts pushes into slices that hold every reader once, in order', () => {
    const ids = [1n as PostId];
    const slices = slicesOf([{ ids, readers: readers(4_500) }, { ids, readers: readers(10) }], 2_000);
    expect(slices.map((slice) => slice.reduce((sum, push) => sum + push.readers.length, 0))).toEqual([2_000, 2_000, 510]);
    expect(slices.flat().flatMap((push) => push.readers)).toEqual([...readers(4_500), ...readers(10)]);
  });

  it('cuts all shards into ranges', () => {
    expect(rangesOf(4, 1_024)).toEqual([{ from: 0, to: 255 }, { from: 256, to: 511 }, { from: 512, to: 767 }, { from: 768, to: 1_023 }]);
  });
});

describe('what a happening says about followers', () => {
  const person = '00000000-0000-4000-8000-000000000001';
  const log = logOf(7).log;

  it('takes the state that it carries', () => {
    const body = { what: 'follow-accepted', person, actor: { id: log, handle: 'a@b' }, grants: [{ log, audience: 'public', state: 'active', sees: true, from: 0 }] };
    expect(followerChanges(body, 4n)).toEqual([{ log, person, via: log, reads: true, ownNumber: 4n }]);
    for (const [state, sees] of [['ended', true], ['asked', true], ['active', false]] as const) {
      expect(followerChanges({ ...body, what: 'follow-ended', grants: [{ log, state, sees }] }, 4n)).toMatchObject([{ reads: false }]);
    }
  });

  it('is nothing for other happenings, people elsewhere, and bodies that are gone or malformed', () => {
    expect(followerChanges(null, 1n)).toEqual([]);
    expect(followerChanges({ what: 'mention', person, grants: [{ log, state: 'active', sees: true }] }, 1n)).toEqual([]);
    expect(followerChanges({ what: 'follow-accepted', grants: [{ log, state: 'active', sees: true }] }, 1n)).toEqual([]);
    expect(followerChanges({ what: 'follow-accepted', person, grants: 'none' }, 1n)).toEqual([]);
    expect(followerChanges({ what: 'follow-accepted', person, grants: [null, 5, { log: 'x' }] }, 1n)).toEqual([]);
  });
});

describe('turns', () => {
  it('give bulk at most every second turn while small posts wait, and all of them otherwise', async () => {
    const turns = new Turns(1, 1);
    const order: string[] = [];
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const first = turns.take('bulk', () => gate);
    const all = [
      ...Array.from({ length: 6 }, () => turns.take('bulk', () => Promise.resolve(void order.push('bulk')))),
      ...Array.from({ length: 3 }, () => turns.take('small', () => Promise.resolve(void order.push('small')))),
    ];
    open();
    await Promise.all([first, ...all]);
    expect(order).toEqual(['small', 'bulk', 'small', 'bulk', 'small', 'bulk', 'bulk', 'bulk', 'bulk']);
    expect(turns.queued).toBe(0);
  });

  // With one bound for both, a small post would wait until a part of the large one has been acknowledged.
  it('leave some free for small posts however much bulk there is', async () => {
    const turns = new Turns(3, 2);
    const ends: (() => void)[] = [];
    const bulk = Array.from({ length: 5 }, () => turns.take('bulk', () => new Promise<void>((resolve) => ends.push(resolve))));
    expect(await turns.take('small', () => Promise.resolve(ends.length))).toBe(2);
    while (turns.queued > 0 || ends.length > 0) {
      ends.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(bulk);
  });

  it('go on after a failure', async () => {
    const turns = new Turns(1, 1);
    await expect(turns.take('small', () => Promise.reject(new Error('store away')))).rejects.toThrow('store away');
    expect(await turns.take('bulk', () => Promise.resolve(1))).toBe(1);
  });
});
