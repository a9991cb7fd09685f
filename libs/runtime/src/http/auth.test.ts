import { describe, expect, test } from 'vitest';
import { newId, newPersonId, newMicroblogId, type DomainId } from '@dmb/protocol';
import { routes, type Route, type TokenAnswer } from '@dmb/events';
import { Authenticator, hasScope, presentedToken, routeOf, type PersonNews } from './auth.ts';

const domain = newId() as string as DomainId;

describe('scopes', () => {
  test.each([
    [['read'], 'read:statuses', true],
    [['read:statuses'], 'read:statuses', true],
    [['read:accounts'], 'read:statuses', false],
    [['write'], 'read:statuses', false],
    [['follow'], 'read:follows', true],
    [['follow'], 'write:follows', true],
    [['follow'], 'write:statuses', false],
    [['reader'], 'read', false],
    [[], 'read', false],
  ])('%j contains %s: %s', (granted, wanted, expected) => {
    expect(hasScope(granted, wanted)).toBe(expected);
  });
});

describe('the token of a request', () => {
  test.each([
    [{ authorization: 'Bearer abc' }, {}, false, 'abc'],
    [{ authorization: 'bearer  abc ' }, {}, false, 'abc'],
    [{ authorization: 'Basic abc' }, {}, false, undefined],
    [{}, { access_token: 'abc' }, false, undefined],
    [{}, { access_token: 'abc' }, true, 'abc'],
    [{ 'sec-websocket-protocol': 'abc' }, {}, false, undefined],
    [{ 'sec-websocket-protocol': 'abc, other' }, {}, true, 'abc'],
    [{ authorization: 'Bearer a' }, { access_token: 'b' }, true, 'a'],
    [{}, { access_token: ['x'] }, true, undefined],
  ])('of %j and %j (stream: %s) is %s', (headers, query, isStream, expected) => {
    expect(presentedToken(headers, query, isStream)).toBe(expected);
  });
});

test('a route is found by method and pattern, HEAD as GET, and nothing that is not listed', () => {
  for (const route of routes) expect(routeOf(route.method, route.path)).toBe(route);
  expect(routeOf('HEAD', '/api/v1/instance')?.path).toBe('/api/v1/instance');
  expect(routeOf('POST', '/api/v1/instance')).toBeUndefined();
  expect(routeOf('GET', undefined)).toBeUndefined();
});

describe('an authenticator', () => {
  const person = newPersonId();
  const answer = (asker: Partial<TokenAnswer['asker']> = {}): TokenAnswer => ({
    id: newId(),
    asker: { kind: 'person', domain, person, microblog: newMicroblogId(), scopes: ['read'], ...asker } as TokenAnswer['asker'],
    app: { name: 'Test', website: null },
    createdAt: 0,
  });
  const route = (auth: Route['auth'], scope?: string): Route => ({ method: 'GET', path: '/x', service: 'microblog', auth, reads: [], ...(scope === undefined ? {} : { scope }) });
  const made = (tokens: Record<string, TokenAnswer>, hasRole = () => true) => {
    const asked: string[] = [];
    const call = (name: string, request: { token?: string }): Promise<unknown> => {
      asked.push(name);
      if (name === 'identity.token') return Promise.resolve(tokens[request.token ?? ''] ?? null);
      return Promise.resolve(hasRole() ? { role: 'owner' } : null);
    };
    return { asked, authenticator: new Authenticator({ calls: { call: call as never }, domain }) };
  };

  test('asks identity once in a while, and for the role each time', async () => {
    let hasRole = true;
    const { asked, authenticator } = made({ good: answer() }, () => hasRole);
    await authenticator.check(route('person'), 'good');
    await authenticator.check(route('person'), 'good');
    expect(asked).toEqual(['identity.token', 'microblog.role', 'microblog.role']);
    hasRole = false;
    await expect(authenticator.check(route('optional'), 'good')).rejects.toMatchObject({ kind: 'unauthenticated', message: 'The access token was revoked' });
    hasRole = true;
    authenticator.forgetPerson(person);
    await authenticator.check(route('person'), 'good');
    expect(asked.filter((name) => name === 'identity.token')).toHaveLength(2);
  });

  // An answer that was on its way when its token was revoked would be good for 5 s more if it were kept.
  test('does not keep what it asked for before a revocation that it heard of', async () => {
    const tokens: Record<string, TokenAnswer> = { good: answer(), app: answer({ kind: 'app' }) };
    let answering: Promise<unknown> = Promise.resolve();
    const call = async (name: string, request: { token?: string }): Promise<unknown> => {
      if (name !== 'identity.token') return { role: 'owner' };
      const found = tokens[request.token ?? ''] ?? null;
      await answering;
      return found;
    };
    const authenticator = new Authenticator({ calls: { call: call as never }, domain });
    let tell: Parameters<PersonNews['listen']>[0] = () => undefined;
    await authenticator.listen({
      listen: (handler) => {
        tell = handler;
        return Promise.resolve({ stop: () => Promise.resolve() });
      },
    });
    let goOn = (): void => undefined;
    answering = new Promise<void>((resolve) => (goOn = resolve));
    const inFlight = authenticator.resolve('good');
    delete tokens['good'];
    tell({ type: 'person', event: { person, what: 'tokens-revoked' } });
    goOn();
    await inFlight;
    await expect(authenticator.resolve('good')).rejects.toMatchObject({ kind: 'unauthenticated' });
    tokens['good'] = answer();
    await authenticator.resolve('good');
    tell({ type: 'person', event: { person: newPersonId(), what: 'tokens-revoked' } });
    tell({ type: 'person', event: { person, what: 'following-changed' } });
    tell({ type: 'entry' });
    delete tokens['good'];
    await authenticator.resolve('good');
    tell({ type: 'person', event: { person, what: 'suspended' } });
    await expect(authenticator.resolve('good')).rejects.toMatchObject({ kind: 'unauthenticated' });
    // Nobody tells of those of apps.
    await authenticator.resolve('app');
    delete tokens['app'];
    await expect(authenticator.resolve('app')).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test('refuses what does not suffice', async () => {
    const { authenticator } = made({
      good: answer(),
      app: answer({ kind: 'app' }),
      foreign: answer({ domain: newId() as string as DomainId }),
      narrow: answer({ scopes: ['write:statuses'] } as never),
    });
    await expect(authenticator.check(route('person'), undefined)).rejects.toMatchObject({ kind: 'unauthenticated' });
    await expect(authenticator.check(route('optional'), 'bad')).rejects.toMatchObject({ kind: 'unauthenticated' });
    await expect(authenticator.check(route('optional'), 'x'.repeat(600))).rejects.toMatchObject({ kind: 'unauthenticated' });
    await expect(authenticator.check(route('optional'), 'foreign')).rejects.toMatchObject({ kind: 'unauthenticated' });
    await expect(authenticator.check(route('person'), 'app')).rejects.toMatchObject({ status: 422 });
    await expect(authenticator.check(route('person', 'write:statuses'), 'good')).rejects.toMatchObject({ kind: 'forbidden' });
    expect((await authenticator.check(route('token'), 'app')).asker.kind).toBe('app');
    expect((await authenticator.check(route('optional'), undefined)).asker.kind).toBe('anonymous');
    // A token that may not read sees what the public sees.
    expect((await authenticator.check(route('optional'), 'narrow')).asker.kind).toBe('app');
    expect((await authenticator.check(route('person', 'write:statuses'), 'narrow')).asker.kind).toBe('person');
  });
});
