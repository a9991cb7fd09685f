/** Every bound of fan-out, with its unit in its name. */
import { assertLimits } from '@dmb/runtime';

export const fanOutLimits = {
  /** Delivery lanes: pushes of one lane are applied in the order of the calls. Lane = log_shard % lanes; bulk has as many of its own above them. */
  lanes: 16,
  /** Audiences up to this many local readers are delivered in the handler; larger ones by jobs. */
  smallAudienceMax: 5_000,
  /** Logs remembered to have more, and for how long. */
  largeLogsKnownMax: 10_000,
  largeLogKnownMs: 60_000,
  /** Readers in one push to the store. */
  sliceReadersMax: 1_000,
  /** Pushes on their way to the store at once. */
  slicesAtOnce: 12,
  /** Of which so many are for large audiences. */
  bulkSlicesAtOnce: 6,
  /** Logs whose followers are read by one query. */
  audienceLogsPerQueryMax: 16,
  /** Ranges that a large audience is cut into, by shards of persons. */
  jobRangesPerLog: 16,
  /** Jobs worked on at once by one process, for each database. */
  jobsAtOnce: 2,
  /** Jobs for the same readers that are delivered as one. */
  jobsTogetherMax: 64,
  /** Readers of a job that are read by one query. */
  chunkReadersMax: 4_000,
  /** Readers that a job is delivered to before others have their turn. */
  turnReadersMax: 40_000,
  /** After a failure nobody takes a job for this long. */
  jobRetryMs: 1_000,
  /** A job whose worker has said nothing for this long is taken by another. */
  jobLeaseMs: 30_000,
  /** How often the workers look at the clock, for leases of others that have ended. */
  jobLookMs: 250,
  /** What was delivered is kept this long, to be pushed again to a store that lost it. */
  planKeptMs: 3_600_000,
  /** How often older plans are removed, while there is something to do. */
  planTidyMs: 60_000,
  /** Clocks of two processes may differ by as much. */
  planMarginMs: 10_000,
  /** Plans that are pushed again; if it were more, all lists are removed and rebuilt instead. */
  planReplayMax: 100_000,
  /** The readers of a log are estimated from those in so many shards of persons. */
  estimateShards: 16,
  /** From when a log is to be merged until nobody pushes it: whoever reads has heard of it by then. */
  mergeAfterMs: 3_000,
  /** Entries asked of microblog at once. */
  fetchEntriesMax: 500,
  /** Logs fetched from at once. */
  fetchesAtOnce: 4,
  /** Logs in one statement about cursors. */
  logsPerStatementMax: 1_000,
  /** Own logs whose followers are loaded in one transaction. */
  logsPerLoadMax: 10_000,
  /** First pause before a parked log is tried again; doubles up to the next. */
  parkedPauseMs: 500,
  parkedPauseMsMax: 600_000,
  /** Parked logs tried in one turn. */
  parkedPerTurnMax: 50,
  /** How often the repair loop looks at its own memory of parked logs; without any it asks nobody. */
  repairLookMs: 250,
  causeLengthMax: 500,
  /** Waiting for microblog's view of a follow before the own log is parked. */
  projectionWaitMs: 1_000,
  /** Attempts at a parked own log after which that view is waited for no more. */
  projectionAttemptsMax: 8,
  /** Persons whose personal microblog is remembered. */
  personsKnownMax: 10_000,
  /** Between two sweeps over all heads. */
  sweepIntervalMs: 3_600_000,
  /** The first sweep comes this long after the start. */
  sweepFirstMs: 60_000,
  /** An entry that is fetched when its id is older than this is told to no open stream. */
  liveAgeMsMax: 600_000,
} as const;

assertLimits('fan-out', {
  'sliceReadersMax ≤ chunkReadersMax ≤ smallAudienceMax': fanOutLimits.sliceReadersMax <= fanOutLimits.chunkReadersMax && fanOutLimits.chunkReadersMax <= fanOutLimits.smallAudienceMax,
  'chunkReadersMax ≤ turnReadersMax': fanOutLimits.chunkReadersMax <= fanOutLimits.turnReadersMax,
  'bulkSlicesAtOnce < slicesAtOnce': fanOutLimits.bulkSlicesAtOnce < fanOutLimits.slicesAtOnce,
  'planMarginMs < planKeptMs': fanOutLimits.planMarginMs < fanOutLimits.planKeptMs,
  'fetchEntriesMax ≤ 1,000, the bound of microblog.entries': fanOutLimits.fetchEntriesMax <= 1_000,
  'parkedPauseMs < parkedPauseMsMax < sweepIntervalMs': fanOutLimits.parkedPauseMs < fanOutLimits.parkedPauseMsMax && fanOutLimits.parkedPauseMsMax < fanOutLimits.sweepIntervalMs,
  'jobRangesPerLog divides the shards': 1_024 % fanOutLimits.jobRangesPerLog === 0,
  'jobLookMs and jobRetryMs < jobLeaseMs': Math.max(fanOutLimits.jobLookMs, fanOutLimits.jobRetryMs) < fanOutLimits.jobLeaseMs,
});
