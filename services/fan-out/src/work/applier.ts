/**
 * Applying entries: from "there is something" to the effect, and only then the cursor.
 *
 *   events ─ by log ─┬─ parked already      wanted rises, nothing else
 *                    ├─ contiguous          stretch ─────────────┐
 *                    ├─ own log             fetch for the bodies ┤
 *                    └─ beyond              fetch the range ─────┘
 *                                                                ▼
 *   stretch:  1 followers (own logs), in a transaction under the lock of the cursors
 *             2 wait until microblog's view of who follows whom agrees (projection.ts), then
 *               remove the timelines of those whose following changed
 *             3 read the audience, plan (domain/plan.ts)
 *             4 push small audiences to the store
 *             5 tell open streams
 *             6 move the cursors, insert jobs for large audiences, and write down what 2 and 4 did where
 *               (loss.ts does it again should the store lose it), in one statement
 *
 * Every step before 6 may be repeated without harm: followers are states, removed timelines are absent
 * already, ids are unique when read, an open stream that hears something twice is gone after a crash
 * anyway. So a crash
 *   before 1 … between 5 and 6   the cursor has not moved: the same stretch comes again
 *   after 6                      nothing is left to do; jobs are rows and are found by whoever looks
 *
 * Why the timeline of somebody who follows is removed and not merged into: the list is made again from
 * Postgres by the next read, whole, by the same code as every other rebuild, and it is exact. It has to
 * be removed *after* the follower's row is committed: whatever is planned from then on is pushed to
 * them, and whatever was planned before is in the snapshot. Removing first would lose what is planned
 * between the two.
 *
 * What fails for one log only (it cannot be fetched, it has a hole, an entry makes us throw) is parked:
 * one row, and the others go on. What fails for all (our database, the store) rejects, and the event log
 * brings the same events again.
 */
import type { EntryAnswer, EntryRef, LogRef } from '@dmb/events';
import { postIdMs, shardOf } from '@dmb/protocol';
import { AppError, isRetryable, toAppError, type Calls, type Logger } from '@dmb/runtime';
import type { LiveEvent, LiveEvents, Reader, Timelines } from '@dmb/timelines';
import { randomUUID } from 'node:crypto';
import { decide, decidePage } from '../domain/peer-rule.ts';
import { deliveredIds, followerChanges, isDelivered, planStretches, rangesOf, type Stretch } from '../domain/plan.ts';
import { fanOutLimits } from '../limits.ts';
import { fanOutMetrics } from '../metrics.ts';
import type { FollowerStore } from '../store/followers.ts';
import { beginOf, type Job } from '../store/jobs.ts';
import { keyOf, type NewJob, type ParkRequest, type Progress, type ProgressStore } from '../store/progress.ts';
import { positionAt, type Deliverer } from './deliverer.ts';
import { LogLocks } from './log-locks.ts';
import { Projection } from './projection.ts';

const shardCount = 1_024;

export interface ApplierParts {
  readonly progress: ProgressStore;
  readonly followers: FollowerStore;
  readonly deliverer: Deliverer;
  readonly timelines: Timelines;
  readonly live: LiveEvents;
  readonly calls: Pick<Calls, 'call'>;
  readonly logger: Logger;
  readonly now: () => number;
  /** Jobs were inserted. */
  readonly onJobs: () => void;
  /** How many new jobs may be begun with at once. */
  readonly jobRoom: () => number;
  /** A job is being inserted with our lease. */
  readonly beginJob: (job: Job, inserted: Promise<void>) => void;
  /** Logs were parked. */
  readonly onParked: () => void;
}

/** A stretch with what only fetched entries have. */
interface Fetched extends Stretch {
  readonly entries: readonly (EntryRef & Partial<EntryAnswer>)[];
  /** Where the cursor goes if the stretch is empty: a floor that rose. */
  readonly end: bigint;
}

export class Applier {
  private readonly parts: ApplierParts;
  private readonly locks = new LogLocks();
  private readonly projection: Projection;
  /** Stretches between their first effect and their cursor. */
  private readonly applying = new Set<Promise<void>>();

  constructor(parts: ApplierParts) {
    this.parts = parts;
    this.projection = new Projection(parts.calls, parts.logger, parts.now);
  }

