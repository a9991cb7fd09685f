/**
 * What a process of a cluster is told by its environment. The same variables for every service, so that one list of
 * them can be given to all; each service adds its own. `--help` prints them, docs/cluster.md has the table.
 */
import { URL } from 'node:url';
import type { ServiceName } from '@dmb/events';
import type { KafkaConnection } from '@dmb/event-log';
import { readConfig, serverAddress, serverVariables, StartError, variable, type ConfigOf, type Environment, type ServerAddress } from '@dmb/runtime';
import type { RedisMode } from '@dmb/timelines';
import { clusterLimits } from './limits.ts';

const secretCheck = (value: string): string | undefined =>
  value.length >= clusterLimits.secretLengthMin && /^[\x21-\x7e]+$/.test(value) ? undefined : `must have at least ${clusterLimits.secretLengthMin} characters, none of them a space (openssl rand -base64 33 makes one)`;

const callUrls = (service: ServiceName, name: string) =>
  variable({
    name,
    type: 'url-list',
    protocols: ['http', 'https'],
    describe: `Where calls to ${service} go: the addresses of its processes (their DMB_CALL_PORT), or one that stands for all.`,
    defaultText: 'none: must be set for the services that ask it',
  });

export const clusterVariables = {
  domain: serverVariables.domain,
  databaseUrl: variable({
    name: 'DATABASE_URL',
    type: 'url-list',
    protocols: ['postgres', 'postgresql'],
    secret: true,
    required: true,
    describe: 'The Postgres databases of the installation, comma-separated. Their order and number are fixed at the first start.',
  }),
  databaseConnections: variable({
    name: 'DMB_DATABASE_CONNECTIONS',
    type: 'int',
    default: 10,
    min: 2,
    max: 200,
    unit: 'connections',
    describe: 'Connections of this process to each database; a few of its own come on top (lanes that append, one that says that it runs).',
  }),
  kafkaBrokers: variable({ name: 'KAFKA_BROKERS', type: 'address-list', required: true, describe: 'Some of the Kafka brokers, comma-separated.' }),
  kafkaTls: variable({ name: 'DMB_KAFKA_TLS', type: 'boolean', default: false, describe: 'Whether connections to Kafka use TLS, with the certificates that Node trusts (NODE_EXTRA_CA_CERTS adds some).' }),
  kafkaMechanism: variable({ name: 'DMB_KAFKA_SASL', type: 'enum', values: ['plain', 'scram-sha-256', 'scram-sha-512'], describe: 'How this process proves to Kafka who it is, with the next two.', defaultText: 'none: it does not' }),
  kafkaUser: variable({ name: 'DMB_KAFKA_USER', type: 'string', describe: 'The user of DMB_KAFKA_SASL.' }),
  kafkaPassword: variable({ name: 'DMB_KAFKA_PASSWORD', type: 'string', secret: true, describe: 'The password of DMB_KAFKA_SASL.' }),
  kafkaReplicas: variable({ name: 'DMB_KAFKA_REPLICAS', type: 'int', min: 1, max: 16, unit: 'copies', describe: 'Copies of each topic that DMB makes.', defaultText: 'what the brokers are set to' }),
  redisUrls: variable({ name: 'REDIS_URLS', type: 'url-list', protocols: ['redis', 'rediss'], secret: true, required: true, describe: 'The Redis servers, comma-separated: all of them, in an order that stays (nodes), or some nodes of one Redis Cluster (cluster).' }),
  redisMode: variable({ name: 'DMB_REDIS_MODE', type: 'enum', values: ['nodes', 'cluster'], default: 'nodes', describe: 'Whether REDIS_URLS are independent servers or a Redis Cluster.' }),
  callSecret: variable({ name: 'DMB_CALL_SECRET', type: 'string', secret: true, required: true, form: `a secret of at least ${clusterLimits.secretLengthMin} characters`, check: secretCheck, describe: 'The secret by which processes of this installation know each other. The same for all of them.' }),
  callSecretAlso: variable({ name: 'DMB_CALL_SECRET_ALSO', type: 'string', secret: true, form: `a secret of at least ${clusterLimits.secretLengthMin} characters`, check: secretCheck, describe: 'A second secret that is accepted as well, while the secret is being changed.' }),
  callsToIdentity: callUrls('identity', 'DMB_IDENTITY_URLS'),
  callsToMicroblog: callUrls('microblog', 'DMB_MICROBLOG_URLS'),
  callPort: variable({ name: 'DMB_CALL_PORT', type: 'port', default: 8081, describe: 'The TCP port for calls of other processes, /livez and /readyz. Never reachable from outside.' }),
  callHost: variable({ name: 'DMB_CALL_HOST', type: 'string', defaultText: 'the value of DMB_HTTP_HOST', form: 'an IP address or localhost', check: serverVariables.httpHost.check, describe: 'The address on which calls are listened for.' }),
  httpPort: variable({ name: 'DMB_HTTP_PORT', type: 'port', default: 8080, describe: 'The TCP port for requests that the ingress hands on. Fan-out has none.' }),
  httpHost: serverVariables.httpHost,
  trustedProxies: variable({ ...serverVariables.trustedProxies, describe: 'Addresses or networks of the ingress, and of proxies before it, whose X-Forwarded-For is believed.' }),
  logLevel: serverVariables.logLevel,
  telemetry: serverVariables.telemetry,
} as const;

