import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestApp, type TestBrowser, type World, agree, answerOf, createWorld, personEvents, registerApp, signUpOnPage } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(async () => await world.close());

const json = (payload: object, headers: Record<string, string> = {}) => ({ method: 'POST' as const, payload, headers });
const token = (payload: object, headers: Record<string, string> = {}) => world.inject({ ...json(payload, headers), url: '/oauth/token' });
const back = 'https://client.example/back';
const query = (app: TestApp, change: Record<string, string> = {}) => ({ response_type: 'code', client_id: app.client_id, redirect_uri: back, scope: 'read write follow push', ...change });
const exchange = (app: TestApp, code: string, change: object = {}) => token({ grant_type: 'authorization_code', code, redirect_uri: back, client_id: app.client_id, client_secret: app.client_secret, ...change });
const asked = (access: string) => world.calls.call('identity.token', { token: access });

async function person(handle: string): Promise<TestBrowser> {
  const browser = world.browser();
  const page = await signUpOnPage(browser, handle);
  expect(page.statusCode).toBe(200);
  return browser;
}

async function codeOf(browser: TestBrowser, app: TestApp, change: Record<string, string> = {}): Promise<string> {
  return answerOf(await agree(browser, query(app, change))).get('code') ?? '';
}

describe('registering an app', () => {
  it('stores nothing and answers what clients keep for ever', async () => {
    const answer = await world.inject({ ...json({ client_name: 'Phanpy', redirect_uris: back, scopes: 'read write', website: 'https://phanpy.social' }), url: '/api/v1/apps/' });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['content-type']).toContain('application/json');
    expect(answer.json()).toMatchObject({ name: 'Phanpy', redirect_uri: back, redirect_uris: [back], scopes: ['read', 'write'], website: 'https://phanpy.social' });
    expect(answer.json<{ id: string }>().id).toMatch(/^\d+$/);
    const { client_id, client_secret } = answer.json<TestApp>();
    expect(client_id.length + client_secret.length).toBeLessThanOrEqual(1_500);
    expect(await world.rows('SELECT FROM app')).toEqual([]);
  });
  it('takes a form with a list of lines, and Rails names', async () => {
    for (const payload of ['client_name=tut&redirect_uris=urn%3Aietf%3Awg%3Aoauth%3A2.0%3Aoob%0Ahttps%3A%2F%2Fclient.example%2Fback&scopes=read', 'client_name=tut&redirect_uris[]=urn:ietf:wg:oauth:2.0:oob&redirect_uris[]=https://client.example/back']) {
      const answer = await world.inject({ method: 'POST', url: '/api/v1/apps', payload, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
      expect(answer.json()).toMatchObject({ redirect_uris: ['urn:ietf:wg:oauth:2.0:oob', back] });
    }
  });
  it.each([
    [{ client_name: '' }, 422], [{ client_name: 'x'.repeat(121) }, 422], [{ redirect_uris: 'javascript:alert(1)' }, 422], [{ redirect_uris: 'http://evil.example/' }, 422], [{ scopes: 'everything' }, 422], [{ redirect_uris: undefined }, 422],
    [{ redirect_uris: Array.from({ length: 5 }, (_, at) => `https://x.example/${'a'.repeat(500)}${at}`) }, 422],
  ])('refuses %j', async (change, status) => {
    const answer = await world.inject({ ...json({ client_name: 'X', redirect_uris: back, ...change }), url: '/api/v1/apps' });
    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toHaveProperty('error');
  });
  it('answers malformed and huge bodies in its own form', async () => {
    for (const [payload, status] of [['{"client_name":', 400], ['[1,2,3]', 422], [JSON.stringify({ client_name: 'x'.repeat(2_000_000) }), 413], ['"text"', 422], ['{"client_name":"a\\u0000b","redirect_uris":"https://x.example/"}', 422]] as const) {
      const answer = await world.inject({ method: 'POST', url: '/api/v1/apps', payload, headers: { 'content-type': 'application/json' } });
      expect([payload.slice(0, 20), answer.statusCode]).toEqual([payload.slice(0, 20), status]);
      expect(answer.json()).toHaveProperty('error');
    }
  });
});

describe('the journey of a client', () => {
  it('goes from sign-up by consent and code to a token that speaks for the chosen microblog', async () => {
    const browser = await person('alice');
    const app = await registerApp(world, { client_name: 'Elk', redirect_uris: 'https://elk.zone/api/example.org/oauth/https%3A%2F%2Felk.zone' });
    const uri = 'https://elk.zone/api/example.org/oauth/https%3A%2F%2Felk.zone';
    const answer = await agree(browser, query(app, { redirect_uri: uri, state: 'None', lang: 'None', force_login: 'False' }));
    expect(answer.statusCode).toBe(303);
    expect(answer.headers.location?.startsWith(`${uri}?code=`)).toBe(true);
    expect(answerOf(answer).get('iss')).toBe('https://example.org');
    expect(answerOf(answer).get('state')).toBe('None');
    const given = await exchange(app, answerOf(answer).get('code') ?? '', { redirect_uri: uri });
    expect(given.statusCode).toBe(200);
    expect(given.json()).toEqual({ access_token: expect.stringMatching(/^[\w-]{46}$/) as string, token_type: 'Bearer', scope: 'read write follow push', created_at: expect.any(Number) as number });
    const known = await asked(given.json<{ access_token: string }>().access_token);
    expect(known).toMatchObject({ asker: { kind: 'person', domain: world.domainId, scopes: ['read', 'write', 'follow', 'push'] }, app: { name: 'Elk', website: null } });
    const verified = await world.inject({ method: 'GET', url: '/api/v1/apps/verify_credentials', headers: { authorization: `Bearer ${given.json<{ access_token: string }>().access_token}` } });
    expect(verified.json()).toMatchObject({ name: 'Elk', redirect_uri: uri });
    expect(await world.rows('SELECT FROM app')).toHaveLength(1);
  });

  it('takes junk and repeated unknown parameters in a form, Basic, and no scope (Mastodon.py, Phanpy)', async () => {
    const browser = await person('junk');
    const app = await registerApp(world);
    const code = await codeOf(browser, app);
    const body = `grant_type=authorization_code&oauth_info=a&oauth_info=b&code=${code}&redirect_uri=${encodeURIComponent(back)}&client_id=&force_login=False`;
    const basic = Buffer.from(`${app.client_id}:${app.client_secret}`).toString('base64');
    const answer = await world.inject({ method: 'POST', url: '/oauth/token', payload: body, headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: `Basic ${basic}` } });
    expect(answer.json()).toMatchObject({ token_type: 'Bearer', scope: 'read write follow push' });
    expect(answer.headers['access-control-allow-origin']).toBe('*');
    expect(answer.headers['cache-control']).toContain('no-store');
  });

  it('shows the code as text to a client in a terminal, with a trailing slash in its address (toot)', async () => {
    const browser = await person('terminal');
    const app = await registerApp(world, { client_name: 'toot', redirect_uris: 'urn:ietf:wg:oauth:2.0:oob' });
    const page = await browser.get(`/oauth/authorize/?${new URLSearchParams(query(app, { redirect_uri: 'urn:ietf:wg:oauth:2.0:oob' })).toString()}`);
    const shown = await browser.submit(page, 'client_id', { decision: 'allow' });
    expect(shown.statusCode).toBe(200);
    const code = /<code[^>]*>([\w-]{46})<\/code>/.exec(shown.body)?.[1] ?? '';
    expect((await exchange(app, code, { redirect_uri: 'urn:ietf:wg:oauth:2.0:oob' })).statusCode).toBe(200);
    expect((await browser.get('/oauth/authorize/native?code=%3Cscript%3E')).statusCode).toBe(400);
  });

  it('logs somebody in on the way, and comes back to the whole request', async () => {
    await person('comesback');
    const browser = world.browser();
    const app = await registerApp(world);
    const page = await browser.get(`/oauth/authorize?${new URLSearchParams(query(app, { state: 'a b&c' })).toString()}`);
    expect(page.body).toContain('Log in');
    const consent = await browser.submit(page, 'username', { username: '@ComesBack', password: 'password of comesback' });
    const answer = await browser.submit(consent, 'client_id', { decision: 'allow' });
    expect(answerOf(answer).get('state')).toBe('a b&c');
  });

  it('lets one choose among microblogs, and act as no other', async () => {
    const browser = await person('chooser');
    const owner = [...world.microblog.microblogs].find(([, { handle }]) => handle === 'chooser');
    if (owner === undefined) throw new Error('no microblog');
    const group = owner[0].replace(/^../, 'ff') as typeof owner[0];
    world.microblog.groups.set(owner[1].owner, [{ microblog: group, handle: 'club', domain: 'example.org', title: 'The <b>Club</b>', role: 'editor', personal: false }]);
    const app = await registerApp(world, { client_name: '<script>alert(1)</script>', website: 'javascript:alert(1)' });
    const page = await browser.get(`/oauth/authorize?${new URLSearchParams(query(app, { force_login: 'true' })).toString()}`);
    expect(page.body).toContain('type="radio"');
    expect(page.body).toContain('log in as somebody else');
    expect(page.body).not.toMatch(/<script|<b>Club|javascript:/);
    expect(page.body).toContain('The &lt;b&gt;Club&lt;/b&gt;');
    const answer = await browser.submit(page, 'client_id', { decision: 'allow', microblog: group });
    const given = await exchange(app, answerOf(answer).get('code') ?? '');
    expect(await asked(given.json<{ access_token: string }>().access_token)).toMatchObject({ asker: { microblog: group } });
    expect((await agree(browser, query(app), { microblog: '00000000-0000-0000-0000-000000000001' })).statusCode).toBe(403);
    const denied = await agree(browser, query(app), { decision: 'deny' });
    expect(answerOf(denied).get('error')).toBe('access_denied');
  });
});

