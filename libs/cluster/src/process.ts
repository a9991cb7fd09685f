/**
 * One service as a process of a cluster: the composition of everything that it stands on.
 *
 *     nginx ──► requests ──► the service ──► calls ──► other services      Postgres, its own schema in each database
 *                               ▲    └─────► Redis: timelines, live events, limits
 *     other processes ──► calls ┘    └─────► Kafka: its outboxes out, its consumers in
 *
 * It is the same code as in one process: a service is handed other adapters for its five ports, and
 * knows nothing of it. Each service says in its main.ts what it is ({@link ServiceDefinition}); all the rest is here.
 *
 * **Order.** Parts start from the databases up: installation and the migrations of this service (under locks of the
 * databases: several processes may start at once), Redis, Kafka, calls, the service, requests. Stopping drains backwards: streams say
 * goodbye and requests end; calls of others are refused as not begun, so that they go elsewhere, and those in progress end; then
 * the service lets go of its consumers and commits what it took in; then calls out, Kafka, Redis, databases close.
 *
 * **Ready** is who can do its work: databases answer, consumers run and are not failing, and what the service itself says.
 * Redis away is no reason to be unready: everybody goes on without it, more slowly, and a cluster of which every process is unready serves nobody.
 *
 * **One process elsewhere.** `npm start` wants its databases for itself, so each of these processes holds the same lock as a
 * sharer: neither starts while the other runs.
 *
 * A crash anywhere is the same as kill -9: what was acknowledged is in Postgres, everything else is repeated or rebuilt by others.
 */
import type { DynamicModule, InjectionToken, Type } from '@nestjs/common';
import { KafkaEventLog, type EventLog } from '@dmb/event-log';
import { routes, type ServiceName } from '@dmb/events';
import { DatabaseUse, migrate, openDatabases, openInstallation, type Databases, type Migration } from '@dmb/postgres';
import {
  AppError, Calls, createLogger, errorPageOf, helpText, logLevels, meter, notice, readConfig, routeNamer, runProcess, StartError, unknownVariables,
  type ConfigOf, type Declaration, type Environment, type Lifecycle, type Logger, type LogLevel, type ReadinessCheck,
} from '@dmb/runtime';
import { CallListener, HttpCallTransport } from '@dmb/runtime/calls';
import { createIngress, createServiceApp, knownHosts, type Ingress, type ServiceApp, type UpgradeHandler } from '@dmb/runtime/http';
import { RedisLimits, RedisLiveEvents, RedisNodes, RedisTimelines, type Limits, type LiveEvents, type Timelines } from '@dmb/timelines';
import { clusterLimits } from './limits.ts';
import { clusterVariables, readClusterSettings, type ClusterSettings } from './settings.ts';

/** What a service is given. */
export interface ServiceParts extends Pick<ClusterSettings, 'domain' | 'baseUrl' | 'trustedProxies'> {
  readonly databases: Databases;
  readonly calls: Calls;
  readonly eventLog: EventLog;
  readonly timelines: Timelines;
  readonly live: LiveEvents;
  readonly limits: Limits;
  readonly logger: Logger;
}

/** What a service is, as far as running it goes. */
export interface ServiceDefinition<Config extends Declaration> {
  readonly name: ServiceName;
  /** Its own variables. */
  readonly config: Config;
  readonly migrations: () => Promise<readonly Migration[]>;
  readonly module: (parts: ServiceParts, config: ConfigOf<Config>) => DynamicModule;
  /** Whose calls it asks. */
  readonly asks: readonly ServiceName[];
  /** Readiness checks by name, beside those that every process has. */
  readonly checks?: (provider: Provider) => Readonly<Record<string, ReadinessCheck>>;
  /** What takes over upgrades to WebSocket. */
  readonly upgrades?: InjectionToken<UpgradeHandler>;
  /** Ends what would keep the ingress from draining: open streams. */
  readonly endStreams?: (provider: Provider) => Promise<void>;
  /** Single tasks: `main.js <name>` does one and ends. Each prints what it has to say. */
  readonly tasks?: Readonly<Record<string, { readonly describe: string; readonly run: (parts: Pick<ServiceParts, 'databases' | 'domain' | 'baseUrl'>) => Promise<string> }>>;
}

/** Finds an object of the running service by its class. */
export type Provider = <T>(token: Type<T>) => T;

