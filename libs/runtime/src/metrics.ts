/**
 * Every figure the product measures, in one table.
 *
 * A dashboard, an alert and a README can only name what stands here, and a name is spelled once.
 * Attributes are closed sets: no id, handle, domain or address is ever one, since each value is a
 * time series for ever. Times are seconds, as OpenTelemetry wants them.
 *
 * The headline figures: `unaccounted` (accepted − accounted: 0 when drained), `oldestGap` (no entry
 * older than 60 s unaccounted), `commitToReadable`, `outboxAge`, `parkedLogs`, `rebuilds`,
 * `eventLoopLag`.
 *
 * {@link meter} makes the instrument at its first use. With telemetry off that is the API's empty
 * one, which costs a call and keeps nothing.
 */
import { metrics, type Counter, type Histogram, type UpDownCounter } from '@opentelemetry/api';

const services = ['identity', 'microblog', 'fan-out', 'timeline'] as const;
const logKinds = ['public', 'followers', 'direct', 'own', 'mail'] as const;
const outcomes = ['ok', 'refused', 'failed'] as const;

interface MetricDeclaration {
  readonly name: string;
  readonly instrument: 'counter' | 'up-down' | 'histogram' | 'gauge';
  /** UCUM; things counted in braces. */
  readonly unit: string;
  readonly description: string;
  readonly attributes?: Readonly<Record<string, readonly string[]>>;
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000];

export const metricTable = {
  // Accepting
  accepted: { name: 'dmb.entries.accepted', instrument: 'counter', unit: '{entry}', description: 'Entries committed to a log', attributes: { log: logKinds } },
  appendDuration: { name: 'dmb.append.duration', instrument: 'histogram', unit: 's', description: 'From handing an entry to the batcher to its commit', buckets: seconds },
  appendBatchSize: { name: 'dmb.append.batch.size', instrument: 'histogram', unit: '{entry}', description: 'Entries in one commit', buckets: sizes },
  appendConflicts: { name: 'dmb.append.conflicts', instrument: 'counter', unit: '{entry}', description: 'Entries that lost the race for a number and were tried again' },
  appendWaiting: { name: 'dmb.append.waiting', instrument: 'gauge', unit: '{entry}', description: 'Entries waiting for a commit' },

  // From the commit to the reader
  unaccounted: { name: 'dmb.entries.unaccounted', instrument: 'gauge', unit: '{entry}', description: 'Accepted minus accounted: 0 when everything is delivered' },
  oldestGap: { name: 'dmb.entries.oldest_gap', instrument: 'gauge', unit: 's', description: 'Age of the oldest entry that is not accounted for' },
  commitToReadable: { name: 'dmb.delivery.commit_to_readable', instrument: 'histogram', unit: 's', description: 'From the commit of an entry to the last timeline that shows it', buckets: seconds },
  outboxAge: { name: 'dmb.outbox.age', instrument: 'gauge', unit: 's', description: 'Age of the oldest event that a consumer has not taken', attributes: { producer: services } },
  outboxRows: { name: 'dmb.outbox.rows', instrument: 'gauge', unit: '{event}', description: 'Events that wait for a consumer', attributes: { producer: services } },
  consumed: { name: 'dmb.events.consumed', instrument: 'counter', unit: '{event}', description: 'Events processed', attributes: { consumer: services, outcome: ['applied', 'known', 'fetched', 'parked'] } },
  consumerLag: { name: 'dmb.events.lag', instrument: 'gauge', unit: 's', description: 'Age of the event being processed', attributes: { consumer: services } },
  parkedLogs: { name: 'dmb.logs.parked', instrument: 'gauge', unit: '{log}', description: 'Logs whose events could not be processed and wait for repair', attributes: { consumer: services } },
  gapsFound: { name: 'dmb.sweep.gaps', instrument: 'counter', unit: '{log}', description: 'Logs behind their head that a sweep found', attributes: { consumer: services } },
  deliveries: { name: 'dmb.deliveries', instrument: 'counter', unit: '{row}', description: 'Rows written to present timelines' },
  deliveryJobs: { name: 'dmb.delivery.jobs', instrument: 'gauge', unit: '{job}', description: 'Bulk jobs not yet finished' },

  // Reading
  rebuilds: { name: 'dmb.timelines.rebuilds', instrument: 'counter', unit: '{timeline}', description: 'Timelines rebuilt from the database', attributes: { outcome: ['done', 'repeated', 'failed'] } },
  rebuildDuration: { name: 'dmb.timelines.rebuild.duration', instrument: 'histogram', unit: 's', description: 'Rebuilding one timeline', buckets: seconds },
  timelinesPresent: { name: 'dmb.timelines.present', instrument: 'gauge', unit: '{timeline}', description: 'Timelines that are present' },
  timelineStoreFailures: { name: 'dmb.timelines.store.failures', instrument: 'counter', unit: '{read}', description: 'Reads that the store of timelines failed and the database answered' },
  presentDuration: { name: 'dmb.present.duration', instrument: 'histogram', unit: 's', description: 'Presenting one page', buckets: seconds, attributes: { context: ['home', 'public', 'account', 'thread', 'notification', 'stream'] } },
  liveEvents: { name: 'dmb.live.events', instrument: 'counter', unit: '{event}', description: 'Events written to open streams' },
  streamsOpen: { name: 'dmb.live.streams', instrument: 'up-down', unit: '{stream}', description: 'Open streams', attributes: { kind: ['sse', 'websocket'] } },
  streamsCut: { name: 'dmb.live.streams.cut', instrument: 'counter', unit: '{stream}', description: 'Streams ended by us', attributes: { reason: ['slow', 'revoked', 'stopping', 'failed'] } },

  // Persons
  signUps: { name: 'dmb.sign_ups', instrument: 'counter', unit: '{person}', description: 'Attempts to sign up', attributes: { outcome: outcomes } },
  logIns: { name: 'dmb.log_ins', instrument: 'counter', unit: '{attempt}', description: 'Attempts to log in', attributes: { outcome: outcomes } },
  tokensIssued: { name: 'dmb.tokens.issued', instrument: 'counter', unit: '{token}', description: 'Access tokens issued', attributes: { grant: ['authorization_code', 'client_credentials'] } },
  limited: { name: 'dmb.requests.limited', instrument: 'counter', unit: '{request}', description: 'Requests refused by a rate limit', attributes: { limit: ['token', 'address', 'sign-up', 'log-in', 'app'] } },

  // The process
  callDuration: { name: 'dmb.call.duration', instrument: 'histogram', unit: 's', description: 'Calls between our services', buckets: seconds, attributes: { callee: services, outcome: ['ok', 'error'] } },
  eventLoopLag: { name: 'dmb.process.event_loop.lag', instrument: 'gauge', unit: 's', description: 'Delay of the event loop since the last reading', attributes: { quantile: ['p50', 'p99', 'max'] } },
  clockAhead: { name: 'dmb.process.clock_ahead', instrument: 'gauge', unit: 's', description: 'How far our clock is ahead of the database' },
  connections: { name: 'dmb.http.connections', instrument: 'gauge', unit: '{connection}', description: 'Open connections of the ingress' },
  memory: { name: 'dmb.process.memory', instrument: 'gauge', unit: 'By', description: 'Resident memory of the process' },
} as const satisfies Readonly<Record<string, MetricDeclaration>>;

