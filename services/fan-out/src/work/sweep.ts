/**
 * The sweep: comparing all heads with all cursors, and fetching what lies between.
 *
 * Events are hints; what makes delivery certain is this comparison. It runs once an hour, soon after a
 * start, and at once when the event log has lost our position. It pages through microblog's heads of
 * each database, compares each page with our cursors by one query per database of ours, and catches up
 * the logs that are behind, which is the same code path as a gap found by an event. A log that cannot be
 * caught up is parked. A sweep that fails half way is tried again from its beginning; nothing is lost
 * by that but time.
 *
 * On the way it adds up what has been accepted (Σ heads) and accounted for (Σ cursors, up to the heads
 * seen, and what parked logs wait for): the difference is the figure that has to be 0 when drained.
 */
import type { LogRef } from '@dmb/events';
import { toAppError, type Background, type Calls, type Logger } from '@dmb/runtime';
import { fanOutLimits } from '../limits.ts';
import { fanOutMetrics } from '../metrics.ts';
import { keyOf, type ProgressStore } from '../store/progress.ts';
import { inParallel, type Applier } from './applier.ts';

export interface SweepParts {
  readonly progress: ProgressStore;
  readonly applier: Applier;
  readonly calls: Pick<Calls, 'call'>;
  readonly background: Background;
  readonly logger: Logger;
  readonly now: () => number;
  /** A sweep ended: others may have left work behind. */
  readonly onSwept: () => void;
}

/** What the last sweep found, after it caught up. */
export interface Ledger {
  readonly accepted: bigint;
  readonly accounted: bigint;
  readonly parkedLogs: number;
  /** Since when something is unaccounted for, Unix ms; undefined while nothing is. */
  readonly behindSinceMs: number | undefined;
}

export class Sweep {
  ledger: Ledger = { accepted: 0n, accounted: 0n, parkedLogs: 0, behindSinceMs: undefined };
  private readonly parts: SweepParts;
  private running: Promise<void> | undefined;

  constructor(parts: SweepParts) {
    this.parts = parts;
  }

  start(): void {
    this.parts.background.every('sweep', { intervalMs: fanOutLimits.sweepIntervalMs, firstAfterMs: fanOutLimits.sweepFirstMs }, () => this.run());
  }

  /** Sweeps as soon as possible; resolves when that is arranged. */
  request(): void {
    this.parts.background.wake('sweep');
  }

  /** Sweeps once; concurrent calls share it. */
  run(): Promise<void> {
    this.running ??= this.sweep().finally(() => (this.running = undefined));
    return this.running;
  }

  private async sweep(): Promise<void> {
    let accepted = 0n;
    let reached = 0n;
    let behind = 0;
    for (let database = 0, databases = 1; database < databases; database++) {
      for (let after: { readonly shard: number; readonly log: LogRef['log'] } | null = null; ; ) {
        const page: Awaited<ReturnType<typeof this.heads>> = await this.heads(database, after);
        databases = page.databases;
        const gaps = await this.gapsOf(page.logs);
        behind += gaps.length;
        await inParallel(gaps, fanOutLimits.fetchesAtOnce, ({ log, head }) => this.catchUp(log, head));
        const now = await this.parts.progress.load(page.logs);
        for (const log of page.logs) {
          accepted += log.head - log.floor;
          const cursor = now.get(keyOf(log))?.cursor ?? log.floor;
          reached += (cursor < log.head ? cursor : log.head) - log.floor;
        }
        if (page.next === null) break;
        after = page.next;
      }
    }
    const { parked, parkedLogs } = await this.parts.progress.sums();
    const accounted = reached + parked;
    if (behind > 0) {
      fanOutMetrics.gapsFound(behind);
      this.parts.logger.info('a sweep found logs that were behind', { logs: behind });
    }
    const behindSinceMs = accounted >= accepted ? undefined : (this.ledger.behindSinceMs ?? this.parts.now());
    this.ledger = { accepted, accounted: accounted > accepted ? accepted : accounted, parkedLogs: Number(parkedLogs), behindSinceMs };
    this.parts.onSwept();
  }

  private heads(database: number, after: { readonly shard: number; readonly log: LogRef['log'] } | null) {
    return this.parts.calls.call('microblog.heads', { database, after });
  }

  private async gapsOf(logs: readonly (LogRef & { readonly head: bigint; readonly floor: bigint })[]): Promise<{ readonly log: LogRef; readonly head: bigint }[]> {
    const progress = await this.parts.progress.load(logs);
    return logs.flatMap(({ shard, log, epochNo, head, floor }) => {
      const { cursor = floor, wanted } = progress.get(keyOf({ shard, log, epochNo })) ?? { cursor: undefined, wanted: undefined };
      // A parked log has a loop of its own.
      return wanted === undefined && head > cursor ? [{ log: { shard, log, epochNo }, head }] : [];
    });
  }

  private async catchUp(log: LogRef, head: bigint): Promise<void> {
    try {
      await this.parts.applier.catchUp(log, head);
    } catch (error) {
      const cursor = (await this.parts.progress.load([log])).get(keyOf(log))?.cursor ?? 0n;
      const { kind, detail, message } = toAppError(error);
      await this.parts.applier.park([{ log, number: cursor + 1n, wanted: head, cause: `${kind}: ${detail ?? message}` }]);
    }
  }
}
