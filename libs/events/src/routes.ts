/**
 * The routes: every way in over HTTP, declared once.
 *
 * From this table come the ingress of every way to run (which service answers a path), the test
 * that every handler is listed and every listed route handled, and, together with `streams` and
 * `jobs`, the leak matrix: `reads` names what `canSee` is asked for on that path, so that a path
 * that reads and asks nothing cannot be added without being seen.
 *
 * Paths are patterns of find-my-way (`:name` is one segment). A trailing slash is accepted
 * everywhere. `auth`: `none` takes no token into account, `optional` answers anonymous too,
 * `token` wants any token, `person` wants a token of a person, `session` is a page with a cookie.
 */
import type { CallName, Reads } from './calls.ts';
import type { ServiceName } from './topics.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type RouteAuth = 'none' | 'optional' | 'token' | 'person' | 'session';

/** One way in. */
export interface Route {
  readonly method: Method;
  readonly path: string;
  readonly service: ServiceName;
  readonly auth: RouteAuth;
  /** OAuth scope that a person's token needs (`read:statuses` is satisfied by `read`). */
  readonly scope?: string;
  /** What of a microblog or log the answer shows; empty = nothing that has an audience. */
  readonly reads: readonly Reads[];
  /** Kept open: Server-Sent Events or a WebSocket. */
  readonly stream?: true;
}

const route = (method: Method, path: string, service: ServiceName, auth: RouteAuth, reads: readonly Reads[] = [], scope?: string): Route =>
  scope === undefined ? { method, path, service, auth, reads } : { method, path, service, auth, reads, scope };
const stream = (path: string, scope: string): Route => ({ method: 'GET', path, service: 'timeline', auth: 'person', reads: ['entry', 'facet:profile'], scope, stream: true });

const account: readonly Reads[] = ['facet:exists', 'facet:profile', 'facet:counts', 'facet:last-activity'];
const statuses: readonly Reads[] = ['entry', ...account];

