/**
 * One service as an HTTP application: Nest on Fastify with everything that all services share.
 *
 * A service brings a module; {@link createServiceApp} builds the application around it. It never
 * listens itself: the ingress hands it requests, together with those of other services in one
 * process or alone in a cluster, so that limits of connections exist once. The way of a request:
 *
 *   router     trailing slash accepted, query parsed as one object (parameters.ts)
 *   onRequest  headers of this path (answers.ts) → unknown Host 421 → OPTIONS answered here →
 *              what was wrong with the query → NUL in a path: nothing has that name, 404
 *   body       JSON, form, multipart → one object; > 1 MiB 413, another type 415
 *   Nest       schemas (422), guards, the handler
 *   error      whatever was thrown, wherever, becomes an AppError and is answered by its path's
 *              form; a `bug` is logged with its stack under the request id that the caller is told
 *
 * Under /api, query and body are one set of parameters as in Rails, because clients put the same
 * parameter now here, now there: GET and DELETE see both in the query, the others in the body.
 * A handler of a POST answers 200, not Nest's 201, and one that returns nothing answers `{}`: no
 * client of ours takes 201, 204 or an empty body for success.
 */
import 'reflect-metadata';
import { Catch, StandardSchemaValidationPipe, type ArgumentsHost, type ExceptionFilter, type InjectionToken, type Type, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import { randomBytes } from 'node:crypto';
import { type Duplex } from 'node:stream';
import { throwError } from 'rxjs';
import { AppError, toAppError } from '../errors.ts';
import { httpLimits } from '../limits.ts';
import { nestLogger, type Logger } from '../log.ts';
import { addressReader } from './address.ts';
import { errorAnswer, familyOf, firstHeaders, optionsAnswer, originForm, pathOf, settleTarget, type ErrorPage } from './answers.ts';
import { checkText, parseFormBody, parseJson, parseMultipart, parseUrlEncoded, type Parameters } from './parameters.ts';

export interface ServiceAppOptions {
  /** Name of the service, for the log. */
  readonly name: string;
  readonly logger: Logger;
  /** Whether a Host header names a domain served here: `knownHosts`. */
  readonly isKnownHost: (host: string) => boolean;
  /** Whether our addresses are https: adds Strict-Transport-Security. */
  readonly https: boolean;
  /** Addresses and networks whose X-Forwarded-For counts. */
  readonly trustedProxies?: readonly string[];
  /** Documents of error pages; without it they are plain. */
  readonly errorPage?: ErrorPage | undefined;
  readonly bodyBytesMax?: number;
  /** Called on each request with its route, for naming spans: `routeNamer()` of telemetry while that is on. */
  readonly onRoute?: ((route: string) => void) | undefined;
  /** Provider that takes over sockets of Upgrade requests (WebSocket). */
  readonly upgrades?: InjectionToken<UpgradeHandler>;
  /** Last touches before the application starts: event transports, further content types. */
  readonly configure?: (nest: NestFastifyApplication) => void | Promise<void>;
}

/** Takes over a socket whose request asked for an upgrade. It answers, or destroys the socket. */
export interface UpgradeHandler {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** A service's application, initialised and ready to be handed requests. */
export interface ServiceApp {
  readonly name: string;
  readonly nest: NestFastifyApplication;
  readonly fastify: FastifyInstance;
  handle(request: IncomingMessage, response: ServerResponse): void;
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  close(): Promise<void>;
}

const clientAddressKey = Symbol('clientAddress');
const queryProblemKey = Symbol('queryProblem');

/** The client's address of a request: see address.ts for what is believed. */
export function clientAddress(request: FastifyRequest): string {
  const server = request.server as unknown as Record<symbol, (raw: IncomingMessage) => string>;
  return server[clientAddressKey]?.(request.raw) ?? 'unknown';
}

/** The 422 of everything that does not fit its schema, in the words that clients show. */
export function validationError(issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[]): AppError {
  const texts = issues.slice(0, 5).map(({ message, path = [] }) => {
    const name = path.map((segment) => (typeof segment === 'object' && segment !== null && 'key' in segment ? String(segment.key) : String(segment))).join('.');
    return name === '' ? message : `${name.slice(0, 80)}: ${message}`;
  });
  return new AppError('invalid', `Validation failed: ${texts.join(', ').slice(0, 500)}`);
}

/** Begins an answer that is written bit by bit (Server-Sent Events): the headers of the path, then the raw response. */
export function beginStream(reply: FastifyReply, contentType: string): ServerResponse {
  const headers = reply.getHeaders() as OutgoingHttpHeaders;
  reply.hijack();
  reply.raw.writeHead(200, { ...headers, 'content-type': contentType, 'cache-control': 'private, no-store', 'x-accel-buffering': 'no' });
  reply.raw.flushHeaders();
  return reply.raw;
}

/** Builds the application of a service. @throws whatever its module throws while it is put together */
export async function createServiceApp(module: Type | DynamicModule, options: ServiceAppOptions): Promise<ServiceApp> {
  const adapter = new ServiceAdapter(options);
  const fastify = adapter.getInstance<FastifyInstance>();
  Object.defineProperty(fastify, clientAddressKey, { value: addressReader(options.trustedProxies) });
  addBodyParsers(fastify);
  addRequestHook(fastify, options);

  const nest = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    bodyParser: false,
    abortOnError: false,
    forceCloseConnections: false,
    logger: nestLogger(options.logger),
  });
  nest.useGlobalPipes(new StandardSchemaValidationPipe({ exceptionFactory: validationError }));
  nest.useGlobalFilters(new ErrorFilter(options));
  await options.configure?.(nest);
  await nest.init();
  await fastify.ready();

  const upgrades = options.upgrades === undefined ? undefined : nest.get<UpgradeHandler>(options.upgrades, { strict: false });
  return {
    name: options.name,
    nest,
    fastify,
    handle: (request, response) => {
      fastify.routing(request, response);
    },
    ...(upgrades === undefined ? {} : { upgrade: (request, socket, head) => upgrades.upgrade(request, socket, head) }),
    close: () => nest.close(),
  };
}

