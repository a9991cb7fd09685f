/**
 * Input that means no good, each with the answer that it gets: a clear one, in the format of whoever
 * asks, and never 500. Nothing of it is stored. What comes as bytes goes as bytes (wire.ts).
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Account, Status } from '@dmb/events';
import { openDatabases, type Databases } from '@dmb/postgres';
import { authorize, Browser, eventually, formWith, logIn, pkce, registerApp, requestToken, signUp, startTestServer, TestClient, type App, type Member, type TestServer } from '@dmb/testing';
import { badInputs, matches, type BadInput } from './bad-input.ts';
import { exchange, open, requestText, talk, type WireAnswer } from './wire.ts';

let server: TestServer;
let microblog: Databases;
let identity: Databases;
let ada: Member;
let app: App;
let appToken: string;
let post: Status;
/** Every status that was answered. */
const statuses = new Map<number, string>();
/** Slow clients, begun at once because they take their time. */
let slow: { readonly headers: Promise<WireAnswer>; readonly body: Promise<WireAnswer>; readonly silent: Promise<WireAnswer> };

const accessToken = (token: unknown): string => (token as { readonly access_token: string }).access_token;

beforeAll(async () => {
  server = await startTestServer();
  const open_ = (service: 'microblog' | 'identity'): Promise<Databases> => openDatabases({ urls: [server.databaseUrl], service, connectionsMax: 2, applicationName: 'hostile' });
  [microblog, identity] = await Promise.all([open_('microblog'), open_('identity')]);
  ada = await signUp(server.url, 'ada');
  app = await registerApp(server.url);
  appToken = accessToken(await requestToken(server.url, app, { grant_type: 'client_credentials', scope: 'read write' }));
  post = await ada.client.post('a post');
  const drip = (text: string): string[] => [...text];
  slow = {
    headers: exchange(server.port, drip(`GET /api/v1/instance HTTP/1.1\r\nHost: localhost:${server.port}\r\nX-Slow: ${'x'.repeat(100)}`), { pauseMs: 500, untilEnd: true, timeoutMs: 60_000 }),
    body: exchange(server.port, [requestText(server.port, 'POST /api/v1/statuses', { Authorization: `Bearer ${ada.client.token ?? ''}`, 'Content-Type': 'application/json', 'Content-Length': '1000' }), ...drip('{"status":"'.padEnd(100, 'x'))], { pauseMs: 500, untilEnd: true, timeoutMs: 60_000 }),
    silent: exchange(server.port, [], { untilEnd: true, timeoutMs: 30_000 }),
  };
  for (const each of Object.values(slow)) each.catch(() => undefined);
});

afterAll(async () => {
  await Promise.all([microblog?.close(), identity?.close()]);
  await server?.dispose();
});

// -- helpers

/** Rows in every table of both schemas. */
async function rows(): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {};
  for (const [service, databases] of [['microblog', microblog], ['identity', identity]] as const) {
    for (const database of databases.all) {
      const tables = await database.query<{ name: string }>(`SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`);
      for (const { name } of tables) {
        // What is on its way through is no trace.
        if (name.startsWith('outbox') || name === 'log_hash' || name === 'cursor') continue;
        const [row] = await database.query<{ count: bigint }>(`SELECT count(*) AS count FROM "${name}"`);
        counts[`${service}.${name}`] = Number(row?.count ?? 0n);
      }
    }
  }
  return counts;
}

async function storesNothing(work: () => Promise<void>): Promise<void> {
  const before = await rows();
  await work();
  expect(await rows()).toEqual(before);
}

const note = (answer: WireAnswer, what: string): WireAnswer => {
  statuses.set(answer.status, what);
  return answer;
};

/** Sends one of the list, from an address of its own. */
async function send(input: BadInput): Promise<WireAnswer> {
  const { line, headers = {}, body, as = 'person' } = input;
  const token = as === 'person' ? ada.client.token : as === 'app' ? appToken : undefined;
  const address = `10.${randomBytes(3).join('.')}`;
  const text = (value: string): string => value.replace('TOKEN', ada.client.token ?? '');
  const bytes = requestText(server.port, text(line), { ...(token === undefined || 'Authorization' in headers ? {} : { Authorization: `Bearer ${token}` }), 'X-Forwarded-For': address, Connection: 'close', ...headers }, typeof body === 'string' ? text(body) : body);
  return note(await exchange(server.port, bytes, { timeoutMs: 30_000 }), input.what);
}

/** What is wrong with an answer; undefined if nothing is. */
function wrong(input: BadInput, { status, headers, body }: WireAnswer): string | undefined {
  const type = headers['content-type'] ?? '';
  if (status !== input.status) return `${input.what}: ${status} ${body.slice(0, 300)}`;
  if (input.answer instanceof RegExp) return type.startsWith('text/html') && input.answer.test(body) ? undefined : `${input.what}: ${type} ${body.replace(/<[^>]*>|\s+/g, ' ').slice(0, 300)}`;
  if (!type.startsWith('application/json')) return `${input.what}: ${type}`;
  if (headers['access-control-allow-origin'] !== '*') return `${input.what}: no CORS`;
  return matches(input.answer, JSON.parse(body) as unknown) ? undefined : `${input.what}: ${body.slice(0, 300)}`;
}

const raw = async (bytes: Buffer | string, what: string, options?: Parameters<typeof exchange>[2]): Promise<WireAnswer> => note(await exchange(server.port, bytes, options), what);
const asAda = (): Record<string, string> => ({ Authorization: `Bearer ${ada.client.token ?? ''}` });

// -- tests

