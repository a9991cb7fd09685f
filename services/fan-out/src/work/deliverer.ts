/**
 * Carries pushes to the store: in slices, in turns, each lane with rising positions.
 *
 * A position is the time at which its slice had its turn (Unix ms · 2²⁰, and one more where that is not above the last). So positions of
 * several processes, and of one process before and after its restart, can be compared, and a mark that the store has kept tells
 * until when nothing was lost (loss.ts). Bulk has lanes of its own, above the others: a lane is applied in the order of its positions,
 * and small posts do not wait for large ones.
 *
 * Slices of one push need not wait for each other: the store applies a lane in the order of the calls.
 */
import { SpanKind, trace } from '@opentelemetry/api';
import type { Push, Timelines } from '@dmb/timelines';
import { slicesOf } from '../domain/plan.ts';
import { Turns, type TurnKind } from '../domain/turns.ts';
import { fanOutLimits } from '../limits.ts';
import { fanOutMetrics } from '../metrics.ts';

/** Where a push went: its lane, and the position of its last slice. */
export interface Delivered {
  readonly lane: number;
  readonly position: bigint;
}

const positionBits = 20n;

/** The position of the first slice that could have a turn at that time. */
export const positionAt = (ms: number): bigint => BigInt(Math.floor(ms)) << positionBits;

/** When a slice of this position had its turn, Unix ms. */
export const timeOf = (position: bigint): number => Number(position >> positionBits);

export class Deliverer {
  private readonly turns = new Turns(fanOutLimits.slicesAtOnce, fanOutLimits.bulkSlicesAtOnce);
  private last = 0n;
  private readonly timelines: Timelines;
  private readonly now: () => number;

  constructor(timelines: Timelines, now: () => number = Date.now) {
    this.timelines = timelines;
    this.now = now;
  }

  /** Resolves when every present timeline has the ids. @throws what the store threw; some slices may have gone out */
  async push(kind: TurnKind, shard: number, pushes: readonly Push[]): Promise<Delivered> {
    const slices = slicesOf(pushes, fanOutLimits.sliceReadersMax);
    const lane = (shard % fanOutLimits.lanes) + (kind === 'bulk' ? fanOutLimits.lanes : 0);
    return await trace.getTracer('dmb').startActiveSpan('push to timelines', { kind: SpanKind.INTERNAL }, async (span) => {
      try {
        const outcomes = await Promise.allSettled(slices.map((slice) => this.turns.take(kind, () => this.slice(lane, slice, kind === 'bulk'))));
        // Of this lane: others may be ahead of it.
        let position = 0n;
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') throw outcome.reason;
          if (outcome.value > position) position = outcome.value;
        }
        return { lane, position };
      } finally {
        span.end();
      }
    });
  }

  /** Slices that wait for their turn. */
  get queued(): number {
    return this.turns.queued;
  }

  private async slice(lane: number, slice: readonly Push[], bulk: boolean): Promise<bigint> {
    const earliest = positionAt(this.now());
    const position = (this.last = earliest > this.last ? earliest : this.last + 1n);
    await this.timelines.push(lane, position, slice, { bulk });
    fanOutMetrics.delivered(slice.reduce((rows, { ids, readers }) => rows + ids.length * readers.length, 0));
    // Slices may come one after the other without any waiting in between; requests must not wait for all of them.
    await new Promise((resolve) => setImmediate(resolve));
    return position;
  }
}