  /**
   * Takes events in, in any order and any number of times. Resolves when each has had its effect, was had
   * already, or belongs to a log that is parked.
   * @throws what our database or the store threw
   */
  async take(events: readonly EntryRef[]): Promise<void> {
    const byLog = Map.groupBy(events, keyOf);
    await this.locks.run([...byLog.keys()], async () => {
      const logs = [...byLog.values()].map((ofLog) => logOf(ofLog[0]!));
      const progress = await this.parts.progress.load(logs);
      const stretches: Fetched[] = [];
      const toFetch: { readonly log: LogRef; readonly upTo: bigint }[] = [];
      const parked: ParkRequest[] = [];
      for (const [key, ofLog] of byLog) {
        const log = logOf(ofLog[0]!);
        const { cursor, wanted } = progress.get(key) ?? nowhere;
        const { apply, fetch, dropped } = decide(cursor, ofLog);
        fanOutMetrics.dropped(dropped);
        const highest = fetch?.upTo ?? apply.at(-1)?.number;
        if (highest === undefined) continue;
        if (wanted !== undefined) {
          parked.push({ log, number: (cursor ?? 0n) + 1n, wanted: highest, cause: 'an earlier entry waits' });
          continue;
        }
        // Only a body says what a happening is.
        const needsBodies = ofLog[0]!.audience === 'own';
        if (apply.length > 0 && !needsBodies) stretches.push({ log, cursor: cursor ?? 0n, entries: apply, end: apply.at(-1)!.number });
        if (fetch !== undefined || needsBodies) toFetch.push({ log, upTo: highest });
      }
      if (parked.length > 0) await this.park(parked);
      await this.applyAll(stretches);
      await inParallel(toFetch, fanOutLimits.fetchesAtOnce, ({ log, upTo }) => this.fetchOrPark(log, upTo));
    });
  }

  /**
   * Fetches and applies `(cursor, upTo]` of one log. `attempts` is how often that was tried in vain.
   * @throws the cause, if the log cannot go on; nothing is parked then
   */
  async catchUp(log: LogRef, upTo: bigint, attempts = 0): Promise<void> {
    await this.locks.run([keyOf(log)], () => this.fetchRange(log, upTo, attempts < fanOutLimits.projectionAttemptsMax));
  }

  /** Writes down that logs cannot go on. */
  async park(requests: readonly ParkRequest[]): Promise<void> {
    await this.parts.progress.park(requests);
    fanOutMetrics.parked(requests.length);
    this.parts.onParked();
  }

  private async fetchOrPark(log: LogRef, upTo: bigint): Promise<void> {
    try {
      await this.fetchRange(log, upTo);
    } catch (error) {
      await this.parkFor(log, upTo, error);
    }
  }

  private async parkFor(log: LogRef, wanted: bigint, error: unknown): Promise<void> {
    const progress = await this.parts.progress.load([log]);
    const number = (progress.get(keyOf(log))?.cursor ?? 0n) + 1n;
    this.parts.logger.warn('a log was parked', { log: log.log, number, wanted, error });
    await this.park([{ log, number, wanted, cause: causeOf(error) }]);
  }

  private async fetchRange(log: LogRef, upTo: bigint, patient = true): Promise<void> {
    const progress = await this.parts.progress.load([log]);
    let at = progress.get(keyOf(log))?.cursor ?? 0n;
    while (at < upTo) {
      const page = await this.parts.calls.call('microblog.entries', { ...log, after: at, limit: fanOutLimits.fetchEntriesMax });
      const decision = decidePage(at, page);
      switch (decision.outcome) {
        case 'short':
          throw new AppError('unavailable', undefined, { detail: `the log is said to end at ${decision.head} before ${upTo}` });
        case 'hole':
          throw new AppError('bug', undefined, { detail: `entry ${decision.at} is missing in the log` });
        case 'apply': {
          const end = decision.entries.at(-1)?.number ?? decision.cursor;
          fanOutMetrics.fetched(decision.entries.length);
          await this.apply([{ log, cursor: decision.cursor, entries: decision.entries, end }], patient);
          at = end;
        }
      }
    }
  }

  /** All stretches at once; if one of them makes us fail, each by itself, and that one is parked. */
  private async applyAll(stretches: readonly Fetched[]): Promise<void> {
    if (stretches.length === 0) return;
    try {
      await this.apply(stretches);
    } catch (error) {
      if (isRetryable(error)) throw error;
      for (const stretch of stretches) {
        try {
          await this.apply([stretch]);
        } catch (own) {
          if (isRetryable(own)) throw own;
          await this.parkFor(stretch.log, stretch.end, own);
        }
      }
    }
  }