/** Runs a process of a service until a signal: the whole of a main.ts. */
export async function runService<const Config extends Declaration>(definition: ServiceDefinition<Config>, parameters: readonly string[], environment: Environment): Promise<void> {
  const { name, tasks = {} } = definition;
  const declarations = [clusterVariables, definition.config];
  const [parameter] = parameters;
  if (parameter === '--help' || parameter === '-h') {
    const single = Object.entries(tasks).map(([task, { describe }]) => `\n       node services/${name}/dist/main.js ${task}\n\n${describe}\n`);
    notice(`Usage: node --import @dmb/runtime/preload services/${name}/dist/main.js\n\nRuns one process of the service ${name} of a cluster; see docs/cluster.md. SIGTERM stops it.\n${single.join('')}\nEverything is set by environment variables:\n\n${helpText(declarations)}`);
    return;
  }
  const logger = createLogger({ name, level: logLevelOf(environment) });
  let task: ((lifecycle: Lifecycle) => Promise<void>) | undefined;
  let told = '';
  await runProcess(
    { logger, partTimeoutMs: clusterLimits.partTimeoutMs, stopTimeoutMs: clusterLimits.stopTimeoutMs },
    (lifecycle) => {
      const { asks } = definition;
      // All wrong values together, whoever declared them.
      readConfig(Object.fromEntries(declarations.flatMap((declaration) => Object.values(declaration)).map((spec) => [spec.name, spec])), environment);
      const settings = readClusterSettings(environment, name, parameter === undefined ? asks : []);
      for (const sentence of unknownVariables(declarations, 'DMB_', environment).filter((each) => each.includes('did you mean'))) logger.warn(sentence);
      if (parameter === undefined) {
        compose(lifecycle, definition, readConfig(definition.config, environment), settings, logger);
        told = `DMB ${name} is ready: calls on port ${settings.callPort}${hasRequests(name) ? `, requests on port ${settings.httpPort}` : ''}`;
        return;
      }
      const found = Object.hasOwn(tasks, parameter) ? tasks[parameter] : undefined;
      if (found === undefined) throw new StartError(`"${parameter}" is not understood: --help tells what is.`);
      const databases = addDatabases(lifecycle, definition, settings, logger);
      task = async () => notice(await found.run({ databases: databases(), domain: settings.domain, baseUrl: settings.baseUrl }));
    },
    async (lifecycle) => {
      if (task === undefined) {
        notice(told);
        return;
      }
      await task(lifecycle);
      process.kill(process.pid, 'SIGTERM');
    },
  );
}

/** Whether any route leads to the service. */
const hasRequests = (name: ServiceName): boolean => routes.some(({ service }) => service === name);

/** The level is needed before the settings are known to be right; a wrong one is told with the others. */
function logLevelOf(environment: Environment): LogLevel {
  return logLevels.find((level) => level === environment[clusterVariables.logLevel.name]?.trim()) ?? clusterVariables.logLevel.default;
}

function compose<Config extends Declaration>(lifecycle: Lifecycle, definition: ServiceDefinition<Config>, config: ConfigOf<Config>, settings: ClusterSettings, logger: Logger): void {
  const { name } = definition;
  const databases = addDatabases(lifecycle, definition, settings, logger);
  const redis = addRedis(lifecycle, settings, logger);
  const eventLog = addEventLog(lifecycle, name, databases, settings, logger);
  const calls = addCalls(lifecycle, settings, logger);
  let app: ServiceApp | undefined;
  const provider: Provider = (token) => (app ?? missing()).nest.get(token);
  const { domain, baseUrl, https, trustedProxies } = settings;
  const isKnownHost = knownHosts(() => [domain], () => settings.httpPort);
  const errorPage = errorPageOf(domain);
  lifecycle.add({
    name,
    start: async () => {
      const parts: ServiceParts = { databases: databases(), calls, eventLog: eventLog(), ...redis(), logger, domain, baseUrl, trustedProxies };
      app = await createServiceApp(definition.module(parts, config), {
        name, logger, isKnownHost, https, trustedProxies, errorPage, onRoute: routeNamer(), ...(definition.upgrades === undefined ? {} : { upgrades: definition.upgrades }),
      });
    },
    drain: () => app?.close(),
  });
  for (const [check, isReady] of Object.entries(definition.checks?.(provider) ?? {})) lifecycle.check(check, isReady);
  addCallListener(lifecycle, calls, settings, logger);
  if (!hasRequests(name)) return;

  let ingress: Ingress | undefined;
  lifecycle.add({
    name: 'requests',
    start: async () => {
      ingress = createIngress({
        routes, services: new Map([[name, app ?? missing()]]), host: settings.host, port: settings.httpPort, https, isKnownHost, readiness: () => lifecycle.readiness(), trustedProxies, errorPage, logger: logger.child('requests'),
      });
      await ingress.listen();
      meter('connections').observe(() => ingress?.connections ?? 0);
    },
    drain: () => ingress?.close(),
  });
  // After requests, so that they drain before: open streams would keep them waiting.
  lifecycle.add({ name: 'streams', drain: () => (app === undefined ? undefined : definition.endStreams?.(provider)) });
}