describe('a request that is refused', () => {
  it('says clearly why, in the format of who asks, and leaves nothing behind', async () => {
    await storesNothing(async () => {
      const found: (string | undefined)[] = [];
      for (const input of badInputs) found.push(wrong(input, await send(input)));
      expect(found.filter((each) => each !== undefined)).toEqual([]);
    });
    expect(await ada.client.get<Status[]>(`/api/v1/accounts/${ada.account.id}/statuses`)).toHaveLength(1);
  });

  it('is not refused at the limit itself', async () => {
    const { client } = ada;
    const most = [
      await client.post('x'.repeat(500)),
      await client.post(`https://example.org/${'a'.repeat(200)} ${'x'.repeat(476)}`),
      await client.post('x'.repeat(400), { spoiler: 'y'.repeat(100) }),
      await client.post(`@ada@localhost:${server.port} ${'x'.repeat(495)}`),
    ];
    for (const { id } of most) await client.request('DELETE', `/api/v1/statuses/${id}`);
    for (const [handle, password] of [['a'.repeat(30), 'x'.repeat(8)], ['z', 'é'.repeat(1_024)]] as const) {
      const member = await signUp(server.url, handle, { password });
      expect(member.account.acct).toBe(handle);
      const browser = new Browser(server.url);
      expect((await logIn(browser, { handle, password })).url).toMatch(/\/settings$/);
    }
  });

  it('has limits of lists clamped, and bounds that are no ids ignored', async () => {
    const { client } = await signUp(server.url, 'many');
    for (let index = 0; index < 42; index++) await client.post(`number ${index}`);
    const { id } = await client.me();
    for (const [query, length] of [['limit=-1', 1], ['limit=0', 1], ['limit=1000000000', 40], ['limit=1e9', 20], ['limit=x', 20], ['limit[]=3', 20], ['limit=99999999999999999999999', 20], ['max_id=x', 20], ['max_id=-5', 0], ['since_id=9223372036854775808', 0], ['min_id=99999999999999999999999999999999', 0], ['max_id=99999999999999999999999', 20]] as const) {
      expect([query, (await client.get<unknown[]>(`/api/v1/accounts/${id}/statuses?${query}`)).length]).toEqual([query, length]);
    }
    expect(await client.home(1_000_000_000)).toHaveLength(40);
    // `_` is a letter of handles, and no pattern.
    expect((await client.get<{ accounts: unknown[] }>('/api/v2/search?q=_')).accounts).toEqual([]);
    expect((await client.get<{ accounts: unknown[] }>('/api/v2/search?q=%25')).accounts).toEqual([]);
  });

  it('by its keys of prototypes changes nothing else', async () => {
    const status = await ada.client.request<Status>('POST', '/api/v1/statuses', { body: JSON.parse('{"status":"plain","__proto__":{"visibility":"direct"},"constructor":{"prototype":{"visibility":"direct"}}}') as unknown });
    expect(status.visibility).toBe('public');
    const raw_ = await raw(requestText(server.port, 'POST /api/v1/statuses', { ...asAda(), 'Content-Type': 'application/json' }, '{"status":"plainer","__proto__":{"visibility":"direct","spoiler_text":"x"}}'), 'prototype');
    expect(JSON.parse(raw_.body)).toMatchObject({ visibility: 'public', spoiler_text: '' });
    for (const id of [status.id, (JSON.parse(raw_.body) as Status).id]) await ada.client.request('DELETE', `/api/v1/statuses/${id}`);
  });

  it('by a method in a header or a parameter is what its own method says', async () => {
    for (const [line, headers, body] of [
      [`POST /api/v1/statuses/${post.id}`, { 'X-HTTP-Method-Override': 'DELETE' }, ''],
      [`POST /api/v1/statuses/${post.id}?_method=delete`, { 'X-Method-Override': 'DELETE', 'Content-Type': 'application/x-www-form-urlencoded' }, '_method=DELETE'],
      [`GET /api/v1/statuses/${post.id}?_method=delete`, { 'X-HTTP-Method': 'DELETE' }, undefined],
    ] as const) {
      const { status } = await raw(requestText(server.port, line, { ...asAda(), ...headers }, body), line);
      expect([line, status]).toEqual([line, line.startsWith('GET') ? 200 : 404]);
    }
    expect((await ada.client.status(post.id)).id).toBe(post.id);
    for (const method of ['TRACE', 'CONNECT', 'PROPFIND', 'SEARCH', 'NONSENSE']) {
      const { status } = await raw(requestText(server.port, `${method} /api/v1/instance`), method);
      expect([method, status]).toEqual([method, method === 'NONSENSE' ? 400 : method === 'CONNECT' ? status : 404]);
      expect(status).toBeLessThan(500);
    }
  });
});

