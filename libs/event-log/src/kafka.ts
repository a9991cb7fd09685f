/**
 * The event log of a cluster: outbox rows go to Kafka, and groups of processes read them there.
 *
 * A process that has databases of a producer relays its outboxes (`relay.ts`, `kafka/publisher.ts`); any process may
 * subscribe (`kafka/subscription.ts`). Neither needs the other: a process whose Kafka is away accepts posts,
 * and is ready again when it is back. Topics are ours to make, and made again when they are gone.
 *
 * The one durable place is still the outbox and the logs in Postgres. What Kafka loses, its consumers
 * are told to look for (`onLost`).
 */
import { randomUUID } from 'node:crypto';
import { meter, silentLogger, type Logger } from '@dmb/runtime';
import type { Databases } from '@dmb/postgres';
import { topics, type TopicName } from '@dmb/events';
import { kafkaClient, KafkaView, type KafkaConnection, type Place } from './kafka/client.ts';
import { knownNouns, nounOf, partitionsOf, type TopicNoun } from './kafka/messages.ts';
import { Publisher } from './kafka/publisher.ts';
import { committedOffsets, partitionBounds, tagOf } from './kafka/positions.ts';
import { KafkaSubscription } from './kafka/subscription.ts';
import { kafkaLimits, relayLimits, type KafkaLimits, type RelayLimits } from './limits.ts';
import type { EventLog, SubscribeOptions, Subscription } from './port.ts';
import type { Producer } from './postgres.ts';
import { RelayStore } from './relay-store.ts';
import { Relays, type RelayedOutbox } from './relay.ts';

export interface KafkaEventLogOptions {
  readonly connection: KafkaConnection;
  /** The databases of the producers that are in this process, opened as those services; their outboxes are relayed here. Not closed with the log. */
  readonly producers: Readonly<Partial<Record<Producer, Databases>>>;
  /** Begins the name of every topic and group of ours (`dmb.`). */
  readonly prefix?: string;
  /** Partitions of every topic, in place of {@link partitionsOf}. Only for topics that are made from now on. */
  readonly partitions?: number;
  /** Copies of every topic; left out, what the brokers are set to. */
  readonly replicationFactor?: number;
  readonly logger?: Logger;
  /** Bounds that replace ours, for tests. */
  readonly limits?: Partial<KafkaLimits>;
  readonly relayLimits?: Partial<RelayLimits>;
}

