/**
 * One kafkajs consumer, from joining its group to its end, and what it tells us.
 *
 * kafkajs fetches, keeps the membership alive and hands over batches; it never waits for a handler,
 * because its loop would stand still for all partitions while one of them is slow, and its
 * heartbeats with it. It neither retries nor restarts: who owns the member makes another one.
 *
 * **Before it joins again** (another member has come or gone) the running handlers should end and their
 * offsets be committed, or the next owner of a partition begins with what we are just handling.
 * kafkajs has no such moment. It does ask for the group's coordinator at the begin of each join and
 * only then, through its `Cluster`; there the member waits for {@link MemberEvents.beforeJoin}.
 */
import { PartitionAssigners, type Cluster, type Consumer, type EachBatchPayload, type Kafka, type PartitionAssigner } from 'kafkajs';
import type { KafkaLimits } from '../limits.ts';

/** Partitions by topic. */
export type Assignment = Readonly<Record<string, readonly number[]>>;

/** What a member tells its owner. */
export interface MemberEvents {
  /** Resolves, in bounded time, when it may join. */
  beforeJoin(): Promise<void>;
  /** These partitions are ours now, and nothing of others comes any more. Called before anything of them is fetched. */
  onAssigned(assignment: Assignment): void;
  /** Messages of one partition. Must not wait. */
  onBatch(batch: EachBatchPayload): void;
}

/** A member of a consumer group. */
export class Member {
  readonly consumer: Consumer;
  /** Resolves, with its cause, when the consumer has died. */
  readonly died: Promise<Error>;
  /** When the group has last heard of it. */
  aliveAt = Date.now();
  readonly #limits: KafkaLimits;
  readonly #events: MemberEvents;
  #ended = false;

  constructor(kafka: Kafka, groupId: string, limits: KafkaLimits, events: MemberEvents) {
    this.#limits = limits;
    this.#events = events;
    const assigner: PartitionAssigner = (config) => {
      this.#waitBeforeJoin(config.cluster);
      return PartitionAssigners.roundRobin(config);
    };
    const consumer = kafka.consumer({
      groupId,
      partitionAssigners: [assigner],
      sessionTimeout: limits.sessionTimeoutMs,
      rebalanceTimeout: limits.rebalanceTimeoutMs,
      heartbeatInterval: limits.heartbeatMs,
      maxWaitTimeInMs: limits.fetchWaitMs,
      maxBytesPerPartition: limits.fetchBytesPartitionMax,
      maxBytes: limits.fetchBytesMax,
      allowAutoTopicCreation: false,
      retry: { retries: 3, initialRetryTime: limits.clientRetryMs, maxRetryTime: 1_000, restartOnFailure: () => Promise.resolve(false) },
    });
    this.consumer = consumer;
    consumer.on(consumer.events.HEARTBEAT, () => this.#alive());
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      this.#alive();
      if (!this.#ended) events.onAssigned(payload.memberAssignment as unknown as Assignment);
    });
    this.died = new Promise((died) => consumer.on(consumer.events.CRASH, ({ payload }) => died(payload.error)));
  }

  /** Joins the group. Resolves when it has, or has died. */
  async start(topics: readonly string[]): Promise<void> {
    await this.consumer.connect();
    await this.consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (batch) => {
        if (!this.#ended) this.#events.onBatch(batch);
        return Promise.resolve();
      },
    });
  }

  /** Whether the group has heard of it lately. */
  get isAlive(): boolean {
    return Date.now() - this.aliveAt < this.#limits.sessionTimeoutMs;
  }

  /** Leaves the group; bounded. */
  async end(): Promise<void> {
    this.#ended = true;
    const timer = new AbortController();
    const late = new Promise<void>((done) => {
      const timeout = setTimeout(done, this.#limits.disconnectTimeoutMs).unref();
      timer.signal.addEventListener('abort', () => {
        clearTimeout(timeout);
        done();
      });
    });
    await Promise.race([this.consumer.disconnect().catch(() => undefined), late]);
    timer.abort();
  }

  #alive(): void {
    this.aliveAt = Date.now();
  }

  #waitBeforeJoin(cluster: Cluster): void {
    const find = cluster.findGroupCoordinator.bind(cluster);
    cluster.findGroupCoordinator = async (group) => {
      if (!this.#ended) await this.#events.beforeJoin();
      return await find(group);
    };
  }
}
