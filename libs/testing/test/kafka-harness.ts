/** The Kafka adapter for tests: a prefix of its own on shared brokers, small bounds, and wires that can be cut. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { kafkaAdmin, KafkaEventLog, type EventLog, type KafkaConnection, type KafkaEventLogOptions } from '@dmb/event-log';
import type { AdapterHarness } from './outbox-harness.ts';

/** The way from a process to the brokers. */
export class Wire {
  readonly #sockets = new Set<Socket>();
  #isCut = false;
  /** What was written while frozen. */
  #held: (() => void)[] | undefined;

  /** For {@link KafkaConnection.socketFactory}. */
  readonly socketFactory: NonNullable<KafkaConnection['socketFactory']> = ({ host, port, onConnect }) => {
    // Nobody listens on port 1.
    const socket = connect({ host, port: this.#isCut ? 1 : port }, onConnect);
    this.#sockets.add(socket);
    const write = socket.write.bind(socket) as (data: string | Uint8Array, encoding?: BufferEncoding) => boolean;
    socket.write = ((data: string | Uint8Array, encoding?: BufferEncoding) => {
      if (this.#held === undefined) return write(data, encoding);
      this.#held.push(() => void write(data, encoding));
      return true;
    }) as Socket['write'];
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  };

  /** Nothing goes through any more. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy(new Error('the wire was cut'));
  }

  mend(): void {
    this.#isCut = false;
  }

  /** What is written arrives when it is thawed, as from a process that was stopped for a while. */
  freeze(): void {
    this.#held ??= [];
  }

  thaw(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const write of held) write();
  }
}

/** Bounds with which tests do not wait longer than they must. */
export const quickLimits = {
  retryDelayMs: 5,
  retryDelayMsMax: 50,
  rejoinDelayMsMax: 200,
  sessionTimeoutMs: 3_000,
  heartbeatMs: 300,
  quiesceMs: 1_000,
  rebalanceTimeoutMs: 10_000,
  verifyMs: 300,
  fetchWaitMs: 50,
  drainPollMs: 10,
} as const;

export const quickRelayLimits = { retryDelayMs: 5, retryDelayMsMax: 50 } as const;

/** Topics and groups of one test file. */
export class KafkaPlace {
  readonly prefix = `dmb-test-${randomBytes(4).toString('hex')}.`;
  readonly brokers: readonly string[];

  constructor(brokers: readonly string[]) {
    this.brokers = brokers;
  }

  connection(clientId: string, wire?: Wire): KafkaConnection {
    return { brokers: this.brokers, clientId, ...(wire === undefined ? {} : { socketFactory: wire.socketFactory }) };
  }

  open({ wire, limits, relayLimits, ...options }: Partial<KafkaEventLogOptions> & { readonly wire?: Wire } = {}): KafkaEventLog {
    return new KafkaEventLog({
      producers: {},
      partitions: 16,
      prefix: this.prefix,
      ...options,
      connection: this.connection('dmb-test', wire),
      limits: { ...quickLimits, ...limits },
      relayLimits: { ...quickRelayLimits, ...relayLimits },
    });
  }

  async withAdmin<T>(work: (admin: ReturnType<typeof kafkaAdmin>) => Promise<T>): Promise<T> {
    const admin = kafkaAdmin(this.connection('dmb-test-operator'));
    await admin.connect();
    try {
      return await work(admin);
    } finally {
      await admin.disconnect();
    }
  }

  /** Our topics, as they are called there. */
  async topics(): Promise<string[]> {
    return await this.withAdmin(async (admin) => (await admin.listTopics()).filter((topic) => topic.startsWith(this.prefix)));
  }

  /** Events and positions are gone. */
  async wipe(): Promise<void> {
    await this.withAdmin(async (admin) => {
      const ours = async (): Promise<string[]> => (await admin.listTopics()).filter((topic) => topic.startsWith(this.prefix));
      const topics = await ours();
      if (topics.length > 0) await admin.deleteTopics({ topics });
      // The controller has answered; until the broker has heard of it, it takes events for the topics that are gone.
      while ((await ours()).length > 0) await sleep(5);
    });
  }
}

/** The adapter under the conformance suite. */
export function kafkaAdapter(place: KafkaPlace): AdapterHarness {
  const wires = new Map<EventLog, Wire>();
  return {
    start(producers, { unhealthyAfterMs, safetyPollMs }) {
      const wire = new Wire();
      const log = place.open({
        producers,
        wire,
        limits: unhealthyAfterMs === undefined ? {} : { unhealthyAfterMs },
        relayLimits: safetyPollMs === undefined ? {} : { safetyPollMs },
      });
      wires.set(log, wire);
      return log;
    },
    cut: (log) => wires.get(log)?.cut(),
    wipe: () => place.wipe(),
  };
}