describe('a token', () => {
  const refusal = async (token: string, path = '/api/v1/timelines/home'): Promise<[number, unknown]> => {
    const response = await new TestClient(server.url, token).raw('GET', path);
    return [response.status, await response.json()];
  };
  const refused = [401, { error: 'The access token is invalid' }];

  it('that was revoked, or was given for another domain or by another server, is none', async () => {
    const [revoked, foreign] = [await signUp(server.url, 'revoked', { app }), await signUp(server.url, 'foreign')];
    const of = (member: Member): string => member.client.token ?? '';
    // Known to the server just now, and refused all the same.
    expect((await refusal(of(revoked)))[0]).toBe(200);
    // By another app it stays.
    await requestRevocation(of(revoked), await registerApp(server.url));
    expect((await refusal(of(revoked)))[0]).toBe(200);
    await requestRevocation(of(revoked));
    expect(await refusal(of(revoked))).toEqual(refused);

    // What identity does not tell of is believed for 5 s.
    for (const database of identity.all) await database.execute(`UPDATE token SET domain_id = gen_random_uuid() WHERE person_id = (SELECT person_id FROM person WHERE login = 'foreign')`);
    expect(await eventually(async () => ((await refusal(of(foreign)))[0] === 401 ? [] : ['still good']), 6_000)).toEqual([]);
    expect(await refusal(of(foreign))).toEqual(refused);

    const other = await startTestServer();
    try {
      const elsewhere = await signUp(other.url, 'ada');
      expect(await refusal(elsewhere.client.token ?? '')).toEqual(refused);
    } finally {
      await other.dispose();
    }
  });

  it('in the query counts for streaming only, and a cookie nowhere on the API', async () => {
    const browser = new Browser(server.url);
    await logIn(browser, ada);
    const cookie = `dmb_session=${browser.cookie('dmb_session') ?? 'none'}`;
    expect(cookie).toMatch(/^dmb_session=[\w-]{46}$/);
    for (const path of ['/api/v1/accounts/verify_credentials', '/api/v1/timelines/home', '/api/v1/streaming/user']) {
      const response = await new TestClient(server.url).raw('GET', path, { headers: { cookie } });
      expect([path, response.status]).toEqual([path, 401]);
    }
    expect((await new TestClient(server.url).raw('POST', '/api/v1/statuses', { headers: { cookie }, body: { status: 'x' } })).status).toBe(401);
    const upgrade = await handshake({ cookie });
    expect(upgrade.answer.status).toBe(401);
    upgrade.socket.destroy();
    const query = await handshake({}, `?access_token=${ada.client.token ?? ''}`);
    expect(query.answer.status).toBe(101);
    query.socket.destroy();
    expect(server.stderr).not.toContain(ada.client.token ?? '');
  });

  const requestRevocation = async (token: string, by = app): Promise<void> => {
    const response = await new TestClient(server.url).raw('POST', '/oauth/revoke', { body: { token, client_id: by.clientId, client_secret: by.clientSecret } });
    expect(response.status).toBe(200);
  };
});