/** The settings with everything worked out. */
export interface ClusterSettings extends ServerAddress {
  readonly databaseUrls: readonly string[];
  readonly databaseConnections: number;
  readonly kafka: KafkaConnection;
  readonly kafkaReplicas: number | undefined;
  readonly redisUrls: readonly string[];
  readonly redisMode: RedisMode;
  /** The first is presented, all are accepted. */
  readonly callSecrets: readonly [string, ...string[]];
  readonly callUrls: Readonly<Partial<Record<ServiceName, readonly string[]>>>;
  readonly callHost: string;
  readonly callPort: number;
  readonly httpPort: number;
  readonly trustedProxies: readonly string[];
}

/**
 * The settings of a process of `service`, which asks the services `asks`.
 * @throws {StartError} one sentence per wrong value
 */
export function readClusterSettings(environment: Environment, service: ServiceName, asks: readonly ServiceName[]): ClusterSettings {
  const values = readConfig(clusterVariables, environment);
  const address = serverAddress(values.domain ?? `localhost:${values.httpPort}`);
  const host = values.httpHost ?? address.host;
  const callUrlsOf: Partial<Record<ServiceName, readonly string[] | undefined>> = { identity: values.callsToIdentity, microblog: values.callsToMicroblog };
  const callUrls: Partial<Record<ServiceName, readonly string[]>> = {};
  const problems: string[] = [];
  for (const callee of asks) {
    const urls = callUrlsOf[callee];
    const name = callee === 'identity' ? clusterVariables.callsToIdentity.name : clusterVariables.callsToMicroblog.name;
    if (urls === undefined) problems.push(`${name} must be set: ${service} asks ${callee}.`);
    else if (urls.some((url) => new URL(url).pathname !== '/')) problems.push(`${name} must be addresses without a path.`);
    else callUrls[callee] = urls;
  }
  if (problems.length > 0) throw new StartError(problems);
  return {
    ...address,
    host,
    databaseUrls: values.databaseUrl,
    databaseConnections: values.databaseConnections,
    kafka: kafkaOf(values, service),
    kafkaReplicas: values.kafkaReplicas,
    redisUrls: values.redisUrls,
    redisMode: values.redisMode,
    callSecrets: values.callSecretAlso === undefined ? [values.callSecret] : [values.callSecret, values.callSecretAlso],
    callUrls,
    callHost: values.callHost ?? host,
    callPort: values.callPort,
    httpPort: values.httpPort,
    trustedProxies: values.trustedProxies,
  };
}

function kafkaOf(values: ConfigOf<typeof clusterVariables>, service: ServiceName): KafkaConnection {
  const { kafkaBrokers: brokers, kafkaTls: ssl, kafkaMechanism: mechanism, kafkaUser: username, kafkaPassword: password } = values;
  const connection = { brokers, clientId: `dmb-${service}`, ...(ssl ? { ssl } : {}) };
  if (mechanism === undefined) return connection;
  if (username === undefined || password === undefined) throw new StartError('DMB_KAFKA_SASL needs DMB_KAFKA_USER and DMB_KAFKA_PASSWORD.');
  return { ...connection, sasl: { mechanism, username, password } as NonNullable<KafkaConnection['sasl']> };
}
