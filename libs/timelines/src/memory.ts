/**
 * The three ports in the memory of one process.
 *
 * **Timelines** are a map from person to {@link IdList}, in the order in which they were last read.
 * Pushing looks a reader up and appends; it never creates a list, moves it, or touches a reader who is
 * absent. Reading moves the list to the end of the map, so that the first ones are those to forget:
 * all lists together hold at most `idsTotalMax` places, and none is kept that nobody read for
 * `idleMsMax`. Both are looked at while pushing, reading and rebuilding; there is no timer.
 *
 * A *rebuild* is two things, as it is in a store that several processes share:
 *   lock       one per person while somebody rebuilds: everybody else reads Postgres
 *   sentinel   the empty list that stands in the map while the snapshot is taken, and takes pushes
 * Whoever removes the list (a follow, a block, eviction, `clear`) takes the sentinel out of the map and
 * leaves the lock. The rebuild finds another list, or none, where its own stood, and starts again with a
 * new sentinel and a new snapshot; after `rebuildAttemptsMax` it leaves the list absent and the reader
 * goes to Postgres. The ids of the snapshot are then added to the list and it becomes readable, in one
 * step of the event loop. Were the snapshot taken before the list is present, whatever is pushed between
 * the two would be lost: the conformance suite shows that it is.
 *
 * After a restart everything is absent and every mark is gone: that is how the process that pushes learns
 * that there is nothing to repeat.
 *
 * **Live events** reach every handler before `publish` resolves. A handler that throws is reported and
 * does not keep the event from the others.
 *
 * **Limits** keep one number per key: the moment at which the bucket will be full again (GCRA). A key
 * whose bucket is full says nothing and is the first to go.
 */
import { AppError } from '@dmb/runtime';
import type { PostId } from '@dmb/protocol';
import { IdList } from './id-list.ts';
import { assertTimelineLimits, limitLimits, liveLimits, timelineLimits, type TimelineLimits } from './limits.ts';
import type { Limit, LimitAnswer, Limits, LiveEvent, LiveEvents, Push, Reader, TimelineRead, Timelines, TimelineSnapshot } from './ports.ts';

export interface MemoryTimelinesOptions {
  readonly limits?: Partial<TimelineLimits>;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

interface Timeline {
  readonly list: IdList;
  readAtMs: number;
  /** Not yet readable: the sentinel of a rebuild that began at `readAtMs`. */
  rebuilding: boolean;
}

/** Timelines in memory; they are forgotten when the process ends. */
export class MemoryTimelines implements Timelines {
  private readonly timelines = new Map<string, Timeline>();
  /** Since when somebody rebuilds the list of a person. */
  private readonly locks = new Map<string, { readonly sinceMs: number }>();
  private readonly marks = new Map<number, bigint>();
  /** Lists whose answer is kept, the one read longest ago first. */
  private readonly answered = new Set<IdList>();
  private readonly limits: TimelineLimits;
  private readonly now: () => number;
  private places = 0;
  private rebuilds = 0;

  constructor(options: MemoryTimelinesOptions = {}) {
    this.limits = { ...timelineLimits, ...options.limits };
    this.now = options.now ?? Date.now;
    assertTimelineLimits(this.limits);
  }

  push(lane: number, position: bigint, pushes: readonly Push[]): Promise<void> {
    let grown = 0;
    for (const { ids, readers } of pushes) {
      for (const { person } of readers) {
        const timeline = this.timelines.get(person);
        if (timeline === undefined) continue;
        const { list } = timeline;
        const before = list.capacity;
        for (const id of ids) list.add(id);
        grown += list.capacity - before;
      }
    }
    this.places += grown;
    this.forget();
    const applied = this.marks.get(lane);
    if (applied === undefined || applied < position) this.marks.set(lane, position);
    return Promise.resolve();
  }

  /** Nobody is ever asked: what this process forgets, it forgets with itself. */
  onLoss(): void {
    return;
  }

