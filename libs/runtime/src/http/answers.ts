/**
 * What every answer has in common, and how an error looks to whom.
 *
 * Four kinds of clients call the same server and each understands one form of error only. Which
 * one is meant follows from the path ({@link familyOf}), never from what was asked to be accepted,
 * save that a program may ask a page's address for JSON:
 *
 * | family    | paths                            | an error is                                            |
 * |-----------|----------------------------------|--------------------------------------------------------|
 * | client    | /api, /.well-known, /nodeinfo    | `{"error": text}`, `application/json` whatever happens |
 * | oauth     | /oauth but the authorize pages   | `{"error": code, "error_description": text}`           |
 * | protocol  | /dmb, /health                    | problem details (RFC 9457)                             |
 * | page      | everything else                  | a page; problem details for who accepts no HTML        |
 *
 * CORS is open, without credentials, on what programs in other people's browsers call, and on each
 * error there; the authorize pages never have it. Every answer starts as `private, no-store`; what
 * is public says so ({@link publicCache}). The ingress, which answers what no service does, and
 * every service use this file, so that nobody can tell by an error who wrote it.
 */
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { FastifyReply } from 'fastify';
import { type AppError } from '../errors.ts';

export type Family = 'client' | 'oauth' | 'protocol' | 'page';

/** Header names are in lower case. */
export type Headers = Readonly<Record<string, string>>;

/** An answer as it goes out. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** What an error page may show. */
export interface ErrorPageInput {
  readonly status: number;
  readonly title: string;
  /** The public text of the error. */
  readonly message: string;
  readonly requestId: string;
}
/** Makes the document of an error page. */
export type ErrorPage = (input: ErrorPageInput) => string;

/** Path of a request target, without query and trailing slash; `/` stays. */
export function pathOf(target: string): string {
  const mark = target.search(/[?#]/);
  const path = mark < 0 ? target : target.slice(0, mark);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** A request target in origin form: proxies may send the whole address. */
export function originForm(target: string): string {
  if (target.startsWith('/') || target === '*') return target;
  const rest = absoluteForm.exec(target)?.[2] ?? '';
  return rest.startsWith('/') ? rest : `/${rest}`;
}

const absoluteForm = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)(.*)$/i;

/**
 * Brings a request to origin form, and answers its target. Where the target was a whole address, its host is the request's, whatever
 * `Host` says (RFC 9112 §3.2.2): a proxy before us goes by it too. Again is the same.
 */
export function settleTarget(request: Pick<IncomingMessage, 'url' | 'headers'>): string {
  const target = request.url ?? '/';
  const authority = target.startsWith('/') ? undefined : absoluteForm.exec(target)?.[1];
  if (authority !== undefined) request.headers.host = authority;
  request.url = originForm(target);
  return request.url;
}

const isBelow = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

/** Who calls this path, by what {@link pathOf} made of it. */
export function familyOf(path: string): Family {
  if (isBelow(path, '/api') || isBelow(path, '/.well-known') || isBelow(path, '/nodeinfo')) return 'client';
  if (isBelow(path, '/oauth') && !isBelow(path, '/oauth/authorize')) return 'oauth';
  return isBelow(path, '/dmb') || isBelow(path, '/health') ? 'protocol' : 'page';
}

/** Whether scripts of other origins may call this path. */
export function hasCors(path: string): boolean {
  return familyOf(path) === 'client' || path === '/oauth/token' || path === '/oauth/revoke';
}

const corsHeaders: Headers = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'Link, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, Date',
};

const preflightHeaders: Headers = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, OPTIONS',
  'access-control-allow-headers': 'Authorization, Content-Type, Idempotency-Key',
  'access-control-max-age': '7200',
};

/** The policy of a page; only the authorize page may leave out `form-action`, which browsers apply to the redirect after it. */
export function pagePolicy(options: { readonly formAction?: boolean } = {}): string {
  const formAction = options.formAction === false ? '' : " form-action 'self';";
  return `default-src 'none'; style-src 'self'; img-src 'self';${formAction} base-uri 'none'; frame-ancestors 'none'`;
}

const everywhere: Headers = {
  'cache-control': 'private, no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};
const machineHeaders: Headers = { ...everywhere, 'content-security-policy': "default-src 'none'; frame-ancestors 'none'" };
const pageHeaders: Headers = {
  ...everywhere,
  'content-security-policy': pagePolicy(),
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
};
const transportHeaders: Headers = { 'strict-transport-security': 'max-age=31536000' };

type Kind = 'cors' | 'machine' | 'page';
const combined = (https: boolean): Readonly<Record<Kind, Headers>> => {
  const transport = https ? transportHeaders : {};
  return {
    cors: { ...machineHeaders, ...corsHeaders, ...transport },
    machine: { ...machineHeaders, ...transport },
    page: { ...pageHeaders, ...transport },
  };
};
const prepared = { plain: combined(false), https: combined(true) } as const;

/** The headers that an answer for this path starts with. */
export function firstHeaders(path: string, https: boolean): Headers {
  const kind: Kind = hasCors(path) ? 'cors' : familyOf(path) === 'page' ? 'page' : 'machine';
  return prepared[https ? 'https' : 'plain'][kind];
}

/** The answer to OPTIONS: a preflight where scripts may call, and only the methods elsewhere. */
export function optionsAnswer(path: string, https: boolean): Answer {
  const cors = path === '*' || hasCors(path) ? preflightHeaders : {};
  return { status: 204, headers: { ...firstHeaders(path, https), ...cors, allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' }, body: '' };
}

export interface ErrorContext {
  /** As {@link pathOf} gives it. */
  readonly path: string;
  readonly https: boolean;
  readonly accept: string | undefined;
  readonly requestId: string;
  readonly errorPage?: ErrorPage | undefined;
}

/** When the same request may be tried again, for every status that tells it: also that of a page that shows the error itself. */
export function retryHeaders({ kind, retryAfterSeconds = kind === 'unavailable' ? 1 : undefined }: Pick<AppError, 'kind' | 'retryAfterSeconds'>): Headers {
  return retryAfterSeconds === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(retryAfterSeconds))) };
}

