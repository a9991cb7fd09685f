/**
 * All services in one process: the composition root.
 *
 *     ingress ── route table ──► identity · microblog · timeline · fan-out   (each a Nest application of its own,
 *        │                                                                    none of them listening)
 *     one port            calls: functions · events: the outbox tables · timelines, live events, limits: memory
 *                                                      │
 *                                        Postgres: in the data folder, or DATABASE_URL
 *
 * The services are the same code as in a cluster; what differs is only which adapter stands behind
 * each of the five ports, and that is decided here. Parts start from the database up and stop from
 * the ingress down: requests end first, then streams, consumers and batchers, and at last Postgres.
 *
 * Port and certificate are tried before anything else is touched, because the commonest wrong start is a second one.
 */
import { readFile } from 'node:fs/promises';
import type { DynamicModule, Type } from '@nestjs/common';
import { PostgresEventLog } from '@dmb/event-log';
import { routes, serviceNames, type ServiceName } from '@dmb/events';
import { createFanOutModule, FanOut, fanOutConfig } from '@dmb/fan-out';
import { createIdentityModule, identityConfig, operatorLink } from '@dmb/identity';
import { createMicroblogModule, Microblog, microblogConfig } from '@dmb/microblog';
import { DatabaseUse } from '@dmb/postgres';
import { AppError, Calls, errorPageOf, meter, readConfig, routeNamer, silentLogger, StartError, type Environment, type Lifecycle, type Logger } from '@dmb/runtime';
import { createIngress, createServiceApp, knownHosts, type Ingress, type ServiceApp, type ServiceAppOptions } from '@dmb/runtime/http';
import { createTimelineModule, Streams, StreamUpgrades, timelineConfig } from '@dmb/timeline';
import { MemoryLimits, MemoryLiveEvents, MemoryTimelines } from '@dmb/timelines';
import type { Settings } from './config.ts';
import { Engines } from './engines.ts';

/** The running program, as far as whoever started it asks. */
export interface Standalone {
  /** A fresh one-time link that makes its opener the operator; undefined once there is one. */
  operatorLink(): Promise<string | undefined>;
}