  applied(lane: number): Promise<bigint | undefined> {
    return Promise.resolve(this.marks.get(lane));
  }

  read(reader: Reader): Promise<TimelineRead> {
    return Promise.resolve(this.readNow(reader));
  }

  async rebuild(reader: Reader, load: () => Promise<TimelineSnapshot>): Promise<TimelineRead> {
    const found = this.readNow(reader);
    if (found.state !== 'absent') return found;
    const lock = { sinceMs: this.now() };
    this.locks.set(reader.person, lock);
    this.rebuilds++;
    try {
      for (let attempt = 1; attempt <= this.limits.rebuildAttemptsMax; attempt++) {
        const sentinel = this.placeSentinel(reader);
        const snapshot = await load();
        // Somebody else may rebuild by now if that took longer than a lock lasts.
        if (this.locks.get(reader.person) !== lock) return { state: 'rebuilding' };
        if (this.timelines.get(reader.person) === sentinel && !this.isExpired(sentinel)) {
          this.fill(sentinel, snapshot);
          this.locks.delete(reader.person);
          return this.readNow(reader);
        }
      }
      return { state: 'absent' };
    } finally {
      if (this.locks.get(reader.person) === lock) {
        this.locks.delete(reader.person);
        if (this.timelines.get(reader.person)?.rebuilding === true) this.drop(reader.person);
      }
    }
  }

  remove(readers: readonly Reader[]): Promise<void> {
    for (const { person } of readers) this.drop(person);
    return Promise.resolve();
  }

  clear(): Promise<void> {
    this.timelines.clear();
    this.answered.clear();
    this.marks.clear();
    this.places = 0;
    return Promise.resolve();
  }

  statistics(): Promise<{ readonly present: number; readonly ids: number; readonly rebuilds: number }> {
    let ids = 0;
    for (const { list } of this.timelines.values()) ids += list.size;
    return Promise.resolve({ present: this.timelines.size, ids, rebuilds: this.rebuilds });
  }

  close(): Promise<void> {
    return this.clear();
  }

  private readNow({ person }: Reader): TimelineRead {
    const lock = this.locks.get(person);
    if (lock !== undefined && this.now() - lock.sinceMs <= this.limits.rebuildLockMsMax) return { state: 'rebuilding' };
    const timeline = this.timelines.get(person);
    if (timeline === undefined || timeline.rebuilding || this.isExpired(timeline)) return { state: 'absent' };
    timeline.readAtMs = this.now();
    this.timelines.delete(person);
    this.timelines.set(person, timeline);
    const ids = timeline.list.read() as readonly PostId[];
    this.keepAnswerOf(timeline.list);
    return { state: 'present', ids, exactFrom: timeline.list.exactFrom as PostId };
  }

  /** Keeps the answers of the lists read last: a page after the other of one timeline is made of the same. */
  private keepAnswerOf(list: IdList): void {
    this.answered.delete(list);
    this.answered.add(list);
    if (this.answered.size <= this.limits.answersKeptMax) return;
    const [oldest] = this.answered;
    oldest?.forgetAnswer();
    if (oldest !== undefined) this.answered.delete(oldest);
  }

  private placeSentinel({ person }: Reader): Timeline {
    this.drop(person);
    const { idsPerTimelineMax, idsSlack } = this.limits;
    const sentinel: Timeline = { list: new IdList(idsPerTimelineMax, idsSlack), readAtMs: this.now(), rebuilding: true };
    this.timelines.set(person, sentinel);
    this.places += sentinel.list.capacity;
    this.forget();
    return sentinel;
  }

  private fill(sentinel: Timeline, snapshot: TimelineSnapshot): void {
    const { list } = sentinel;
    const before = list.capacity;
    // Rising, so that all but what was pushed meanwhile is simply appended.
    for (let index = snapshot.ids.length - 1; index >= 0; index--) list.add(snapshot.ids[index]!);
    list.raiseExactFrom(snapshot.exactFrom);
    sentinel.rebuilding = false;
    this.places += list.capacity - before;
  }

