/**
 * The ingress: the one listening server of a process.
 *
 * It looks up each request in the route table of `@dmb/events` and hands it to the service that
 * answers the path, and each WebSocket upgrade likewise. With all services in one process it is
 * the only server; in a cluster each process has one with its own service behind it, and a proxy
 * made from the same table before them. What no service answers (unknown paths, `OPTIONS *`,
 * health, bytes that are no HTTP) is answered here in the same forms (answers.ts).
 *
 * Strangers meet the bounds of limits.ts: bytes of headers, time until the headers and until the
 * body are there (a connection that sends nothing counts from its opening), connections together
 * and from one address, idle time. Over a bound of connections the newest is closed without a
 * word, which is the cheapest thing to do.
 *
 * Stopping: no new connections; each answer from then on closes its connection; requests in
 * progress are waited for; what is left after the limit is cut. Long streams end because their
 * services end them first (lifecycle.ts), not here.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, type Socket } from 'node:net';
import { type Duplex } from 'node:stream';
import findMyWay from 'find-my-way';
import { AppError, StartError, toAppError } from '../errors.ts';
import { httpLimits } from '../limits.ts';
import { type Logger } from '../log.ts';
import { addressBucket, trustTest } from './address.ts';
import { errorAnswer, optionsAnswer, pathOf, settleTarget, type Answer, type ErrorPage } from './answers.ts';
import { nextRequestId, unknownHost } from './host.ts';

/** A row of the route table, as far as it matters here. */
export interface IngressRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Pattern of find-my-way. */
  readonly path: string;
  readonly service: string;
  /** Whether a WebSocket may be asked for there. */
  readonly stream?: true;
}

/** What the ingress needs of a service: a ServiceApp is one. */
export interface IngressService {
  handle(request: IncomingMessage, response: ServerResponse): void;
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

export interface Readiness {
  readonly ready: boolean;
  /** Names of the checks that fail. */
  readonly failing: readonly string[];
}

export interface IngressOptions {
  readonly routes: readonly IngressRoute[];
  /** By the names in the routes; routes of services that are not here answer 404. */
  readonly services: ReadonlyMap<string, IngressService>;
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** PEM texts. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Whether our addresses are https (also behind a proxy that speaks TLS for us). */
  readonly https: boolean;
  readonly isKnownHost: (host: string) => boolean;
  readonly readiness: () => Promise<Readiness>;
  readonly trustedProxies?: readonly string[];
  readonly errorPage?: ErrorPage | undefined;
  readonly logger: Logger;
  readonly limits?: Partial<Readonly<Record<keyof typeof httpLimits, number>>>;
}

export interface Ingress {
  /** Starts to listen. @throws {StartError} one sentence where the port or address cannot be had */
  listen(): Promise<{ readonly port: number }>;
  /** Connections open now. */
  readonly connections: number;
  /** Stops as the head of this file says; a second call waits for the first. */
  close(drainTimeoutMs?: number): Promise<void>;
}

/** @throws {StartError} where the TLS files cannot be used */
export function createIngress(options: IngressOptions): Ingress {
  return new NodeIngress(options);
}

/** Refuses an upgrade in the format of clients and ends the socket: 401 before any WebSocket exists. */
export function refuseUpgrade(socket: Duplex, error: AppError, https = false): void {
  endWith(socket, errorAnswer(error, { path: '/api', https, accept: undefined, requestId: nextRequestId() }));
}

interface Target {
  readonly service: string;
  readonly stream: boolean;
}

class NodeIngress implements Ingress {
  private readonly options: IngressOptions;
  private readonly limits: Readonly<Record<keyof typeof httpLimits, number>>;
  private readonly server: Server;
  private readonly router = findMyWay({ ignoreTrailingSlash: true, caseSensitive: true, maxParamLength: 8_192 });
  private readonly sockets = new Set<Socket>();
  private readonly socketsByBucket = new Map<string, number>();
  private readonly isTrusted: (address: string) => boolean;
  private closing: Promise<void> | undefined;

