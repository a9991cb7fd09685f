/** Every bound of this library, with its unit in its name. */
import { assertLimits } from '@dmb/runtime';
import { databaseLimits, outboxLimits } from '@dmb/postgres';

/** Bounds of the event log in one process. */
export const eventLogLimits = {
  /** Outbox rows read at once from one relay. */
  batchRowsMax: 500,
  /** Events handed to a handler at once. */
  batchEventsMax: 1_000,
  /** Relays that one group works on at the same time. */
  relaysInParallelMax: 8,
  /** First pause after a handler has rejected; doubles up to the next. Varied by half, so that relays do not come back together. */
  retryDelayMs: 100,
  retryDelayMsMax: 30_000,
  /** A group whose handler or log has failed for this long is not healthy. */
  unhealthyAfterMs: 30_000,
  /** Looking for rows that nobody has hinted at. Varied by a tenth. */
  safetyPollMs: 300_000,
  /** How often a group that runs says so in its registration. */
  seenEveryMs: 3_600_000,
  /** A group that has not run for this long is gone for good: rows wait for it no more. */
  groupRetireAfterMs: 7 * 24 * 3_600_000,
  /** How long `stop` waits for running handlers. */
  stopTimeoutMs: 30_000,
  /** How often `drain` looks. */
  drainPollMs: 20,
  /** Spans that the span of a batch is linked to. */
  spanLinksMax: 32,
} as const;

/** As {@link eventLogLimits}; tests make some of them small. */
export type EventLogLimits = { readonly [Key in keyof typeof eventLogLimits]: number };

assertLimits('libs/event-log', {
  'refsPerRowMax <= batchEventsMax': outboxLimits.refsPerRowMax <= eventLogLimits.batchEventsMax,
  'retryDelayMs < retryDelayMsMax <= unhealthyAfterMs':
    eventLogLimits.retryDelayMs < eventLogLimits.retryDelayMsMax && eventLogLimits.retryDelayMsMax <= eventLogLimits.unhealthyAfterMs,
  'unhealthyAfterMs < safetyPollMs < seenEveryMs < groupRetireAfterMs':
    eventLogLimits.unhealthyAfterMs < eventLogLimits.safetyPollMs &&
    eventLogLimits.safetyPollMs < eventLogLimits.seenEveryMs &&
    eventLogLimits.seenEveryMs < eventLogLimits.groupRetireAfterMs,
  'statementTimeoutMs < stopTimeoutMs': databaseLimits.statementTimeoutMs < eventLogLimits.stopTimeoutMs,
});
