/** Every bound of the adapters, with its unit in its name. */
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

/** Bounds of the adapters on Redis; those of timelines above hold there too. */
export const redisLimits = {
  /** A connection that is not there by then is tried again. */
  connectMsMax: 2_000,
  /** How long the start waits for the first connections before it goes on without. */
  openMsMax: 3_000,
  /** Between attempts to connect: doubled from the first to the last. */
  reconnectMsFirst: 50,
  reconnectMsMax: 1_000,
  /** A command that has no reply by then has failed; a reader asks Postgres instead. */
  commandMsMax: 1_000,
  /** A flush that has not all its replies by then has failed, and its connection is given up. */
  flushMsMax: 5_000,
  /** How long a push waits for a connection that is being made. */
  linkWaitMsMax: 500,
  /** Bytes of waiting pushes of one lane that go out as one flush. */
  flushBytesMax: 1_048_576,
  /** Flushes of one lane on their way to a node: while one is applied the next is there already. */
  flushesOutMax: 3,
  /** How often commands are sent to where the cluster says that their shard has gone, with pauses of this long times the attempt. */
  redirectsMax: 5,
  redirectPauseMs: 50,
  /** The table of a cluster is asked for again after this, whether or not a node said that it changed. */
  tableMsMax: 30_000,
  /** Not more often than this. */
  tableMsMin: 100,
  /** A list is cut when a push finds it this many times longer than it may be, in case nobody reads it. */
  unreadLengthFactor: 1.5,
  /** A list is cut when a read finds it this many times longer than it may be. */
  readLengthFactor: 1.2,
  /** Lists that wait for being cut after a push; further ones wait for their next push. */
  cutsWaitingMax: 1_000,
  /** Lists whose long expiry this process renewed lately; not renewed again for a part of it. */
  renewedMax: 100_000,
  renewEveryMs: 6 * 3_600_000,
  /** Processes whose marks a node keeps beside each other; over it the oldest go. */
  writersMax: 256,
  /** Keys looked at when timelines are counted; over it the count is an estimate. */
  countKeysMax: 20_000,
  /** Lists whose length is asked for then, one server. */
  countLengthsMax: 500,
  /** Keys asked for at once when all are gone through. */
  scanKeys: 1_000,
  /** Live events of one channel that go as one message. */
  eventsPerMessageMax: 500,
  /** After a failure limits are kept in the process for this long before Redis is asked again. */
  limitsPauseMs: 1_000,
  /** A rate limit is asked for while a request waits: sooner given up than other commands. */
  limitMsMax: 250,
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
assertLimits('redis', {
  'commandMsMax < flushMsMax < sentinelMsMax': redisLimits.commandMsMax < redisLimits.flushMsMax && redisLimits.flushMsMax < timelineLimits.sentinelMsMax,
  'limitMsMax ≤ commandMsMax': redisLimits.limitMsMax <= redisLimits.commandMsMax,
  'readLengthFactor < unreadLengthFactor': redisLimits.readLengthFactor < redisLimits.unreadLengthFactor,
  'renewEveryMs × 2 < idleMsMax': redisLimits.renewEveryMs * 2 < timelineLimits.idleMsMax,
});