/** The event log on Kafka. */
export class KafkaEventLog implements EventLog {
  readonly #options: KafkaEventLogOptions;
  readonly #limits: KafkaLimits;
  readonly #logger: Logger;
  readonly #prefix: string;
  readonly #kafka: ReturnType<typeof kafkaClient>;
  readonly #view: KafkaView;
  readonly #outboxes: readonly RelayedOutbox[];
  readonly #publisher: Publisher;
  readonly #relays: Relays;
  readonly #groups = new Set<KafkaSubscription>();
  readonly #stopObserving: readonly (() => void)[];
  #ensuring: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: KafkaEventLogOptions) {
    const { connection, producers, prefix = 'dmb.', logger = silentLogger, limits = {}, relayLimits: ofRelays = {} } = options;
    this.#options = options;
    this.#limits = { ...kafkaLimits, ...limits };
    this.#logger = logger;
    this.#prefix = prefix;
    this.#kafka = kafkaClient(connection, this.#limits, logger);
    this.#view = new KafkaView(this.#kafka);
    const holder = randomUUID();
    this.#outboxes = Object.entries(producers).flatMap(([producer, databases]) =>
      databases.all.map((database) => ({ producer, databaseIndex: database.index, store: new RelayStore(database, knownNouns, holder) })),
    );
    const allRelayLimits = { ...relayLimits, ...ofRelays };
    const publisher = new Publisher({
      kafka: this.#kafka,
      topicName: (noun) => this.#topicName(noun),
      ensureTopics: () => this.#ensureTopics(),
      limits: { ...this.#limits, requestBytesMax: allRelayLimits.requestBytesMax },
    });
    this.#publisher = publisher;
    this.#relays = new Relays({ outboxes: this.#outboxes, publish: (rows, relay) => publisher.publish(rows, relay), limits: allRelayLimits, logger });
    this.#relays.start();
    this.#stopObserving = Object.keys(producers).flatMap((producer) => {
      const states = () => Promise.all(this.#outboxes.filter((outbox) => outbox.producer === producer).map(({ store }) => store.state()));
      return [
        meter('outboxRows').observe(async () => (await states()).reduce((sum, { rows }) => sum + rows, 0), { producer: producer as Producer }),
        meter('outboxAge').observe(async () => Math.max(0, ...(await states()).map(({ ageSeconds }) => ageSeconds)), { producer: producer as Producer }),
      ];
    });
  }

  /** Resolves at once; while the brokers are away, the group goes on trying, and says that it is not healthy. */
  subscribe(options: SubscribeOptions): Promise<Subscription> {
    if (this.#closed !== undefined) return Promise.reject(new Error('the event log is closed'));
    if (options.topics.length === 0) return Promise.reject(new Error(`the group ${options.group} subscribes to nothing`));
    if ([...this.#groups].some(({ name }) => name === options.group)) return Promise.reject(new Error(`the group ${options.group} runs in this process already`));
    const producers = new Set<string>(options.topics.map((topic) => topics[topic].producer));
    const group: KafkaSubscription = new KafkaSubscription({
      subscribe: options,
      kafka: this.#kafka,
      view: this.#view,
      groupId: `${this.#prefix}${options.group}`,
      topicNames: new Map(options.topics.map((topic) => [this.#topicName(kafkaNoun(topic)), nounOf(topic)])),
      ensureTopics: () => this.#ensureTopics(),
      drainOutboxes: () => this.#relays.drain(this.#outboxes.filter(({ producer }) => producers.has(producer)), this.#limits.drainPollMs),
      limits: this.#limits,
      logger: this.#logger,
      onStopped: () => this.#groups.delete(group),
    });
    this.#groups.add(group);
    group.start();
    return Promise.resolve(group);
  }

  committed(producer: Producer, databaseIndex: number, relay: number): void {
    const outbox = this.#outboxes.find((each) => each.producer === producer && each.databaseIndex === databaseIndex);
    if (outbox === undefined) throw new RangeError(`${producer} has no database ${databaseIndex} here`);
    this.#relays.wake(outbox, relay);
  }

  /** Over the outboxes of this process and all groups of ours that the brokers know, wherever they run. */
  async oldestAgeSeconds(): Promise<number> {
    // Outboxes first: what leaves one meanwhile is found in Kafka.
    const ages = (await Promise.all(this.#outboxes.map(({ store }) => store.state()))).map(({ ageSeconds }) => ageSeconds);
    const now = Date.now();
    const times = await this.#view.timesAt(await this.#unhandled());
    return Math.max(0, ...ages, ...times.map((at) => Math.max(0.001, (now - at) / 1_000)));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const stop of this.#stopObserving) stop();
    await Promise.all([...this.#groups].map((group) => group.stop()));
    await this.#relays.stop();
    await this.#publisher.close();
    await this.#view.close().catch(() => undefined);
  }

  #topicName(noun: TopicNoun): string {
    return `${this.#prefix}${noun}`;
  }

  /** Makes the topics that are not there. */
  async #ensureTopics(): Promise<void> {
    this.#ensuring ??= this.#makeTopics().finally(() => {
      this.#ensuring = undefined;
    });
    await this.#ensuring;
  }

  async #makeTopics(): Promise<void> {
    const { topicIds } = await this.#view.identity(knownNouns.map((noun) => this.#topicName(noun)));
    const missing = knownNouns.filter((noun) => !topicIds.has(this.#topicName(noun)));
    if (missing.length === 0) return;
    const { partitions, replicationFactor = -1 } = this.#options;
    await this.#view.makeTopics(
      missing.map((noun) => ({
        topic: this.#topicName(noun),
        numPartitions: partitions ?? partitionsOf[noun],
        replicationFactor,
        configEntries: [
          { name: 'retention.ms', value: String(this.#limits.retentionMs) },
          { name: 'cleanup.policy', value: 'delete' },
        ],
      })),
    );
    this.#logger.info('topics were made', { topics: missing.map((noun) => this.#topicName(noun)) });
  }

  /** The oldest unhandled place of every partition that some group lags behind in. */
  async #unhandled(): Promise<Place[]> {
    const names = knownNouns.map((noun) => this.#topicName(noun));
    const identity = await this.#view.identity(names);
    const there = names.filter((name) => identity.topicIds.has(name));
    const { groups } = await this.#view.admin.listGroups();
    const bounds = await partitionBounds(this.#view, there);
    const places: Place[] = [];
    for (const { groupId } of groups.filter(({ groupId: id }) => id.startsWith(this.#prefix))) {
      for (const [key, { offset, tag }] of await committedOffsets(this.#view, groupId, there)) {
        const [topic = '', partition = ''] = key.split(' ');
        const { low, high } = bounds.get(key) ?? { low: 0n, high: 0n };
        if (tag === tagOf(identity, topic) && offset < high) places.push({ topic, partition: Number(partition), offset: offset < low ? low : offset });
      }
    }
    return places.slice(0, this.#limits.agePartitionsMax);
  }
}

/** A topic of the table without its version. */
function kafkaNoun(topic: TopicName): TopicNoun {
  return nounOf(topic) as TopicNoun;
}
