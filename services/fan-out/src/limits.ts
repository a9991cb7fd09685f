/** Every bound of fan-out, with its unit in its name. */
import { assertLimits } from '@dmb/runtime';

export const fanOutLimits = {
  /** Delivery lanes: pushes of one lane are applied in the order of the calls. Lane = log_shard % lanes. */
  lanes: 16,
  /** Audiences up to this many local readers are delivered in the handler; larger ones by jobs. */
  smallAudienceMax: 5_000,
  /** Readers in one push to the store. */
  sliceReadersMax: 2_000,
  /** Pushes on their way to the store at once. */
  slicesAtOnce: 2,
  /** Logs whose followers are read by one query. */
  audienceLogsPerQueryMax: 16,
  /** Ranges that a large audience is cut into, by shards of persons. */
  jobRangesPerLog: 4,
  /** Jobs worked on at once by one process. */
  jobsAtOnce: 2,
  /** A job whose worker has said nothing for this long is taken by another. */
  jobLeaseMs: 30_000,
  /** Looking for jobs of processes that died, at most this often and only while events come. */
  jobLookMs: 15_000,
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
  'sliceReadersMax ≤ smallAudienceMax': fanOutLimits.sliceReadersMax <= fanOutLimits.smallAudienceMax,
  'fetchEntriesMax ≤ 1,000, the bound of microblog.entries': fanOutLimits.fetchEntriesMax <= 1_000,
  'parkedPauseMs < parkedPauseMsMax < sweepIntervalMs': fanOutLimits.parkedPauseMs < fanOutLimits.parkedPauseMsMax && fanOutLimits.parkedPauseMsMax < fanOutLimits.sweepIntervalMs,
  'jobRangesPerLog divides the shards': 1_024 % fanOutLimits.jobRangesPerLog === 0,
  'jobLookMs < jobLeaseMs': fanOutLimits.jobLookMs < fanOutLimits.jobLeaseMs,
});