/** Every route there is. */
export const routes: readonly Route[] = [
  // OAuth and sign-up
  route('POST', '/api/v1/apps', 'identity', 'none'),
  route('GET', '/api/v1/apps/verify_credentials', 'identity', 'token'),
  route('POST', '/api/v1/accounts', 'identity', 'token', [], 'write:accounts'),
  route('GET', '/oauth/authorize', 'identity', 'session'),
  route('POST', '/oauth/authorize', 'identity', 'session'),
  route('GET', '/oauth/authorize/native', 'identity', 'none'),
  route('POST', '/oauth/token', 'identity', 'none'),
  route('POST', '/oauth/revoke', 'identity', 'none'),
  route('GET', '/.well-known/oauth-authorization-server', 'identity', 'none'),

  // Pages of identity
  route('GET', '/sign-up', 'identity', 'session'),
  route('POST', '/sign-up', 'identity', 'session'),
  route('GET', '/log-in', 'identity', 'session'),
  route('POST', '/log-in', 'identity', 'session'),
  route('POST', '/log-out', 'identity', 'session'),
  route('GET', '/settings', 'identity', 'session'),
  route('POST', '/settings/password', 'identity', 'session'),
  route('POST', '/settings/sessions/end', 'identity', 'session'),
  route('POST', '/settings/apps/revoke', 'identity', 'session'),
  route('GET', '/operator/:link', 'identity', 'session'),
  route('POST', '/operator/:link', 'identity', 'session'),
  route('GET', '/operator', 'identity', 'session'),
  route('POST', '/operator/registrations', 'identity', 'session'),

  // What this server is
  route('GET', '/', 'microblog', 'none', statuses),
  route('GET', '/assets/:file', 'microblog', 'none'),
  route('GET', '/robots.txt', 'microblog', 'none'),
  route('GET', '/favicon.ico', 'microblog', 'none'),
  route('GET', '/api/v1/instance', 'microblog', 'none'),
  route('GET', '/api/v2/instance', 'microblog', 'none'),
  route('GET', '/api/openapi.json', 'microblog', 'none'),
  route('GET', '/.well-known/nodeinfo', 'microblog', 'none'),
  route('GET', '/nodeinfo/2.0', 'microblog', 'none'),
  route('GET', '/.well-known/webfinger', 'microblog', 'none', ['facet:exists']),
  route('GET', '/.well-known/host-meta', 'microblog', 'none'),
  route('GET', '/api/v1/custom_emojis', 'microblog', 'none'),
  route('GET', '/api/v1/announcements', 'microblog', 'optional'),

  // Public pages
  route('GET', '/:handle', 'microblog', 'none', ['facet:exists', 'facet:profile', 'facet:history', 'facet:counts', 'entry']),
  route('GET', '/:handle/feed.atom', 'microblog', 'none', ['facet:exists', 'facet:feeds', 'entry']),
  route('GET', '/:handle/:id', 'microblog', 'none', statuses),
  route('GET', '/objects/:id', 'microblog', 'none', statuses),
  route('GET', '/tags/:tag', 'microblog', 'none', statuses),

  // Accounts
  route('GET', '/api/v1/accounts/verify_credentials', 'microblog', 'person', account, 'read:accounts'),
  route('PATCH', '/api/v1/accounts/update_credentials', 'microblog', 'person', account, 'write:accounts'),
  route('GET', '/api/v1/preferences', 'microblog', 'person', [], 'read:accounts'),
  route('GET', '/api/v1/accounts/lookup', 'microblog', 'optional', account),
  route('GET', '/api/v1/accounts/search', 'microblog', 'person', ['facet:search', ...account], 'read:accounts'),
  route('GET', '/api/v1/accounts/relationships', 'microblog', 'person', ['facet:exists'], 'read:follows'),
  route('GET', '/api/v1/accounts/:id', 'microblog', 'optional', account),
  route('GET', '/api/v1/accounts/:id/statuses', 'microblog', 'optional', ['facet:history', ...statuses]),
  route('GET', '/api/v1/accounts/:id/followers', 'microblog', 'optional', ['facet:followers', ...account]),
  route('GET', '/api/v1/accounts/:id/following', 'microblog', 'optional', ['facet:following', ...account]),
  route('POST', '/api/v1/accounts/:id/follow', 'microblog', 'person', ['facet:exists'], 'write:follows'),
  route('POST', '/api/v1/accounts/:id/unfollow', 'microblog', 'person', ['facet:exists'], 'write:follows'),
  route('POST', '/api/v1/accounts/:id/remove_from_followers', 'microblog', 'person', ['facet:exists'], 'write:follows'),
  route('GET', '/api/v1/follow_requests', 'microblog', 'person', account, 'read:follows'),
  route('POST', '/api/v1/follow_requests/:id/authorize', 'microblog', 'person', ['facet:exists'], 'write:follows'),
  route('POST', '/api/v1/follow_requests/:id/reject', 'microblog', 'person', ['facet:exists'], 'write:follows'),
  route('GET', '/api/v2/search', 'microblog', 'optional', ['facet:search', ...statuses]),

  // Posts
  route('POST', '/api/v1/statuses', 'microblog', 'person', statuses, 'write:statuses'),
  route('GET', '/api/v1/statuses', 'microblog', 'optional', statuses),
  route('GET', '/api/v1/statuses/:id', 'microblog', 'optional', statuses),
  route('PUT', '/api/v1/statuses/:id', 'microblog', 'person', statuses, 'write:statuses'),
  route('DELETE', '/api/v1/statuses/:id', 'microblog', 'person', statuses, 'write:statuses'),
  route('GET', '/api/v1/statuses/:id/context', 'microblog', 'optional', statuses),
  route('GET', '/api/v1/statuses/:id/source', 'microblog', 'person', ['entry'], 'read:statuses'),
  route('GET', '/api/v1/statuses/:id/history', 'microblog', 'optional', statuses),
  route('GET', '/api/v1/timelines/public', 'microblog', 'optional', statuses),
  route('GET', '/api/v1/timelines/tag/:hashtag', 'microblog', 'optional', statuses),

  // Notifications
  route('GET', '/api/v1/notifications', 'microblog', 'person', statuses, 'read:notifications'),
  route('GET', '/api/v1/notifications/:id', 'microblog', 'person', statuses, 'read:notifications'),

  // Reading
  route('GET', '/api/v1/timelines/home', 'timeline', 'person', statuses, 'read:statuses'),
  route('GET', '/api/v1/markers', 'timeline', 'person', [], 'read:statuses'),
  route('POST', '/api/v1/markers', 'timeline', 'person', [], 'write:statuses'),
  route('GET', '/api/v1/lists', 'timeline', 'person', [], 'read:lists'),
  route('GET', '/api/v2/filters', 'timeline', 'person', [], 'read:filters'),
  route('GET', '/api/v1/followed_tags', 'timeline', 'person', [], 'read:follows'),
  route('GET', '/api/v1/streaming/health', 'timeline', 'none'),
  stream('/api/v1/streaming', 'read:statuses'),
  stream('/api/v1/streaming/user', 'read:statuses'),
  stream('/api/v1/streaming/user/notification', 'read:notifications'),
];

/** Reading that is no request: the calls and consumers through which content reaches a reader. */
export const readingCalls: readonly { readonly call: CallName; readonly reads: readonly Reads[] }[] = [
  { call: 'microblog.present', reads: statuses },
  { call: 'microblog.present-live', reads: statuses },
  { call: 'microblog.present-notifications', reads: statuses },
  { call: 'microblog.account', reads: account },
  { call: 'microblog.listening', reads: ['entry'] },
];
