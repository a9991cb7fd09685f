import 'reflect-metadata';
import { Controller, Get, Module, Post, Body } from '@nestjs/common';
import { generateKeyPairSync } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { type Duplex } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AppError, StartError } from '../errors.ts';
import { silentLogger } from '../log.ts';
import { knownHosts } from './address.ts';
import { createServiceApp, type ServiceApp } from './host.ts';
import { createIngress, refuseUpgrade, type Ingress, type IngressOptions, type IngressRoute, type IngressService } from './ingress.ts';

@Controller()
class OneController {
  @Get('api/v1/one/:id')
  one() {
    return { service: 'one' };
  }

  @Post('api/v1/one')
  async slow(@Body() body: { wait?: string }) {
    await new Promise((resolve) => setTimeout(resolve, Number(body.wait ?? 0)));
    return { done: true };
  }
}
@Module({ controllers: [OneController] })
class OneModule {}

/** Of nobody: its key was thrown away. */
const certificate = `-----BEGIN CERTIFICATE-----
MIIBgjCCASmgAwIBAgIUNu4PVWPSe90Anuy32tDCJjeUlCYwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLZXhhbXBsZS5vcmcwIBcNMjYxMTIyMjEwODUxWhgPMjEyNjEw
MjkyMTA4NTFaMBYxFDASBgNVBAMMC2V4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEt/5KPXtF1BhgiKiB29a0o5MnDfbZ93AUJhAwjtdQ5DUK+mYp
VMK0o4OaYf40Y9XwWQb4xnSu/21kow3EZoS/R6NTMFEwHQYDVR0OBBYEFHYAxyfo
+CVdN5n/sHijG+jaxhlfMB8GA1UdIwQYMBaAFHYAxyfo+CVdN5n/sHijG+jaxhlf
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgQ+zqz33ebvW0ZZst
Nh3flZkHKncMUy+3O5xajUs3Q1oCIDsRw2WzfYi1BAAioFmZ441abvNDQEP9tx74
jzJ9tUne
-----END CERTIFICATE-----`;

const routes: readonly IngressRoute[] = [
  { method: 'GET', path: '/api/v1/one/:id', service: 'one' },
  { method: 'POST', path: '/api/v1/one', service: 'one' },
  { method: 'GET', path: '/api/v1/streaming', service: 'two', stream: true },
  { method: 'GET', path: '/api/v1/elsewhere', service: 'three' },
];

let one: ServiceApp;
let port = 0;
let ready = true;
const open: Ingress[] = [];

async function start(options: Partial<IngressOptions> = {}): Promise<Ingress> {
  const ingress = createIngress({
    routes,
    services: new Map<string, IngressService>([
      ['one', one],
      ['two', { handle: (_, response) => response.end('two'), upgrade: (request, socket: Duplex) => (request.url?.includes('good') ? socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n') : refuseUpgrade(socket, new AppError('unauthenticated'))) }],
    ]),
    host: '127.0.0.1',
    port: 0,
    https: false,
    isKnownHost: knownHosts(() => ['localhost:8080'], () => port),
    readiness: () => Promise.resolve({ ready, failing: ready ? [] : ['database'] }),
    logger: silentLogger,
    ...options,
  });
  open.push(ingress);
  ({ port } = await ingress.listen());
  return ingress;
}

/** Everything a server answers to these bytes until it closes the connection. */
const exchange = (text: string, options: { readonly end?: boolean; readonly every?: { readonly ms: number; readonly text: string } } = {}): Promise<string> =>
  new Promise((resolve) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(text);
      if (options.end === true) socket.end();
    });
    const drip = options.every && setInterval(() => socket.write(options.every?.text ?? ''), options.every.ms);
    socket.on('data', (bytes: Buffer) => (answer += bytes.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearInterval(drip);
      resolve(answer);
    });
  });
const get = (target: string, headers = ''): Promise<string> => exchange(`GET ${target} HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n${headers}\r\n`);

beforeAll(async () => {
  one = await createServiceApp(OneModule, { name: 'one', logger: silentLogger, isKnownHost: knownHosts(() => ['localhost:8080'], () => port), https: false });
});
afterEach(async () => {
  for (const ingress of open.splice(0)) await ingress.close(100);
  ready = true;
});
afterAll(() => one.close());

