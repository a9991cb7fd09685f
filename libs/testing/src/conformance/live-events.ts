/** What every adapter of the LiveEvents port must do: everybody who listens hears, nothing is kept. */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { LogId, MicroblogId, PersonId, PostId } from '@dmb/protocol';
import type { LiveEvent, LiveEvents } from '@dmb/timelines';

const log = (number: number): LogId => `00000000-0000-4000-9000-${String(number).padStart(12, '0')}` as LogId;

const entry = (logNumber: number, number: number): LiveEvent => ({
  type: 'entry',
  ref: {
    shard: logNumber % 1_024,
    log: log(logNumber),
    epochNo: 1,
    number: BigInt(number),
    kind: 1,
    // More than 53 bits: a number in between would lose the last digits.
    id: (9_007_199_254_740_993n + BigInt(number)) as PostId,
    audience: 'public',
    microblog: '00000000-0000-4000-a000-000000000001' as MicroblogId,
    late: false,
  },
});
const person: LiveEvent = {
  type: 'person',
  event: { shard: 5, person: '00000000-0000-4000-8000-000000000001' as PersonId, what: 'tokens-revoked', microblog: null },
};

/** Waits until `done` holds: adapters over a network deliver a moment after `publish`. */
async function until(done: () => boolean): Promise<void> {
  for (const end = Date.now() + 5_000; !done() && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 2));
}

/**
 * Runs the suite against what `create` makes: two ends of one channel, which may be the same object
 * where there is only one process.
 */
export function liveEventsConformance(name: string, create: () => Promise<{ readonly here: LiveEvents; readonly there: LiveEvents }>): void {
  const make = async (): Promise<{ readonly here: LiveEvents; readonly there: LiveEvents }> => {
    const ends = await create();
    onTestFinished(async () => {
      await ends.here.close();
      await ends.there.close();
    });
    return ends;
  };

  describe(`live events port: ${name}`, () => {
    it('reaches every handler with the whole event', async () => {
      const { here, there } = await make();
      const heard: LiveEvent[][] = [[], []];
      await there.listen((event) => heard[0]!.push(event));
      await there.listen((event) => heard[1]!.push(event));
      await here.publish([entry(1, 1), person]);
      await until(() => heard.every((events) => events.length === 2));
      expect(heard).toEqual([
        [entry(1, 1), person],
        [entry(1, 1), person],
      ]);
    });

    it('keeps the order of one log', async () => {
      const { here, there } = await make();
      const heard: LiveEvent[] = [];
      await there.listen((event) => heard.push(event));
      for (let number = 1; number <= 100; number++) await here.publish([entry(1, number), entry(2, number)]);
      await until(() => heard.length === 200);
      const numbers = (of: LogId): bigint[] => heard.flatMap((event) => (event.type === 'entry' && event.ref.log === of ? [event.ref.number] : []));
      const rising = Array.from({ length: 100 }, (_, index) => BigInt(index + 1));
      expect(numbers(log(1))).toEqual(rising);
      expect(numbers(log(2))).toEqual(rising);
    });

    it('keeps nothing for who listens later, and tells nothing to who stopped', async () => {
      const { here, there } = await make();
      const early: LiveEvent[] = [];
      const late: LiveEvent[] = [];
      const subscription = await there.listen((event) => early.push(event));
      await here.publish([entry(1, 1)]);
      await until(() => early.length === 1);
      await there.listen((event) => late.push(event));
      await subscription.stop();
      await subscription.stop();
      await here.publish([entry(1, 2)]);
      await until(() => late.length === 1);
      expect(early).toEqual([entry(1, 1)]);
      expect(late).toEqual([entry(1, 2)]);
    });

    it('goes on when a handler throws', async () => {
      const { here, there } = await make();
      const heard: LiveEvent[] = [];
      await there.listen(() => {
        throw new Error('a handler that breaks its promise');
      });
      await there.listen((event) => heard.push(event));
      await here.publish([entry(1, 1)]);
      await here.publish([entry(1, 2)]);
      await until(() => heard.length === 2);
      expect(heard).toEqual([entry(1, 1), entry(1, 2)]);
    });

    it('publishes to nobody without complaint', async () => {
      const { here } = await make();
      await here.publish([]);
      await here.publish([entry(1, 1)]);
    });
  });
}