/** An error as the caller of this path understands it, with all headers. Nothing private is in it. */
export function errorAnswer(error: AppError, context: ErrorContext): Answer {
  const headers: Record<string, string> = {
    ...firstHeaders(context.path, context.https),
    'x-request-id': context.requestId,
    ...retryHeaders(error),
  };
  const family = familyOf(context.path);
  const { status } = error;
  switch (family) {
    case 'client':
      if (status === 401) headers['www-authenticate'] = 'Bearer realm="DMB", error="invalid_token"';
      return json(status, headers, 'application/json; charset=utf-8', {
        error: error.message,
        ...(error.details === undefined ? {} : { details: error.details }),
      });
    case 'oauth':
      return json(status === 422 ? 400 : status, headers, 'application/json; charset=utf-8', {
        error: error.code ?? oauthCodes[error.kind],
        error_description: error.message,
      });
    case 'page':
      if (acceptsHtml(context.accept)) {
        const render = context.errorPage ?? plainErrorPage;
        const title = status === 404 || status === 410 ? 'Not here' : (STATUS_CODES[status] ?? 'Error');
        const body = render({ status, title, message: error.message, requestId: context.requestId });
        return { status, headers: { ...headers, 'content-type': 'text/html; charset=utf-8' }, body };
      }
      return problem(error, headers, context);
    case 'protocol':
      return problem(error, headers, context);
  }
}

const oauthCodes: Readonly<Record<AppError['kind'], string>> = {
  invalid: 'invalid_request',
  unauthenticated: 'invalid_client',
  forbidden: 'access_denied',
  'not-found': 'invalid_request',
  conflict: 'invalid_request',
  gone: 'invalid_request',
  limited: 'temporarily_unavailable',
  unavailable: 'temporarily_unavailable',
  bug: 'server_error',
};

function problem(error: AppError, headers: Headers, { requestId }: ErrorContext): Answer {
  return json(error.status, headers, 'application/problem+json', {
    type: 'about:blank',
    title: STATUS_CODES[error.status] ?? 'Error',
    status: error.status,
    detail: error.message,
    ...(error.code === undefined ? {} : { code: error.code }),
    request_id: requestId,
  });
}

const json = (status: number, headers: Headers, contentType: string, body: unknown): Answer => ({
  status,
  headers: { ...headers, 'content-type': contentType },
  body: JSON.stringify(body),
});

const acceptsHtml = (accept: string | undefined): boolean => accept === undefined || accept === '' || /text\/html|text\/\*|\*\/\*/.test(accept);

const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** A page that needs nothing else: no style, no script, no address of ours. */
export const plainErrorPage: ErrorPage = ({ status, title, message, requestId }) => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><meta name="robots" content="noindex"><title>${escapeHtml(title)}</title></head>
<body><main><h1>${escapeHtml(title)}</h1><p>${escapeHtml(message)}</p><p><a href="/">To the front page</a></p><p><small>Error ${status}, request ${escapeHtml(requestId)}</small></p></main></body>
</html>
`;

/** Lets caches keep a public answer to an anonymous request for at most a minute; one with a token or cookie stays private. */
export function publicCache(reply: FastifyReply, maxAgeSeconds = 60): void {
  const { authorization, cookie } = reply.request.headers;
  reply.header('vary', 'Authorization, Cookie, Accept');
  if (authorization === undefined && cookie === undefined) reply.header('cache-control', `public, max-age=${Math.min(60, maxAgeSeconds)}`);
}

/** For files whose address changes with their content. */
export function assetCache(reply: FastifyReply): void {
  reply.header('cache-control', 'public, max-age=31536000, immutable');
}

/** Where a caller stands with its rate limit. */
export interface RateLimitState {
  readonly limit: number;
  readonly remaining: number;
  readonly resetAt: Date;
}

export function rateLimitHeaders(reply: FastifyReply, { limit, remaining, resetAt }: RateLimitState): void {
  reply.headers({
    'x-ratelimit-limit': String(limit),
    'x-ratelimit-remaining': String(Math.max(0, remaining)),
    'x-ratelimit-reset': resetAt.toISOString(),
  });
}
