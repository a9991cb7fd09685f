/**
 * Telemetry as an operator gets it: the real program, with OpenTelemetry's own protocol pointed at a
 * receiver in this test.
 *
 * One trace leads from the author's request over the commit, the outbox and the event log to the row
 * in a follower's timeline. Without an endpoint nothing of the SDK is even loaded.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { metricTable } from '@dmb/runtime';
import { eventually, signUp, startTestServer, type Member, type TestServer } from '@dmb/testing';

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: string | number; readonly boolValue?: boolean; readonly doubleValue?: number };
}
interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes: readonly Attribute[];
  readonly status?: { readonly code?: number };
}
interface Point {
  readonly attributes?: readonly Attribute[];
}
interface Metric {
  readonly name: string;
  readonly unit?: string;
  readonly sum?: { readonly dataPoints: readonly Point[] };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
  readonly histogram?: { readonly dataPoints: readonly Point[] };
}

const spans: Span[] = [];
const metrics = new Map<string, Metric>();
const resources: Attribute[] = [];
/** Everything that was sent, as text. */
let sent = '';
let receiver: Server;
let server: TestServer;
let ada: Member;
let ben: Member;

/** An OTLP receiver, as far as it has to be one. */
async function receive(): Promise<Server> {
  const listening = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      sent += text;
      const body = JSON.parse(text) as {
        resourceSpans?: { resource: { attributes: Attribute[] }; scopeSpans: { spans: Span[] }[] }[];
        resourceMetrics?: { scopeMetrics: { metrics: Metric[] }[] }[];
      };
      for (const { resource, scopeSpans } of body.resourceSpans ?? []) {
        resources.push(...resource.attributes);
        for (const scope of scopeSpans) spans.push(...scope.spans);
      }
      for (const { scopeMetrics } of body.resourceMetrics ?? []) for (const scope of scopeMetrics) for (const metric of scope.metrics) metrics.set(metric.name, metric);
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((done) => listening.listen(0, '127.0.0.1', done));
  return listening;
}

const textOf = ({ value }: Attribute): string => String(value.stringValue ?? value.intValue ?? value.boolValue ?? value.doubleValue ?? '');
const attribute = (span: Span, key: string): string | undefined => span.attributes.filter((each) => each.key === key).map(textOf)[0];

beforeAll(async () => {
  receiver = await receive();
  server = await startTestServer({
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_METRIC_EXPORT_INTERVAL: '500',
      OTEL_METRIC_EXPORT_TIMEOUT: '400',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    },
  });
  [ada, ben] = [await signUp(server.url, 'ada'), await signUp(server.url, 'ben')];
  await ben.client.follow(ada.account.id);
  // Present, so that the post is pushed to him.
  await eventually(async () => ((await ben.client.home()).length === 0 ? [] : ['something is there']));
});

afterAll(async () => {
  await server?.dispose();
  receiver?.closeAllConnections();
  await new Promise((done) => receiver?.close(done));
});

describe('a post', () => {
  it('is one trace from the request to the timelines', async () => {
    const stream = await ben.client.eventStream();
    spans.length = 0;
    const { id } = await ada.client.post('followed all the way');
    await stream.status('update', id);
    stream.close();

    const isRequest = (span: Span): boolean => span.kind === 2 && attribute(span, 'http.request.method') === 'POST' && attribute(span, 'http.route') === '/api/v1/statuses';
    const ofRequest = (): Span[] => {
      const request = spans.find(isRequest);
      return spans.filter(({ traceId }) => traceId === request?.traceId);
    };
    const wanted = { 'push to timelines': 1, 'process microblog.entry.v1': 2 } as const;
    const missing = await eventually(() => Promise.resolve(Object.entries(wanted).flatMap(([name, count]) => (ofRequest().filter((span) => span.name === name).length >= count ? [] : [name]))), 15_000);
    expect(missing, JSON.stringify([...new Set(spans.map(({ name }) => name))])).toEqual([]);

    const trace = ofRequest();
    const byId = new Map(trace.map((span) => [span.spanId, span]));
    const ancestors = (span: Span): string[] => {
      const names: string[] = [];
      for (let at: Span | undefined = span; at !== undefined; at = at.parentSpanId === undefined ? undefined : byId.get(at.parentSpanId)) names.push(at.name);
      return names;
    };
    // The request is the one root, and everything hangs below it.
    expect(trace.filter(({ parentSpanId }) => parentSpanId === undefined || parentSpanId === '').map(({ name }) => name)).toEqual(['POST /api/v1/statuses']);
    for (const span of trace) expect(ancestors(span).at(-1), span.name).toBe('POST /api/v1/statuses');

    const push = trace.filter(({ name }) => name === 'push to timelines')[0] as Span;
    expect(ancestors(push)).toEqual(['push to timelines', 'process microblog.entry.v1', 'POST /api/v1/statuses']);
    const consumers = trace.filter(({ name }) => name === 'process microblog.entry.v1').map((span) => attribute(span, 'messaging.consumer.group.name'));
    expect(consumers).toEqual(expect.arrayContaining(['fan-out', 'microblog']));
    // The commit itself, and what the consumers write.
    const statements = trace.filter((span) => attribute(span, 'db.system.name') !== undefined || attribute(span, 'db.system') !== undefined);
    expect(statements.some((span) => ancestors(span)[1] === 'POST /api/v1/statuses')).toBe(true);
    expect(statements.some((span) => ancestors(span)[1] === 'process microblog.entry.v1')).toBe(true);
    expect(trace.filter(({ status }) => status?.code === 2)).toEqual([]);
  });
});

