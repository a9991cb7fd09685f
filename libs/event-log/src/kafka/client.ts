/**
 * kafkajs, set up as we use it, and the three things that it does not offer.
 *
 * **Its log is ours at `debug`.** It writes an error for each attempt of each connection; what a
 * person must know of a broker that is away is one line, written by whoever waits for it.
 *
 * **Its cluster.** kafkajs hands its `Cluster` to whoever assigns partitions, which is the public way
 * to a connection with the TLS, the credentials and the socket of the client. {@link KafkaView}
 * uses it for two questions that kafkajs cannot ask: the *ids* of topics (they tell a topic from
 * another that was made later under its name: Metadata, version 10), and the time of a single message.
 */
import { Kafka, logLevel, type Admin, type Broker, type Cluster, type Consumer, type ISocketFactory, type ITopicConfig, type KafkaConfig, type PartitionAssigner } from 'kafkajs';
import { silentLogger, type Logger } from '@dmb/runtime';
import { kafkaLimits, type KafkaLimits } from '../limits.ts';

/** How to reach the brokers. */
export interface KafkaConnection {
  /** `host:port` of some of them. */
  readonly brokers: readonly string[];
  /** Shown in the brokers' logs and metrics. */
  readonly clientId: string;
  /** TLS: true, or certificates. */
  readonly ssl?: NonNullable<KafkaConfig['ssl']>;
  /** Who we are. */
  readonly sasl?: NonNullable<KafkaConfig['sasl']>;
  /** Makes connections in place of `net` and `tls`: tests cut them. */
  readonly socketFactory?: ISocketFactory;
}

/** A client of these brokers. Nothing is connected yet. */
export function kafkaClient({ brokers, clientId, ssl, sasl, socketFactory }: KafkaConnection, limits: KafkaLimits, logger: Logger): Kafka {
  return new Kafka({
    brokers: [...brokers],
    clientId,
    ...(ssl === undefined ? {} : { ssl }),
    ...(sasl === undefined ? {} : { sasl }),
    ...(socketFactory === undefined ? {} : { socketFactory }),
    connectionTimeout: limits.connectTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    retry: { retries: 2, initialRetryTime: limits.clientRetryMs, maxRetryTime: 1_000 },
    logLevel: logLevel.INFO,
    logCreator: () => ({ namespace, log: { message, ...fields } }) => logger.debug(`kafkajs ${namespace}: ${message}`, { error: fields['error'] }),
  });
}

/** An operator's client: for runners that wait for brokers, and tests that delete topics. The caller connects and disconnects it. */
export function kafkaAdmin(connection: KafkaConnection): Admin {
  return kafkaClient(connection, kafkaLimits, silentLogger).admin();
}

/** Something that gives its cluster away while it is made, and assigns nothing. */
function clusterOf(kafka: Kafka): { readonly cluster: Cluster; readonly idle: Consumer } {
  let cluster: Cluster | undefined;
  const capture: PartitionAssigner = (config) => {
    ({ cluster } = config);
    return { name: 'none', version: 0, assign: () => Promise.resolve([]), protocol: () => ({ name: 'none', metadata: Buffer.alloc(0) }) };
  };
  const idle = kafka.consumer({ groupId: 'none', partitionAssigners: [capture], allowAutoTopicCreation: false });
  if (cluster === undefined) throw new Error('kafkajs has not handed over its cluster');
  return { cluster, idle };
}

/** Which cluster and which topics are there now. */
export interface Identity {
  readonly clusterId: string;
  /** By name; a topic that does not exist has none. */
  readonly topicIds: ReadonlyMap<string, string>;
  /** How many, by name of a topic that exists. */
  readonly partitions: ReadonlyMap<string, number>;
}

/** A topic to make. */
export type NewTopic = ITopicConfig;

/** One partition's place. */
export interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** Questions to the brokers. */
export class KafkaView {
  readonly admin: Admin;
  readonly #kafka: Kafka;
  readonly #cluster: Cluster;
  readonly #idle: Consumer;
  #connecting: Promise<void> | undefined;

