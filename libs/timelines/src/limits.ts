/** Every bound of the in-memory adapters, with its unit in its name. */
import { assertLimits } from '@dmb/runtime';

/** Bounds of timelines. Each may be set smaller by whoever creates the adapter (tests do). */
export const timelineLimits = {
  /** Ids that a list keeps; below the oldest one Postgres is asked. */
  idsPerTimelineMax: 800,
  /** A list is cut back only when it is this much longer: one sort for many pushes. */
  idsSlack: 80,
  /** Places for ids in all lists together, 8 bytes each; over it the lists go that were read longest ago. */
  idsTotalMax: 16 * 1_048_576,
  /** Lists whose last answer is kept until something is added: 32 bytes an id. */
  answersKeptMax: 256,
  /** A list that nobody has read for this long is forgotten. */
  idleMsMax: 7 * 86_400_000,
  /** A list that is being rebuilt is forgotten if its snapshot takes longer. */
  sentinelMsMax: 30_000,
  /** After this another reader may rebuild, whatever became of the first. */
  rebuildLockMsMax: 40_000,
  /** How often a rebuild starts again because its list was removed meanwhile. */
  rebuildAttemptsMax: 4,
} as const;

export type TimelineLimits = { readonly [Name in keyof typeof timelineLimits]: number };

/** Bounds of live events. */
export const liveLimits = {
  /** Handlers in one process: a service needs one, so many are a leak. */
  handlersMax: 64,
} as const;

/** Bounds of rate limits. */
export const limitLimits = {
  /** Keys kept; over it the one goes that was asked for longest ago, as if it had refilled. */
  keysMax: 100_000,
} as const;

/** @throws {StartError} when bounds contradict each other */
export function assertTimelineLimits(limits: TimelineLimits): void {
  assertLimits('timelines', {
    'idsSlack ≤ idsPerTimelineMax': limits.idsSlack <= limits.idsPerTimelineMax,
    'idsPerTimelineMax + idsSlack ≤ idsTotalMax': limits.idsPerTimelineMax + limits.idsSlack <= limits.idsTotalMax,
    'sentinelMsMax < rebuildLockMsMax < idleMsMax': limits.sentinelMsMax < limits.rebuildLockMsMax && limits.rebuildLockMsMax < limits.idleMsMax,
    'rebuildAttemptsMax ≥ 1': limits.rebuildAttemptsMax >= 1,
  });
}

assertTimelineLimits(timelineLimits);
