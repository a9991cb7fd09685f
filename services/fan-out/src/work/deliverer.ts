/** Carries pushes to the store: in slices, in turns, each lane with rising positions. */
import { SpanKind, trace } from '@opentelemetry/api';
import type { Push, Timelines } from '@dmb/timelines';
import { slicesOf } from '../domain/plan.ts';
import { Turns, type TurnKind } from '../domain/turns.ts';
import { fanOutLimits } from '../limits.ts';
import { fanOutMetrics } from '../metrics.ts';

export class Deliverer {
  private readonly turns = new Turns(fanOutLimits.slicesAtOnce);
  private readonly positions: bigint[];
  /** The last push of each lane: the next waits for it, so that a lane is applied in order. */
  private readonly lanes: Promise<void>[];
  private readonly timelines: Timelines;

  constructor(timelines: Timelines, now: () => number = Date.now) {
    this.timelines = timelines;
    // Above every position of an earlier process, unless it pushed more than a million slices a millisecond.
    const first = BigInt(now()) << 20n;
    this.positions = Array.from({ length: fanOutLimits.lanes }, () => first);
    this.lanes = Array.from({ length: fanOutLimits.lanes }, () => Promise.resolve());
  }

  /** Resolves when every present timeline has the ids. @throws what the store threw; some slices may have gone out */
  async push(kind: TurnKind, lane: number, pushes: readonly Push[]): Promise<void> {
    const slices = slicesOf(pushes, fanOutLimits.sliceReadersMax);
    await trace.getTracer('dmb').startActiveSpan('push to timelines', { kind: SpanKind.INTERNAL }, async (span) => {
      try {
        for (const slice of slices) await this.turns.take(kind, () => this.inLane(lane, slice));
      } finally {
        span.end();
      }
    });
  }

  /** Slices that wait for their turn. */
  get queued(): number {
    return this.turns.queued;
  }

  private async inLane(lane: number, slice: readonly Push[]): Promise<void> {
    const pushed = (this.lanes[lane] ?? Promise.resolve()).then(async () => {
      const position = (this.positions[lane] ?? 0n) + 1n;
      this.positions[lane] = position;
      await this.timelines.push(lane, position, slice);
    });
    this.lanes[lane] = pushed.catch(() => undefined);
    await pushed;
    fanOutMetrics.delivered(slice.reduce((rows, { ids, readers }) => rows + ids.length * readers.length, 0));
    // Slices may come one after the other without any waiting in between; requests must not wait for all of them.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