class ServiceAdapter extends FastifyAdapter {
  constructor(options: ServiceAppOptions) {
    super({
      skipMiddie: true,
      multipart: false,
      logger: false,
      bodyLimit: options.bodyBytesMax ?? httpLimits.bodyBytesMax,
      requestIdHeader: false,
      genReqId: nextRequestId,
      rewriteUrl: settleTarget,
      frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => sendError(error, request, reply, options),
      routerOptions: {
        ignoreTrailingSlash: true,
        caseSensitive: true,
        maxParamLength: httpLimits.pathParameterLengthMax,
        querystringParser: parseQuery,
      },
    });
  }

  // The head of this file says why 200 and `{}`.
  override status(response: FastifyReply | ServerResponse, statusCode: number): unknown {
    return super.status(response, statusCode === 201 ? 200 : statusCode) as unknown;
  }

  override reply(response: FastifyReply | ServerResponse, body: unknown, statusCode?: number): FastifyReply {
    return super.reply(response, body === undefined ? {} : body, statusCode === 201 ? 200 : statusCode);
  }
}

let requestCount = 0;
const processMark = randomBytes(6).toString('base64url');
/** Ids of requests: unique, cheap, and no secret. */
export const nextRequestId = (): string => `${processMark}-${(requestCount++).toString(36)}`;

/** The router cannot bear a throw: what is wrong with a query is remembered and thrown in the hook. */
function parseQuery(text: string): Parameters {
  if (text === '') return {};
  try {
    return parseUrlEncoded(text);
  } catch (error) {
    return Object.defineProperty({}, queryProblemKey, { value: error });
  }
}

function addBodyParsers(fastify: FastifyInstance): void {
  fastify.addHttpMethod('GET', { hasBody: true, overrideExisting: true } as { hasBody: boolean });
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser(/^application\/(json|[\w.-]+\+json)/i, { parseAs: 'buffer' }, (_request, body: Buffer, done) => {
    done(null, parseJson(body));
  });
  fastify.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'buffer' }, (_request, body: Buffer, done) => {
    done(null, parseFormBody(body));
  });
  fastify.addContentTypeParser('multipart/form-data', { parseAs: 'buffer' }, (request: FastifyRequest, body: Buffer) =>
    parseMultipart(body, request.headers['content-type'] ?? ''),
  );
  fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    const ignored = body.length === 0 || request.method === 'GET' || request.method === 'DELETE';
    if (ignored) done(null, undefined);
    else done(new AppError('invalid', 'This content type is not supported', { status: 415 }), undefined);
  });
}

