import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operatorLink } from '../src/index.ts';
import { SignUps } from '../src/sign-ups.ts';
import { type TestBrowser, type World, agree, answerOf, createWorld, formsOf, nextAddress, personEvents, registerApp, signUpOnPage } from './world.ts';

const form = { username: 'someone', password: 'a long password', email: 'someone@example.org', agreement: 'true', locale: 'en' };

/** Signs up as Mastodon.py's create_account does. */
async function signUpByApi(world: World, fields: object, address = nextAddress()) {
  const app = await registerApp(world);
  const { access_token } = (await world.inject({ method: 'POST', url: '/oauth/token', headers: { 'x-forwarded-for': nextAddress() }, payload: { grant_type: 'client_credentials', scope: 'read write follow push', ...app } })).json<{ access_token: string }>();
  return await world.inject({ method: 'POST', url: '/api/v1/accounts', payload: { ...form, ...fields }, headers: { authorization: `Bearer ${access_token}`, 'x-forwarded-for': address } });
}

describe('where everybody may sign up', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ registration: 'open' });
  });
  afterAll(async () => await world.close());

  it('makes a person with a microblog, and tells the others', async () => {
    const answer = await signUpByApi(world, { username: 'first', email: 'First@Example.org' });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ token_type: 'Bearer', scope: 'read write follow push' });
    const known = await world.calls.call('identity.token', { token: answer.json<{ access_token: string }>().access_token });
    if (known?.asker.kind !== 'person') throw new Error('no person');
    expect(world.microblog.microblogs.get(known.asker.microblog)).toEqual({ handle: 'first', title: 'first', owner: known.asker.person });
    expect(world.microblog.handles.get('first')?.confirmed).toBe(true);
    expect(await personEvents(world)).toEqual(['created']);
    expect(await world.calls.call('identity.registration', { domain: world.domainId })).toEqual({ mode: 'open', persons: 1, operatorMicroblog: null });
  });

  it.each([
    [{ username: 'first' }, 'username', 'ERR_TAKEN'], [{ username: 'admin' }, 'username', 'ERR_RESERVED'], [{ username: 'No Way' }, 'username', 'ERR_INVALID'], [{ username: 'ünicode' }, 'username', 'ERR_INVALID'], [{ username: 'a'.repeat(31) }, 'username', 'ERR_TOO_LONG'],
    [{ username: '' }, 'username', 'ERR_BLANK'], [{ username: '<script>alert(1)</script>' }, 'username', 'ERR_INVALID'], [{ username: 'ab', password: 'x'.repeat(7) }, 'password', 'ERR_TOO_SHORT'], [{ username: 'ab', password: 'x'.repeat(1_025) }, 'password', 'ERR_TOO_LONG'],
    [{ username: 'ab', email: 'first@EXAMPLE.org' }, 'email', 'ERR_TAKEN'], [{ username: 'ab', email: 'no address' }, 'email', 'ERR_INVALID'], [{ username: 'ab', agreement: 'false' }, 'agreement', 'ERR_ACCEPTED'], [{ username: 'ab', reason: 'x'.repeat(501) }, 'reason', 'ERR_TOO_LONG'],
  ])('refuses %j with details and stores nothing', async (fields, field, error) => {
    const before = await world.rows('SELECT person_id FROM person UNION ALL SELECT person_id FROM directory');
    const answer = await signUpByApi(world, fields);
    expect(answer.statusCode).toBe(422);
    expect(answer.json<{ error: string }>().error).toContain('Validation failed');
    expect(answer.json<{ details: Record<string, { error: string }[]> }>().details[field]?.[0]?.error).toBe(error);
    expect(await world.rows('SELECT person_id FROM person UNION ALL SELECT person_id FROM directory')).toEqual(before);
  });

  it('wants the token of an app', async () => {
    const person = (await signUpByApi(world, { username: 'tokened', email: '' })).json<{ access_token: string }>().access_token;
    for (const [authorization, status] of [[undefined, 401], ['Bearer nonsense', 401], [`Bearer ${person}`, 403]] as const) {
      const answer = await world.inject({ method: 'POST', url: '/api/v1/accounts', payload: form, headers: authorization ? { authorization } : {} });
      expect(answer.statusCode).toBe(status);
      expect(answer.json()).toHaveProperty('error');
    }
  });

  it('gives a handle to one of many who want it at once', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, (_, index) => signUpByApi(world, { username: 'wanted', password: `password number ${index}`, email: `wanted${index}@example.org` })));
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 422, 422, 422, 422, 422]);
    expect(await world.rows(`SELECT FROM person WHERE login = 'wanted'`)).toHaveLength(1);
    expect(await world.rows(`SELECT FROM directory WHERE kind = 'email' AND key LIKE 'wanted%'`)).toHaveLength(1);
  });

  it.each(['reserve-handle', 'create', 'confirm-handle'])('goes on where %s broke, with the same handle and password', async (step) => {
    const username = `broken_${step.replace('-', '_')}`;
    const fields = { username, email: `${username}@example.org` };
    world.microblog.failing = step;
    const first = await signUpByApi(world, fields);
    expect([first.statusCode, Object.keys(first.json())]).toEqual([503, ['error']]);
    expect((await signUpByApi(world, { ...fields, password: 'not the same one' })).statusCode).toBe(422);
    expect((await signUpByApi(world, fields)).statusCode).toBe(200);
    expect(await world.rows('SELECT state FROM person WHERE login = $1', [username])).toEqual([{ state: 'active' }]);
  });

  it('finishes a broken sign-up when its owner logs in', async () => {
    world.microblog.failing = 'confirm-handle';
    expect((await signUpByApi(world, { username: 'later', email: '' })).statusCode).toBe(503);
    const browser = world.browser();
    const page = await browser.submit(await browser.get('/log-in'), 'username', { username: 'later', password: form.password });
    expect(page.body).toContain('@later@example.org');
    expect(await world.rows(`SELECT state FROM person WHERE login = 'later'`)).toEqual([{ state: 'active' }]);
  });

  it('lets somebody else have the handle when a broken sign-up has run out', async () => {
    world.microblog.failing = 'create';
    expect((await signUpByApi(world, { username: 'runout', email: 'runout@example.org' })).statusCode).toBe(503);
    for (const database of world.databases.all) await database.execute(`UPDATE directory SET reserved_until = now() - interval '1 s' WHERE state = 'reserved'`);
    world.microblog.handles.delete('runout');
    expect((await signUpByApi(world, { username: 'runout', password: 'another password', email: 'runout@example.org' })).statusCode).toBe(200);
    expect(await world.rows(`SELECT state FROM person WHERE login = 'runout'`)).toEqual([{ state: 'active' }]);
    expect(await world.rows('SELECT FROM credential c WHERE NOT EXISTS (SELECT FROM person p WHERE p.person_id = c.person_id)')).toEqual([]);
  });

  it('gives a name away again that leads to nobody', async () => {
    expect((await signUpByApi(world, { username: 'vanished', email: 'vanished@example.org' })).statusCode).toBe(200);
    for (const database of world.databases.all) await database.execute(`DELETE FROM person WHERE login = 'vanished'`);
    world.microblog.handles.delete('vanished');
    expect((await signUpByApi(world, { username: 'vanished', email: 'vanished@example.org', password: 'another password' })).statusCode).toBe(200);
  });

  it('finishes or removes what broke, by housekeeping', async () => {
    for (const [handle, step] of [['unmade', 'create'], ['unfinished', 'confirm-handle']] as const) {
      world.microblog.failing = step;
      expect((await signUpByApi(world, { username: handle, email: `${handle}@example.org` })).statusCode).toBe(503);
    }
    const signUps = world.app.nest.get(SignUps);
    const states = async () =>
      (await world.rows<{ login: string; state: string }>(`SELECT login, state FROM person WHERE login IN ('unmade', 'unfinished')`)).map(({ login, state }) => `${login} ${state}`).sort();
    await signUps.repair();
    expect(await states()).toEqual(['unfinished creating', 'unmade creating']);
    for (const database of world.databases.all) await database.execute(`UPDATE person SET created = now() - interval '11 min' WHERE state = 'creating'`);
    await signUps.repair();
    expect(await states()).toEqual(['unfinished active']);
    expect(await world.rows(`SELECT FROM directory WHERE key LIKE 'unmade%'`)).toEqual([]);
    expect(await world.rows(`SELECT FROM directory WHERE state = 'reserved'`)).toEqual([]);
  });

  it('shows every text as text', async () => {
    const browser = world.browser();
    const page = await browser.get('/sign-up');
    const evil = `"><script>alert('x')</script>`;
    const refused = await browser.submit(page, 'username', { username: evil, display_name: evil, email: evil, password: evil, next: `//evil.example/${evil}` });
    expect(refused.statusCode).toBe(422);
    expect(refused.body).not.toMatch(/<script|evil\.example/);
    expect(refused.body).toContain('aria-invalid="true"');
    const settings = await browser.submit(refused, 'username', { username: 'evil', display_name: `${evil}\u202e\u200b`, email: '', password: 'a long password' });
    expect(settings.body).toContain('&lt;script&gt;');
    expect(settings.body).not.toMatch(/<script|\u202e|\u200b/);
  });

  it('limits sign-ups by address', async () => {
    const codes: number[] = [];
    for (let count = 0; count < 12; count++) codes.push((await signUpByApi(world, { username: `limited${count}`, email: '' }, '10.200.0.1')).statusCode);
    expect(codes.slice(0, 10).every((code) => code === 200)).toBe(true);
    expect(codes[11]).toBe(429);
    expect((await signUpByApi(world, { username: 'unlimited', email: '' }, '10.200.0.2')).statusCode).toBe(200);
  });
});

