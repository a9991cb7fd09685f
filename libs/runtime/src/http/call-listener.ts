/**
 * Where a process answers the calls of our other processes: a listener of its own, never the public one.
 *
 *     POST /calls/<name>   authorization: Bearer <the shared secret>   dmb-timeout-ms: 1800
 *     200  the answer · any other status  the error, `{kind, message, …}` (both as call-wire.ts writes them)
 *     503  with `dmb-not-run: 1`          starting or stopping: the call was not begun; ask another process
 *     GET  /livez, /readyz                for whoever runs the process; no secret, and nothing is told but names of checks
 *
 * **Who may call.** Whoever presents a secret that is accepted now. Two can be, so that a secret is changed
 * without a moment in which processes refuse each other: first every process accepts the new one besides, then every process
 * presents it, then the old one goes. Secrets are compared by their hashes in constant time, and before a byte of the body is read.
 * What travels is not encrypted here: between machines that others share, the network does that (a mesh, WireGuard, TLS by a proxy).
 *
 * **Bounds.** Bytes of a request and of an answer; the time, which is what is left of the caller's; the caller's hanging up,
 * which aborts the handler's signal. Calls of our own are not limited in number: their callers are.
 *
 * Stopping: new calls are refused as not begun, those in progress are answered, each answer closes its connection.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, type Socket } from 'node:net';
import { calls as callTable, type CallName } from '@dmb/events';
import type { Calls } from '../calls.ts';
import { AppError, StartError, toAppError } from '../errors.ts';
import { callLimits } from '../limits.ts';
import { type Logger } from '../log.ts';
import { callText, callValue } from './call-wire.ts';
import type { Readiness } from './ingress.ts';

export interface CallListenerOptions {
  readonly calls: Pick<Calls, 'serve'>;
  /** Accepted now; the first is the one in use. */
  readonly secrets: readonly string[];
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  readonly readiness: () => Promise<Readiness>;
  /** Called with the path of each call, for naming spans: `routeNamer()`. */
  readonly onRoute?: ((route: string) => void) | undefined;
  readonly logger: Logger;
  readonly limits?: Partial<Readonly<Record<keyof typeof callLimits, number>>>;
}

type State = 'starting' | 'open' | 'closing';

export class CallListener {
  private readonly options: CallListenerOptions;
  private readonly limits: Readonly<Record<keyof typeof callLimits, number>>;
  private readonly accepted: readonly Buffer[];
  private readonly server: Server;
  private state: State = 'starting';
  private closing: Promise<void> | undefined;

