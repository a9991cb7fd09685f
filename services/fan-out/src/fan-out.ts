/** The service put together: its pieces, and their common beginning and end. */
import type { Subscription } from '@dmb/event-log';
import { shardOf } from '@dmb/protocol';
import { Background } from '@dmb/runtime';
import type { FanOutContext } from './context.ts';
import { subscribeToEntries } from './events/entries.ts';
import { fanOutLimits } from './limits.ts';
import { observeLedger } from './metrics.ts';
import { FollowerStore } from './store/followers.ts';
import { JobStore } from './store/jobs.ts';
import { PlanStore } from './store/plans.ts';
import { ProgressStore } from './store/progress.ts';
import { Applier } from './work/applier.ts';
import { Bulk } from './work/bulk.ts';
import { Deliverer } from './work/deliverer.ts';
import { Loss } from './work/loss.ts';
import { Merging } from './work/merging.ts';
import { Repair } from './work/repair.ts';
import { Sweep, type Ledger } from './work/sweep.ts';

export class FanOut {
  private readonly context: FanOutContext;
  private readonly background: Background;
  private readonly applier: Applier;
  private readonly bulk: Bulk;
  private readonly repair: Repair;
  private readonly merging: Merging;
  private readonly loss: Loss;
  private readonly sweeper: Sweep;
  private subscription: Subscription | undefined;
  private stopObserving: () => void = () => undefined;

  constructor(context: FanOutContext) {
    this.context = context;
    const { databases, calls, timelines, live, logger, now = Date.now, config, jobLeaseMs = fanOutLimits.jobLeaseMs } = context;
    const background = new Background({ logger });
    this.background = background;
    const progress = new ProgressStore(databases, jobLeaseMs);
    const followers = new FollowerStore(databases, shardOf, config.mergeReaders, (log) => this.merging.begin(log));
    this.merging = new Merging({ followers: () => followers, calls, background, logger });
    const deliverer = new Deliverer(timelines, now);
    this.bulk = new Bulk({ databases, jobs: new JobStore(jobLeaseMs), followers, deliverer, background, logger, now });
    this.repair = new Repair({ databases, progress, applier: () => this.applier, background, logger, now });
    this.applier = new Applier({
      progress,
      followers,
      deliverer,
      timelines,
      live,
      calls,
      logger,
      now,
      onJobs: () => this.bulk.wake(),
      jobRoom: () => this.bulk.room,
      beginJob: (job, inserted) => this.bulk.begin(job, inserted),
      onParked: () => this.repair.expect(),
    });
    this.loss = new Loss({ databases, plans: new PlanStore(), applier: () => this.applier, timelines, background, logger, now, onJobs: () => this.bulk.wake() });
    this.sweeper = new Sweep({
      progress,
      applier: this.applier,
      calls,
      background,
      logger,
      now,
      onSwept: () => {
        this.bulk.wake();
        this.repair.expect();
      },
    });
  }

  /** Begins to consume; resolves when it does. */
  async start(): Promise<void> {
    this.bulk.start();
    this.repair.start();
    this.sweeper.start();
    this.loss.start();
    this.stopObserving = observeLedger(() => {
      const { accepted, accounted, parkedLogs, behindSinceMs } = this.sweeper.ledger;
      const oldestGapSeconds = behindSinceMs === undefined ? 0 : ((this.context.now ?? Date.now)() - behindSinceMs) / 1_000;
      return { unaccounted: Number(accepted - accounted), parkedLogs, jobs: this.bulk.known, oldestGapSeconds };
    });
    this.subscription = await subscribeToEntries({
      eventLog: this.context.eventLog,
      logger: this.context.logger,
      take: async (entries) => {
        await this.applier.take(entries);
        this.loss.tidy();
      },
      onLost: () => this.sweeper.request(),
    });
  }

  /** Takes no more, lets what runs end, and lets go. Jobs and parked logs are rows and wait for the next start. */
  async stop(): Promise<void> {
    await this.subscription?.stop();
    this.subscription = undefined;
    this.stopObserving();
    await this.background.stop();
    await Promise.all([this.bulk.stop(), this.merging.stop()]);
  }

  /** False while events cannot be had or handled. */
  isHealthy(): boolean {
    return this.subscription?.isHealthy() ?? false;
  }

  /** Resolves when everything committed before the call is in every present timeline, parked logs excepted. */
  async drain(): Promise<void> {
    await this.subscription?.drain();
    while ((await this.bulk.pending()) > 0) {
      this.bulk.wake();
      await this.bulk.work(this.background.signal);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Compares all heads with all cursors, catches up, and tells what has been accounted for. */
  async sweep(): Promise<Ledger> {
    await this.sweeper.run();
    return this.sweeper.ledger;
  }
}
