/** Every bound of the microblog service, with its unit in its name; the relations between them are asserted when it is loaded. */
import { assertLimits } from '@dmb/runtime';
import { outboxLimits, relayCount } from '@dmb/postgres';

/** Bounds of appending. */
export const appendLimits = {
  /** Rows of one batch, one statement, one commit. */
  batchRowsMax: 1_000,
  /** Envelopes and bodies of one batch. A batch has at least one row. */
  batchBytesMax: 1 << 20,
  /** Appends that wait in one lane; one more is refused at once. */
  queueRowsMax: 8_192,
  /** Their envelopes and bodies. */
  queueBytesMax: 64 << 20,
  /** From the call to the last attempt: past it `unavailable`. */
  patienceMs: 15_000,
  /** After the database has refused a batch the process is unready for this long, or until the next commit. */
  refusedForMs: 10_000,
  /** Between two attempts to reach a database that is away. */
  reconnectPauseMs: 250,
  /** After a lost race, turns are taken at that log for this long. */
  contendedMs: 1_000,
  /** Logs that one lane remembers for that. */
  contendedLogsMax: 1_000,
  /** Attempts with new ids after keys or ids clashed. */
  clashesMax: 20,
  /** Heads that one lane remembers. */
  headsMax: 50_000,
  /** Of an idempotency key. */
  keyCharsMax: 255,
  /** How long a token's key is remembered at least. */
  tokenKeyHours: 48,
  /** Our clock ahead of the database's by more draws no ids. */
  clockAheadMsMax: 5_000,
  /** The clocks are compared when a batch begins and this has passed. */
  clockCheckMs: 60_000,
  /** Batches up to this size use a plan that is kept; larger ones are planned for their size. */
  keptPlanRowsMax: 16,
  /** Expired keys that one statement deletes. */
  expiredKeysMax: 1_000,
  expiredKeysIntervalMs: 3_600_000,
  /** Closing waits this long for what was taken in. */
  closeTimeoutMs: 10_000,
} as const;

/** Bounds of handles and microblogs. */
export const microblogLimits = {
  /** A reserved handle is held this long. */
  reservationMinutes: 10,
  /** What one person may follow. */
  followsMax: 10_000,
  /** Undecided requests that one microblog keeps. */
  followRequestsMax: 50_000,
  /** Tries of a change whose precondition moved under it. */
  changeAttemptsMax: 5,
} as const;

/** Bounds of loading many at once. */
export const loadLimits = {
  /** Microblogs in one transaction: some twenty rows each. */
  microblogsPerTransactionMax: 10_000,
  /** Microblogs that get their new followers in one transaction. */
  followedPerTransactionMax: 500,
  /** Follows that are written beside their persons in one transaction. */
  followingPerTransactionMax: 50_000,
} as const;

/** Bounds of reading. */
export const readLimits = {
  /** Ids in one answer of `snapshot` and `own-posts`. */
  snapshotIdsMax: 800,
  /** First look into each followed log. */
  snapshotFirstRows: 8,
  /** Logs of one database that are merged when reading. */
  mergedLogsMax: 10_000,
  entriesMax: 1_000,
  /** Roles that another service asks for in one call. */
  rolesAskedMax: 1_000,
  headsMax: 5_000,
  /** Entries whose time is kept once their envelope was read. */
  timesKeptMax: 50_000,
  /** Logs of one page of statuses or ids of one hydration. */
  idsMax: 2_000,
  repliesMax: 200,
  /** Newest posts of a hashtag, by which it is decided whether a search may name it. */
  postsPerHashtagMax: 5,
  /** Older ones that are looked at where those are all hidden: at once, and for one search. */
  hashtagLooksAtOnce: 40,
  hashtagLooksMax: 800,
} as const;

/** Bounds of our own consumer. */
export const consumerLimits = {
  /** Entries of one log that are applied in one transaction. */
  pageEntriesMax: 200,
  /** Entries of all logs that are applied in one transaction. */
  batchEntriesMax: 2_000,
  /** A parked log is tried again after this, doubling. */
  parkFirstMs: 1_000,
  parkMsMax: 3_600_000,
  sweepIntervalMs: 3_600_000,
  /** Logs in one statement of the sweep. */
  sweepLogsMax: 5_000,
  /** Repairs of parked logs at once. */
  repairLogsMax: 100,
} as const;

assertLimits('microblog', {
  'batchRowsMax <= refsPerRowMax of the outbox': appendLimits.batchRowsMax <= outboxLimits.refsPerRowMax,
  'contendedMs < patienceMs': appendLimits.contendedMs < appendLimits.patienceMs,
  'batchRowsMax < queueRowsMax': appendLimits.batchRowsMax < appendLimits.queueRowsMax,
  'batchBytesMax < queueBytesMax': appendLimits.batchBytesMax < appendLimits.queueBytesMax,
  'keptPlanRowsMax < batchRowsMax': appendLimits.keptPlanRowsMax < appendLimits.batchRowsMax,
  'pageEntriesMax <= batchEntriesMax': consumerLimits.pageEntriesMax <= consumerLimits.batchEntriesMax,
  'snapshotFirstRows <= snapshotIdsMax': readLimits.snapshotFirstRows <= readLimits.snapshotIdsMax,
  'relays are the 16 that outbox rows are spread over': relayCount === 16,
});