function addDatabases(lifecycle: Lifecycle, { name, migrations }: Pick<ServiceDefinition<Declaration>, 'name' | 'migrations'>, settings: ClusterSettings, logger: Logger): () => Databases {
  let databases: Databases | undefined;
  const { databaseUrls: urls, domain, databaseConnections: connectionsMax } = settings;
  lifecycle.add({
    name: 'databases',
    start: async () => {
      await openInstallation({ urls, domain });
      await migrate({ urls, service: name, migrations: await migrations() });
      databases = await openDatabases({ urls, service: name, connectionsMax, applicationName: `dmb ${name}` });
    },
    stop: () => databases?.close(),
  });
  const use = new DatabaseUse({ mode: 'shared', database: () => databases?.all[0] ?? missing(), logger });
  lifecycle.add({ name: 'use of the databases', start: () => use.take(), stop: () => use.release() });
  lifecycle.check('databases', async () => {
    await Promise.all((databases ?? missing()).all.map((database) => database.query('SELECT 1 AS one')));
    return true;
  });
  return () => databases ?? missing();
}

interface RedisAdapters {
  readonly timelines: RedisTimelines;
  readonly live: RedisLiveEvents;
  readonly limits: RedisLimits;
}

function addRedis(lifecycle: Lifecycle, { redisUrls: urls, redisMode: mode }: ClusterSettings, logger: Logger): () => RedisAdapters {
  let nodes: RedisNodes | undefined;
  let adapters: RedisAdapters | undefined;
  lifecycle.add({
    name: 'redis',
    start: async () => {
      nodes = await RedisNodes.open({ urls, mode, logger: logger.child('redis'), openMsMax: clusterLimits.redisOpenMs });
      adapters = {
        timelines: new RedisTimelines({ nodes }),
        live: new RedisLiveEvents({ nodes, onHandlerError: (error) => logger.error('a live event could not be handled', { error }) }),
        limits: new RedisLimits({ nodes }),
      };
    },
    stop: async () => {
      await Promise.all([adapters?.timelines.close(), adapters?.live.close(), adapters?.limits.close()]);
      await nodes?.close();
    },
  });
  return () => adapters ?? missing();
}

function addEventLog(lifecycle: Lifecycle, name: ServiceName, databases: () => Databases, { kafka, kafkaReplicas }: ClusterSettings, logger: Logger): () => EventLog {
  let eventLog: KafkaEventLog | undefined;
  lifecycle.add({
    name: 'event log',
    start: () => {
      const producers = name === 'identity' || name === 'microblog' ? { [name]: databases() } : {};
      eventLog = new KafkaEventLog({ connection: kafka, producers, logger: logger.child('event-log'), ...(kafkaReplicas === undefined ? {} : { replicationFactor: kafkaReplicas }) });
    },
    stop: () => eventLog?.close(),
  });
  return () => eventLog ?? missing();
}

function addCalls(lifecycle: Lifecycle, { callUrls, callSecrets: [secret] }: ClusterSettings, logger: Logger): Calls {
  const entries = Object.entries(callUrls) as [ServiceName, readonly string[]][];
  const transports = entries.map(([service, urls]) => [service, new HttpCallTransport({ service, urls, secret, logger: logger.child('calls') })] as const);
  lifecycle.add({ name: 'calls out', stop: async () => void (await Promise.all(transports.map(([, transport]) => transport.close()))) });
  return new Calls({ transports: Object.fromEntries(transports) });
}

function addCallListener(lifecycle: Lifecycle, calls: Calls, { callSecrets: secrets, callHost: host, callPort: port }: ClusterSettings, logger: Logger): void {
  const listener = new CallListener({ calls, secrets, host, port, readiness: () => lifecycle.readiness(), onRoute: routeNamer(), logger: logger.child('calls') });
  lifecycle.add({
    name: 'calls in',
    start: async () => {
      await listener.listen();
      listener.open();
    },
    drain: () => listener.close(),
  });
}

const missing = (): never => {
  throw new AppError('bug', undefined, { detail: 'a part was asked for before it had started' });
};
