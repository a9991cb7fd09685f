/**
 * Who asks: from the bearer token of a request to an `Asker`, for every service with routes.
 *
 * The guard finds the route of a request in the table of `@dmb/events` and does what stands there;
 * a handler whose route is not in the table is never reached. In this order:
 *
 *   token     from `Authorization`; for streams also `?access_token=` and the WebSocket subprotocol.
 *             A token that is presented must be good, also where none is needed: a client that was
 *             logged out must hear of it, not silently see less
 *   resolve   call `identity.token`; answers about persons are kept for at most 5 s, all others not
 *             at all. Who listens ({@link Authenticator.listen}) forgets them as soon as identity
 *             tells that a token was revoked: in one process before the revocation is answered
 *   domain    a token counts only at the domain that gave it
 *   role      a person's token acts as a microblog, and the right to do so is asked of
 *             `microblog.role` at each use: who was removed is refused from that moment on
 *   scope     what the route wants; `read` contains `read:statuses`
 *   rate      so many requests a token and period, an address where there is no token; the state is
 *             told in headers, also on the 429
 *
 * An app's own token (client_credentials) is an asker of its own kind: it sees what is public. A
 * person's token without any `read` scope is treated like one where the token is optional.
 */
import { createParamDecorator, Inject, Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { routes, type Asker, type Route, type TokenAnswer } from '@dmb/events';
import type { DomainId, PersonId } from '@dmb/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import { hash } from 'node:crypto';
import { type IncomingHttpHeaders } from 'node:http';
import type { Calls } from '../calls.ts';
import { AppError } from '../errors.ts';
import { addressBucket } from './address.ts';
import { rateLimitHeaders } from './answers.ts';
import { clientAddress } from './host.ts';

/** Who made a request. */
export interface Caller {
  readonly asker: Asker;
  /** Null where no token came, or none was looked at. */
  readonly token: TokenAnswer | null;
}

/** A caller who is a person. */
export interface PersonCaller extends Caller {
  readonly asker: Extract<Asker, { readonly kind: 'person' }>;
  readonly token: TokenAnswer;
}

/** What the guard needs of the port of limits. */
export interface RateLimiter {
  take(
    limit: { readonly name: string; readonly capacity: number; readonly periodMs: number },
    key: string,
  ): Promise<{ readonly allowed: boolean; readonly remaining: number; readonly resetAt: number }>;
}

/** Requests of one token, or of one address without a token, in five minutes: what Mastodon allows. */
export const requestRate = { requestsMax: 300, periodMs: 300_000 } as const;

const tokenLimits = { cachedMs: 5_000, cachedMax: 20_000, charsMax: 512 } as const;

/** What an authenticator listens to: the live events, of which it takes those of persons. */
export interface PersonNews {
  listen(
    handler: (event: { readonly type: 'entry' } | { readonly type: 'person'; readonly event: { readonly person: PersonId; readonly what: string } }) => void,
  ): Promise<{ stop(): Promise<void> }>;
}

export interface AuthenticatorOptions {
  readonly calls: Pick<Calls, 'call'>;
  /** The domain served. */
  readonly domain: DomainId;
  /** Without it nothing is limited. */
  readonly limiter?: RateLimiter | undefined;
  /** Instead of {@link requestRate}. */
  readonly requestsMax?: number | undefined;
}

/** Tells who a token speaks for, and whether that suffices for a route. */
export class Authenticator {
  private readonly options: AuthenticatorOptions;
  /** By domain and hash of the token: the token itself is kept nowhere. */
  private readonly answers = new LRUCache<string, TokenAnswer>({ max: tokenLimits.cachedMax, ttl: tokenLimits.cachedMs });
  /** Rises with everything forgotten: an answer that was asked for before may be older than that, and is not kept. */
  private generation = 0;

  constructor(options: AuthenticatorOptions) {
    this.options = options;
  }

  /** Everything that has to be right before a handler of this route runs. @throws {AppError} 401, 403, 422 */
  async check(route: Route, presented: string | undefined): Promise<Caller> {
    const caller = presented === undefined ? this.anonymous() : await this.resolve(presented);
    requireToken(route, caller);
    return route.auth === 'optional' ? withoutReading(caller) : caller;
  }

  /** Who a token speaks for now: a good one, at its own domain, whose role still stands. @throws {AppError} 401 */
  async resolve(presented: string): Promise<Caller> {
    const token = await this.answerFor(presented);
    if (token.asker.domain !== this.options.domain) throw new AppError('unauthenticated');
    if (token.asker.kind === 'person') {
      const { person, microblog } = token.asker;
      const role = await this.options.calls.call('microblog.role', { person, microblog });
      if (role === null) throw new AppError('unauthenticated', 'The access token was revoked');
    }
    return { asker: token.asker, token };
  }

  /** Forgets what is known of a person's tokens, where an event tells that they changed. */
  forgetPerson(person: PersonId): void {
    this.generation++;
    for (const [key, { asker }] of this.answers.entries()) {
      if (asker.kind === 'person' && asker.person === person) this.answers.delete(key);
    }
  }

  /** Forgets persons whose tokens changed, from when this resolves until it is stopped. */
  listen(news: PersonNews): Promise<{ stop(): Promise<void> }> {
    return news.listen((event) => {
      if (event.type === 'person' && event.event.what !== 'following-changed') this.forgetPerson(event.event.person);
    });
  }

  anonymous(): Caller {
    return { asker: { kind: 'anonymous', domain: this.options.domain }, token: null };
  }

  /** Counts a request against its token, or its address. @throws {AppError} 429 */
  async count(caller: Caller, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { limiter, requestsMax = requestRate.requestsMax } = this.options;
    if (limiter === undefined) return;
    const key = caller.token === null ? `${this.options.domain}:address:${addressBucket(clientAddress(request))}` : `${this.options.domain}:token:${caller.token.id}`;
    const state = await limiter.take({ name: 'requests', capacity: requestsMax, periodMs: requestRate.periodMs }, key);
    rateLimitHeaders(reply, { limit: requestsMax, remaining: state.remaining, resetAt: new Date(state.resetAt) });
    if (!state.allowed) throw new AppError('limited', undefined, { retryAfterSeconds: (state.resetAt - Date.now()) / 1_000 });
  }

  private async answerFor(presented: string): Promise<TokenAnswer> {
    if (presented.length > tokenLimits.charsMax || !/^[\w.~+/-]+=*$/.test(presented)) throw new AppError('unauthenticated');
    const key = `${this.options.domain}:${hash('sha256', presented, 'base64url')}`;
    const known = this.answers.get(key);
    if (known !== undefined) return known;
    const { generation } = this;
    const answer = await this.options.calls.call('identity.token', { token: presented });
    if (answer === null) throw new AppError('unauthenticated');
    // Nobody tells of an app's own tokens, and few requests come with one.
    if (answer.asker.kind === 'person' && generation === this.generation) this.answers.set(key, answer);
    return answer;
  }
}

/** The token that a request presents; undefined where there is none. Only streams may bring it in other places than the header. */
export function presentedToken(headers: IncomingHttpHeaders, query: unknown, isStream: boolean): string | undefined {
  const [, bearer] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? [];
  if (bearer !== undefined) return bearer;
  if (!isStream) return undefined;
  const parameter = typeof query === 'object' && query !== null ? (query as Record<string, unknown>)['access_token'] : undefined;
  if (typeof parameter === 'string' && parameter !== '') return parameter;
  const subprotocol = headers['sec-websocket-protocol']?.split(',')[0]?.trim();
  return subprotocol === '' ? undefined : subprotocol;
}

/** Whether scopes contain one: `read` contains `read:statuses`, and `follow` what has to do with following. */
export function hasScope(granted: readonly string[], wanted: string): boolean {
  const [whole = ''] = wanted.split(':');
  return granted.includes(wanted) || granted.includes(whole) || (/^(read|write):(follows|blocks|mutes)$/.test(wanted) && granted.includes('follow'));
}

function requireToken({ auth, scope }: Route, { asker, token }: Caller): void {
  if (auth === 'none' || auth === 'session') return;
  if (token === null || asker.kind === 'anonymous') {
    if (auth !== 'optional') throw new AppError('unauthenticated');
    return;
  }
  if (auth === 'person' && asker.kind !== 'person') throw new AppError('invalid', 'This method requires an authenticated user');
  if (scope !== undefined && !hasScope(asker.scopes, scope)) throw new AppError('forbidden', 'This action is outside the authorized scopes');
}

/** A token that may not read sees what an app sees. */
function withoutReading(caller: Caller): Caller {
  const { asker } = caller;
  if (asker.kind !== 'person' || asker.scopes.some((scope) => scope === 'read' || scope.startsWith('read:'))) return caller;
  return { ...caller, asker: { kind: 'app', domain: asker.domain, scopes: asker.scopes } };
}

const table: ReadonlyMap<string, Route> = new Map(routes.map((route) => [`${route.method} ${route.path}`, route]));

/** The entry of the route table for a request that the router has matched. */
export function routeOf(method: string, pattern: string | undefined): Route | undefined {
  return table.get(`${method === 'HEAD' ? 'GET' : method} ${pattern ?? ''}`);
}

const callerKey = Symbol('caller');
type Marked = FastifyRequest & { [callerKey]?: Caller };

/** Guards every handler of a service; to be provided as `APP_GUARD` beside an {@link Authenticator}. */
@Injectable()
export class AuthGuard implements CanActivate {
  private readonly authenticator: Authenticator;

  constructor(@Inject(Authenticator) authenticator: Authenticator) {
    this.authenticator = authenticator;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (context.getType() !== 'http') return true;
    const http = context.switchToHttp();
    const request = http.getRequest<Marked>();
    const route = routeOf(request.method, request.routeOptions.url);
    if (route === undefined) throw new AppError('not-found', undefined, { detail: `${request.method} ${request.routeOptions.url ?? ''} is not in the table of routes` });
    // A page takes no notice of tokens, and a route without audience none either.
    const looksAtToken = route.auth !== 'none' && route.auth !== 'session';
    const presented = looksAtToken ? presentedToken(request.headers, request.query, route.stream === true) : undefined;
    const caller = presented === undefined ? this.authenticator.anonymous() : await this.authenticator.resolve(presented);
    if (route.path.startsWith('/api/')) await this.authenticator.count(caller, request, http.getResponse<FastifyReply>());
    requireToken(route, caller);
    request[callerKey] = route.auth === 'optional' ? withoutReading(caller) : caller;
    return true;
  }
}

/** Parameter of a handler: the {@link Caller}; on routes for persons a {@link PersonCaller}. */
export const CalledBy = createParamDecorator((_: unknown, context: ExecutionContext): Caller => {
  const caller = context.switchToHttp().getRequest<Marked>()[callerKey];
  if (caller === undefined) throw new AppError('bug', undefined, { detail: 'a handler asks who calls, and no guard was there' });
  return caller;
});
