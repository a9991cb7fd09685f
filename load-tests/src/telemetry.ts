/**
 * What the server says of itself: a receiver for its metrics (OTLP as JSON), of which we want one, how long it took until
 * the last list had an entry. Histograms come as totals since the start; the newest of each process counts.
 */
import { createServer, type Server } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { loadTestLimits } from './limits.ts';

const wanted = 'dmb.delivery.commit_to_readable';

/** Of all deliveries since the start, in ms. */
export interface Delivered {
  readonly count: number;
  readonly meanMs: number;
  readonly maxMs: number;
}

interface Point {
  readonly count?: string | number;
  readonly sum?: number;
  readonly max?: number;
}

interface Metrics {
  readonly resourceMetrics?: readonly {
    readonly resource?: { readonly attributes?: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[] };
    readonly scopeMetrics?: readonly { readonly metrics?: readonly { readonly name: string; readonly histogram?: { readonly dataPoints?: readonly Point[] } }[] }[];
  }[];
}

export class TelemetryReceiver {
  readonly #server: Server;
  readonly #points = new Map<string, readonly Point[]>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<TelemetryReceiver> {
    const server = createServer();
    const receiver = new TelemetryReceiver(server);
    server.on('request', (request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        if (request.url === '/v1/metrics') receiver.#take(Buffer.concat(parts), request.headers['content-encoding'] === 'gzip');
        response.setHeader('content-type', 'application/json').end('{}');
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return receiver;
  }

  /** Variables for the processes that are to send here: metrics only, so that nothing else costs anything. */
  get environment(): Record<string, string> {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${address.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_TRACES_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      OTEL_METRIC_EXPORT_INTERVAL: String(loadTestLimits.telemetryEveryMs),
      OTEL_METRIC_EXPORT_TIMEOUT: String(loadTestLimits.telemetryEveryMs),
    };
  }

  /** undefined: nothing was told. */
  get delivered(): Delivered | undefined {
    const points = [...this.#points.values()].flat();
    const count = points.reduce((sum, point) => sum + Number(point.count ?? 0), 0);
    if (count === 0) return undefined;
    const sumSeconds = points.reduce((sum, point) => sum + (point.sum ?? 0), 0);
    return { count, meanMs: (sumSeconds / count) * 1_000, maxMs: Math.max(...points.map(({ max }) => max ?? 0)) * 1_000 };
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #take(body: Buffer, zipped: boolean): void {
    const metrics = JSON.parse((zipped ? gunzipSync(body) : body).toString('utf8')) as Metrics;
    for (const { resource, scopeMetrics = [] } of metrics.resourceMetrics ?? []) {
      const process = resource?.attributes?.find(({ key }) => key === 'service.instance.id')?.value.stringValue ?? '';
      for (const { name, histogram } of scopeMetrics.flatMap((scope) => scope.metrics ?? [])) {
        if (name === wanted) this.#points.set(process, histogram?.dataPoints ?? []);
      }
    }
  }
}