describe('where the operator approves', () => {
  let world: World;
  let operator: TestBrowser;
  beforeAll(async () => {
    world = await createWorld({ registration: 'approval' });
  });
  afterAll(async () => await world.close());

  it('makes the operator by the newest link, once', async () => {
    const old = await operatorLink(world.context);
    const link = (await operatorLink(world.context))?.slice('https://example.org'.length) ?? '';
    expect(old).not.toContain(link);
    operator = world.browser();
    expect((await operator.get(old?.slice('https://example.org'.length) ?? '')).statusCode).toBe(404);
    const page = await operator.get(link);
    expect(page.body).toContain('One-time link');
    const signUp = await operator.get(`/sign-up?link=${link.split('/').at(-1) ?? ''}&next=${encodeURIComponent(link)}`);
    expect(signUp.body).not.toContain('name="reason"');
    const back = await operator.submit(signUp, 'username', { username: 'boss', password: 'a long password' });
    expect(back.body).toContain('Become the operator');
    const rival = world.browser();
    expect((await rival.post(link, {})).statusCode).toBe(403);
    const overview = await operator.submit(back, link);
    expect(overview.body).toContain('You run this server now');
    expect((await operator.get(link)).statusCode).toBe(404);
    expect((await operator.post(link, formsOf(overview.body)[0]?.fields ?? {})).statusCode).toBe(404);
    expect(await operatorLink(world.context)).toBeUndefined();
    expect((await world.calls.call('identity.registration', { domain: world.domainId })).operatorMicroblog).toBe([...world.microblog.microblogs.keys()][0]);
    expect((await operator.get('/operator/AAAA')).statusCode).toBe(404);
  });

  it('lets an app wait with its person, and both act after approval', async () => {
    const answer = await signUpByApi(world, { username: 'patient', reason: 'I write about <b>birds</b>' });
    expect(answer.statusCode).toBe(200);
    const { access_token } = answer.json<{ access_token: string }>();
    await expect(world.calls.call('identity.token', { token: access_token })).rejects.toMatchObject({ kind: 'forbidden', message: expect.stringContaining('waiting for approval') as string });
    expect(await world.calls.call('identity.tokens', { tokens: [access_token] })).toEqual({ answers: [null] });
    const refused = await world.inject({ method: 'GET', url: '/api/v1/apps/verify_credentials', headers: { authorization: `Bearer ${access_token}` } });
    expect([refused.statusCode, refused.json<{ error: string }>().error]).toEqual([403, expect.stringContaining('waiting for approval')]);
    expect(world.microblog.microblogs.size).toBe(1);

    const overview = await operator.get('/operator');
    expect(overview.body).toContain('&lt;b&gt;birds&lt;/b&gt;');
    const approved = await operator.submit(overview, 'person', { decision: 'approve' });
    expect(approved.body).toContain('Approved');
    expect(await world.calls.call('identity.token', { token: access_token })).toMatchObject({ asker: { kind: 'person' } });
    expect(world.microblog.handles.get('patient')?.confirmed).toBe(true);
    expect(await world.rows(`SELECT state, reason FROM person WHERE login = 'patient'`)).toEqual([{ state: 'active', reason: null }]);
  });

  it('keeps nothing of who was rejected, and the handle is free again', async () => {
    const browser = world.browser();
    const waiting = await signUpOnPage(browser, 'hopeful');
    expect(waiting.body).toContain('will read your sign-up');
    const app = await registerApp(world);
    const asked = await browser.get(`/oauth/authorize?${new URLSearchParams({ response_type: 'code', client_id: app.client_id, redirect_uri: 'https://client.example/back', scope: 'read' }).toString()}`);
    expect(asked.body).toContain('waiting for approval');
    expect((await signUpByApi(world, { username: 'hopeful', email: '' })).statusCode).toBe(422);
    const rejected = await operator.submit(await operator.get('/operator'), 'person', { decision: 'reject' });
    expect(rejected.body).toContain('Rejected');
    for (const table of ['person', 'directory']) expect(await world.rows(`SELECT FROM ${table} WHERE ${table === 'person' ? 'login' : 'key'} = 'hopeful'`)).toEqual([]);
    expect((await browser.get('/settings')).body).toContain('Log in');
    // The microblog service lets go of the handle when its ten minutes are over.
    world.microblog.handles.delete('hopeful');
    expect((await signUpByApi(world, { username: 'hopeful', email: '' })).statusCode).toBe(200);
  });

  it('shows the operator page to operators only', async () => {
    const browser = world.browser();
    await browser.submit(await browser.get('/log-in'), 'username', { username: 'patient', password: form.password });
    expect((await browser.get('/operator')).statusCode).toBe(404);
    const settings = await browser.get('/settings');
    const { form: formToken = '' } = formsOf(settings.body)[0]?.fields ?? {};
    const [hopeful] = await world.rows<{ person_id: string }>(`SELECT person_id FROM person WHERE login = 'hopeful'`);
    expect((await browser.post('/operator/registrations', { form: formToken, person: hopeful?.person_id ?? '', decision: 'approve' })).statusCode).toBe(404);
    expect((await world.browser().get('/operator')).body).toContain('Log in');
  });
});

