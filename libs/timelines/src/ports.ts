/**
 * Three ports that keep what may be forgotten: timelines, live events and limits.
 *
 * Everything behind them can be rebuilt from Postgres, or is allowed to be gone after a restart.
 * One process keeps it in memory (`memory.ts`), a cluster in Redis; nothing above knows which.
 *
 * **Timelines.** A timeline is a list of post ids for one person who reads: at most
 * `idsPerTimelineMax`, rising. It is *present* (somebody reads it) or *absent*; only present ones
 * are pushed to, and an absent one is rebuilt when it is next read. A list is exact down to its
 * oldest id: below that, and only below that, Postgres is asked. Pushing is at least once and may
 * come in any order between lanes: ids are unique and sorted *when read*.
 *
 * **Rebuilding races with pushing.** Taking the snapshot first and storing it then would lose what
 * was pushed in between. So a rebuild first makes the list present with a sentinel (pushes land from
 * here on), then takes the snapshot, then adds its ids; if the list was removed meanwhile (a follow,
 * a block, an eviction) it starts again. Who finds a rebuild under way reads Postgres.
 */
import type { EntryRef, PersonEvent } from '@dmb/events';
import type { PersonId, PostId } from '@dmb/protocol';

/** One reader: a person, with the shard of the person. */
export interface Reader {
  readonly shard: number;
  readonly person: PersonId;
}

/** Ids for readers: every id goes onto the list of every reader whose timeline is present. */
export interface Push {
  /** Rising. */
  readonly ids: readonly PostId[];
  readonly readers: readonly Reader[];
}

/** What a read finds. */
export type TimelineRead =
  | { readonly state: 'absent' }
  /** Being rebuilt by somebody else just now. */
  | { readonly state: 'rebuilding' }
  /**
   * Falling, unique. Exact down to `exactFrom` (inclusive); everything below must be asked of
   * Postgres. `exactFrom` is 0 when the list has everything that there is.
   */
  | { readonly state: 'present'; readonly ids: readonly PostId[]; readonly exactFrom: PostId };

/** What Postgres says that a timeline holds: falling ids, exact down to `exactFrom`. */
export interface TimelineSnapshot {
  readonly ids: readonly PostId[];
  readonly exactFrom: PostId;
}

/** How a push is carried. */
export interface PushOptions {
  /** Part of something large: others must not wait behind it. A lane is for bulk always, or never. */
  readonly bulk?: boolean;
}

/** A part of the store came back without what had been written to it last. */
export interface StoreLoss {
  /** Everything until then is there; Unix milliseconds, by the clock of this process. */
  readonly sinceMs: number;
  /** Whether the lists of a shard are in that part. */
  holds(shard: number): boolean;
}

/** What becomes of the lists of that part: only some are removed, because the rest will be pushed again; or all. */
export type LossAnswer = { readonly removed: readonly Reader[] } | 'remove all';

/** The timelines of persons who read. */
export interface Timelines {
  /**
   * Pushes to present lists and resolves once every list has it. Calls of one delivery lane are
   * applied in the order of the calls, which need not wait for each other; `position` rises per lane and is
   * remembered as a mark together with what was pushed.
   */
  push(lane: number, position: bigint, pushes: readonly Push[], options?: PushOptions): Promise<void>;
  /**
   * Asks `answer` what to do about a {@link StoreLoss}. Until it has resolved nothing is pushed to that part; it is asked again if it
   * rejects. Who does not ask to be asked has all lists of the part removed.
   */
  onLoss(answer: (loss: StoreLoss) => Promise<LossAnswer>): void;
  /** The last position that was applied in a lane; undefined when the store has forgotten (flushed, restarted). */
  applied(lane: number): Promise<bigint | undefined>;
  read(reader: Reader): Promise<TimelineRead>;
  /**
   * Makes the list present by `load` and answers what a read then finds. Concurrent rebuilds of one
   * list load once; the others answer `rebuilding`.
   * @throws what `load` throws; the list is then absent.
   */
  rebuild(reader: Reader, load: () => Promise<TimelineSnapshot>): Promise<TimelineRead>;
  /** Forgets lists: they are absent when this resolves, also for a rebuild that is under way. */
  remove(readers: readonly Reader[]): Promise<void>;
  /** Forgets everything (for tests and for a reset). */
  clear(): Promise<void>;
  /** Counts for telemetry. */
  statistics(): Promise<{ readonly present: number; readonly ids: number; readonly rebuilds: number }>;
  close(): Promise<void>;
}

/** What open streams hear. */
export type LiveEvent =
  /** An entry is there: whoever follows its log may see it, after the rules. */
  | { readonly type: 'entry'; readonly ref: EntryRef; readonly traceparent?: string }
  /** Something about a person changed: tokens revoked, suspended, what they follow. */
  | { readonly type: 'person'; readonly event: PersonEvent | { readonly shard: number; readonly person: PersonId; readonly what: 'following-changed' } };

/** Live events: heard by whoever listens at that moment, kept for nobody. */
export interface LiveEvents {
  publish(events: readonly LiveEvent[]): Promise<void>;
  /** The handler must not throw; events of one log come in the order published by one process. */
  listen(handler: (event: LiveEvent) => void): Promise<{ stop(): Promise<void> }>;
  close(): Promise<void>;
}

/** A bucket: `capacity` at once, refilled evenly over `periodMs`. */
export interface Limit {
  readonly name: string;
  readonly capacity: number;
  readonly periodMs: number;
}

/** What a limit answers; `resetAt` is Unix milliseconds of when it is full again. */
export interface LimitAnswer {
  readonly allowed: boolean;
  readonly remaining: number;
  readonly resetAt: number;
}

/** Rate limits by key (token, address bucket, handle …), bounded in the number of keys kept. */
export interface Limits {
  take(limit: Limit, key: string, cost?: number): Promise<LimitAnswer>;
  close(): Promise<void>;
}
