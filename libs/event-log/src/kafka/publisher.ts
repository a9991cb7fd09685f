/**
 * The producer: what relays hand in goes out in one request at a time.
 *
 * The producer is idempotent: every batch of a partition carries a number, and a broker that sees a number
 * again answers as it did the first time. That is only as good as the way numbers are given
 * out, and kafkajs gives a number back when a request fails. If that request had reached the broker (its
 * *answer* was lost) and another request with other events took the number, the broker would take these
 * for the old ones and acknowledge what it never wrote; we would delete the rows. So:
 *
 * - one request at a time, of all that is waiting, up to a bound of bytes: nobody takes the number
 *   of a request that kafkajs is still trying;
 * - after a request that failed for good, the producer is thrown away and its numbers with it. Its
 *   events go out again with another, perhaps for the second time.
 *
 * A topic that is not there (nobody has made it yet, or somebody has deleted it) is made, and the
 * request tried again.
 */
import { Partitioners, type Kafka, type Message, type Producer } from 'kafkajs';
import type { KafkaLimits, RelayLimits } from '../limits.ts';
import type { RelayRow } from '../relay-store.ts';
import { knownNouns, nounOf, toMessages, type TopicNoun } from './messages.ts';

interface Waiting {
  readonly messages: readonly (readonly [noun: TopicNoun, messages: readonly Message[]])[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface PublisherOptions {
  readonly kafka: Kafka;
  readonly topicName: (noun: TopicNoun) => string;
  readonly ensureTopics: () => Promise<void>;
  readonly limits: KafkaLimits & Pick<RelayLimits, 'requestBytesMax'>;
}

/** Publishes rows of all relays of a process. */
export class Publisher {
  readonly #options: PublisherOptions;
  #waiting: Waiting[] = [];
  #sending: Promise<void> | undefined;
  #producer: Promise<Producer> | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** Resolves when all replicas that must have these rows do. */
  async publish(rows: readonly RelayRow[], relay: string): Promise<void> {
    const messages = rows.map((row) => {
      const noun = knownNouns.find((each) => each === nounOf(row.topic));
      if (noun === undefined) throw new Error(`there is no topic for ${row.topic}`);
      return [noun, toMessages(row, relay)] as const;
    });
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ messages, bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0), resolve, reject });
      this.#sending ??= this.#send();
    });
  }

  /** Lets the request that is under way end. */
  async close(): Promise<void> {
    await this.#sending;
    await this.#discard();
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      try {
        await this.#request(batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        await this.#discard();
        for (const { reject } of batch) reject(error);
      }
    }
    // In the same step as the last look: who comes next sends again.
    this.#sending = undefined;
  }

  #take(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#waiting) {
      bytes += waiting.bytes;
      if (count > 0 && bytes > this.#options.limits.requestBytesMax) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #request(batch: readonly Waiting[]): Promise<void> {
    const byNoun = Map.groupBy(
      batch.flatMap(({ messages }) => messages),
      ([noun]) => noun,
    );
    const topicMessages = [...byNoun].map(([noun, parts]) => ({ topic: this.#options.topicName(noun), messages: parts.flatMap(([, messages]) => messages) }));
    const attempt = async (): Promise<void> => {
      this.#producer ??= this.#connect();
      await (await this.#producer).sendBatch({ acks: -1, timeout: this.#options.limits.requestTimeoutMs, topicMessages });
    };
    try {
      await attempt();
    } catch (error) {
      if (!isTopicMissing(error)) throw error;
      await this.#discard();
      await attempt();
    }
  }

  async #connect(): Promise<Producer> {
    await this.#options.ensureTopics();
    const producer = this.#options.kafka.producer({
      idempotent: true,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
      // Trying again inside is the only way that cannot double: of a new topic, some partitions have a leader before others.
      retry: { retries: 5, initialRetryTime: this.#options.limits.clientRetryMs, maxRetryTime: 1_000 },
    });
    try {
      await producer.connect();
    } catch (error) {
      void producer.disconnect().catch(() => undefined);
      throw error;
    }
    return producer;
  }

  async #discard(): Promise<void> {
    const producer = this.#producer;
    this.#producer = undefined;
    // What failed to connect has nothing to let go.
    await producer?.then(
      (each) => each.disconnect(),
      () => undefined,
    ).catch(() => undefined);
  }
}

/** Whether an error, or what it was caused by, says that there is no such topic. */
function isTopicMissing(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('type' in at && at.type === 'UNKNOWN_TOPIC_OR_PARTITION') return true;
    if (at.name === 'KafkaJSMetadataNotLoaded' || at.name === 'KafkaJSTopicMetadataNotLoaded') return true;
  }
  return false;
}