  /** Resolves when every stretch that has had an effect on the store by now has its cursor moved, or has failed and comes again. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.applying]);
  }

  private async apply(stretches: readonly Fetched[], patient = true): Promise<void> {
    const applied = this.applyNow(stretches, patient).finally(() => this.applying.delete(applied));
    this.applying.add(applied);
    await applied;
  }

  private async applyNow(stretches: readonly Fetched[], patient: boolean): Promise<void> {
    const { progress, followers, deliverer, live, now } = this.parts;
    const removed = new Map<string, readonly Reader[]>();
    for (const stretch of stretches) removed.set(keyOf(stretch.log), await this.applyHappenings(stretch, patient));
    const removedAt = positionAt(now());
    const changed = [...removed.values()].flat().map(({ shard, person }): LiveEvent => ({ type: 'person', event: { shard, person, what: 'following-changed' } }));

    const delivering = stretches.filter((stretch) => stretch.entries.some(isDelivered)).map(({ log }) => log);
    const audiences = await followers.audiences(delivering);
    const plan = planStretches(stretches, (log) => audiences.get(keyOf(log)) ?? { size: 'small', readers: [] }, fanOutLimits.lanes);
    const lanes = new Map(await Promise.all([...plan.pushes].map(async ([lane, pushes]) => [lane, await deliverer.push('small', lane, pushes)] as const)));

    const oldestMs = now() - fanOutLimits.liveAgeMsMax;
    const told = plan.told.filter(({ id }) => postIdMs(id) >= oldestMs).map((ref): LiveEvent => ({ type: 'entry', ref: refOf(ref) }));
    if (changed.length + told.length > 0) await live.publish([...changed, ...told]);

    const jobsOf = new Map<string, readonly NewJob[]>();
    const begun: Job[] = [];
    for (const { log, ids } of plan.large) {
      const jobs = rangesOf(fanOutLimits.jobRangesPerLog, shardCount).map((range): NewJob => {
        const job = { ...range, jobId: randomUUID(), ids };
        if (begun.length >= this.parts.jobRoom()) return { ...job, lease: null };
        const lease = randomUUID();
        begun.push({ ...job, lease, shard: log.shard, log: log.log, after: beginOf(range.from) });
        return { ...job, lease };
      });
      jobsOf.set(keyOf(log), jobs);
    }
    const moved = progress.move(
      stretches.map((stretch) => {
        const { log, end } = stretch;
        const persons = removed.get(keyOf(log))?.map(({ person }) => person) ?? [];
        const lane = log.shard % fanOutLimits.lanes;
        const position = lanes.get(lane)?.position ?? removedAt;
        const isPushed = plan.pushes.get(lane)?.some(({ log: of }) => of === log) ?? false;
        const ids = isPushed ? deliveredIds(stretch) : [];
        return { log, number: end, plan: ids.length + persons.length === 0 ? undefined : { lane, position, ids, persons }, jobs: jobsOf.get(keyOf(log)) ?? [] };
      }),
    );
    for (const job of begun) this.parts.beginJob(job, moved);
    await moved;
    if (jobsOf.size > 0) this.parts.onJobs();
    this.count(stretches);
  }

  /** Steps 1 and 2 for one stretch; whose timelines were removed. */
  private async applyHappenings({ log, cursor, entries }: Fetched, patient: boolean): Promise<readonly Reader[]> {
    const changes = entries.flatMap(({ audience, body, number }) => (audience === 'own' ? followerChanges(body ?? null, number) : []));
    if (changes.length === 0) return [];
    if (!(await this.parts.followers.apply(log, cursor, changes))) return [];
    const byPerson = Map.groupBy(changes, ({ person }) => person);
    await inParallel([...byPerson], fanOutLimits.fetchesAtOnce, ([person, ofPerson]) => this.projection.agrees(person, ofPerson, patient));
    const persons = [...byPerson.keys()].map((person): Reader => ({ shard: shardOf(person), person }));
    await this.parts.timelines.remove(persons);
    return persons;
  }

  private count(stretches: readonly Fetched[]): void {
    const now = this.parts.now();
    for (const stretch of stretches) {
      fanOutMetrics.applied(stretch.entries.length);
      for (const id of deliveredIds(stretch)) fanOutMetrics.readable(id, now);
    }
  }
}

const nowhere: Progress = { cursor: undefined, wanted: undefined };
const logOf = ({ shard, log, epochNo }: LogRef): LogRef => ({ shard, log, epochNo });

/** A reference without the body that it may have been fetched with. */
const refOf = ({ shard, log, epochNo, number, kind, id, audience, microblog, late }: EntryRef): EntryRef => ({ shard, log, epochNo, number, kind, id, audience, microblog, late });

function causeOf(error: unknown): string {
  const { kind, detail, message } = toAppError(error);
  return `${kind}: ${detail ?? message}`;
}

/** Runs `work` for each item, so many at once; rejects with the first failure once all that runs has ended. */
export async function inParallel<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await work(item);
  };
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