  constructor(options: IngressOptions) {
    this.options = options;
    this.limits = { ...httpLimits, ...options.limits };
    this.isTrusted = trustTest(options.trustedProxies);
    for (const { method, path, service, stream } of options.routes) {
      const target: Target = { service, stream: stream === true };
      this.router.on(method, path, () => undefined, target);
    }
    this.server = this.createServer();
    this.server.maxConnections = this.limits.connectionsMax;
    this.server.maxHeadersCount = this.limits.headersCountMax;
    this.server.maxRequestsPerSocket = this.limits.requestsPerConnectionMax;
    this.server.on('connection', (socket: Socket) => this.admit(socket));
    this.server.on('request', (request: IncomingMessage, response: ServerResponse) => this.dispatch(request, response));
    this.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => this.upgrade(request, socket, head));
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => this.refuseBytes(error, socket));
  }

  get connections(): number {
    return this.sockets.size;
  }

  async listen(): Promise<{ readonly port: number }> {
    const { host, port } = this.options;
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => reject(listenError(error, host, port));
      this.server.once('error', failed);
      this.server.listen({ host, port, backlog: 1_024 }, () => {
        this.server.off('error', failed);
        this.server.on('error', (error) => this.options.logger.error('the HTTP server failed', { error }));
        resolve();
      });
    });
    return { port: (this.server.address() as AddressInfo).port };
  }

  close(drainTimeoutMs = this.limits.drainTimeoutMs): Promise<void> {
    this.closing ??= this.drain(drainTimeoutMs);
    return this.closing;
  }

  private async drain(timeoutMs: number): Promise<void> {
    if (!this.server.listening) return;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    // A connection becomes idle when its answer is out, and is closed then.
    const sweep = setInterval(() => this.server.closeIdleConnections(), 50);
    const cut = setTimeout(() => {
      if (this.sockets.size > 0) this.options.logger.warn('connections were cut while stopping', { connections: this.sockets.size });
      for (const socket of this.sockets) socket.destroy();
    }, timeoutMs);
    this.server.closeIdleConnections();
    await closed;
    clearInterval(sweep);
    clearTimeout(cut);
  }

  private createServer(): Server {
    const { tls } = this.options;
    const common: ServerOptions = {
      maxHeaderSize: this.limits.headersBytesMax,
      headersTimeout: this.limits.headersTimeoutMs,
      requestTimeout: this.limits.requestTimeoutMs,
      keepAliveTimeout: this.limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: this.limits.connectionsCheckMs,
      noDelay: true,
      // Anything else that a client offers to upgrade to (h2c) is a plain request.
      shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
    };
    if (tls === undefined) return createServer(common);
    try {
      return createTlsServer({ ...common, cert: tls.cert, key: tls.key, minVersion: 'TLSv1.2', handshakeTimeout: this.limits.headersTimeoutMs, ALPNProtocols: ['http/1.1'] });
    } catch (error) {
      throw new StartError(whyNoTls(tls), { cause: error });
    }
  }

  private admit(socket: Socket): void {
    const address = socket.remoteAddress ?? '';
    const bucket = addressBucket(address);
    const count = (this.socketsByBucket.get(bucket) ?? 0) + 1;
    if (count > this.limits.connectionsPerAddressMax && !this.isTrusted(address)) {
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    this.socketsByBucket.set(bucket, count);
    socket.once('close', () => {
      this.sockets.delete(socket);
      const left = (this.socketsByBucket.get(bucket) ?? 1) - 1;
      if (left > 0) this.socketsByBucket.set(bucket, left);
      else this.socketsByBucket.delete(bucket);
    });
  }

  private dispatch(request: IncomingMessage, response: ServerResponse): void {
    if (this.closing !== undefined) response.setHeader('connection', 'close');
    const target = settleTarget(request);
    const path = pathOf(target);
    try {
      if (path === '/health/live' || path === '/health/ready') {
        void this.answerHealth(path, response);
        return;
      }
      refuseTwoHosts(request);
      const service = this.serviceOf(request.method ?? '', target);
      if (service !== undefined) {
        service.handle(request, response);
        return;
      }
      const { host } = request.headers;
      if (host === undefined || !this.options.isKnownHost(host)) throw unknownHost();
      if (request.method === 'OPTIONS') send(response, optionsAnswer(path, this.options.https));
      else throw new AppError('not-found', 'Not found');
    } catch (error) {
      this.answerError(error, request, response, path);
    }
  }

  private serviceOf(method: string, target: string): IngressService | undefined {
    const found = this.router.find((method === 'HEAD' ? 'GET' : method) as 'GET', target);
    return found === null ? undefined : this.options.services.get((found.store as Target).service);
  }

  private answerError(thrown: unknown, request: IncomingMessage, response: ServerResponse, path: string): void {
    const error = toAppError(thrown);
    const requestId = nextRequestId();
    if (error.kind === 'bug') this.options.logger.error('a request failed before its service', { path, requestId, error: thrown });
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const { https, errorPage } = this.options;
    send(response, errorAnswer(error, { path, https, accept: request.headers.accept, requestId, errorPage }));
  }

  private async answerHealth(path: string, response: ServerResponse): Promise<void> {
    const state = path === '/health/live' ? { ready: true, failing: [] } : this.closing === undefined ? await this.readinessNow() : { ready: false, failing: ['stopping'] };
    send(response, {
      status: state.ready ? 200 : 503,
      headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...(state.ready ? {} : { 'retry-after': '1' }) },
      body: JSON.stringify(path === '/health/live' ? { status: 'live' } : { status: state.ready ? 'ready' : 'not ready', failing: state.failing }),
    });
  }

  private async readinessNow(): Promise<Readiness> {
    try {
      return await this.options.readiness();
    } catch (error) {
      this.options.logger.error('readiness could not be told', { error });
      return { ready: false, failing: ['readiness'] };
    }
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const target = settleTarget(request);
    const { host } = request.headers;
    const found = this.router.find('GET', target)?.store as Target | undefined;
    const upgrade = found?.stream === true ? this.options.services.get(found.service)?.upgrade : undefined;
    try {
      refuseTwoHosts(request);
      if (host === undefined || !this.options.isKnownHost(host)) throw unknownHost();
      if (this.closing !== undefined) throw new AppError('unavailable', undefined, { retryAfterSeconds: 1 });
      if (request.method !== 'GET' || upgrade === undefined) throw new AppError('not-found', 'Not found');
      upgrade(request, socket, head);
    } catch (error) {
      const appError = toAppError(error);
      if (appError.kind === 'bug') this.options.logger.error('an upgrade failed', { path: pathOf(target), error });
      refuseUpgrade(socket, appError, this.options.https);
    }
  }

  private refuseBytes(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const [status, message] = byteErrors[error.code ?? ''] ?? [400, 'The request is malformed'];
    refuseUpgrade(socket, new AppError('invalid', message, { status }), this.options.https);
  }
}

