/**
 * The table of routes against what is really there.
 *
 * The applications of all services are built as the one process builds them, and each route that
 * Fastify was given is written down: table and handlers have to name the same. Then the real program
 * is asked, so that what stands in the table about tokens, and what every answer has in common, is
 * seen from outside.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PostgresEventLog } from '@dmb/event-log';
import { routes, serviceNames, type Route, type ServiceName } from '@dmb/events';
import { createFanOutModule, fanOutMigrations } from '@dmb/fan-out';
import { createIdentityModule, identityConfig, identityMigrations } from '@dmb/identity';
import { createMicroblogModule, microblogConfig, microblogMigrations } from '@dmb/microblog';
import type { Databases } from '@dmb/postgres';
import { normaliseDomain, type Domain } from '@dmb/protocol';
import { Calls, readConfig, silentLogger } from '@dmb/runtime';
import { createServiceApp, type ServiceApp } from '@dmb/runtime/http';
import { createTimelineModule, StreamUpgrades, timelineConfig, timelineMigrations } from '@dmb/timeline';
import { authorize, Browser, createTestDatabases, registerApp, requestToken, signUp, startTestServer, TestClient, type Member, type TestDatabases, type TestServer } from '@dmb/testing';
import { MemoryLimits, MemoryLiveEvents, MemoryTimelines } from '@dmb/timelines';

describe('the table of routes', () => {
  let databases: TestDatabases;
  let eventLog: PostgresEventLog;
  const apps: ServiceApp[] = [];
  /** `METHOD path` by service. */
  const handled = new Map<ServiceName, Set<string>>();

  beforeAll(async () => {
    databases = await createTestDatabases({ domain: 'routes.example' });
    const domain = normaliseDomain(databases.domain) as Domain;
    const open = new Map<ServiceName, Databases>();
    for (const [service, migrations] of [['identity', identityMigrations], ['microblog', microblogMigrations], ['fan-out', fanOutMigrations], ['timeline', timelineMigrations]] as const) {
      open.set(service, await databases.openMigrated(service, await migrations()));
    }
    const of = (service: ServiceName): Databases => open.get(service) as Databases;
    eventLog = new PostgresEventLog({ producers: { identity: of('identity'), microblog: of('microblog') } });
    const [calls, timelines, live, limits] = [new Calls(), new MemoryTimelines(), new MemoryLiveEvents(), new MemoryLimits()];
    const shared = (service: ServiceName) => ({ databases: of(service), calls, eventLog, logger: silentLogger, domain, baseUrl: `https://${domain}`, limits, live, timelines });
    const modules = {
      identity: createIdentityModule({ ...shared('identity'), config: readConfig(identityConfig, {}) }),
      microblog: createMicroblogModule({ ...shared('microblog'), config: readConfig(microblogConfig, {}) }),
      'fan-out': createFanOutModule({ ...shared('fan-out'), config: { mergeReaders: 1_000_000 } }),
      timeline: createTimelineModule({ ...shared('timeline'), config: readConfig(timelineConfig, {}), trustedProxies: [] }),
    };
    for (const service of serviceNames) {
      const seen = new Set<string>();
      handled.set(service, seen);
      apps.push(
        await createServiceApp(modules[service], {
          name: service,
          logger: silentLogger,
          isKnownHost: () => true,
          https: true,
          ...(service === 'timeline' ? { upgrades: StreamUpgrades } : {}),
          configure: (nest) => {
            (nest.getHttpAdapter().getInstance() as unknown as ServiceApp['fastify']).addHook('onRoute', ({ method, url }) => {
              for (const each of [method].flat()) if (each !== 'HEAD' && each !== 'OPTIONS') seen.add(`${each} ${url}`);
            });
          },
        }),
      );
    }
    expect(calls.unbound(serviceNames)).toEqual([]);
  });
  afterAll(async () => {
    for (const app of apps) await app.close();
    await eventLog?.close();
    await databases?.drop();
  });

  it.each(serviceNames)('has what %s answers, and no more', (service) => {
    const listed = routes.filter((route) => route.service === service).map(({ method, path }) => `${method} ${path}`);
    const known = new Set(handled.get(service));
    // Nest's own answer to what nobody handles.
    for (const route of known) if (route.endsWith(' /*') || route.endsWith(' *')) known.delete(route);
    expect([...known].sort()).toEqual([...listed].sort());
  });

  it('names each way in once', () => {
    const all = routes.map(({ method, path }) => `${method} ${path.replace(/:\w+/g, ':')}`);
    expect(all.filter((route, index) => all.indexOf(route) !== index)).toEqual([]);
  });

  it('asks for a scope wherever a person’s token is needed, and for a token wherever something is changed by the API', () => {
    const api = routes.filter(({ path }) => path.startsWith('/api/'));
    expect(api.filter(({ auth, scope }) => auth === 'person' && scope === undefined).map(({ path }) => path)).toEqual([]);
    // Registering an app is where it all begins.
    expect(api.filter(({ method, auth, path }) => method !== 'GET' && auth !== 'person' && auth !== 'token' && path !== '/api/v1/apps').map(({ path }) => path)).toEqual([]);
    for (const { method, path, scope } of api.filter((route) => route.scope !== undefined)) expect([path, scope?.split(':')[0]]).toEqual([path, method === 'GET' ? 'read' : 'write']);
  });
});

