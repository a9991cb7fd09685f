/**
 * Bulk delivery: working off the jobs that a large audience left behind.
 *
 * A log's readers are cut into ranges by the shards of persons, a job each, so that several processes share them. A worker leases the oldest job that
 * nobody has (with whatever posts wait for the same readers: they are pushed together), reads a chunk of followers after its durable
 * place, and goes on like this:
 *
 *   chunk n      pushed, in slices                   ─ acknowledged ─► the durable place moves behind chunk n
 *   chunk n + 1  read from Postgres meanwhile, pushed when chunk n is on its way
 *
 * so that Redis never waits for Postgres. After `turnReadersMax` readers the job goes back behind the others: a post to a million takes turns with
 * one to ten thousand. A crash repeats what was not remembered: two chunks of each worker at most. A worker that says nothing for
 * `jobLeaseMs` has lost its job to another one, finds that out when it wants to remember its place, and stops; what both push is there once when read.
 *
 * Somebody who begins to follow while a job runs is met by it, or by the snapshot of their rebuilt
 * timeline, or by both.
 *
 * **The first jobs of a post** are not leased: the process that inserts them has the lease from the beginning, and reads and pushes while
 * the transaction that inserts them (and moves the cursor) still waits for the disk. If that fails, the entries come again, and what has been pushed
 * twice is there once when read.
 *
 * **Who looks when.** Whoever inserts jobs wakes their own workers, and those of other processes by a notification of Postgres. Who finds
 * nothing but jobs of others comes back when the first of their leases would end: so jobs of a process that died go on within a
 * lease, whether or not anything else happens. A connection for notifications that was lost is made again, and jobs are looked for then.
 * Without jobs nobody asks anything.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Database, Databases } from '@dmb/postgres';
import type { Background, Logger } from '@dmb/runtime';
import { fanOutLimits } from '../limits.ts';
import type { After, FollowerStore, Slice } from '../store/followers.ts';
import { jobChannel, type Job, type JobStore } from '../store/jobs.ts';
import type { Delivered, Deliverer } from './deliverer.ts';

export interface BulkParts {
  readonly databases: Databases;
  readonly jobs: JobStore;
  readonly followers: FollowerStore;
  readonly deliverer: Deliverer;
  readonly background: Background;
  readonly logger: Logger;
  readonly now: () => number;
}

export class Bulk {
  private readonly parts: BulkParts;
  private wanted = true;
  private running: Promise<void> | undefined;
  /** When a lease of another process ends, Unix ms; Infinity while there is none. */
  private dueMs = Infinity;
  private held = 0;
  private readonly begun = new Set<Promise<void>>();

  constructor(parts: BulkParts) {
    this.parts = parts;
  }

  start(): void {
    const { background, databases } = this.parts;
    background.every('bulk delivery', { intervalMs: fanOutLimits.jobLookMs, firstAfterMs: 0 }, (signal) => {
      if (this.parts.now() >= this.dueMs) this.wanted = true;
      return this.work(signal);
    });
    for (const database of databases.all) background.loop(`notifications of jobs in database ${database.index}`, (signal) => this.listen(database, signal));
  }

  /** There are jobs. */
  wake(): void {
    this.wanted = true;
    this.parts.background.wake('bulk delivery');
  }

  /** How many jobs this process could begin with at once. */
  get room(): number {
    return Math.max(0, fanOutLimits.jobsAtOnce - this.held);
  }

  /** Begins with a job that this process is inserting with its lease; `inserted` says what becomes of that. */
  begin(job: Job, inserted: Promise<void>): void {
    const { databases, background } = this.parts;
    this.held++;
    const begun = this.deliver(databases.at(job.shard), job, background.signal, inserted).finally(() => {
      this.held--;
      this.begun.delete(begun);
    });
    this.begun.add(begun);
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

  /** Resolves when the jobs that were begun with at once have had their turn. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.begun);
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

  /** Hears of jobs that others insert, until the connection is lost. */
  private async listen(database: Database, signal: AbortSignal): Promise<void> {
    let lost = (): void => undefined;
    const ended = new Promise<void>((resolve) => (lost = resolve));
    signal.addEventListener('abort', lost, { once: true });
    const connection = await database.listen(jobChannel, () => this.wake(), lost);
    try {
      // Some may have come while nobody listened.
      this.wake();
      await ended;
    } finally {
      signal.removeEventListener('abort', lost);
      await connection.close();
    }
  }

  private async workAll(signal: AbortSignal): Promise<void> {
    const { databases, jobs, now } = this.parts;
    while (this.wanted && !signal.aborted) {
      this.wanted = false;
      this.dueMs = Infinity;
      try {
        await Promise.all(databases.all.flatMap((database) => Array.from({ length: fanOutLimits.jobsAtOnce }, () => this.workDatabase(database, signal))));
        const waits = await Promise.all(databases.all.map((database) => jobs.nextMs(database)));
        for (const waitMs of waits) if (waitMs !== undefined) this.dueMs = Math.min(this.dueMs, now() + Math.max(waitMs, 0));
      } catch (error) {
        this.wanted = true;
        throw error;
      }
    }
  }

  private async workDatabase(database: Database, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const job = await this.parts.jobs.lease(database);
      if (job === undefined) return;
      this.held++;
      try {
        await this.deliver(database, job, signal);
      } finally {
        this.held--;
      }
    }
  }

  private async deliver(database: Database, job: Job, signal: AbortSignal, inserted?: Promise<void>): Promise<void> {
    const { jobs, logger } = this.parts;
    try {
      await this.deliverTurn(database, job, signal, inserted);
    } catch (error) {
      logger.warn('a bulk delivery stopped and will go on', { log: job.log, error });
      // A store that is away is away for the next job as well.
      await jobs.letGo(database, job, fanOutLimits.jobRetryMs).catch(() => undefined);
      await pause(fanOutLimits.jobRetryMs, undefined, { ref: false, signal }).catch(() => undefined);
      this.wake();
    }
  }

  /** One turn of a job: until its end, or until it goes back behind the others. */
  private async deliverTurn(database: Database, job: Job, signal: AbortSignal, inserted: Promise<void> | undefined): Promise<void> {
    const { deliverer, jobs } = this.parts;
    let delivered: Delivered | undefined;
    /** The chunk that is on its way. */
    let before: { readonly last: After; readonly pushed: Promise<Delivered> } | undefined;
    let next = quiet(this.read(job, job.after));
    for (let left: number = fanOutLimits.turnReadersMax; ; ) {
      const { readers, last, isEnd } = await next;
      left -= readers.length;
      const pushed = readers.length === 0 ? undefined : quiet(deliverer.push('bulk', job.shard, [{ ids: job.ids, readers }]));
      const goesOn = !isEnd && left > 0 && !signal.aborted;
      if (goesOn) next = quiet(this.read(job, last));
      if (before !== undefined) {
        delivered = await before.pushed;
        await inserted;
        if (goesOn && !(await jobs.advance(database, job, before.last))) return;
      }
      before = pushed && { last, pushed };
      if (goesOn) continue;
      if (before !== undefined) delivered = await before.pushed;
      await inserted;
      if (isEnd) return await jobs.finish(database, job, delivered);
      if (before !== undefined && !(await jobs.advance(database, job, before.last))) return;
      await jobs.letGo(database, job, 0);
      this.wake();
      return;
    }
  }

  private read(job: Job, after: After): Promise<Slice> {
    return this.parts.followers.slice({ shard: job.shard, log: job.log }, after, job.to, fanOutLimits.chunkReadersMax);
  }
}

/** Whoever awaits it hears of a failure; nobody else does. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
