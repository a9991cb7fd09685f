/** The server under load: one that runs already, or a cluster or one process that is started for the run and ended after it. */
import { startTestServer, TestCluster } from '@dmb/testing';
import type { Options, Tell } from './options.ts';
import { TelemetryReceiver, type Delivered } from './telemetry.ts';

export interface Target {
  readonly url: string;
  readonly databaseUrls: readonly string[];
  /** Where its timelines are; none: in its memory, or not known. */
  readonly redisUrls: readonly string[];
  /** In few words what it is. */
  readonly what: string;
  /** The end of what it wrote to its log; empty where that is not known. */
  complaints(): string;
  /** What its fan-out says of its deliveries so far; undefined where nothing is told. */
  delivered(): Delivered | undefined;
  stop(): Promise<void>;
}

export async function openTarget({ url, databaseUrls, one }: Options, tell: Tell): Promise<Target> {
  if (url !== undefined) return { url, databaseUrls, redisUrls: [], what: `the server at ${url}`, complaints: () => '', delivered: () => undefined, stop: () => Promise.resolve() };
  const telemetry = await TelemetryReceiver.start();
  const delivered = () => telemetry.delivered;
  try {
    tell(one ? 'starting one process' : 'starting a cluster');
    if (one) {
      const server = await startTestServer({ environment: telemetry.environment });
      return { url: server.url, databaseUrls: [server.databaseUrl], redisUrls: [], what: 'one process', complaints: () => endOf(server.stderr), delivered, stop: async () => (await server.stop(), await server.dispose(), telemetry.stop()) };
    }
    const cluster = await TestCluster.start([], telemetry.environment);
    const { processes, engines } = cluster.description;
    const counts = Object.entries(Object.groupBy(processes, ({ service }) => service)).map(([service, some]) => `${service} ×${some.length}`).join(', ');
    const what = `a cluster: ${counts}; Kafka, Redis ×${engines.redis.length}, Postgres ×${engines.postgres.length}, nginx`;
    return { url: cluster.url, databaseUrls: engines.postgres, redisUrls: engines.redis, what, complaints: () => endOf(cluster.complaints), delivered, stop: async () => (await cluster.dispose(), telemetry.stop()) };
  } catch (error) {
    telemetry.stop();
    throw error;
  }
}

const endOf = (log: string): string => log.split('\n').slice(-10).join('\n');
