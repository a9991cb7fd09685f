/** Every bound of timeline, with its unit in its name. */
import { assertLimits } from '@dmb/runtime';

/** Bounds of reading. */
export const homeLimits = {
  /** Ids asked of microblog at once. */
  snapshotIdsMax: 800,
  /** Rows looked at for one page once it has something to show; then `next` leads on. */
  looksMax: 800,
  /** Rows looked at while nothing at all survives: an empty page would end a client's reading. */
  emptyLooksMax: 4_000,
  /** Ids presented at once after the first part of a page. */
  chunkMax: 200,
  /** For how many tokens it is remembered whether they act as a group. */
  kindsKnownMax: 20_000,
  /** Which logs are merged when reading is asked for again after this. */
  mergedKnownMs: 1_000,
  /** Between two lines in the log that say that the store fails. */
  storeWarningMsMin: 60_000,
} as const;

/** Bounds of live streams. */
export const streamLimits = {
  /** Streams of the whole process. */
  streamsMax: 9_000,
  /** Bytes that wait for a reader before it is cut off. */
  bufferBytesMax: 262_144,
  /** One message of a client. */
  messageBytesMax: 4_096,
  /** Messages of a client between two looks at it. */
  messagesPerLookMax: 50,
  /** Between two looks at all streams: tokens, roles, slow readers. */
  lookMs: 5_000,
  /** Looks between two heartbeats: 15 s. */
  looksPerHeartbeat: 3,
  /** Looks after which what is followed is asked for again without any event: 60 s. */
  looksPerRefresh: 12,
  /** Looks in a row that may fail before a stream is closed because nobody can say whether it may go on. */
  failedLooksMax: 6,
  /** Looks after which a client that has not taken our goodbye is cut off without it: at least 5 s, since one look may come just behind it. */
  goodbyeLooks: 2,
  /** Heartbeats that a WebSocket may leave unanswered. */
  missedPongsMax: 2,
  /** Events that wait for one reader. */
  pendingMax: 500,
  /** Events of one reader that are presented at once. */
  batchMax: 20,
  /** Readers, and events of them all, that are presented for at once. */
  viewersPerRoundMax: 500,
  eventsPerRoundMax: 2_000,
  roundsAtOnce: 4,
  notificationCallsAtOnce: 8,
  /** Readers whose following is asked for again at once. */
  refreshesAtOnce: 16,
  /** Last entries remembered for readers whose following is just being asked for. */
  recentMax: 512,
  presentAttemptsMax: 3,
} as const;

assertLimits('timeline', {
  'looksMax ≤ emptyLooksMax': homeLimits.looksMax <= homeLimits.emptyLooksMax,
  'chunkMax ≤ snapshotIdsMax': homeLimits.chunkMax <= homeLimits.snapshotIdsMax,
  'messageBytesMax < bufferBytesMax': streamLimits.messageBytesMax < streamLimits.bufferBytesMax,
  'batchMax ≤ pendingMax': streamLimits.batchMax <= streamLimits.pendingMax,
  'batchMax ≤ eventsPerRoundMax': streamLimits.batchMax <= streamLimits.eventsPerRoundMax,
});