  private isExpired({ readAtMs, rebuilding }: Timeline): boolean {
    return this.now() - readAtMs > (rebuilding ? this.limits.sentinelMsMax : this.limits.idleMsMax);
  }

  /** Forgets those read longest ago while there are too many places, and those that nobody reads. */
  private forget(): void {
    for (const [person, timeline] of this.timelines) {
      if (this.places <= this.limits.idsTotalMax && !this.isExpired(timeline)) return;
      this.drop(person);
    }
  }

  private drop(person: string): void {
    const timeline = this.timelines.get(person);
    if (timeline === undefined) return;
    this.timelines.delete(person);
    this.answered.delete(timeline.list);
    this.places -= timeline.list.capacity;
  }
}

/** Live events inside one process. */
export class MemoryLiveEvents implements LiveEvents {
  private readonly handlers = new Set<{ readonly handle: (event: LiveEvent) => void }>();
  private readonly onHandlerError: (error: unknown) => void;

  /** @param onHandlerError told of what a handler threw; handlers must not. */
  constructor(onHandlerError: (error: unknown) => void = () => undefined) {
    this.onHandlerError = onHandlerError;
  }

  publish(events: readonly LiveEvent[]): Promise<void> {
    for (const event of events) {
      for (const { handle } of this.handlers) {
        try {
          handle(event);
        } catch (error) {
          this.onHandlerError(error);
        }
      }
    }
    return Promise.resolve();
  }

  listen(handle: (event: LiveEvent) => void): Promise<{ stop(): Promise<void> }> {
    if (this.handlers.size >= liveLimits.handlersMax) {
      return Promise.reject(new AppError('bug', undefined, { detail: `more than ${liveLimits.handlersMax} handlers listen to live events` }));
    }
    const handler = { handle };
    this.handlers.add(handler);
    return Promise.resolve({
      stop: () => {
        this.handlers.delete(handler);
        return Promise.resolve();
      },
    });
  }

  close(): Promise<void> {
    this.handlers.clear();
    return Promise.resolve();
  }
}

/** Rate limits inside one process. */
export class MemoryLimits implements Limits {
  /** When the bucket is full again, by limit and key; the key asked for longest ago first. */
  private readonly fullAt = new Map<string, number>();
  private readonly keysMax: number;
  private readonly now: () => number;

  constructor(options: { readonly keysMax?: number; readonly now?: () => number } = {}) {
    this.keysMax = options.keysMax ?? limitLimits.keysMax;
    this.now = options.now ?? Date.now;
  }

  take(limit: Limit, key: string, cost = 1): Promise<LimitAnswer> {
    const now = this.now();
    const name = `${limit.name}\0${key}`;
    const unitMs = limit.periodMs / limit.capacity;
    const before = Math.max(now, this.fullAt.get(name) ?? now);
    const after = before + cost * unitMs;
    // A thousandth of a unit of tolerance: moments are added up in floating point.
    const allowed = after - now <= limit.periodMs + unitMs / 1_000;
    const fullAt = allowed ? after : before;
    this.fullAt.delete(name);
    if (fullAt > now) this.fullAt.set(name, fullAt);
    this.forget(now);
    const remaining = Math.max(0, Math.floor((limit.periodMs - (fullAt - now)) / unitMs + 1 / 1_000));
    return Promise.resolve({ allowed, remaining, resetAt: Math.ceil(fullAt) });
  }

  close(): Promise<void> {
    this.fullAt.clear();
    return Promise.resolve();
  }

  private forget(now: number): void {
    for (const [name, fullAt] of this.fullAt) {
      if (fullAt > now && this.fullAt.size <= this.keysMax) return;
      this.fullAt.delete(name);
    }
  }
}
