/**
 * Bulk delivery: working off the jobs that a large audience left behind.
 *
 * A worker leases a job, reads the next slice of followers after its durable place, pushes, remembers
 * the place, and so on to the end of the range; then the row goes. A crash repeats at most one slice. A
 * worker that says nothing for `jobLeaseMs` has lost its job to another one, finds that out when it
 * wants to remember its place, and stops; a slice pushed by both is there once when read.
 *
 * Somebody who begins to follow while a job runs is met by it, or by the snapshot of their rebuilt
 * timeline, or by both. Nothing runs and nobody asks while there are no jobs: workers are woken by
 * whoever inserts some, once at the start, by a sweep, and every `jobLookMs` while events come, for
 * jobs that another process left behind.
 */
import type { Database, Databases } from '@dmb/postgres';
import type { Background, Logger } from '@dmb/runtime';
import { fanOutLimits } from '../limits.ts';
import type { FollowerStore } from '../store/followers.ts';
import type { Job, JobStore } from '../store/jobs.ts';
import { inParallel } from './applier.ts';
import type { Deliverer } from './deliverer.ts';

export interface BulkParts {
  readonly databases: Databases;
  readonly jobs: JobStore;
  readonly followers: FollowerStore;
  readonly deliverer: Deliverer;
  readonly background: Background;
  readonly logger: Logger;
  readonly now: () => number;
}

const retryPauseMs = 1_000;

export class Bulk {
  private readonly parts: BulkParts;
  private wanted = true;
  private running: Promise<void> | undefined;
  private lookedAtMs = 0;
  private held = 0;

  constructor(parts: BulkParts) {
    this.parts = parts;
  }

  start(): void {
    this.parts.background.every('bulk delivery', { intervalMs: fanOutLimits.repairLookMs, firstAfterMs: 0 }, (signal) => this.work(signal));
  }

  /** There are jobs. */
  wake(): void {
    this.wanted = true;
    this.parts.background.wake('bulk delivery');
  }

  /** Events come: somebody else's jobs may lie about. */
  look(): void {
    if (this.parts.now() - this.lookedAtMs >= fanOutLimits.jobLookMs) this.wanted = true;
  }

  /** Jobs that this process works on now. */
  get known(): number {
    return this.held;
  }

  /** Jobs not finished, of whichever process. */
  async pending(): Promise<number> {
    let count = 0;
    for (const database of this.parts.databases.all) count += await this.parts.jobs.count(database);
    return count;
  }

  /** Works off what there is; again if more came meanwhile. */
  async work(signal: AbortSignal): Promise<void> {
    if (this.running !== undefined) return await this.running;
    if (!this.wanted) return;
    this.running = this.workAll(signal);
    try {
      await this.running;
    } finally {
      this.running = undefined;
    }
  }

  private async workAll(signal: AbortSignal): Promise<void> {
    while (this.wanted && !signal.aborted) {
      this.wanted = false;
      this.lookedAtMs = this.parts.now();
      try {
        await Promise.all(this.parts.databases.all.map((database) => this.workDatabase(database, signal)));
      } catch (error) {
        this.wanted = true;
        throw error;
      }
    }
  }

  private async workDatabase(database: Database, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const jobs = await this.parts.jobs.lease(database, fanOutLimits.jobsAtOnce);
      if (jobs.length === 0) return;
      this.held += jobs.length;
      try {
        await inParallel(jobs, fanOutLimits.jobsAtOnce, (job) => this.deliver(database, job, signal));
      } finally {
        this.held -= jobs.length;
      }
    }
  }

  private async deliver(database: Database, job: Job, signal: AbortSignal): Promise<void> {
    const { followers, deliverer, jobs, logger } = this.parts;
    try {
      for (let after = job.after; ; ) {
        const readers = await followers.slice({ shard: job.shard, log: job.log }, after, job.to, fanOutLimits.sliceReadersMax);
        const last = readers.at(-1);
        if (last === undefined) break;
        await deliverer.push('bulk', job.shard % fanOutLimits.lanes, [{ ids: job.ids, readers }]);
        if (readers.length < fanOutLimits.sliceReadersMax) break;
        after = last;
        if (!(await jobs.advance(database, job, after))) return;
        if (signal.aborted) {
          await jobs.letGo(database, job, 0);
          return;
        }
      }
      await jobs.finish(database, job);
    } catch (error) {
      logger.warn('a bulk delivery stopped and will go on', { log: job.log, error });
      await jobs.letGo(database, job, retryPauseMs).catch(() => undefined);
      setTimeout(() => this.wake(), retryPauseMs + 100).unref();
    }
  }
}
