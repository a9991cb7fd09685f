/**
 * When the store comes back without what was written to it last: a failover to a replica that was behind.
 *
 * The store tells until when everything is there (`sinceMs`), because its marks were written together with what they mark and in
 * the same order. What was done later is written down in `plan` (and, for large audiences that are still being delivered
 * to, in `job`), next to the cursors that say that it was done. So:
 *
 *   1 stretches that had an effect on the store and whose cursor has not moved are waited for: they have a row afterwards, or
 *     they failed and their events come again
 *   2 everything since then becomes jobs, one per log and range, of the shards that the part holds: they push the ids again, and ids that
 *     come late or twice are sorted when read. This is one statement in each database
 *   3 the timelines removed since then are removed again by the store, before it takes anything else: a follow must not be forgotten
 *
 * A crash before 2 leaves what it was, and the comparison at the next start (below) finds it; after it, jobs are rows. Several processes that lose
 * the same part insert the same jobs, and those are taken together when they are leased.
 *
 * Positions are times, so what other processes did in that part counts as well; `planMarginMs` covers the difference of their clocks, and
 * what waited between its position and its flush. A loss of more than `planKeptMs`, or of more than `planReplayMax` rows, has all
 * lists of the part removed: they are rebuilt as they are read.
 *
 * **At the start** marks are compared with the plan, because whoever flushed last may have died together with the store. No mark at all
 * means that the store was emptied, and that there is nothing to repeat.
 */
import { SHARD_COUNT, shardOf } from '@dmb/protocol';
import type { Databases } from '@dmb/postgres';
import type { Background, Logger } from '@dmb/runtime';
import type { LossAnswer, Reader, StoreLoss, Timelines } from '@dmb/timelines';
import { fanOutLimits } from '../limits.ts';
import type { PlanStore } from '../store/plans.ts';
import type { Applier } from './applier.ts';
import { positionAt, timeOf } from './deliverer.ts';

export interface LossParts {
  readonly databases: Databases;
  readonly plans: PlanStore;
  readonly applier: () => Applier;
  readonly timelines: Timelines;
  readonly background: Background;
  readonly logger: Logger;
  readonly now: () => number;
  /** Jobs were inserted. */
  readonly onJobs: () => void;
}

export class Loss {
  private readonly parts: LossParts;
  private tidyAtMs = 0;

  constructor(parts: LossParts) {
    this.parts = parts;
    parts.timelines.onLoss((loss) => this.answer(loss));
  }

  start(): void {
    this.parts.background.every('comparing the store with what was delivered', { intervalMs: fanOutLimits.sweepIntervalMs, firstAfterMs: 0 }, () => this.compare());
    this.parts.background.every('removing old plans', { intervalMs: fanOutLimits.sweepIntervalMs }, async () => {
      for (const database of this.parts.databases.all) await this.parts.plans.tidy(database, positionAt(this.parts.now() - fanOutLimits.planKeptMs));
    });
  }

  /** Something was delivered: has old plans removed, now and then. */
  tidy(): void {
    const now = this.parts.now();
    if (now < this.tidyAtMs) return;
    this.tidyAtMs = now + fanOutLimits.planTidyMs;
    this.parts.background.wake('removing old plans');
  }

  /** What an earlier process delivered and the store does not have is delivered again. */
  async compare(): Promise<void> {
    const { plans, timelines, logger } = this.parts;
    const planned = new Map<number, bigint>();
    for (const database of this.parts.databases.all) {
      for (const { lane, position } of await plans.positions(database)) if (position > (planned.get(lane) ?? 0n)) planned.set(lane, position);
    }
    const behind: bigint[] = [];
    for (const [lane, position] of planned) {
      const applied = await timelines.applied(lane);
      if (applied !== undefined && applied < position) behind.push(applied);
    }
    if (behind.length === 0) return;
    const sinceMs = timeOf(behind.reduce((least, position) => (position < least ? position : least)));
    const answer = await this.answer({ sinceMs, holds: () => true });
    logger.warn('the store has less than was delivered; that is delivered again', { sinceMs });
    if (answer === 'remove all') await timelines.clear();
    else await timelines.remove(answer.removed);
  }

  private async answer({ sinceMs, holds }: StoreLoss): Promise<LossAnswer> {
    const { databases, plans, applier, logger, now, onJobs } = this.parts;
    if (now() - sinceMs > fanOutLimits.planKeptMs - fanOutLimits.planMarginMs) return 'remove all';
    await applier().settled();
    const since = positionAt(sinceMs - fanOutLimits.planMarginMs);
    const ranges = rangesHeld(holds);
    let logs = 0;
    const removed: Reader[] = [];
    for (const database of databases.all) {
      if ((await plans.countSince(database, since)) > fanOutLimits.planReplayMax) return 'remove all';
      logs += await plans.again(database, since, ranges);
      for (const person of await plans.removedSince(database, since)) removed.push({ shard: shardOf(person), person });
    }
    logger.info('what the store lost is delivered again', { sinceMs, jobs: logs, removed: removed.length });
    if (logs > 0) onJobs();
    return { removed };
  }
}

/** The shards that are held, as few ranges as possible; all of them in one where they are scattered. */
export function rangesHeld(holds: (shard: number) => boolean): readonly { readonly from: number; readonly to: number }[] {
  const ranges: { from: number; to: number }[] = [];
  for (let shard = 0; shard < SHARD_COUNT; shard++) {
    if (!holds(shard)) continue;
    const last = ranges.at(-1);
    if (last?.to === shard - 1) last.to = shard;
    else ranges.push({ from: shard, to: shard });
  }
  return ranges.length <= fanOutLimits.jobRangesPerLog ? ranges : [{ from: 0, to: SHARD_COUNT - 1 }];
}
