/** What `npm run cluster` is told, and what its `--help` says. */
import { parseArgs } from 'node:util';
import { resolve } from 'node:path';
import type { ServiceName } from '@dmb/events';
import { StartError } from '@dmb/runtime';
import type { RedisMode } from '@dmb/timelines';

export interface ClusterOptions {
  /** How many processes of each service. */
  readonly counts: Readonly<Record<ServiceName, number>>;
  readonly redis: number;
  readonly redisMode: RedisMode;
  readonly postgres: number;
  /** 0 = any free port. */
  readonly port: number;
  /** Where the databases are kept; undefined = in a temporary folder that goes at the end. */
  readonly data: string | undefined;
  readonly json: boolean;
}

export const clusterUsage = `Usage: npm run cluster [-- options]

Starts DMB as a cluster on this machine: engines (Kafka, Redis, Postgres), several processes of each service, and nginx
before them on one port. Ctrl-C drains in order and stops everything. Meant for development, tests and measuring.

  --identity N     processes of identity (1)
  --microblog N    processes of microblog (2)
  --fan-out N      processes of fan-out (2)
  --timeline N     processes of timeline (2)
  --redis N        Redis servers (2)
  --redis-mode M   nodes: independent servers (default); cluster: a Redis Cluster, 3 servers or more
  --postgres N     Postgres servers, over which the shards are spread (2)
  --port N         the port of the ingress (8080; 0 = any free one)
  --data DIR       keep the databases there; else they are temporary
  --json           one line of JSON on standard output once everything is ready, and nothing else

A process that ends is started again, and that is told. SIGUSR2 restarts every process, one after the other.
Variables of the services (DMB_LOG_LEVEL, DMB_REGISTRATION, OTEL_EXPORTER_OTLP_ENDPOINT …) are passed on to them.
TEST_KAFKA_BROKERS, TEST_REDIS_URL and TEST_DATABASE_URL name engines that are there already; all that is in them may go.`;

/** What standard output is told; undefined = the help was asked for. @throws {StartError} one sentence */
export function readClusterOptions(parameters: readonly string[]): ClusterOptions | undefined {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const options = { identity: text, microblog: text, 'fan-out': text, timeline: text, redis: text, 'redis-mode': text, postgres: text, port: text, data: text, json: flag, help: { ...flag, short: 'h' } } as const;
  let values;
  try {
    ({ values } = parseArgs({ args: [...parameters], options }));
  } catch (error) {
    throw new StartError(`${(error as Error).message}. npm run cluster -- --help tells what can be given.`);
  }
  if (values.help) return undefined;
  const number = (name: keyof typeof options, given: string | undefined, otherwise: number, least: number, most: number): number => {
    const value = given === undefined ? otherwise : Number(given);
    if (!Number.isInteger(value) || value < least || value > most) throw new StartError(`--${name} must be a whole number from ${least} to ${most}, not "${given ?? ''}".`);
    return value;
  };
  const mode = values['redis-mode'] ?? 'nodes';
  if (mode !== 'nodes' && mode !== 'cluster') throw new StartError(`--redis-mode must be nodes or cluster, not "${mode}".`);
  return {
    counts: {
      identity: number('identity', values.identity, 1, 1, 8),
      microblog: number('microblog', values.microblog, 2, 1, 8),
      'fan-out': number('fan-out', values['fan-out'], 2, 1, 8),
      timeline: number('timeline', values.timeline, 2, 1, 8),
    },
    redis: number('redis', values.redis, mode === 'cluster' ? 3 : 2, mode === 'cluster' ? 3 : 1, 8),
    redisMode: mode,
    postgres: number('postgres', values.postgres, 2, 1, 8),
    port: number('port', values.port, 8_080, 0, 65_535),
    data: values.data === undefined ? undefined : resolve(values.data),
    json: values.json,
  };
}