describe('codes', () => {
  it('work once; using one again ends the token that it brought', async () => {
    const browser = await person('once');
    const app = await registerApp(world);
    const code = await codeOf(browser, app);
    const first = (await exchange(app, code)).json<{ access_token: string }>().access_token;
    expect(await asked(first)).not.toBeNull();
    world.live.length = 0;
    const again = await exchange(app, code);
    expect([again.statusCode, again.json<{ error: string }>().error]).toEqual([400, 'invalid_grant']);
    expect(await asked(first)).toBeNull();
    expect(world.live).toMatchObject([{ type: 'person', event: { what: 'tokens-revoked' } }]);
  });
  it('work for their app, with their redirect URI, before they run out', async () => {
    const browser = await person('exact');
    const app = await registerApp(world);
    const other = await registerApp(world);
    const code = await codeOf(browser, app);
    for (const answer of [await exchange(other, code), await exchange(app, code, { redirect_uri: `${back}/` }), await exchange(app, code, { redirect_uri: undefined }), await exchange(app, `${code.slice(0, -2)}AA`), await exchange(app, 'nonsense'), await exchange(app, code, { code_verifier: 'v'.repeat(43) })]) {
      expect([answer.statusCode, answer.json<{ error: string }>().error]).toEqual([400, 'invalid_grant']);
    }
    for (const database of world.databases.all) await database.execute(`UPDATE code SET expires = now() - interval '1 s' WHERE used IS NULL`);
    expect((await exchange(app, code)).json()).toMatchObject({ error: 'invalid_grant' });
  });
  it('need the secret, and the verifier where a challenge was sent', async () => {
    const browser = await person('pkce');
    const app = await registerApp(world);
    const plain = await codeOf(browser, app);
    for (const change of [{ client_secret: undefined }, { client_secret: 'wrong' }]) {
      const answer = await exchange(app, plain, change);
      expect([answer.statusCode, answer.json<{ error: string }>().error]).toEqual([401, 'invalid_client']);
      expect(answer.json<{ error_description: string }>().error_description).toContain('Client authentication failed');
    }
    const verifier = randomBytes(32).toString('base64url');
    const code = await codeOf(browser, app, { code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256' });
    for (const change of [{}, { code_verifier: 'v'.repeat(43) }, { code_verifier: '' }]) expect((await exchange(app, code, change)).json()).toMatchObject({ error: 'invalid_grant' });
    expect((await exchange(app, code, { code_verifier: verifier, client_secret: undefined })).statusCode).toBe(200);
  });
});

describe('refusals', () => {
  it('never redirect while the redirect URI is off by one byte, or the client unknown', async () => {
    const browser = await person('refused');
    const app = await registerApp(world);
    for (const change of [{ redirect_uri: `${back}x` }, { redirect_uri: back.slice(0, -1) }, { redirect_uri: back.replace('https', 'http') }, { redirect_uri: 'https://evil.example/' }, { client_id: `${app.client_id.slice(0, -1)}A` }, { client_id: '' }]) {
      const answer = await browser.get(`/oauth/authorize?${new URLSearchParams(query(app, { ...change, response_type: 'token' })).toString()}`);
      expect([answer.statusCode, answer.headers.location]).toEqual([400, undefined]);
      expect(answer.body).toContain('This does not work');
    }
    const told = await browser.get(`/oauth/authorize?${new URLSearchParams(query(app, { response_type: 'token' })).toString()}`);
    expect(answerOf(told).get('error')).toBe('unsupported_response_type');
  });
  it('sends the page without form-action, and never inside a frame', async () => {
    const browser = await person('headers');
    const app = await registerApp(world);
    const page = await browser.get(`/oauth/authorize?${new URLSearchParams(query(app)).toString()}`);
    expect(page.headers['content-security-policy']).toBe("default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'");
    expect(page.headers['referrer-policy']).toBe('no-referrer');
    expect(page.headers['access-control-allow-origin']).toBeUndefined();
    expect((await browser.get('/settings')).headers['content-security-policy']).toContain("form-action 'self'");
  });
  it('takes no consent from another site', async () => {
    const browser = await person('crosssite');
    const app = await registerApp(world);
    const page = await browser.get(`/oauth/authorize?${new URLSearchParams(query(app)).toString()}`);
    for (const [values, headers] of [
      [{}, { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }], [{}, { origin: 'null', 'sec-fetch-site': 'cross-site' }], [{}, { origin: 'https://evil.example' }], [{ form: 'forged' }, {}], [{ form: '' }, {}],
      [{}, { 'sec-fetch-site': 'same-site' }], [{}, { origin: 'http://example.org' }],
    ] as const) {
      expect((await browser.submit(page, 'client_id', { decision: 'allow', ...values }, headers)).statusCode).toBe(403);
    }
    expect((await browser.submit(page, 'client_id', { decision: 'allow' }, { origin: 'null' })).statusCode).toBe(303);
    expect(await world.rows(`SELECT FROM code WHERE person_id IN (SELECT person_id FROM person WHERE login = 'crosssite')`)).toHaveLength(1);
  });
  it.each(['password', 'refresh_token', 'nonsense'])('knows no grant %s', async (grant) => {
    const app = await registerApp(world);
    const answer = await token({ grant_type: grant, username: 'alice', password: 'x', ...app });
    expect([answer.statusCode, answer.json<{ error: string }>().error]).toEqual([400, 'unsupported_grant_type']);
  });
  it('answers a missing grant, an unknown client and a malformed body in the form of OAuth', async () => {
    const app = await registerApp(world);
    expect((await token({ ...app })).json()).toMatchObject({ error: 'invalid_request' });
    expect((await token({ grant_type: 'client_credentials', client_id: 'x', client_secret: 'y' })).json()).toMatchObject({ error: 'invalid_client' });
    const malformed = await world.inject({ method: 'POST', url: '/oauth/token', payload: '{', headers: { 'content-type': 'application/json' } });
    expect([malformed.statusCode, malformed.json<{ error: string }>().error]).toEqual([400, 'invalid_request']);
    expect((await token({ grant_type: 'client_credentials', ...app, scope: 'write everything' })).json()).toMatchObject({ error: 'invalid_scope' });
    const narrow = await registerApp(world, { scopes: 'read' });
    expect((await token({ grant_type: 'client_credentials', ...narrow, scope: 'read write' })).json()).toMatchObject({ error: 'invalid_scope' });
  });
});

describe('tokens', () => {
  it('of an app alone speak for nobody', async () => {
    const app = await registerApp(world);
    const answer = await token({ grant_type: 'client_credentials', ...app, scope: 'read write' });
    expect(answer.json()).toMatchObject({ scope: 'read write' });
    expect(await asked(answer.json<{ access_token: string }>().access_token)).toMatchObject({ asker: { kind: 'app', scopes: ['read', 'write'] } });
  });
  // Housekeeping deletes them some time later.
  it('of an app alone end by themselves when they lie unused, those of persons never', async () => {
    const issued = (await token({ grant_type: 'client_credentials', ...(await registerApp(world)), scope: 'read write' })).json<{ access_token: string }>().access_token;
    const app = await registerApp(world);
    const ofPerson = (await exchange(app, await codeOf(await person('rarely'), app))).json<{ access_token: string }>().access_token;
    const lieUnused = (days: number) => world.rows(`UPDATE token SET last_used = (now() - make_interval(days => $1))::date`, [days]);
    await lieUnused(90);
    expect(await asked(issued)).not.toBeNull();
    await lieUnused(91);
    expect(await asked(issued)).toBeNull();
    expect(await asked(ofPerson)).not.toBeNull();
    // Asking has not made it good again.
    expect(await asked(issued)).toBeNull();
  });
  it('that are unknown, malformed or foreign are none', async () => {
    const { secret } = await (async () => ({ secret: (await token({ grant_type: 'client_credentials', ...(await registerApp(world)) })).json<{ access_token: string }>().access_token }))();
    const wrong = ['', 'x', `${secret.slice(0, -3)}AAA`, 'A'.repeat(5_000), '../../etc'];
    for (const each of wrong) expect(await asked(each)).toBeNull();
    const [good, other] = [await asked(secret), (await token({ grant_type: 'client_credentials', ...(await registerApp(world)) })).json<{ access_token: string }>().access_token];
    // Many at once are answered in the order asked, at whatever shard they lie.
    expect((await world.calls.call('identity.tokens', { tokens: [...wrong, secret, other, 'x', secret] })).answers).toEqual([...wrong.map(() => null), good, await asked(other), null, good]);
    await expect(world.calls.call('identity.tokens', { tokens: Array.from({ length: 1_001 }, () => secret) })).rejects.toMatchObject({ kind: 'bug' });
    for (const database of world.databases.all) await database.execute(`UPDATE token SET domain_id = '00000000-0000-0000-0000-000000000009' WHERE person_id IS NULL`);
    expect(await asked(secret)).toBeNull();
    const refused = await world.inject({ method: 'GET', url: '/api/v1/apps/verify_credentials', headers: { authorization: `Bearer ${secret}` } });
    expect([refused.statusCode, Object.keys(refused.json())]).toEqual([401, ['error']]);
  });
  it('are revoked by their app, and the answer is always the same', async () => {
    const browser = await person('revoker');
    const app = await registerApp(world);
    const other = await registerApp(world);
    const access = (await exchange(app, await codeOf(browser, app))).json<{ access_token: string }>().access_token;
    const revoke = async (payload: object) => {
      const answer = await world.inject({ method: 'POST', url: '/oauth/revoke', payload: new URLSearchParams(payload as Record<string, string>).toString(), headers: { 'content-type': 'application/x-www-form-urlencoded' } });
      expect([answer.statusCode, answer.body]).toEqual([200, '{}']);
    };
    await revoke({ ...other, token: access });
    await revoke({ ...app, client_secret: 'wrong', token: access });
    await revoke({ ...app, token: 'nonsense' });
    expect(await asked(access)).not.toBeNull();
    world.live.length = 0;
    await revoke({ ...app, token: access });
    expect(await asked(access)).toBeNull();
    expect(world.live).toMatchObject([{ type: 'person', event: { what: 'tokens-revoked' } }]);
    expect(await personEvents(world)).toContain('tokens-revoked');
  });
  it('end by the call, for one microblog or all', async () => {
    const browser = await person('called');
    const app = await registerApp(world);
    const access = (await exchange(app, await codeOf(browser, app))).json<{ access_token: string }>().access_token;
    const known = await asked(access);
    if (known?.asker.kind !== 'person') throw new Error('no person');
    const { person: id, microblog } = known.asker;
    expect(await world.calls.call('identity.revoke', { person: id, microblog: '00000000-0000-0000-0000-000000000002' as typeof microblog, reason: 'role' })).toEqual({ revoked: 0 });
    expect(await asked(access)).not.toBeNull();
    expect(await world.calls.call('identity.revoke', { person: id, microblog, reason: 'role' })).toEqual({ revoked: 1 });
    expect(await asked(access)).toBeNull();
  });
  it('are stored as hashes only', async () => {
    const browser = await person('hashed');
    const app = await registerApp(world);
    const code = await codeOf(browser, app);
    const access = (await exchange(app, code)).json<{ access_token: string }>().access_token;
    const cookie = [...browser.cookies.values()].join(' ');
    for (const table of ['token', 'code', 'session', 'app', 'person', 'credential', 'directory', 'outbox']) {
      const dump = JSON.stringify(await world.rows(`SELECT to_jsonb(t)::text AS row FROM ${table} t`));
      for (const secret of [access, code, app.client_secret, 'password of hashed', ...cookie.split(' ')]) expect(dump.includes(secret)).toBe(false);
    }
  });
});

it('serves the metadata document with https addresses', async () => {
  const answer = await world.inject({ method: 'GET', url: '/.well-known/oauth-authorization-server' });
  expect(answer.json()).toMatchObject({ issuer: 'https://example.org', token_endpoint: 'https://example.org/oauth/token', code_challenge_methods_supported: ['S256'], authorization_response_iss_parameter_supported: true });
  expect(answer.headers['access-control-allow-origin']).toBe('*');
});

it('has no metadata document on plain http, and cookies without Secure', async () => {
  const local = await createWorld({ domain: 'localhost:8080' });
  try {
    const answer = await local.inject({ method: 'GET', url: '/.well-known/oauth-authorization-server' });
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([404, 'application/json; charset=utf-8']);
    const browser = local.browser();
    await signUpOnPage(browser, 'local');
    expect([...browser.cookies.keys()]).toContain('dmb_session');
  } finally {
    await local.close();
  }
});
