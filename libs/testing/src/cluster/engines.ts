/**
 * The engines under a cluster on this machine: Kafka, Redis servers, Postgres servers, nginx. Each is found by its own
 * module, in the order URL, Docker, native; what was chosen and why is told.
 *
 * Kafka and Redis begin empty each time: what they had is in Postgres, or is rebuilt from it. That is how a cluster is meant
 * to bear their loss, and so every start with kept data tries it.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '@dmb/postgres';
import { createLogger, StartError } from '@dmb/runtime';
import { findKafka, startTestKafka } from '../kafka-engine.ts';
import { findNginx } from '../nginx.ts';
import { findRedis, startTestRedis, startTestRedisCluster } from '../redis-engine.ts';
import type { ClusterOptions } from './options.ts';

export interface ClusterEngines {
  readonly kafka: readonly string[];
  readonly redis: readonly string[];
  readonly postgres: readonly string[];
  readonly nginx: string;
  /** What was chosen, by engine. */
  readonly chosen: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** @throws {StartError} what to install, if one cannot be had */
export async function startEngines({ redis, redisMode, postgres }: ClusterOptions, folder: string): Promise<ClusterEngines> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => void (await Promise.allSettled(stops.map((each) => each())));
  const chosen: Record<string, string> = {};
  try {
    const [nginx, kafkaSource, redisSource] = await Promise.all([findNginx(), findKafka(), findRedis()]);
    const missing = [nginx, kafkaSource, redisSource].flatMap((source) => (source.from === 'nothing' ? [source.why] : []));
    if (missing.length > 0) throw new StartError(missing);
    chosen['nginx'] = nginx.why;
    chosen['kafka'] = `${kafkaSource.from}: ${kafkaSource.why}`;
    chosen['redis'] = `${redisSource.from}: ${redisSource.why}`;
    const [kafka, redisUrls, databases] = await Promise.all([
      kafkaSource.from === 'url' ? kafkaSource.brokers : startTestKafka().then((started) => (stops.push(() => started.stop()), started.brokers)),
      redisSource.from === 'url' ? [redisSource.url] : startRedis(redis, redisMode, stops),
      startPostgres(postgres, folder, stops, chosen),
    ]);
    return { kafka, redis: redisUrls, postgres: databases, nginx: nginx.from === 'native' ? nginx.program : '', chosen, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startRedis(count: number, mode: ClusterOptions['redisMode'], stops: (() => Promise<void>)[]): Promise<readonly string[]> {
  if (mode === 'cluster') {
    const cluster = await startTestRedisCluster({ masters: count });
    stops.push(() => cluster.stop());
    return cluster.urls;
  }
  const servers = await Promise.all(Array.from({ length: count }, () => startTestRedis()));
  stops.push(...servers.map((server) => () => server.stop()));
  return servers.map(({ url }) => url);
}

async function startPostgres(count: number, folder: string, stops: (() => Promise<void>)[], chosen: Record<string, string>): Promise<readonly string[]> {
  const named = (process.env['TEST_DATABASE_URL'] ?? '').split(',').filter((url) => url !== '');
  if (named.length > 0) {
    chosen['postgres'] = 'url: TEST_DATABASE_URL names it';
    return named;
  }
  chosen['postgres'] = 'native: the Postgres that comes with the project, one server for each database';
  const logger = createLogger({ name: 'postgres', level: 'warn' });
  return await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const dataDir = join(folder, `postgres-${index + 1}`);
      mkdirSync(dataDir, { recursive: true });
      const server = await startEmbeddedPostgres({ dataDir, logger, settings: { max_connections: 400 } });
      stops.push(() => server.stop());
      return server.url;
    }),
  );
}
