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

/** Bounds of the relays, which carry outbox rows to the broker. */
export const relayLimits = {
  /** Rows of one relay that are published at once. */
  rowsMax: 500,
  /** Their references as text; the row that reaches it is the last. */
  bytesMax: 512 * 1024,
  /** Relays of a process that work at the same time: with the above, what is read and not acknowledged. */
  inParallelMax: 8,
  /** Nobody else works on a relay for this long after its holder has said that it does. */
  leaseMs: 30_000,
  /** First pause after a failure; doubles up to the next. Varied by half. */
  retryDelayMs: 100,
  retryDelayMsMax: 5_000,
  /** Looking for rows that nobody has hinted at. Varied by a tenth. */
  safetyPollMs: 300_000,
  /** Bytes of one request to the brokers; there is one at a time. */
  requestBytesMax: 1024 * 1024,
} as const;

/** As {@link relayLimits}; tests make some of them small. */
export type RelayLimits = { readonly [Key in keyof typeof relayLimits]: number };

/** Bounds of the event log on Kafka. */
export const kafkaLimits = {
  /** Events handed to a handler at once. */
  batchEventsMax: 1_000,
  /** Partitions that one group works on at the same time, in one process. */
  partitionsInParallelMax: 8,
  /** What waits in memory for a handler: of one partition, and of a group. Beyond, nothing is fetched; one fetch may come on top. */
  waitingBytesMax: 256 * 1024,
  waitingBytesGroupMax: 8 * 1024 * 1024,
  /** Asked for at once. */
  fetchBytesPartitionMax: 256 * 1024,
  fetchBytesMax: 2 * 1024 * 1024,
  /** How long a fetch waits for something to come. What has been held back is asked for again after that. */
  fetchWaitMs: 250,
  /** A member that has not been heard of for this long is out of its group. */
  sessionTimeoutMs: 30_000,
  heartbeatMs: 3_000,
  /** Before it joins again, a member lets running handlers end for this long. */
  quiesceMs: 10_000,
  /** How long a group waits for its members to join again. */
  rebalanceTimeoutMs: 60_000,
  /** How often it is checked that topics and cluster are still the same. */
  verifyMs: 30_000,
  /** First pause after a handler or the broker has failed; doubles up to the next. Varied by half. */
  retryDelayMs: 100,
  retryDelayMsMax: 30_000,
  /** First pause of what the client itself tries again. */
  clientRetryMs: 100,
  /** Of joining again after the consumer has died. */
  rejoinDelayMsMax: 5_000,
  /** A group whose handler or broker has failed for this long is not healthy. */
  unhealthyAfterMs: 30_000,
  stopTimeoutMs: 30_000,
  drainPollMs: 25,
  connectTimeoutMs: 5_000,
  /** An answer of the broker. Longer than a fetch waits. */
  requestTimeoutMs: 15_000,
  disconnectTimeoutMs: 5_000,
  /** Partitions that are asked for the age of their oldest unhandled event. */
  agePartitionsMax: 256,
  /** Events are kept for this long; who was away for longer sweeps. */
  retentionMs: 7 * 24 * 3_600_000,
} as const;

/** As {@link kafkaLimits}; tests make some of them small. */
export type KafkaLimits = { readonly [Key in keyof typeof kafkaLimits]: number };

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
  'retryDelayMsMax of a relay < leaseMs < safetyPollMs':
    relayLimits.retryDelayMsMax < relayLimits.leaseMs && relayLimits.leaseMs < relayLimits.safetyPollMs,
  'two statements end within a lease': 2 * databaseLimits.statementTimeoutMs <= relayLimits.leaseMs,
  'refsPerRowMax <= batchEventsMax of Kafka': outboxLimits.refsPerRowMax <= kafkaLimits.batchEventsMax,
  '3 heartbeatMs < sessionTimeoutMs': 3 * kafkaLimits.heartbeatMs < kafkaLimits.sessionTimeoutMs,
  'quiesceMs < sessionTimeoutMs / 2 < rebalanceTimeoutMs':
    kafkaLimits.quiesceMs < kafkaLimits.sessionTimeoutMs / 2 && kafkaLimits.sessionTimeoutMs / 2 < kafkaLimits.rebalanceTimeoutMs,
  'fetchWaitMs < heartbeatMs < requestTimeoutMs':
    kafkaLimits.fetchWaitMs < kafkaLimits.heartbeatMs && kafkaLimits.heartbeatMs < kafkaLimits.requestTimeoutMs,
  'statementTimeoutMs < stopTimeoutMs': databaseLimits.statementTimeoutMs < eventLogLimits.stopTimeoutMs,
});