  constructor(options: CallListenerOptions) {
    this.options = options;
    this.limits = { ...callLimits, ...options.limits };
    this.accepted = options.secrets.map(digest);
    this.server = createServer(
      {
        keepAliveTimeout: this.limits.idleTimeoutMs,
        headersTimeout: this.limits.headersTimeoutMs,
        requestTimeout: this.limits.requestTimeoutMs,
        noDelay: true,
      },
      (request, response) => this.dispatch(request, response),
    );
    this.server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** Starts to listen; calls are refused as not begun until {@link open}. @throws {StartError} one sentence */
  async listen(): Promise<{ readonly port: number }> {
    const { host, port } = this.options;
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void =>
        reject(new StartError(`Calls cannot be listened for on ${host} port ${port}: ${error.code === 'EADDRINUSE' ? 'the port is in use' : error.message}.`, { cause: error }));
      this.server.once('error', failed);
      this.server.listen({ host, port, backlog: 1_024 }, () => {
        this.server.off('error', failed);
        this.server.on('error', (error) => this.options.logger.error('the listener for calls failed', { error }));
        resolve();
      });
    });
    return { port: (this.server.address() as AddressInfo).port };
  }

  /** From here on calls are answered. */
  open(): void {
    if (this.state === 'starting') this.state = 'open';
  }

  /** New calls are refused from here on; resolves when those in progress are answered. {@link close} comes after it. */
  close(drainTimeoutMs = this.limits.drainTimeoutMs): Promise<void> {
    this.closing ??= this.drain(drainTimeoutMs);
    return this.closing;
  }

  private async drain(timeoutMs: number): Promise<void> {
    this.state = 'closing';
    if (!this.server.listening) return;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const sweep = setInterval(() => this.server.closeIdleConnections(), 50);
    const cut = setTimeout(() => this.server.closeAllConnections(), timeoutMs);
    await closed;
    clearInterval(sweep);
    clearTimeout(cut);
  }

  private dispatch(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', () => undefined);
    request.on('error', () => undefined);
    const { method, url = '/' } = request;
    if (method === 'GET' && (url === '/livez' || url === '/readyz')) {
      void this.answerHealth(url, response);
      return;
    }
    const name = url.startsWith('/calls/') ? url.slice('/calls/'.length) : undefined;
    if (!this.isAccepted(request.headers.authorization)) {
      this.options.logger.warn('a call without the secret was refused', { from: request.socket.remoteAddress });
      refuse(request, response, new AppError('unauthenticated', 'The secret of calls is missing or wrong'));
      return;
    }
    if (this.state !== 'open') {
      refuse(request, response, new AppError('unavailable', undefined, { detail: `the process is ${this.state}` }), { 'dmb-not-run': '1' });
      return;
    }
    if (method !== 'POST' || name === undefined || !Object.hasOwn(callTable, name)) {
      refuse(request, response, new AppError('not-found', undefined, { detail: `${method ?? ''} ${url} is no call` }));
      return;
    }
    if (Number(request.headers['content-length'] ?? 0) > this.limits.requestBytesMax) {
      refuse(request, response, this.tooLarge(name));
      return;
    }
    this.options.onRoute?.(url);
    void this.answer(name as CallName, request, response);
  }

  private isAccepted(authorization: string | undefined): boolean {
    const presented = /^Bearer (\S+)$/.exec(authorization ?? '')?.[1];
    const given = digest(presented ?? '');
    // All of them, whichever fits: the time must not tell.
    return this.accepted.reduce((fits, secret) => timingSafeEqual(secret, given) || fits, false) && presented !== undefined;
  }

  private async answer(name: CallName, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const hangUp = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) hangUp.abort(new AppError('unavailable', undefined, { detail: `nobody waits for ${name} any more` }));
    });
    try {
      const body = await this.read(name, request);
      const timeoutMs = Number(request.headers['dmb-timeout-ms']);
      const answered = await this.options.calls.serve(name, callValue(body), { signal: hangUp.signal, ...(timeoutMs > 0 ? { timeoutMs } : {}) });
      const text = callText(answered, `the answer of ${name}`);
      if (Buffer.byteLength(text) > this.limits.answerBytesMax) throw new AppError('bug', undefined, { detail: `the answer of ${name} is larger than ${this.limits.answerBytesMax} bytes` });
      this.send(response, 200, text);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.kind === 'bug') this.options.logger.error('a call failed', { call: name, error: thrown });
      if (request.complete) this.send(response, error.status, callText(error.toWire(), 'an error'));
      else refuse(request, response, error);
    }
  }

  private read(name: string, request: IncomingMessage): Promise<string> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const take = (chunk: Buffer): void => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes <= this.limits.requestBytesMax) return;
        request.off('data', take).pause();
        reject(this.tooLarge(name));
      };
      request.on('data', take);
      request.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      request.once('close', () => reject(new AppError('unavailable', undefined, { detail: `the request of ${name} broke off` })));
    });
  }

  private tooLarge(name: string): AppError {
    return new AppError('bug', undefined, { detail: `the request of ${name} is larger than ${this.limits.requestBytesMax} bytes`, status: 413 });
  }

  private send(response: ServerResponse, status: number, text: string): void {
    if (response.headersSent || response.destroyed) return;
    const closes = this.state === 'closing' ? { connection: 'close' } : {};
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...closes });
    response.end(text);
  }

  private async answerHealth(path: string, response: ServerResponse): Promise<void> {
    const { ready, failing } = path === '/livez' ? { ready: true, failing: [] } : await this.readiness();
    response.writeHead(ready ? 200 : 503, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(JSON.stringify(path === '/livez' ? { status: 'live' } : { status: ready ? 'ready' : 'not ready', failing }));
  }

  private async readiness(): Promise<Readiness> {
    if (this.state !== 'open') return { ready: false, failing: [this.state === 'closing' ? 'stopping' : 'starting'] };
    try {
      return await this.options.readiness();
    } catch (error) {
      this.options.logger.error('readiness could not be told', { error });
      return { ready: false, failing: ['readiness'] };
    }
  }
}

/** Answers before the body is there, and lets the connection end: what is still to come is not read. */
function refuse(request: IncomingMessage, response: ServerResponse, error: AppError, headers: Readonly<Record<string, string>> = {}): void {
  const socket = request.socket as Socket | null;
  const text = callText(error.toWire(), 'an error');
  response.writeHead(error.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), connection: 'close', ...headers });
  response.end(text, () => socket?.destroySoon());
}

const digest = (text: string): Buffer => hash('sha256', text, 'buffer');