/** Adds everything to a process, in the order in which it starts. */
export function compose(lifecycle: Lifecycle, settings: Settings, environment: Environment, logger: Logger): Standalone {
  const { domain, baseUrl, https, trustedProxies } = settings;
  const configs = { identity: readConfig(identityConfig, environment), microblog: readConfig(microblogConfig, environment), 'fan-out': readConfig(fanOutConfig, environment), timeline: readConfig(timelineConfig, environment) };
  const engines = new Engines();
  const calls = new Calls();
  const timelines = new MemoryTimelines();
  const live = new MemoryLiveEvents();
  const limits = new MemoryLimits();
  const isKnownHost = knownHosts(() => [domain], () => settings.port);
  let eventLog: PostgresEventLog | undefined;
  const apps = new Map<ServiceName, ServiceApp>();

  lifecycle.add({ name: 'port', start: () => tryPort(settings) });
  engines.addTo(lifecycle, settings, logger);
  const soleUse = new DatabaseUse({ mode: 'alone', database: () => engines.of('identity').all[0] ?? missing(), logger, onRegained: () => timelines.clear() });
  lifecycle.add({ name: 'sole use of the database', start: () => soleUse.take(), stop: () => soleUse.release() });
  lifecycle.check('sole use of the database', () => soleUse.isHeld);
  lifecycle.add({
    name: 'event log',
    start: () => {
      eventLog = new PostgresEventLog({ producers: { identity: engines.of('identity'), microblog: engines.of('microblog') }, logger: logger.child('event-log') });
      const log = eventLog;
      meter('outboxAge').observe(() => log.oldestAgeSeconds(), { producer: 'microblog' });
    },
    stop: async () => {
      await eventLog?.close();
      await Promise.all([timelines.close(), live.close(), limits.close()]);
    },
  });

  const moduleOf: Readonly<Record<ServiceName, () => DynamicModule>> = {
    identity: () => createIdentityModule({ ...shared('identity'), config: configs.identity, limits, live }),
    microblog: () => createMicroblogModule({ ...shared('microblog'), config: configs.microblog, limits, live, isAlone: () => soleUse.isHeld }),
    'fan-out': () => createFanOutModule({ ...shared('fan-out'), config: configs['fan-out'], timelines, live }),
    timeline: () => createTimelineModule({ ...shared('timeline'), config: configs.timeline, timelines, live, limits, trustedProxies }),
  };
  const shared = (service: ServiceName) => ({ databases: engines.of(service), calls, eventLog: eventLog ?? missing(), logger: logger.child(service), domain, baseUrl });

  const provider = <Provider>(service: ServiceName, token: Type<Provider>): Provider => (apps.get(service) ?? missing()).nest.get(token);
  for (const service of serviceNames) {
    const upgrades: Partial<ServiceAppOptions> = service === 'timeline' ? { upgrades: StreamUpgrades } : {};
    lifecycle.add({
      name: service,
      start: async () => {
        const options: ServiceAppOptions = { name: service, logger: logger.child(service), isKnownHost, https, trustedProxies, errorPage: errorPageOf(domain), onRoute: routeNamer(), ...upgrades };
        apps.set(service, await createServiceApp(moduleOf[service](), options));
      },
      drain: () => apps.get(service)?.close(),
    });
  }
  lifecycle.check('accepting', async () => (await provider('microblog', Microblog).unready()) === undefined);
  lifecycle.check('events', () => provider('microblog', Microblog).isHealthy() && provider('fan-out', FanOut).isHealthy());
  addIngress(lifecycle, { settings, apps, isKnownHost, logger });
  // After the ingress, so that it drains before it: open streams would keep the ingress waiting.
  lifecycle.add({ name: 'streams', drain: () => apps.has('timeline') ? provider('timeline', Streams).stop() : undefined });
  return { operatorLink: () => operatorLink({ databases: engines.of('identity'), domain, baseUrl }) };
}

interface IngressParts {
  readonly settings: Settings;
  readonly apps: ReadonlyMap<ServiceName, ServiceApp>;
  readonly isKnownHost: (host: string) => boolean;
  readonly logger: Logger;
}

function addIngress(lifecycle: Lifecycle, { settings, apps, isKnownHost, logger }: IngressParts): void {
  let ingress: Ingress | undefined;
  lifecycle.add({
    name: 'ingress',
    start: async () => {
      ingress = createIngress({
        routes,
        services: apps,
        host: settings.host,
        port: settings.port,
        tls: await readTls(settings),
        https: settings.https,
        isKnownHost,
        readiness: () => lifecycle.readiness(),
        trustedProxies: settings.trustedProxies,
        errorPage: errorPageOf(settings.domain),
        logger: logger.child('ingress'),
      });
      await ingress.listen();
      meter('connections').observe(() => ingress?.connections ?? 0);
    },
    drain: () => ingress?.close(),
  });
}

const missing = (): never => {
  throw new AppError('bug', undefined, { detail: 'a part was asked for before it had started' });
};

async function readTls({ tls }: Settings): Promise<{ readonly cert: string; readonly key: string } | undefined> {
  return tls && { cert: await readPem('DMB_TLS_CERT', tls.certFile), key: await readPem('DMB_TLS_KEY', tls.keyFile) };
}

async function readPem(name: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new StartError(`${name} names ${file}, and this user cannot read it.`, { cause: error });
  }
}

/** @throws {StartError} one sentence where the port cannot be had, or certificate and key cannot be used */
async function tryPort(settings: Settings): Promise<void> {
  const probe = createIngress({
    routes: [], services: new Map(), host: settings.host, port: settings.port, tls: await readTls(settings), https: false,
    isKnownHost: () => false, readiness: async () => ({ ready: false, failing: [] }), logger: silentLogger,
  });
  await probe.listen();
  await probe.close(0);
}
