/**
 * OpenTelemetry, preloaded: `node --import @dmb/runtime/preload dist/main.js`.
 *
 * Off unless an OTLP endpoint is named in the environment; then nothing of the SDK is even loaded.
 * On, it traces HTTP in and out and SQL, and sends traces, metrics and logs as the standard
 * `OTEL_…` variables say. There is no loader hook: after the SDK has started, the packages that
 * are to be traced are loaded once through `require`, which applies the patches to the very
 * prototypes that ES modules import afterwards (two thirds of the memory of the hook, same spans).
 *
 * SQL is traced only inside a request or event, so that polling stays quiet. Health requests are
 * not traced. What a query string can hold of secrets and of what people look for is cut out.
 * Nothing here listens to signals or ends the process: {@link stopTelemetry} is the last step of
 * stopping and sends what is left.
 */
import { randomUUID } from 'node:crypto';
import { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { diag, DiagLogLevel, logs, SeverityNumber } from '@opentelemetry/api';
import { readConfig, variable, type Environment } from './config.ts';
import { createLogger, setLogSink } from './log.ts';
import { meter } from './metrics.ts';

const endpoint = { type: 'string', pattern: /^https?:\/\/\S+$/, form: 'an http:// or https:// URL' } as const;

/** The variables that switch telemetry on; the rest of `OTEL_…` is read by the SDK. */
export const telemetryVariables = {
  endpoint: variable({ ...endpoint, name: 'OTEL_EXPORTER_OTLP_ENDPOINT', describe: 'Where traces, metrics and logs are sent by OTLP; without it nothing is measured.' }),
  tracesEndpoint: variable({ ...endpoint, name: 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', describe: 'Where traces are sent, if elsewhere.' }),
  metricsEndpoint: variable({ ...endpoint, name: 'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT', describe: 'Where metrics are sent, if elsewhere.' }),
  disabled: variable({ type: 'boolean', default: false, name: 'OTEL_SDK_DISABLED', describe: 'Switches telemetry off although an endpoint is named.' }),
  serviceName: variable({ type: 'string', default: 'dmb', name: 'OTEL_SERVICE_NAME', describe: 'Under which name this process is measured.' }),
};

const tracedPackages = ['http', 'pg', 'undici'] as const;
const redacted = ['access_token', 'token', 'code', 'code_verifier', 'client_secret', 'state', 'q', 'acct', 'resource'];

interface Running {
  stop(): Promise<void>;
  nameRoute(route: string): void;
}
let running: Running | undefined;

/**
 * Starts telemetry if the environment asks for it; whether it did.
 * @throws {StartError} for an endpoint that is no URL
 */
export async function startTelemetry(environment?: Environment): Promise<boolean> {
  const config = readConfig(telemetryVariables, environment);
  if (running !== undefined) return true;
  if (config.disabled || (config.endpoint ?? config.tracesEndpoint ?? config.metricsEndpoint) === undefined) return false;

  const [{ startNodeSdk }, { HttpInstrumentation }, { PgInstrumentation }, { UndiciInstrumentation }, core, { context }] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/instrumentation-http'),
    import('@opentelemetry/instrumentation-pg'),
    import('@opentelemetry/instrumentation-undici'),
    import('@opentelemetry/core'),
    import('@opentelemetry/api'),
  ]);
  // The detectors of processes and hosts would send the command line and names of machines along.
  const sdk = startNodeSdk({
    logLevel: 'none',
    resourceDetectors: [],
    resourceAttributes: { 'service.name': config.serviceName, 'service.instance.id': randomUUID() },
    instrumentations: [
      new HttpInstrumentation({
        ignoreIncomingRequestHook: ({ url }) => url !== undefined && (url.startsWith('/health/') || url === '/livez' || url === '/readyz'),
        redactedQueryParams: redacted,
        redactedQueryParamsServer: redacted,
        requestHook: (span, request) => {
          // A one-time link is its own secret.
          if (request instanceof IncomingMessage && request.url?.startsWith('/operator/') === true) span.setAttribute('url.path', '/operator/:link');
        },
      }),
      new PgInstrumentation({ requireParentSpan: true }),
      new UndiciInstrumentation({ requireParentforSpans: true }),
    ],
  });
  tellProblems();
  const require = createRequire(import.meta.url);
  for (const name of tracedPackages) {
    try {
      require(name);
    } catch {
      // A process without that package has nothing of it to trace.
    }
  }
  sendLogs();
  const stopMeasuring = measureProcess();
  running = {
    stop: async () => {
      setLogSink(undefined);
      await sdk.shutdown();
      stopMeasuring();
    },
    nameRoute: (route) => {
      const metadata = core.getRPCMetadata(context.active());
      if (metadata?.type === core.RPCType.HTTP) metadata.route = route;
    },
  };
  return true;
}

/** For `ServiceAppOptions.onRoute`: names the span of a request after its route; undefined while telemetry is off. */
export function routeNamer(): ((route: string) => void) | undefined {
  return running?.nameRoute;
}

/** Sends what is left and stops, within `timeoutMs`; a receiver that does not answer holds nothing up. */
export async function stopTelemetry(timeoutMs = 3_000): Promise<void> {
  const stopped = running?.stop().catch(() => undefined);
  running = undefined;
  if (stopped === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([stopped, new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)))]);
  clearTimeout(timer);
}

/** A receiver that cannot be reached is told of in our own log, at most once a minute. */
function tellProblems(): void {
  const logger = createLogger({ name: 'telemetry' });
  let lastAt = 0;
  const tell = (message: string): void => {
    if (Date.now() - lastAt < 60_000) return;
    lastAt = Date.now();
    logger.warn('telemetry cannot be sent', { reason: message });
  };
  const quiet = (): void => undefined;
  diag.setLogger({ error: tell, warn: quiet, info: quiet, debug: quiet, verbose: quiet }, { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true });
}

const severities = { debug: SeverityNumber.DEBUG, info: SeverityNumber.INFO, warn: SeverityNumber.WARN, error: SeverityNumber.ERROR } as const;

function sendLogs(): void {
  setLogSink((time, level, name, message, fields) => {
    logs.getLogger('dmb').emit({
      timestamp: time,
      severityNumber: severities[level],
      severityText: level,
      body: message,
      attributes: { 'dmb.logger': name, ...Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, typeof value === 'object' ? JSON.stringify(value) : (value as string)])) },
    });
  });
}

function measureProcess(): () => void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const lag = meter('eventLoopLag');
  const ends = [
    lag.observe(() => delay.percentile(50) / 1e9, { quantile: 'p50' }),
    lag.observe(() => delay.percentile(99) / 1e9, { quantile: 'p99' }),
    lag.observe(() => {
      const worst = delay.max / 1e9;
      delay.reset();
      return worst;
    }, { quantile: 'max' }),
    meter('memory').observe(() => process.memoryUsage.rss()),
  ];
  return () => {
    for (const end of ends) end();
    delay.disable();
  };
}