const byteErrors: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'The headers of the request are too large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'The request is too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request took too long to arrive'],
};

/** Node takes the first of two, a proxy before us perhaps the second (RFC 9112 §3.2). @throws {AppError} 400 */
function refuseTwoHosts({ rawHeaders }: IncomingMessage): void {
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host' && ++hosts > 1) throw new AppError('invalid', 'The request is malformed', { status: 400 });
  }
}

function send(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, status === 204 ? headers : { ...headers, 'content-length': String(Buffer.byteLength(body)) });
  response.end(body);
}

/** An answer on a bare socket, which ends with it. */
function endWith(socket: Duplex, { status, headers, body }: Answer): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(body)), date: new Date().toUTCString(), connection: 'close' });
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`, () => socket.destroy());
}

/** Which of the two files is wrong, in words of ours. */
function whyNoTls({ cert, key }: { readonly cert: string; readonly key: string }): string {
  const read = <T>(make: () => T): T | undefined => {
    try {
      return make();
    } catch {
      return undefined;
    }
  };
  const certificate = read(() => new X509Certificate(cert));
  if (certificate === undefined) return 'The file of DMB_TLS_CERT holds no certificate: it must be PEM text that begins with -----BEGIN CERTIFICATE-----, the certificate of this server first.';
  const privateKey = read(() => createPrivateKey(key));
  if (privateKey === undefined) return 'The file of DMB_TLS_KEY holds no private key that can be read: it must be PEM text, and not protected by a passphrase.';
  if (!certificate.checkPrivateKey(privateKey)) return 'The private key of DMB_TLS_KEY does not belong to the certificate of DMB_TLS_CERT.';
  return 'The certificate of DMB_TLS_CERT or the key of DMB_TLS_KEY cannot be used: the algorithm may be too old, the key too short, or a certificate of the chain damaged.';
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): StartError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new StartError(`Port ${port} is already in use on ${host}; stop the program that uses it, or set DMB_HTTP_PORT to another port.`, { cause: error });
    case 'EACCES':
      return new StartError(`This user may not listen on port ${port}; set DMB_HTTP_PORT to a port from 1024 on.`, { cause: error });
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new StartError(`${host} is no address of this machine; set DMB_HTTP_HOST to one that is, or to 0.0.0.0 for all of them.`, { cause: error });
    default:
      return new StartError(`The server cannot listen on ${host} port ${port}: ${error.message}.`, { cause: error });
  }
}