describe('every route of the program', () => {
  let server: TestServer;
  let ada: Member;
  let appToken: string;
  const filled = ({ path }: Pick<Route, 'path'>): string => path.replace(':file', 'dmb.css').replace(/:(handle|id|link|tag|hashtag)/g, (_, name) => (name === 'handle' ? '@ada' : name === 'id' ? '1' : 'x'));
  let requests = 0;
  const ask = async (method: string, path: string, options: { readonly token?: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: unknown } = {}): Promise<Response> =>
    new TestClient(server.url, options.token).raw(method, path, { headers: { 'x-forwarded-for': `10.8.${(++requests >> 8) & 255}.${requests & 255}`, ...options.headers }, ...(options.body === undefined ? {} : { body: options.body }) });

  beforeAll(async () => {
    server = await startTestServer();
    ada = await signUp(server.url, 'ada');
    const app = await registerApp(server.url);
    appToken = ((await requestToken(server.url, app, { grant_type: 'client_credentials', scope: 'read write' })) as unknown as { access_token: string }).access_token;
  });
  afterAll(async () => await server?.dispose());

  const streaming = (path: string): boolean => /\/streaming(\/user|$)/.test(path);

  it('that needs a person refuses nobody, anybody unknown, and an app', async () => {
    for (const route of routes.filter(({ auth }) => auth === 'person')) {
      const path = filled(route) + (route.path.endsWith('/streaming') ? '?stream=user' : '');
      const without = await ask(route.method, path);
      expect([route.path, without.status, await without.json()]).toEqual([route.path, 401, { error: 'The access token is invalid' }]);
      expect(without.headers.get('www-authenticate')).toContain('Bearer');
      expect((await ask(route.method, path, { token: 'A'.repeat(46) })).status).toBe(401);
      const byApp = await ask(route.method, path, { token: appToken });
      expect([route.path, byApp.status, await byApp.json()]).toEqual([route.path, 422, { error: 'This method requires an authenticated user' }]);
    }
  });

  it('that needs a scope refuses a token without it', async () => {
    const scoped = routes.filter(({ auth, scope }) => auth === 'person' && scope !== undefined);
    const token = await tokenWith('profile push');
    for (const route of scoped) {
      const answer = await ask(route.method, filled(route) + (route.path.endsWith('/streaming') ? '?stream=user' : ''), { token });
      expect([route.path, answer.status, await answer.json()]).toEqual([route.path, 403, { error: 'This action is outside the authorized scopes' }]);
    }
  });

  /** Of ada, with these scopes alone, through the pages. */
  const tokenWith = async (scopes: string): Promise<string> => {
    const app = await registerApp(server.url, { scopes });
    const code = await authorize(new Browser(server.url), app, ada);
    return ((await requestToken(server.url, app, { grant_type: 'authorization_code', code })) as unknown as { access_token: string }).access_token;
  };

  it('that needs any token refuses none', async () => {
    for (const route of routes.filter(({ auth }) => auth === 'token')) {
      const answer = await ask(route.method, filled(route), route.method === 'GET' ? {} : { body: {} });
      expect([route.path, answer.status, await answer.json()]).toEqual([route.path, 401, { error: 'The access token is invalid' }]);
    }
  });

  it('that may be asked by anybody answers nobody, and refuses a token that is none', async () => {
    for (const route of routes.filter(({ auth }) => auth === 'optional')) {
      const query = route.path.endsWith('lookup') ? '?acct=ada' : '';
      const answer = await ask(route.method, filled(route) + query);
      await answer.arrayBuffer();
      expect([route.path, answer.status === 200 || answer.status === 404]).toEqual([route.path, true]);
      expect((await ask(route.method, filled(route) + query, { token: 'x' })).status).toBe(401);
    }
  });

  it('takes a slash at its end', async () => {
    for (const route of routes.filter(({ method, path, stream }) => method === 'GET' && stream !== true && path !== '/')) {
      const [plain, slashed] = [await ask('GET', filled(route), { headers: { accept: 'text/html' } }), await ask('GET', `${filled(route)}/`, { headers: { accept: 'text/html' } })];
      await Promise.all([plain.arrayBuffer(), slashed.arrayBuffer()]);
      expect([route.path, slashed.status]).toEqual([route.path, plain.status]);
    }
  });

  const cors = {
    'access-control-allow-origin': '*',
    'access-control-expose-headers': 'Link, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, Date',
  };
  const hasCors = (path: string): boolean => /^\/(api|\.well-known|nodeinfo)\//.test(path) || path === '/oauth/token' || path === '/oauth/revoke';
  const headersOf = (response: Response, names: readonly string[]): Record<string, string | null> => Object.fromEntries(names.map((name) => [name, response.headers.get(name)]));

  it('answers a preflight where scripts of others may call, and lets them read answers and errors', async () => {
    for (const route of routes) {
      const path = filled(route);
      const preflight = await ask('OPTIONS', path, { headers: { origin: 'https://client.example', 'access-control-request-method': route.method, 'access-control-request-headers': 'authorization,content-type,idempotency-key' } });
      const allowed = headersOf(preflight, ['access-control-allow-origin', 'access-control-allow-methods', 'access-control-allow-headers', 'access-control-max-age', 'access-control-allow-credentials']);
      expect([route.path, preflight.status, allowed]).toEqual([
        route.path,
        204,
        hasCors(path)
          ? { 'access-control-allow-origin': '*', 'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, OPTIONS', 'access-control-allow-headers': 'Authorization, Content-Type, Idempotency-Key', 'access-control-max-age': '7200', 'access-control-allow-credentials': null }
          : { 'access-control-allow-origin': null, 'access-control-allow-methods': null, 'access-control-allow-headers': null, 'access-control-max-age': null, 'access-control-allow-credentials': null },
      ]);
      if (streaming(path)) continue;
      // With a good token, and with a bad one: an answer and an error.
      for (const token of [ada.client.token, 'x']) {
        const answer = await ask(route.method, path, { ...(token === undefined ? {} : { token }), headers: { origin: 'https://client.example' }, ...(route.method === 'GET' ? {} : { body: {} }) });
        const type = answer.headers.get('content-type') ?? '';
        await answer.arrayBuffer();
        // Pictures and the style may be shown anywhere.
        if (route.path !== '/assets/:file') expect([route.path, headersOf(answer, Object.keys(cors))]).toEqual([route.path, hasCors(path) ? cors : { 'access-control-allow-origin': null, 'access-control-expose-headers': null }]);
        expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
        expect([route.path, answer.status < 500]).toEqual([route.path, true]);
        if (path.startsWith('/api/') && !path.endsWith('/health')) expect([route.path, type]).toEqual([route.path, 'application/json; charset=utf-8']);
        if (path.startsWith('/api/')) expect([route.path, answer.status, [200, 400, 401, 403, 404, 410, 422].includes(answer.status)]).toEqual([route.path, answer.status, true]);
      }
    }
    expect((await ask('OPTIONS', '*')).status).toBeLessThan(500);
  });

  it('that is not in the table answers 404 in JSON where programs ask, also for what Mastodon has and we have not yet', async () => {
    for (const [method, path] of [['GET', '/api/v1/bookmarks'], ['GET', '/api/v1/favourites'], ['POST', '/api/v1/statuses/1/favourite'], ['POST', '/api/v2/media'], ['GET', '/api/v1/push/subscription'], ['GET', '/api/v2/notifications'], ['GET', '/api/v1/trends/statuses'], ['POST', '/api/v1/reports'], ['GET', '/api/v1/conversations'], ['GET', '/api/v3/nothing'], ['GET', '/api'], ['GET', '/api/'], ['DELETE', '/api/v1/lists/1'], ['PATCH', '/api/v1/nothing'], ['GET', '/.well-known/nothing'], ['GET', '/nodeinfo/9.9']] as const) {
      for (const token of [undefined, ada.client.token]) {
        const answer = await ask(method, path, token === undefined ? {} : { token });
        const { error } = (await answer.json()) as { error: string };
        expect([path, answer.status, answer.headers.get('content-type'), typeof error]).toEqual([path, 404, 'application/json; charset=utf-8', 'string']);
        expect([path, headersOf(answer, Object.keys(cors))]).toEqual([path, cors]);
      }
      const preflight = await ask('OPTIONS', path);
      expect([path, preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([path, 204, '*']);
    }
  });
});