describe('metrics', () => {
  it('arrive under the names of the table, and tell that everything is accounted for', async () => {
    const names = new Set<string>(Object.values(metricTable).map(({ name }) => name));
    const wanted = ['dmb.entries.accepted', 'dmb.append.duration', 'dmb.entries.unaccounted', 'dmb.outbox.age', 'dmb.events.consumed', 'dmb.deliveries', 'dmb.process.memory', 'dmb.process.event_loop.lag', 'dmb.http.connections'];
    expect(wanted.filter((name) => !names.has(name))).toEqual([]);
    const missing = await eventually(() => Promise.resolve(wanted.filter((name) => !metrics.has(name))), 15_000);
    expect(missing).toEqual([]);
    expect([...metrics.keys()].filter((name) => name.startsWith('dmb.') && !names.has(name))).toEqual([]);
  });

  it('have no attribute that names anybody or anything, and none outside of its closed set', () => {
    const sets = new Map<string, Readonly<Record<string, readonly string[]>>>(Object.values(metricTable).map((declared) => [declared.name, 'attributes' in declared ? (declared.attributes as Readonly<Record<string, readonly string[]>>) : {}]));
    const found: string[] = [];
    for (const { name, sum, gauge, histogram } of metrics.values()) {
      for (const point of [sum, gauge, histogram].flatMap((kind) => kind?.dataPoints ?? [])) {
        for (const each of point.attributes ?? []) {
          const value = textOf(each);
          const allowed = sets.get(name)?.[each.key];
          if (name.startsWith('dmb.') && allowed?.includes(value) !== true) found.push(`${name}: ${each.key}=${value}`);
          if (/\d{12,}|[0-9a-f]{8}-[0-9a-f]{4}|@|\bada\b|\bben\b/.test(value)) found.push(`${name}: ${each.key}=${value}`);
        }
      }
    }
    expect(found).toEqual([]);
  });
});

describe('what is sent', () => {
  it('holds no secret, no text of a post, and nothing of the machine', async () => {
    await ada.client.post('a private thought of hers', { visibility: 'private' });
    await (await ada.client.raw('GET', `/api/v2/search?q=${encodeURIComponent('what she looks for')}&resolve=true`)).arrayBuffer();
    await (await ada.client.raw('GET', `/api/v1/streaming/health?access_token=${ada.client.token ?? ''}`)).arrayBuffer();
    const seen = spans.length;
    await eventually(() => Promise.resolve(spans.length > seen + 3 ? [] : ['not yet']));
    await new Promise((done) => setTimeout(done, 700));
    for (const secret of [ada.client.token ?? '', ben.client.token ?? '', ada.password, 'a private thought', 'what she looks for', 'what%20she%20looks', 'example.org', 'followed all the way']) expect([secret, sent.includes(secret)]).toEqual([secret, false]);
    expect(resources.map(({ key }) => key).filter((key) => /^(host|process|os)\./.test(key))).toEqual([]);
  });
});

it('a server without an endpoint loads nothing of the SDK', async () => {
  const preload = pathToFileURL(join(import.meta.dirname, 'modules-preload.ts')).href;
  const [off, on] = await Promise.all([
    startTestServer({ environment: { NODE_OPTIONS: `--import ${preload}` } }),
    startTestServer({ environment: { NODE_OPTIONS: `--import ${preload}`, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' } }),
  ]);
  try {
    const { client } = await signUp(off.url, 'ada');
    await client.post('unmeasured');
    const loaded = async (which: TestServer): Promise<string[]> => {
      which.signal('SIGUSR2');
      await eventually(() => Promise.resolve(which.stdout.includes('loaded [') ? [] : ['not yet']));
      const modules = JSON.parse(/^loaded (\[.*\])$/m.exec(which.stdout)?.[1] ?? '[]') as string[];
      return [...new Set(modules.flatMap((url) => /node_modules\/(@opentelemetry\/[\w-]+|@grpc\/[\w-]+|protobufjs)\//.exec(url)?.[1] ?? []))];
    };
    expect((await loaded(off)).sort()).toEqual(['@opentelemetry/api']);
    // The same look sees it where it is loaded.
    expect(await loaded(on)).toEqual(expect.arrayContaining(['@opentelemetry/api', '@opentelemetry/sdk-node', '@opentelemetry/instrumentation-pg']));
  } finally {
    await Promise.all([off.dispose(), on.dispose()]);
  }
});
