/**
 * The event log port: how services hear of each other's events.
 *
 * A producer writes an outbox row in the transaction of the effect; an adapter carries its
 * references to every consumer group that subscribed. What an adapter promises, all of it and no
 * more:
 *
 * - order per key, and none between keys;
 * - at least once: a handler that resolved has seen the events for good, anything else comes again;
 * - a group's position moves after the effect, never before;
 * - a group that is new, or whose position is gone, starts at the earliest event still there and is
 *   told so (`onLost`), because earlier ones may be missing: the consumer then sweeps;
 * - an event that cannot be read (unknown version, malformed) goes to `onPoison`, once it resolved
 *   the log goes on.
 *
 * Not promised: a global order, offsets as numbers, transactions with the effect, compaction,
 * history. A consumer keeps its own cursor per log and drops what it has (see the peer rule in
 * services/fan-out); for it this log is an early hint.
 */
import type { PayloadOf, TopicName } from '@dmb/events';

/** One event as a handler sees it. */
export interface LogEvent<Name extends TopicName = TopicName> {
  readonly topic: Name;
  readonly key: string;
  readonly payload: PayloadOf<Name>;
  /** Trace context (`traceparent`, …) of the producer. */
  readonly headers: Readonly<Record<string, string>>;
  /** When the producer wrote it, Unix milliseconds. */
  readonly producedAt: number;
}

/** What could not be read, as it came. */
export interface PoisonEvent {
  readonly topic: string;
  readonly raw: unknown;
  readonly cause: Error;
}

/** How a consumer group takes part. */
export interface SubscribeOptions {
  /** Name of the group: all processes of one service share it and divide the work. */
  readonly group: string;
  readonly topics: readonly TopicName[];
  /**
   * Called with events in order, at most `batchMax` at once; concurrent calls never share a key.
   * Resolves after the effect is durable. A rejection brings the same events again, after a pause.
   */
  handle(events: readonly LogEvent[]): Promise<void>;
  /** The group has no position: earlier events may be gone. Resolves when what it started is durable or running. */
  onLost(): Promise<void>;
  /** An event that cannot be read. Resolves when it has been written down. */
  onPoison(event: PoisonEvent): Promise<void>;
}

/** A running subscription. */
export interface Subscription {
  /** False while the adapter cannot reach its log or the handler keeps failing for long. */
  isHealthy(): boolean;
  /** Resolves when nothing that was committed before the call is unhandled by this group. */
  drain(): Promise<void>;
  /** Takes no more, lets running handlers end, and lets go. */
  stop(): Promise<void>;
}

/** The port itself. */
export interface EventLog {
  subscribe(options: SubscribeOptions): Promise<Subscription>;
  /** A hint, right after a commit, that the producer's outbox has rows in this relay of this database. Never needed for correctness. */
  committed(producer: 'identity' | 'microblog', databaseIndex: number, relay: number): void;
  /** Age of the oldest event that some group has not handled, in seconds; 0 when there is none. */
  oldestAgeSeconds(): Promise<number>;
  close(): Promise<void>;
}