export type MetricName = keyof typeof metricTable;
type AttributeSets<Name extends MetricName> = (typeof metricTable)[Name] extends { attributes: infer Sets } ? Sets : never;
type Attributes<Name extends MetricName> = { readonly [Key in keyof AttributeSets<Name>]: AttributeSets<Name>[Key] extends readonly (infer Value)[] ? Value : never };
/** A metric with attributes needs all of them, one without takes none. */
type With<Name extends MetricName> = [AttributeSets<Name>] extends [never] ? [] : [attributes: Attributes<Name>];

interface Instruments<Name extends MetricName> {
  counter: { add(count: number, ...attributes: With<Name>): void };
  'up-down': { add(count: number, ...attributes: With<Name>): void };
  histogram: { record(value: number, ...attributes: With<Name>): void };
  /** Read when metrics are collected, by each function that observes; the function returned ends it. */
  gauge: { observe(read: () => number | Promise<number>, ...attributes: With<Name>): () => void };
}
export type Meter<Name extends MetricName> = Instruments<Name>[(typeof metricTable)[Name]['instrument']];

const made = new Map<MetricName, unknown>();

/** The instrument of a metric. */
export function meter<Name extends MetricName>(metric: Name): Meter<Name> {
  let instrument = made.get(metric);
  if (instrument === undefined) {
    instrument = make(metricTable[metric]);
    made.set(metric, instrument);
  }
  return instrument as Meter<Name>;
}

function make(declaration: MetricDeclaration): unknown {
  const { name, unit, description, buckets } = declaration;
  const api = () => metrics.getMeter('dmb');
  switch (declaration.instrument) {
    case 'counter': {
      let counter: Counter | undefined;
      return { add: (count: number, attributes?: Record<string, string>) => (counter ??= api().createCounter(name, { unit, description })).add(count, attributes) };
    }
    case 'up-down': {
      let counter: UpDownCounter | undefined;
      return { add: (count: number, attributes?: Record<string, string>) => (counter ??= api().createUpDownCounter(name, { unit, description })).add(count, attributes) };
    }
    case 'histogram': {
      let histogram: Histogram | undefined;
      const options = { unit, description, ...(buckets === undefined ? {} : { advice: { explicitBucketBoundaries: [...buckets] } }) };
      return { record: (value: number, attributes?: Record<string, string>) => (histogram ??= api().createHistogram(name, options)).record(value, attributes) };
    }
    case 'gauge':
      return {
        observe: (read: () => number | Promise<number>, attributes: Record<string, string> = {}) => {
          const gauge = api().createObservableGauge(name, { unit, description });
          const callback = async (result: { observe(value: number, attributes: Record<string, string>): void }) => {
            const value = await read();
            if (Number.isFinite(value)) result.observe(value, attributes);
          };
          gauge.addCallback(callback);
          return () => gauge.removeCallback(callback);
        },
      };
  }
}
