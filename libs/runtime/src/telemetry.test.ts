import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { meter, metricTable } from './metrics.ts';

describe('metrics', () => {
  it('have unique names under dmb. and closed attributes', () => {
    const names = Object.values(metricTable).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^dmb\.[a-z_.]+$/);
  });

  it('cost nothing and need nothing while telemetry is off', () => {
    meter('accepted').add(1, { log: 'public' });
    meter('commitToReadable').record(0.1);
    meter('unaccounted').observe(() => 0)();
    // @ts-expect-error an attribute outside the closed set does not compile
    meter('accepted').add(1, { log: 'handle' });
  });
});

const url = (file: string): string => new URL(file, import.meta.url).href;

/** Runs a script after the preload, and what an OTLP receiver got from it. */
async function preloaded(script: string, environment: (endpoint: string) => Record<string, string>): Promise<{ code: number | null; out: string; err: string; paths: Record<string, string> }> {
  const paths: Record<string, string> = {};
  const receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (bytes: Buffer) => (body += bytes.toString()));
    request.on('end', () => {
      paths[request.url ?? ''] = (paths[request.url ?? ''] ?? '') + body;
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  const child = spawn(process.execPath, ['--import', url('./preload.ts'), '--input-type=module', '--eval', script], { env: { ...environment(endpoint) }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  receiver.close();
  receiver.closeAllConnections();
  return { code, out, err, paths };
}

describe('the preload', { timeout: 60_000 }, () => {
  const script = `
    import { createServer, get } from 'node:http';
    import { routeNamer, stopTelemetry } from '${url('./telemetry.ts')}';
    import { meter } from '${url('./metrics.ts')}';
    import { createLogger } from '${url('./log.ts')}';
    const logger = createLogger({ name: 'test', form: 'json' });
    const server = createServer((request, response) => { routeNamer()?.('/api/v1/statuses/:id'); logger.info('handled'); response.end('x'); });
    server.listen(0, '127.0.0.1', () => get({ port: server.address().port, path: '/api/v1/statuses/7?access_token=hunter2' }, (response) => {
      response.resume().on('end', async () => {
        meter('accepted').add(3, { log: 'public' });
        server.close(); server.closeAllConnections();
        await stopTelemetry();
        console.log('ended');
      });
    }));`;

  it('sends traces named by route, metrics and logs that know their trace, and no token', async () => {
    const { code, out, err, paths } = await preloaded(script, (endpoint) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_SERVICE_NAME: 'dmb-test' }));
    expect([code, out]).toEqual([0, 'ended\n']);
    expect(paths['/v1/traces']).toContain('GET /api/v1/statuses/:id');
    expect(paths['/v1/traces']).toContain('dmb-test');
    expect(paths['/v1/metrics']).toContain('dmb.entries.accepted');
    expect(paths['/v1/metrics']).toContain('dmb.process.event_loop.lag');
    const line = JSON.parse(err.trim().split('\n')[0] ?? '{}') as { trace_id?: string };
    expect(line.trace_id).toMatch(/^[0-9a-f]{32}$/);
    expect(paths['/v1/logs']).toContain(line.trace_id);
    // The command line of this process holds the token.
    expect(JSON.stringify(paths)).not.toContain('hunter2');
  });

  it('loads nothing of the SDK without an endpoint, and starts with a receiver that is not there', async () => {
    const loaded = `const { stopTelemetry } = await import('${url('./telemetry.ts')}'); console.log(Boolean(globalThis[Symbol.for('opentelemetry.js.api.1')]?.metrics)); await stopTelemetry(500); process.exit();`;
    expect((await preloaded(loaded, () => ({}))).out).toBe('false\n');
    expect((await preloaded(loaded, () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }))).out).toBe('true\n');
  });

  it('says in a sentence what is wrong with an endpoint', async () => {
    const { code, err } = await preloaded('', () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: 'localhost:4318' }));
    expect([code, err]).toEqual([1, 'OTEL_EXPORTER_OTLP_ENDPOINT must be an http:// or https:// URL, not "localhost:4318".\n']);
  });
});