  constructor(kafka: Kafka) {
    this.#kafka = kafka;
    this.admin = kafka.admin();
    ({ cluster: this.#cluster, idle: this.#idle } = clusterOf(kafka));
  }

  /** Connects, if it has not; tried again by the next question after a failure. */
  async connect(): Promise<void> {
    this.#connecting ??= (async () => {
      await this.admin.connect();
      await this.#cluster.connect();
    })();
    try {
      await this.#connecting;
    } catch (error) {
      this.#connecting = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.admin.disconnect(), this.#idle.disconnect()]);
  }

  /** What is there now. */
  async identity(topics: readonly string[]): Promise<Identity> {
    await this.connect();
    const answer = await this.#ask(topics);
    const there = answer.topics.filter(({ isThere }) => isThere);
    return {
      clusterId: answer.clusterId,
      topicIds: new Map(there.map(({ name, id }) => [name, id])),
      partitions: new Map(there.map(({ name, leaders }) => [name, leaders.length])),
    };
  }

  /** Makes topics; those that are there already stay as they are. */
  async makeTopics(topics: readonly NewTopic[]): Promise<void> {
    // A client that has asked for a topic which is gone fails in all it does until the topic is there: this one has asked for none.
    const admin = this.#kafka.admin();
    try {
      await admin.connect();
      await admin.createTopics({ topics: [...topics] });
    } finally {
      await admin.disconnect().catch(() => undefined);
    }
  }

  /** When the messages at these places were produced, Unix milliseconds; fewer than were asked for, if some are gone. */
  async timesAt(places: readonly Place[]): Promise<number[]> {
    await this.connect();
    const times: number[] = [];
    if (places.length === 0) return times;
    const { topics } = await this.#ask([...new Set(places.map(({ topic }) => topic))]);
    const leaders = new Map(topics.flatMap(({ name, leaders: ofTopic }) => ofTopic.map(({ partition, leader }) => [`${name} ${partition}`, leader] as const)));
    for (const { topic, partition, offset } of places) {
      const leader = leaders.get(`${topic} ${partition}`);
      if (leader === undefined || leader < 0) continue;
      const broker = await this.#cluster.findBroker({ nodeId: String(leader) });
      const answer = (await broker.fetch({ maxWaitTime: 1, minBytes: 1, maxBytes: 1, topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: 1 }] }] })) as {
        readonly responses: readonly { readonly partitions: readonly { readonly messages: readonly { readonly offset: string; readonly timestamp: string }[] }[] }[];
      };
      const message = answer.responses[0]?.partitions[0]?.messages.find((each) => BigInt(each.offset) >= offset);
      if (message !== undefined) times.push(Number(message.timestamp));
    }
    return times;
  }

  /** Metadata of topics, from any broker; once more if the one we knew has gone. */
  async #ask(topics: readonly string[]): Promise<MetadataAnswer> {
    try {
      return await askMetadata(await this.#anyBroker(), topics);
    } catch {
      await this.#cluster.connect();
      await this.#cluster.refreshMetadata();
      return await askMetadata(await this.#anyBroker(), topics);
    }
  }

  async #anyBroker(): Promise<Broker> {
    await this.#cluster.refreshMetadataIfNecessary();
    return await this.#cluster.findControllerBroker();
  }
}

interface MetadataAnswer {
  readonly clusterId: string;
  readonly topics: readonly {
    readonly name: string;
    readonly id: string;
    readonly isThere: boolean;
    /** -1: none at this moment. */
    readonly leaders: readonly { readonly partition: number; readonly leader: number }[];
  }[];
}

/** What kafkajs sends: the part after the header, which it writes itself. */
interface Exchange {
  readonly request: { readonly apiKey: number; readonly apiVersion: number; readonly apiName: string; encode(): Promise<{ readonly buf: Buffer; readonly buffer: Buffer; size(): number }> };
  readonly response: { decode(payload: Buffer): Promise<MetadataAnswer>; parse(answer: MetadataAnswer): Promise<MetadataAnswer> };
}

async function askMetadata(broker: Broker, topics: readonly string[]): Promise<MetadataAnswer> {
  const { connectionPool } = broker as Broker & { readonly connectionPool: { send(exchange: Exchange): Promise<MetadataAnswer> } };
  const payload = encodeMetadata(topics);
  return await connectionPool.send({
    request: { apiKey: 3, apiVersion: 10, apiName: 'Metadata', encode: () => Promise.resolve({ buf: payload, buffer: payload, size: () => payload.length }) },
    response: { decode: (answer) => Promise.resolve(decodeMetadata(answer)), parse: (answer) => Promise.resolve(answer) },
  });
}

const noTags = 0;

/** The header's tags, [id, name] of each topic, three answers "no", tags. */
function encodeMetadata(topics: readonly string[]): Buffer {
  const parts = topics.flatMap((topic) => [Buffer.alloc(16), varint(Buffer.byteLength(topic) + 1), Buffer.from(topic), Buffer.from([noTags])]);
  return Buffer.concat([Buffer.from([noTags]), varint(topics.length + 1), ...parts, Buffer.from([0, 0, 0, noTags])]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/**
 * Metadata response, version 10.
 * @see https://kafka.apache.org/protocol.html#The_Messages_Metadata
 */
function decodeMetadata(answer: Buffer): MetadataAnswer {
  let at = 0;
  const skip = (bytes: number): number => {
    at += bytes;
    return at - bytes;
  };
  const unsigned = (): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = answer.readUInt8(skip(1));
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const text = (): string => {
    const length = unsigned() - 1;
    return length < 0 ? '' : answer.toString('utf8', skip(length), at);
  };
  const tags = (): void => {
    for (let count = unsigned(); count > 0; count--) {
      unsigned();
      skip(unsigned());
    }
  };
  const many = <T>(read: () => T): T[] => Array.from({ length: Math.max(0, unsigned() - 1) }, read);
  const numbers = (): void => void many(() => skip(4));

  tags();
  skip(4); // throttle_time_ms
  many(() => {
    skip(4); // node_id
    text();
    skip(4); // port
    text();
    tags();
  });
  const clusterId = text();
  skip(4); // controller_id
  const topics = many(() => {
    const error = answer.readInt16BE(skip(2));
    const name = text();
    const id = answer.toString('base64url', skip(16), at);
    skip(1); // is_internal
    const leaders = many(() => {
      skip(2); // error_code
      const partition = answer.readInt32BE(skip(4));
      const leader = answer.readInt32BE(skip(4));
      skip(4); // leader_epoch
      numbers(); // replica_nodes
      numbers(); // isr_nodes
      numbers(); // offline_replicas
      tags();
      return { partition, leader };
    });
    skip(4); // topic_authorized_operations
    tags();
    return { name, id, isThere: error === 0, leaders };
  });
  return { clusterId, topics };
}