describe('dispatching', () => {
  it('finds the service of a path, with and without a slash at the end, HEAD like GET, and the whole address', async () => {
    await start();
    expect(await get('/api/v1/one/7')).toMatch(/^HTTP\/1.1 200 .*\{"service":"one"\}$/s);
    expect(await get('/api/v1/one/7/?x=1')).toMatch(/^HTTP\/1.1 200 /);
    expect(await get('http://localhost:8080/api/v1/one/7')).toMatch(/^HTTP\/1.1 200 /);
    expect(await exchange('HEAD /api/v1/one/7 HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1.1 200 .*\r\n\r\n$/s);
    expect(await get('/api/v1/streaming')).toMatch(/two$/);
  });

  it('answers what no service answers as its path asks', async () => {
    await start();
    expect(await get('/api/v1/elsewhere')).toMatch(/404 Not Found.*access-control-allow-origin: \*.*\{"error":"Not found"\}$/s);
    expect(await get('/nothing', 'Accept: text/html\r\n')).toMatch(/404 Not Found.*<h1>Not here<\/h1>/s);
    expect(await exchange('OPTIONS * HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1.1 204 .*allow: GET/s);
    expect(await exchange('OPTIONS /api/v1/one HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1.1 204 .*max-age: 7200/s);
  });

  it('knows its own names only', async () => {
    await start();
    const ask = (host: string) => exchange(`GET /nothing HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    for (const host of [`127.0.0.1:${port}`, `[::1]:${port}`, `localhost:${port}`, 'localhost:8080', 'LOCALHOST:8080']) expect(await ask(host)).toMatch(/^HTTP\/1.1 404 /);
    for (const host of ['evil.example', '127.0.0.1', '127.0.0.1:1', `evil.localhost:${port}`]) expect(await ask(host)).toMatch(/^HTTP\/1.1 421 /);
    // Two: whoever stands before us may go by the other one.
    for (const [first, second] of [['localhost:8080', 'evil.example'], ['evil.example', 'localhost:8080'], ['localhost:8080', 'localhost:8080']]) {
      for (const path of ['/nothing', '/api/v1/one/7']) expect(await exchange(`GET ${path} HTTP/1.1\r\nHost: ${first}\r\nhOST: ${second}\r\nConnection: close\r\n\r\n`)).toMatch(/^HTTP\/1.1 400 /);
    }
  });

  // A proxy before us goes by the address of the request line and may have kept this one from others.
  it('goes by the host of a whole address, whatever the header says', async () => {
    await start();
    const ask = (target: string, host = 'localhost:8080') => exchange(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    for (const path of ['/api/v1/one/7', '/nothing', '']) {
      for (const authority of ['evil.example', 'localhost:8080@evil.example', 'evil.example@localhost:8080', 'localhost', '']) expect(await ask(`http://${authority}${path}`), authority).toMatch(/^HTTP\/1.1 421 /);
    }
    expect(await ask('http://localhost:8080/api/v1/one/7', 'evil.example')).toMatch(/^HTTP\/1.1 200 /);
    expect(await ask('HTTPS://LOCALHOST:8080/api/v1/one/7?x', 'evil.example')).toMatch(/^HTTP\/1.1 200 /);
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
    expect(await exchange(`GET http://evil.example/api/v1/streaming?good HTTP/1.1\r\nHost: localhost:8080\r\n${upgrade}\r\n`)).toMatch(/^HTTP\/1.1 421 /);
    expect(await exchange(`GET http://localhost:8080/api/v1/streaming?good HTTP/1.1\r\nHost: evil.example\r\n${upgrade}\r\n`)).toMatch(/^HTTP\/1.1 101 /);
  });

  it('tells whether it lives and whether it is ready, under any name', async () => {
    await start();
    expect(await exchange('GET /health/ready HTTP/1.1\r\nHost: 10.1.2.3\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /);
    ready = false;
    expect(await get('/health/ready')).toMatch(/^HTTP\/1.1 503 .*"failing":\["database"\]/s);
    expect(await get('/health/live')).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('upgrades', () => {
  const upgrade = (target: string, headers = 'Upgrade: websocket\r\n', host = 'localhost:8080') =>
    exchange(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\n${headers}\r\n`, { end: true });

  it('go to the service of the path, which may refuse with JSON before any WebSocket exists', async () => {
    await start();
    expect(await upgrade('/api/v1/streaming?good')).toMatch(/^HTTP\/1.1 101 /);
    expect(await upgrade('/api/v1/streaming/?bad')).toMatch(/^HTTP\/1.1 401 .*\{"error":"The access token is invalid"\}$/s);
    expect(await upgrade('/api/v1/one/7')).toMatch(/^HTTP\/1.1 404 /);
    expect(await upgrade('/api/v1/streaming?good', undefined, 'evil.example')).toMatch(/^HTTP\/1.1 421 /);
  });

  it('to anything but WebSocket are plain requests', async () => {
    await start();
    expect(await upgrade('/api/v1/one/7', 'Upgrade: h2c\r\n')).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('strangers', () => {
  it('get JSON for bytes that are no HTTP and for too many headers', async () => {
    await start();
    expect(await exchange('this is not HTTP\r\n\r\n')).toMatch(/^HTTP\/1.1 400 .*access-control-allow-origin: \*.*\{"error":"The request is malformed"\}$/s);
    expect(await get('/api/v1/one/7', `X: ${'x'.repeat(9_000)}\r\n`)).toMatch(/^HTTP\/1.1 431 .*\{"error":/s);
    expect(await exchange('POST /api/v1/one HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
  });

  it('who send headers or a body drop by drop, or nothing at all, are answered 408 and closed', async () => {
    await start({ limits: { headersTimeoutMs: 200, requestTimeoutMs: 400, connectionsCheckMs: 50 } });
    const [headers, body, nothing] = await Promise.all([
      exchange('GET /api/v1/one/7 HTTP/1.1\r\n', { every: { ms: 40, text: 'X: y\r\n' } }),
      exchange('POST /api/v1/one HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n', { every: { ms: 40, text: ' ' } }),
      exchange(''),
    ]);
    for (const answer of [headers, body, nothing]) expect(answer).toMatch(/408/);
  });

  it('who send ten megabytes are told 413, and who post to nowhere 404, on a connection that stays whole', { timeout: 60_000 }, async () => {
    await start();
    const post = (path: string, chunked: boolean) =>
      new Promise<unknown>((resolve) => {
        const headers = { host: 'localhost:8080', 'content-type': 'application/json', ...(chunked ? {} : { 'content-length': '10000000' }) };
        const request = httpRequest({ port, path, method: 'POST', headers }, (response) => {
          resolve(response.statusCode);
          response.resume();
        });
        request.on('error', resolve);
        request.end('x'.repeat(10_000_000));
      });
    const posts = Array.from({ length: 20 }, (_, index) => post(index % 2 === 0 ? '/api/v1/one' : '/api/v1/nowhere', index % 4 < 2));
    expect(await Promise.all(posts)).toEqual(Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? 413 : 404)));
  });

  it('have a bounded number of connections each', async () => {
    const ingress = await start({ limits: { connectionsPerAddressMax: 3 } });
    const sockets = Array.from({ length: 6 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
    await expect.poll(() => sockets.filter(({ destroyed }) => destroyed).length).toBe(3);
    expect(ingress.connections).toBe(3);
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => ingress.connections).toBe(0);
    expect(await get('/api/v1/one/7')).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('listening and stopping', () => {
  it('says in a sentence that a port is taken', async () => {
    await start();
    const second = createIngress({ routes: [], services: new Map(), host: '127.0.0.1', port, https: false, isKnownHost: () => true, readiness: () => Promise.resolve({ ready: true, failing: [] }), logger: silentLogger });
    await expect(second.listen()).rejects.toThrow(StartError);
    await expect(second.listen()).rejects.toThrow(`Port ${port} is already in use on 127.0.0.1`);
  });

  it('says in a sentence of ours which of certificate and key is wrong', () => {
    const refusal = (cert: string, key: string): string => {
      try {
        createIngress({ routes: [], services: new Map(), host: '127.0.0.1', port: 0, tls: { cert, key }, https: true, isKnownHost: () => true, readiness: () => Promise.resolve({ ready: true, failing: [] }), logger: silentLogger });
      } catch (error) {
        expect(error).toBeInstanceOf(StartError);
        expect((error as StartError).sentences).toHaveLength(1);
        expect((error as StartError).message).not.toMatch(/openssl|error:|::|PEM_read|DECODER|routines/i);
        return (error as StartError).message;
      }
      return 'it was taken';
    };
    const newKey = (passphrase?: string): string => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      return privateKey.export({ type: 'pkcs8', format: 'pem', ...(passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase }) }).toString();
    };
    expect(refusal('no', newKey())).toMatch(/DMB_TLS_CERT holds no certificate/);
    expect(refusal(newKey(), newKey())).toMatch(/DMB_TLS_CERT holds no certificate/);
    for (const key of ['no', certificate, newKey('secret')]) expect(refusal(certificate, key)).toMatch(/DMB_TLS_KEY holds no private key/);
    expect(refusal(certificate, newKey())).toMatch(/DMB_TLS_KEY does not belong to the certificate of DMB_TLS_CERT/);
  });

  it('finishes requests in progress, closes idle connections at once and takes no new ones', async () => {
    const ingress = await start();
    const idle = connect(port, '127.0.0.1').on('error', () => undefined);
    idle.write('GET /api/v1/one/7 HTTP/1.1\r\nHost: localhost:8080\r\n\r\n');
    await new Promise((resolve) => idle.once('data', resolve));
    const body = '{"wait":"300"}';
    const slow = exchange(`POST /api/v1/one HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const begun = Date.now();
    await ingress.close(5_000);
    expect(Date.now() - begun).toBeLessThan(5_000);
    expect(await slow).toMatch(/^HTTP\/1.1 200 .*\{"done":true\}/s);
    await expect.poll(() => ingress.connections).toBe(0);
    expect(await get('/api/v1/one/7')).toBe('');
  });

  it('cuts what does not end within the limit', async () => {
    const ingress = await start();
    const body = '{"wait":"60000"}';
    const slow = exchange(`POST /api/v1/one HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await ingress.close(100);
    expect(await slow).toBe('');
  });
});