function addRequestHook(fastify: FastifyInstance, { https, isKnownHost, onRoute }: ServiceAppOptions): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    const path = pathOf(request.url);
    reply.headers(firstHeaders(path, https));
    reply.header('x-request-id', request.id);
    const { host } = request.headers;
    if (host === undefined || !isKnownHost(host)) {
      done(unknownHost());
      return;
    }
    if (request.method === 'OPTIONS') {
      const { status, headers } = optionsAnswer(path, https);
      reply.code(status).headers(headers).send();
      return;
    }
    const route = request.routeOptions.url;
    if (onRoute !== undefined && route !== undefined) onRoute(route);
    done(requestProblem(request));
  });
  fastify.addHook('preValidation', (request, _reply, done) => {
    if (!request.url.startsWith('/api/')) {
      done();
      return;
    }
    const { body, query } = request;
    const sendsBody = request.method !== 'GET' && request.method !== 'DELETE' && request.method !== 'HEAD';
    if (sendsBody) {
      if (isParameters(query) && hasMembers(query) && (isParameters(body) || body === undefined || body === null)) request.body = { ...query, ...body };
      else if (body === undefined || body === null) request.body = {};
    } else if (isParameters(body)) {
      request.query = { ...(query as Parameters), ...body };
    }
    done();
  });
}

/** The 421 of a Host that is none of ours. */
export function unknownHost(): AppError {
  return new AppError('invalid', 'This server does not serve that domain', { status: 421 });
}

function requestProblem({ query, params }: FastifyRequest): AppError | undefined {
  const problem = (query as Record<symbol, AppError> | null)?.[queryProblemKey];
  if (problem !== undefined) return problem;
  for (const value of Object.values((params ?? {}) as Parameters)) {
    try {
      if (typeof value === 'string') checkText(value);
    } catch {
      return new AppError('not-found');
    }
  }
  return undefined;
}

const isParameters = (value: unknown): value is Parameters => typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
const hasMembers = (value: Parameters): boolean => {
  for (const _ in value) return true;
  return false;
};

/** Headers of the answer that failed and that would be wrong on the error. */
const ofTheAnswer = ['content-type', 'content-length', 'etag', 'last-modified', 'link', 'location', 'vary', 'content-disposition', 'content-encoding'];

function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply, options: ServiceAppOptions): void {
  const error = toAppError(thrown);
  const path = pathOf(originForm(request.raw.url ?? '/'));
  if (error.kind === 'bug') options.logger.error('a request failed', { method: request.raw.method, path, requestId: request.id, error: thrown });
  else options.logger.debug('a request was refused', { method: request.raw.method, path, requestId: request.id, status: error.status, reason: error.message, detail: error.detail });
  if (reply.sent || reply.raw.headersSent) {
    reply.raw.destroy();
    return;
  }
  for (const name of ofTheAnswer) reply.removeHeader(name);
  const { status, headers, body } = errorAnswer(error, {
    path,
    https: options.https,
    accept: request.headers.accept,
    requestId: request.id,
    errorPage: familyOf(path) === 'page' ? options.errorPage : undefined,
  });
  const answer = (): void => void reply.code(status).headers(headers).send(body);
  if (status === 413) afterBody(request.raw, answer);
  else answer();
}

/**
 * Lets a client finish what it is sending, within reason, and throws it away: who is answered in
 * the middle of a body, on a connection that closes then, sees a broken connection instead of 413.
 */
function afterBody(raw: IncomingMessage, answer: () => void): void {
  if (raw.complete || raw.destroyed || Number(raw.headers['content-length'] ?? 0) > httpLimits.refusedBodyBytesMax) {
    answer();
    return;
  }
  let bytes = 0;
  const done = (): void => {
    raw.off('data', count).off('end', done).off('close', done);
    raw.resume();
    answer();
  };
  const count = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes > httpLimits.refusedBodyBytesMax) done();
  };
  raw.on('data', count).once('end', done).once('close', done);
}

/** Answers everything that is thrown on the way of a request; what is thrown in an event handler goes to its transport. */
@Catch()
class ErrorFilter implements ExceptionFilter {
  private readonly options: ServiceAppOptions;

  constructor(options: ServiceAppOptions) {
    this.options = options;
  }

  catch(thrown: unknown, host: ArgumentsHost): unknown {
    if (host.getType() !== 'http') return throwError(() => thrown);
    const http = host.switchToHttp();
    sendError(thrown, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>(), this.options);
    return undefined;
  }
}