describe('where nobody may sign up', () => {
  it('refuses on both ways, but for the operator', async () => {
    const world = await createWorld({ registration: 'closed' });
    try {
      expect((await signUpByApi(world, {})).statusCode).toBe(403);
      const browser = world.browser();
      const page = await browser.get('/sign-up');
      expect(page.body).toContain('Sign-up is closed');
      expect((await browser.get('/log-in')).body).not.toContain('Sign up');
      const link = (await operatorLink(world.context))?.split('/').at(-1) ?? '';
      const settings = await browser.submit(await browser.get(`/sign-up?link=${link}`), 'username', { username: 'boss', password: 'a long password' });
      expect(settings.body).toContain('@boss@example.org');
    } finally {
      await world.close();
    }
  });
});

describe('pages of a person', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(async () => await world.close());

  it('use cookies that scripts and other sites cannot, renewed at each log-in', async () => {
    const browser = world.browser();
    await browser.get('/log-in');
    expect(browser.setCookies).toEqual([expect.stringMatching(/^__Host-dmb_form=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Secure$/)]);
    await signUpOnPage(browser, 'cookie');
    const first = browser.cookies.get('__Host-dmb_session') ?? '';
    const again = await browser.submit(await browser.get('/log-in?switch=1'), 'username', { username: 'cookie', password: 'password of cookie' });
    expect(again.statusCode).toBe(200);
    expect(browser.cookies.get('__Host-dmb_session')).not.toBe(first);
    const old = world.browser();
    old.cookies.set('__Host-dmb_session', first);
    expect((await old.get('/settings')).body).toContain('Welcome back');
    const api = await world.inject({ method: 'GET', url: '/api/v1/apps/verify_credentials', headers: { cookie: `__Host-dmb_session=${browser.cookies.get('__Host-dmb_session') ?? ''}` } });
    expect(api.statusCode).toBe(401);
  });

  it('say the same of an unknown handle and a wrong password, and limit attempts', async () => {
    const browser = world.browser();
    await signUpOnPage(browser, 'guessed');
    const guesser = world.browser();
    const attempt = async (username: string) => await guesser.submit(await guesser.get('/log-in'), 'username', { username, password: 'a wrong password' });
    const strip = (body: string) => body.replace(/value="[^"]*"/g, '');
    expect(strip((await attempt('guessed')).body)).toBe(strip((await attempt('nobody')).body));
    let last = await attempt('guessed');
    for (let count = 0; count < 32; count++) last = await attempt(`other${count}`);
    expect(last.statusCode).toBe(429);
    expect(last.body).toContain('Too many attempts');
    expect(last.headers['retry-after']).toMatch(/^[1-9]\d*$/);
  });

  it('change the password only with the old one, and end everything else then', async () => {
    const browser = world.browser();
    await signUpOnPage(browser, 'changer');
    const other = world.browser();
    await other.submit(await other.get('/log-in'), 'username', { username: 'changer', password: 'password of changer' });
    const app = await registerApp(world);
    const code = answerOf(await agree(other, { response_type: 'code', client_id: app.client_id, redirect_uri: 'https://client.example/back', scope: 'read' })).get('code');
    const access = (await world.inject({ method: 'POST', url: '/oauth/token', payload: { grant_type: 'authorization_code', code, redirect_uri: 'https://client.example/back', ...app } })).json<{ access_token: string }>().access_token;
    const settings = await browser.get('/settings');
    expect(settings.body).toContain('Test');
    for (const [values, status] of [[{ current: 'wrong password', password: 'a new password' }, 422], [{ current: 'password of changer', password: 'short' }, 422], [{ current: 'password of changer', password: 'x'.repeat(1_025) }, 422]] as const) {
      expect((await browser.submit(settings, 'current', values)).statusCode).toBe(status);
    }
    expect(await world.calls.call('identity.token', { token: access })).not.toBeNull();
    const changed = await browser.submit(settings, 'current', { current: 'password of changer', password: 'a new password' });
    expect(changed.body).toContain('The password was changed');
    expect(await world.calls.call('identity.token', { token: access })).toBeNull();
    expect((await other.get('/settings')).body).toContain('Welcome back');
    const again = world.browser();
    expect((await again.submit(await again.get('/log-in'), 'username', { username: 'changer', password: 'password of changer' })).statusCode).toBe(422);
    expect((await again.submit(await again.get('/log-in'), 'username', { username: 'changer', password: 'a new password' })).statusCode).toBe(200);
  });

  it('list browsers and apps, and end them', async () => {
    const browser = world.browser();
    await signUpOnPage(browser, 'lister');
    const other = world.browser();
    await other.submit(await other.get('/log-in'), 'username', { username: 'lister', password: 'password of lister' });
    const app = await registerApp(world, { client_name: '<i>App</i>' });
    const code = answerOf(await agree(browser, { response_type: 'code', client_id: app.client_id, redirect_uri: 'https://client.example/back', scope: 'read' })).get('code');
    const access = (await world.inject({ method: 'POST', url: '/oauth/token', payload: { grant_type: 'authorization_code', code, redirect_uri: 'https://client.example/back', ...app } })).json<{ access_token: string }>().access_token;
    const settings = await browser.get('/settings');
    expect(settings.body).toContain('&lt;i&gt;App&lt;/i&gt;');
    await browser.submit(settings, 'session');
    expect((await other.get('/settings')).body).toContain('Welcome back');
    await browser.submit(settings, 'app');
    expect(await world.calls.call('identity.token', { token: access })).toBeNull();
    const out = await browser.submit(settings, '/log-out');
    expect(out.statusCode).toBe(404);
    expect((await browser.get('/settings')).body).toContain('Welcome back');
  });

  it('take no form from another site, and lead nowhere else after logging in', async () => {
    const browser = world.browser();
    await signUpOnPage(browser, 'safe');
    const settings = await browser.get('/settings');
    for (const path of ['/log-out', '/settings/password', '/settings/sessions/end', '/settings/apps/revoke', '/operator/registrations', '/log-in', '/sign-up']) {
      expect((await browser.post(path, { ...formsOf(settings.body)[0]?.fields }, { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' })).statusCode).toBe(403);
      expect((await browser.post(path, {})).statusCode).toBe(403);
    }
    for (const next of ['//evil.example/', 'https://evil.example/', '/\\evil.example', '/\t/evil.example', 'javascript:alert(1)']) {
      const answer = await browser.get(`/log-in?next=${encodeURIComponent(next)}`);
      expect(answer.body).toContain('Settings');
    }
  });
});