describe('letting an app in', () => {
  const registered = async (redirectUri = 'https://app.example/back?x=%2Fy'): Promise<App> => registerApp(server.url, { redirectUri });
  const exchangeCode = async (of: App, parameters: Readonly<Record<string, string>>): Promise<[number, string]> => {
    const response = await new TestClient(server.url).raw('POST', '/oauth/token', { body: { grant_type: 'authorization_code', client_id: of.clientId, client_secret: of.clientSecret, redirect_uri: of.redirectUri, ...parameters } });
    const { error } = (await response.json()) as { error?: string };
    return [response.status, error ?? 'a token'];
  };

  it('never redirects to an address that is off by one byte', async () => {
    const of = await registered();
    const browser = new Browser(server.url);
    await logIn(browser, ada);
    for (const redirectUri of [`${of.redirectUri}/`, of.redirectUri.slice(0, -1), of.redirectUri.replace('https', 'HTTPS'), of.redirectUri.replace('%2F', '%2f'), of.redirectUri.replace('app.', 'App.'), `${of.redirectUri}%00`, '']) {
      const query = new URLSearchParams({ response_type: 'code', client_id: of.clientId, redirect_uri: redirectUri, scope: 'read' });
      const page = await browser.open(`/oauth/authorize?${query.toString()}`);
      expect([redirectUri, page.status]).toEqual([redirectUri, 400]);
      expect(page.html).toContain('did not register');
      expect(page.headers.get('location')).toBeNull();
    }
    const code = await authorize(browser, of, ada);
    expect(await exchangeCode(of, { code, redirect_uri: `${of.redirectUri}x` })).toEqual([400, 'invalid_grant']);
  });

  it('takes a code once, of its own app, with the verifier of its challenge, in time', async () => {
    const [of, other] = [await registered(), await registered()];
    const browser = new Browser(server.url);
    const code = await authorize(browser, of, ada);
    expect(await exchangeCode(other, { code })).toEqual([400, 'invalid_grant']);
    const given = await new TestClient(server.url).raw('POST', '/oauth/token', { body: { grant_type: 'authorization_code', client_id: of.clientId, client_secret: of.clientSecret, redirect_uri: of.redirectUri, code: await authorize(browser, of, ada) } });
    expect(given.status).toBe(200);

    const used = await authorize(browser, of, ada);
    const first = (await (await new TestClient(server.url).raw('POST', '/oauth/token', { body: { grant_type: 'authorization_code', client_id: of.clientId, client_secret: of.clientSecret, redirect_uri: of.redirectUri, code: used } })).json()) as { access_token: string };
    expect((await new TestClient(server.url, first.access_token).me()).acct).toBe('ada');
    expect(await exchangeCode(of, { code: used })).toEqual([400, 'invalid_grant']);
    // Whoever had the token first may have been the thief.
    expect((await new TestClient(server.url, first.access_token).raw('GET', '/api/v1/preferences')).status).toBe(401);

    const { verifier, challenge } = pkce();
    const asked = { code_challenge: challenge, code_challenge_method: 'S256' };
    expect(await exchangeCode(of, { code: await authorize(browser, of, ada, asked), code_verifier: pkce().verifier })).toEqual([400, 'invalid_grant']);
    expect(await exchangeCode(of, { code: await authorize(browser, of, ada, asked) })).toEqual([400, 'invalid_grant']);
    expect(await exchangeCode(of, { code: await authorize(browser, of, ada), code_verifier: verifier })).toEqual([400, 'invalid_grant']);
    expect(await exchangeCode(of, { code: await authorize(browser, of, ada, asked), code_verifier: verifier })).toEqual([200, 'a token']);
    expect(await exchangeCode(of, { code: await authorize(browser, of, ada), client_secret: 'wrong' })).toEqual([401, 'invalid_client']);
    for (const method of ['plain', 's256']) {
      const query = new URLSearchParams({ response_type: 'code', client_id: of.clientId, redirect_uri: of.redirectUri, scope: 'read', code_challenge: challenge, code_challenge_method: method });
      expect((await browser.open(`/oauth/authorize?${query.toString()}`)).url).toContain('error=invalid_request');
    }

    const late = await authorize(browser, of, ada);
    for (const database of identity.all) await database.execute(`UPDATE code SET expires = now() - interval '1 second'`);
    expect(await exchangeCode(of, { code: late })).toEqual([400, 'invalid_grant']);
  });

  it('needs a form of ours, sent from our own pages', async () => {
    const of = await registered();
    const browser = new Browser(server.url);
    await logIn(browser, ada);
    const query = new URLSearchParams({ response_type: 'code', client_id: of.clientId, redirect_uri: of.redirectUri, scope: 'read' });
    const page = await browser.open(`/oauth/authorize?${query.toString()}`);
    const consent = page.forms.find(({ action, method }) => method === 'post' && action.endsWith('/oauth/authorize'));
    const body = new URLSearchParams({ ...consent?.fields, decision: 'allow' }).toString();
    const cookie = ['dmb_session', 'dmb_form'].flatMap((name) => (browser.cookie(name) === undefined ? [] : [`${name}=${browser.cookie(name) ?? ''}`])).join('; ');
    const headers = { Cookie: cookie, 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'text/html' };
    await storesNothing(async () => {
      for (const [what, changes, sent] of [
        ['another origin', { Origin: 'https://evil.example' }, body],
        ['another origin that looks like ours', { Origin: `http://localhost:${server.port}.evil.example` }, body],
        ['a cross-site form', { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' }, body],
        ['a form of the same site but not of ours', { Origin: server.url, 'Sec-Fetch-Site': 'same-site' }, body],
        ['no origin at all', {}, body],
        ['no token', { Origin: server.url }, body.replace(/form=[^&]*/, 'form=')],
        ['the token of somebody else', { Origin: server.url }, body.replace(/form=[^&]*/, `form=${'A'.repeat(43)}`)],
      ] as const) {
        const answer = await raw(requestText(server.port, 'POST /oauth/authorize', { ...headers, ...changes }, sent), what);
        expect([what, answer.status, answer.headers['location']]).toEqual([what, 403, undefined]);
      }
    });
    const allowed = await raw(requestText(server.port, 'POST /oauth/authorize', { ...headers, Origin: server.url }, body), 'our own');
    expect([allowed.status, allowed.headers['location']?.startsWith(`${of.redirectUri}&code=`)]).toEqual([303, true]);
  });
});

describe('HTML and script in a text', () => {
  const payloads = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", '</title><b>x', 'javascript:alert(1)', '&lt;b&gt;', ']]><x>', 'a\u202eb\u200bc', '{{7*7}}${7*7}', '<!--', '</textarea><i>', 'https://example.org/"onmouseover="x', 'https://example.org/<b>', '[x](javascript:alert(1))'];
  const allowed: Readonly<Record<string, readonly string[]>> = {
    p: [],
    br: [],
    a: ['href', 'class', 'rel', 'target', 'translate'],
    span: ['class', 'translate'],
  };

  /** Start tags of HTML, as a parser reads them: attributes with their values. */
  function tagsOf(html: string): { readonly name: string; readonly attributes: ReadonlyMap<string, string> }[] {
    return [...html.matchAll(/<(?!\/)(!?[a-zA-Z][^\s/>]*)((?:"[^"]*"|'[^']*'|[^>"'])*)>/g)].map(([, name = '', rest = '']) => ({
      name: name.toLowerCase(),
      attributes: new Map([...rest.matchAll(/([^\s"'>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g)].map(([, key = '', a, b, c]) => [key.toLowerCase(), a ?? b ?? c ?? ''] as const)),
    }));
  }

  function wrongHtml(html: string, where: string): string[] {
    const found: string[] = [];
    // A `<` that begins no tag, or a tag that nobody allowed.
    for (const [match] of html.matchAll(/<(?!\/?(?:p|a|span)\b|br \/>|\/)[^]?.{0,20}/g)) found.push(`${where}: ${match}`);
    for (const { name, attributes } of tagsOf(html)) {
      for (const [attribute, value] of attributes) {
        if (allowed[name]?.includes(attribute) !== true) found.push(`${where}: <${name} ${attribute}>`);
        if (attribute === 'href' && !/^https?:\/\//.test(value)) found.push(`${where}: href ${value}`);
        if (attribute === 'href' && !value.startsWith(server.url) && !/nofollow/.test(attributes.get('rel') ?? '')) found.push(`${where}: a link without rel`);
      }
    }
    return found;
  }

  const ofPages = new Set('!doctype html head meta title link body a bdi header div nav ul ol li main section h1 h2 h3 p span br form input label button textarea select option fieldset legend article aside footer time img details summary code dl dt dd strong small table thead tbody tr th td em abbr output svg rect path circle'.split(' '));

  function wrongPage(html: string, where: string): string[] {
    const found: string[] = [];
    for (const { name, attributes } of tagsOf(html)) {
      if (!ofPages.has(name)) found.push(`${where}: <${name}>`);
      for (const [attribute, value] of attributes) {
        if (/^on/.test(attribute) || attribute === 'style' || attribute === 'srcdoc') found.push(`${where}: <${name} ${attribute}>`);
        if (['href', 'src', 'action', 'formaction'].includes(attribute) && !/^(https?:\/\/|\/|#|\?)/.test(value)) found.push(`${where}: ${attribute}="${value}"`);
        if (['src', 'action'].includes(attribute) && !value.startsWith('/') && !value.startsWith(server.url)) found.push(`${where}: ${attribute}="${value}"`);
      }
    }
    if (/<script|<svg\/|<img src=x|<iframe/i.test(html)) found.push(`${where}: markup of a stranger`);
    return found;
  }

  it('stays text on every page and in every answer', async () => {
    const problems: string[] = [];
    const { client } = await signUp(server.url, 'mallory');
    const browser = new Browser(server.url);
    for (const [index, payload] of payloads.entries()) {
      await client.request('PATCH', '/api/v1/accounts/update_credentials', { body: { display_name: payload.slice(0, 30), note: payload, fields_attributes: [{ name: payload, value: payload }] } });
      const posted = await client.post(`${payload} #x${index} @mallory`, { spoiler: index % 2 === 0 ? payload : '', language: 'en' });
      const second = await client.post(payload, { inReplyTo: posted.id, language: payload });
      await client.request('PUT', `/api/v1/statuses/${posted.id}`, { body: { status: `${payload}${payload}`, spoiler_text: payload } });
      await sleep(0);
      const account = await client.me();
      problems.push(...wrongHtml(account.note, `note ${payload}`), ...account.fields.flatMap(({ value }) => wrongHtml(value, `field ${payload}`)));
      for (const status of [posted, second, await client.status(posted.id)]) problems.push(...wrongHtml(status.content, `post ${payload}`));
      for (const version of await client.get<{ content: string }[]>(`/api/v1/statuses/${posted.id}/history`)) problems.push(...wrongHtml(version.content, `history ${payload}`));
      expect(/[\u202a-\u202e\u200b]/.test(account.display_name)).toBe(false);
      for (const path of ['/', '/@mallory', `/@mallory/${posted.id}`, `/@mallory/${second.id}`, `/tags/x${index}`, `/tags/${encodeURIComponent(payload)}`, `/operator/${encodeURIComponent(payload)}`, `/@${encodeURIComponent(payload)}`, `/@mallory/${encodeURIComponent(payload)}`, `/log-in?next=${encodeURIComponent(payload)}`, `/sign-up?next=${encodeURIComponent(payload)}&link=${encodeURIComponent(payload)}`, `/${encodeURIComponent(payload)}`, `/oauth/authorize/native?code=${encodeURIComponent(payload)}`]) {
        const page = await browser.open(path);
        statuses.set(page.status, path);
        problems.push(...wrongPage(page.html, path));
        expect([path, page.headers.get('content-security-policy')?.includes("default-src 'none'"), page.headers.get('x-content-type-options')]).toEqual([path, true, 'nosniff']);
      }
      // XML: well-formed as far as a stranger's text goes, and the HTML in it as strict as elsewhere.
      const feed = await (await client.raw('GET', '/@mallory/feed.atom')).text();
      expect(feed).not.toMatch(/<script|<img|<svg|<b>|<x>|<i>|&(?!amp;|lt;|gt;|quot;|#\d+;)/);
      const unescape = (text: string): string => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&');
      for (const [, content = ''] of feed.matchAll(/<content type="html">([^<]*)<\/content>/g)) problems.push(...wrongHtml(unescape(content), `feed ${payload}`));
    }
    expect(problems).toEqual([]);
  });

  it('stays text in the names of apps and of those who sign up', async () => {
    const problems: string[] = [];
    const browser = new Browser(server.url);
    await logIn(browser, ada);
    for (const payload of payloads) {
      const response = await new TestClient(server.url).raw('POST', '/api/v1/apps', { body: { client_name: payload, redirect_uris: 'https://app.example/', website: payload, scopes: 'read' } });
      const { client_id: clientId, website } = (await response.json()) as { client_id: string; website: string | null };
      expect(website === null || /^https?:\/\//.test(website)).toBe(true);
      const query = new URLSearchParams({ response_type: 'code', client_id: clientId, redirect_uri: 'https://app.example/', scope: 'read', state: payload });
      const page = await browser.open(`/oauth/authorize?${query.toString()}`);
      problems.push(...wrongPage(page.html, `authorize ${payload}`));
      const consent = page.forms.find(({ action, method }) => method === 'post' && action.endsWith('/oauth/authorize'));
      if (consent !== undefined) {
        const answer = await browser.submit(page, consent, {}, 'let it in');
        // The state comes back as it was, and adds no parameter of its own.
        expect([...new URL(answer.url).searchParams.keys()].sort()).toEqual(['code', 'iss', 'state']);
      }
      problems.push(...wrongPage((await browser.open('/settings')).html, `settings ${payload}`));
      const stranger = new Browser(server.url);
      const form = await stranger.open('/sign-up');
      const again = await stranger.submit(form, formWith(form, 'username', 'password'), { username: payload, display_name: payload, password: 'short' });
      expect(again.status).toBe(422);
      problems.push(...wrongPage(again.html, `sign-up ${payload}`));
      const login = await stranger.open('/log-in');
      problems.push(...wrongPage((await stranger.submit(login, formWith(login, 'username', 'password'), { username: payload, password: payload })).html, `log-in ${payload}`));
    }
    expect(problems).toEqual([]);
  });
});

describe('bytes that are no proper HTTP', () => {
  const host = (): string => `Host: localhost:${server.port}`;

  it('are answered with 400 or its like, in JSON, and end the connection', async () => {
    for (const [what, bytes, expected] of [
      ['nonsense', 'nonsense\r\n\r\n', 400],
      ['TLS', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]), 400],
      ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
      ['two lengths', `POST /api/v1/apps HTTP/1.1\r\n${host()}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef`, 400],
      ['a length and chunks', `POST /api/v1/apps HTTP/1.1\r\n${host()}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
      ['a length that is none', `POST /api/v1/apps HTTP/1.1\r\n${host()}\r\nContent-Length: -5\r\n\r\n`, 400],
      ['an unknown coding', `POST /api/v1/apps HTTP/1.1\r\n${host()}\r\nTransfer-Encoding: gzip, x\r\n\r\n`, 400],
      ['a chunk that is none', `POST /api/v1/apps HTTP/1.1\r\n${host()}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
      ['a folded header', `GET /api/v1/instance HTTP/1.1\r\n${host()}\r\nX: a\r\n b\r\n\r\n`, 0],
      ['a header without a name', `GET /api/v1/instance HTTP/1.1\r\n${host()}\r\n: x\r\n\r\n`, 400],
      ['NUL in a header', `GET /api/v1/instance HTTP/1.1\r\n${host()}\r\nX: a\0b\r\n\r\n`, 400],
      ['a space in a path', `GET /api/v1/inst ance HTTP/1.1\r\n${host()}\r\n\r\n`, 400],
      ['headers of 9 KB', `GET /api/v1/instance HTTP/1.1\r\n${host()}\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`, 431],
      ['2,000 headers', `GET /api/v1/instance HTTP/1.1\r\n${host()}\r\n${Array.from({ length: 2_000 }, (_, index) => `X${index}: 1\r\n`).join('')}\r\n`, 431],
      ['an address of 9 KB', `GET /api/v1/${'x'.repeat(9_000)} HTTP/1.1\r\n${host()}\r\n\r\n`, 431],
    ] as const) {
      const answer = await raw(bytes, what, { timeoutMs: 12_000 });
      if (expected === 0) {
        expect([what, answer.status < 500]).toEqual([what, true]);
        continue;
      }
      expect([what, answer.status]).toEqual([what, expected]);
      expect([what, typeof (JSON.parse(answer.body) as { error?: unknown }).error, answer.headers['connection']]).toEqual([what, 'string', 'close']);
    }
  });

  it('a length that is written twice smuggles nothing to the next request', async () => {
    const smuggled = `POST /api/v1/apps HTTP/1.1\r\n${host()}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}GET /api/v1/instance HTTP/1.1\r\n${host()}\r\n\r\n`;
    const answer = await raw(smuggled, 'smuggling', { untilEnd: true, timeoutMs: 5_000 });
    expect(answer.bytes.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    expect(answer.status).toBe(400);
  });

  it('an unknown or missing Host is told so, whatever else is claimed', async () => {
    for (const [what, headers, expected] of [
      ['another domain', { Host: 'evil.example' }, 421],
      ['our name and more', { Host: `localhost:${server.port}.evil.example` }, 421],
      ['another port', { Host: 'localhost:1' }, 421],
      ['a user before it', { Host: `x@localhost:${server.port}` }, 421],
      ['nothing', { Host: '' }, 421],
      ['an address of the machine', { Host: '169.254.169.254' }, 421],
      ['a claim beside it', { Host: 'evil.example', 'X-Forwarded-Host': `localhost:${server.port}`, Forwarded: `host=localhost:${server.port}` }, 421],
    ] as const) {
      for (const [path, type] of [['/api/v1/instance', 'application/json'], ['/oauth/token', 'application/json'], ['/@ada', 'text/html'], ['/nothing', 'text/html'], ['/api/v1/streaming', 'application/json']] as const) {
        const answer = await raw(requestText(server.port, `GET ${path}`, { ...headers, Accept: 'text/html' }), what);
        expect([what, path, answer.status, answer.headers['content-type']?.split(';')[0]]).toEqual([what, path, expected, type]);
        expect(answer.body).not.toContain('evil.example');
      }
    }
    const twice = await raw(`GET /api/v1/instance HTTP/1.1\r\n${host()}\r\nHost: evil.example\r\n\r\n`, 'two hosts');
    expect(twice.status).toBe(400);
    expect((await raw('GET /api/v1/instance HTTP/1.1\r\n\r\n', 'no host')).status).toBe(400);
    const claimed = await raw(requestText(server.port, 'GET /api/v1/instance', { 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Proto': 'https', Forwarded: 'host=evil.example' }), 'a claim');
    expect([claimed.status, claimed.body.includes('evil.example')]).toEqual([200, false]);
    for (const path of ['/api/v1/instance', '/@ada', '/nothing']) {
      const whole = await raw(requestText(server.port, `GET http://evil.example${path}`), 'a whole address');
      expect([path, whole.status, whole.body.includes('evil.example')]).toEqual([path, 421, false]);
    }
    const ours = await raw(requestText(server.port, `GET http://localhost:${server.port}/api/v1/instance`, { Host: 'evil.example' }), 'a whole address');
    expect([ours.status, ours.body.includes('evil.example')]).toEqual([200, false]);
  });

  it('a path with tricks in it is another path, or none', async () => {
    const secret = readFileSync('/etc/hostname', 'utf8').trim();
    for (const path of ['//api/v1/instance', '/api//v1/instance', '/api/v1//instance', '/api/v1/x/../instance', '/api/v1/%2e%2e/v1/instance', '/api%2fv1%2finstance', '/api/v1/instance%00', '/api/v1/instance%2f', '/api/v1/instance;x=1', '/API/V1/INSTANCE', '/api/v1/statuses/%', '/api/v1/statuses/%zz', '/api/v1/statuses/%ff%fe', '/assets/../../../../etc/hostname', '/assets/%2e%2e%2f%2e%2e%2fetc%2fhostname', '/assets/..%5c..%5cx', '/@ada%2f..%2f..', '/@ada/../@ada', '/.%2e/', '/\\', '/api/v1/statuses/' + 'x'.repeat(600), '/' + 'a/'.repeat(2_000), '/@ada/feed.atom%00', '/dmb.json', '/.git/config', '/?%00', '/#', '/*', '*']) {
      const answer = await raw(requestText(server.port, `GET ${path}`, { Accept: 'text/html' }), path);
      expect(answer.status, path).toBeGreaterThanOrEqual(200);
      expect(answer.status, path).toBeLessThan(500);
      if (secret !== '') expect([path, answer.body === secret]).toEqual([path, false]);
      if (path.startsWith('/api/') && answer.status >= 400) expect([path, answer.headers['content-type']]).toEqual([path, 'application/json; charset=utf-8']);
      // Nothing is served twice under different names, where a proxy before us would know one only.
      if (/^\/(\/|api\/\/|api\/v1\/\/|API|api%2f)/.test(path)) expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});

describe('a slow client', () => {
  it('is given its time, and no more', async () => {
    const [headers, silent] = await Promise.all([slow.headers, slow.silent]);
    expect([headers.status, JSON.parse(headers.body)]).toEqual([408, { error: 'The request took too long to arrive' }]);
    expect(silent.hasEnded).toBe(true);
    const body = await slow.body;
    expect([body.status, JSON.parse(body.body), body.hasEnded]).toEqual([408, { error: 'The request took too long to arrive' }, true]);
  });

  it('and a thousand that say nothing keep nobody from being answered', async () => {
    const sockets: Socket[] = [];
    for (let begun = 0; begun < 1_000; begun += 100) sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => open(server.port)))));
    try {
      const { token } = ada.client;
      const upgraded = await Promise.all(Array.from({ length: 50 }, () => handshake({ authorization: `Bearer ${token ?? ''}` })));
      expect(upgraded.map(({ answer }) => answer.status)).toEqual(upgraded.map(() => 101));
      sockets.push(...upgraded.map(({ socket }) => socket));
      for (let turn = 0; turn < 20; turn++) {
        const { id } = await ada.client.post(`while a thousand wait ${turn}`);
        expect((await ada.client.status(id)).id).toBe(id);
        await ada.client.request('DELETE', `/api/v1/statuses/${id}`);
      }
      expect((await new TestClient(server.url).raw('GET', '/health/ready')).status).toBe(200);
      // A token opens so many streams and no more.
      const more = await Promise.all(Array.from({ length: 20 }, () => handshake({ authorization: `Bearer ${token ?? ''}` })));
      sockets.push(...more.map(({ socket }) => socket));
      const refused = more.find(({ answer }) => answer.status !== 101)?.answer;
      expect([refused?.status, JSON.parse(refused?.body ?? '{}')]).toEqual([429, { error: 'Too many open streams' }]);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
});

// -- WebSocket, by bytes

async function handshake(headers: Readonly<Record<string, string>>, query = ''): Promise<{ readonly socket: Socket; readonly answer: WireAnswer }> {
  const socket = await open(server.port);
  const request = requestText(server.port, `GET /api/v1/streaming${query}`, { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64'), ...headers });
  const answer = note(await talk(socket, request, { timeoutMs: 10_000 }), 'WebSocket');
  socket.removeAllListeners('data');
  return { socket, answer };
}

function frame(opcode: number, payload: Buffer | string, { masked = true, fin = true } = {}): Buffer {
  const body = Buffer.from(payload);
  const length = body.length < 126 ? Buffer.from([body.length]) : body.length < 65_536 ? Buffer.from([126, body.length >> 8, body.length & 255]) : Buffer.concat([Buffer.from([127, 0, 0, 0, 0]), Buffer.from([body.length >>> 24, (body.length >> 16) & 255, (body.length >> 8) & 255, body.length & 255])]);
  length[0] = (length[0] ?? 0) | (masked ? 0x80 : 0);
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode]), length, ...(masked ? [mask, body.map((byte, index) => byte ^ (mask[index % 4] ?? 0))] : [body])]);
}

/** Frames until the connection ends, or nothing comes for a while. */
async function frames(socket: Socket, quietMs = 1_500): Promise<{ readonly texts: readonly string[]; readonly closed: number | undefined; readonly bytes: number }> {
  const chunks: Buffer[] = [];
  socket.on('data', (data: Buffer) => chunks.push(data));
  socket.resume();
  for (let seen = -1; seen !== chunks.length && !socket.destroyed; ) {
    seen = chunks.length;
    await sleep(quietMs);
  }
  const all = Buffer.concat(chunks);
  const texts: string[] = [];
  let closed: number | undefined;
  for (let at = 0; at + 2 <= all.length; ) {
    const opcode = (all[at] ?? 0) & 15;
    const short = (all[at + 1] ?? 0) & 127;
    const [size, length] = short < 126 ? [2, short] : short === 126 ? [4, all.readUInt16BE(at + 2)] : [10, Number(all.readBigUInt64BE(at + 2))];
    const payload = all.subarray(at + size, at + size + length);
    if (opcode === 1) texts.push(payload.toString('utf8'));
    if (opcode === 8) closed = payload.readUInt16BE(0);
    at += size + length;
  }
  return { texts, closed, bytes: all.length };
}

/** Bytes on their way to a client that the kernel keeps, on both sides. */
function queuedFor(socket: Socket): number {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');
  const ports = [hex(server.port), hex(socket.localPort ?? 0)];
  return ['tcp', 'tcp6']
    .flatMap((file) => readFileSync(`/proc/net/${file}`, 'utf8').split('\n'))
    .map((line) => /^\s*\d+: \w+:(\w{4}) \w+:(\w{4}) \w\w (\w{8}):(\w{8})/.exec(line))
    .filter((row) => row !== null && ports.includes(row[1] ?? '') && ports.includes(row[2] ?? ''))
    .reduce((total, row) => total + parseInt(row?.[3] ?? '0', 16) + parseInt(row?.[4] ?? '0', 16), 0);
}

describe('a WebSocket', () => {
  const begin = async (): Promise<Socket> => {
    const { socket, answer } = await handshake({ ...asAda() });
    expect(answer.status).toBe(101);
    return socket;
  };

  it('is refused before it exists: 401 and 400 in JSON', async () => {
    for (const [headers, query, status, error] of [
      [{}, '', 401, 'The access token is invalid'],
      [{ 'Sec-WebSocket-Protocol': 'nonsense' }, '', 401, 'The access token is invalid'],
      [asAda(), '?stream=nothing', 400, 'Unknown stream type'],
      [{ Authorization: `Bearer ${appToken}` }, '', 422, 'This method requires an authenticated user'],
    ] as const) {
      const { socket, answer } = await handshake(headers, query);
      socket.destroy();
      expect([answer.status, JSON.parse(answer.body)]).toEqual([status, { error }]);
    }
    for (const headers of [{ 'Sec-WebSocket-Version': '1' }, { 'Sec-WebSocket-Key': 'x' }]) {
      const { socket, answer } = await handshake({ ...asAda(), ...headers });
      socket.destroy();
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    }
  });

  it.each([
    ['that says no JSON is told so', [frame(1, 'nothing')], [{ error: 'The message is not a JSON object', status: 400 }], undefined],
    ['that says a list is told so', [frame(1, '[1]')], [{ error: 'The message is not a JSON object', status: 400 }], undefined],
    ['that speaks binary is told so', [frame(2, Buffer.from([1, 2, 3]))], [{ error: 'The message is not a JSON object', status: 400 }], undefined],
    ['that asks for an unknown stream is told so', [frame(1, '{"type":"subscribe","stream":"nothing"}')], [{ error: 'Unknown stream type', status: 400 }], undefined],
    ['that asks for a stream that is an object is told so', [frame(1, '{"type":"subscribe","stream":{"a":1}}')], [{ error: 'Unknown stream type', status: 400 }], undefined],
    ['that says something new is let be', [frame(1, '{"type":"dance","__proto__":{"type":"subscribe"}}')], [], undefined],
    ['whose message is too large is closed: 1009', [frame(1, 'x'.repeat(5_000))], [], 1009],
    ['whose fragments together are too large is closed: 1009', [frame(1, 'x'.repeat(3_000), { fin: false }), frame(0, 'x'.repeat(3_000))], [], 1009],
    ['that does not mask is closed: 1002', [frame(1, '{}', { masked: false })], [], 1002],
    ['with an unknown opcode is closed: 1002', [frame(5, 'x')], [], 1002],
    ['whose text is no UTF-8 is closed: 1007', [frame(1, Buffer.from([0xff, 0xfe]))], [], 1007],
    ['that says too much is closed: 1008', Array.from({ length: 60 }, () => frame(1, '{"type":"subscribe","stream":"user"}')), [], 1008],
  ] as const)('%s', async (_what, sent, texts, closed) => {
    const socket = await begin();
    for (const bytes of sent) socket.write(bytes);
    const got = await frames(socket, 700);
    socket.destroy();
    expect(got.texts.map((text) => JSON.parse(text) as unknown)).toEqual(texts);
    expect(got.closed).toBe(closed);
  });

  it('whose client reads nothing is bounded, and closed with a code that says why', async () => {
    const rss = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1_024;
    // More than one, because each may ask only so often.
    const [reader, ...writing] = await Promise.all(['reader', ...Array.from({ length: 4 }, (_, index) => `writer_${index}`)].map((handle) => signUp(server.url, handle)));
    if (reader === undefined) throw new Error('nobody reads');
    for (const { account } of writing) await reader.client.follow(account.id);
    await eventually(async () => ((await reader.client.get<{ following_count: number }>('/api/v1/accounts/verify_credentials')).following_count === writing.length ? [] : ['not yet']));
    const { socket, answer } = await handshake({ Authorization: `Bearer ${reader.client.token ?? ''}` }, '?stream=user');
    expect(answer.status).toBe(101);
    socket.pause();
    const other = await reader.client.webSocket();
    const before = rss();
    // 16 KB each: what the kernel keeps for a socket is full after some hundreds.
    const text = `x${'\u0301'.repeat(8_000)}`;
    let sent = 0;
    const postTen = async (): Promise<void> => {
      const writers = [reader, ...writing];
      await Promise.all(Array.from({ length: 10 }, () => writers[++sent % writers.length]?.client.post(`${sent} ${text}`)));
      expect(await eventually(() => Promise.resolve(other.events.length >= sent ? [] : ['not all yet']), 20_000)).toEqual([]);
    };
    // What the other one of the same viewer was told, this one was told: what the kernel does not keep of it, the program does, until that is too much.
    const kept = (): number => other.events.reduce((total, { payload }) => total + Buffer.byteLength(JSON.stringify(payload)), 0) - queuedFor(socket);
    while (kept() < 600_000 && sent < 1_200) await postTen();
    // And no more of these.
    await postTen();
    const got = await frames(socket);
    const grown = rss() - before;
    socket.destroy();
    expect([other.events.length, other.hasEnded]).toEqual([sent, false]);
    other.close();
    expect(got.closed).toBe(4008);
    expect(got.texts.length).toBeLessThan(sent);
    expect(grown).toBeLessThan(250);
  });
});

describe('an address that somebody only claims', () => {
  it('does not count without a proxy that is trusted', async () => {
    const other = await startTestServer({ environment: { DMB_TRUSTED_PROXIES: '' } });
    try {
      const ask = async (index: number): Promise<Response> => new TestClient(other.url).raw('GET', '/api/v1/custom_emojis', { headers: { 'x-forwarded-for': `203.0.113.${index % 250}`, forwarded: `for=203.0.113.${index % 250}`, 'x-real-ip': `203.0.113.${index % 250}` } });
      let limited: Response | undefined;
      for (let index = 0; index < 310 && limited === undefined; index++) {
        const response = await ask(index);
        if (response.status === 429) limited = response;
        else await response.arrayBuffer();
      }
      expect(limited?.status).toBe(429);
      expect(await limited?.json()).toEqual({ error: 'Too many requests' });
      expect(limited?.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(limited?.headers.get('x-ratelimit-remaining')).toBe('0');
      expect(limited?.headers.get('access-control-allow-origin')).toBe('*');
    } finally {
      await other.dispose();
    }
  });
});

it('no answer was a failure of ours, and the log has none', async () => {
  const account = await new TestClient(server.url).get<Account>(`/api/v1/accounts/${ada.account.id}`);
  expect(account.acct).toBe('ada');
  expect([...statuses].filter(([status]) => status >= 500 && status !== 503)).toEqual([]);
  expect(server.stderr.split('\n').filter((line) => line.includes('"level":"error"'))).toEqual([]);
});
