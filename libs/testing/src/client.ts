/**
 * Clients of a server, known by nothing but its address.
 *
 * {@link TestClient} speaks the client API as plainly as possible: what a test asserts about an
 * answer is what was on the wire, not what a library made of it. {@link Browser} is a person at
 * the pages: it keeps cookies, reads forms out of the HTML and sends them, and has no script.
 *
 * Sign-ups are limited by address, and every test comes from one. {@link signUp} therefore comes
 * from an address of its own, told by `X-Forwarded-For`, which servers started by server.ts believe
 * of loopback.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import type { Account, ClientToken, Context, Notification, Relationship, Status } from '@dmb/events';
import { WebSocket } from 'ws';

/** An answer that was no success. */
export class ClientError extends Error {
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
  readonly headers: Headers;

  constructor(method: string, path: string, response: Response, body: string) {
    super(`${method} ${path} answered ${response.status}: ${body.slice(0, 300)}`);
    this.name = 'ClientError';
    this.status = response.status;
    this.body = body;
    this.contentType = response.headers.get('content-type') ?? '';
    this.headers = response.headers;
  }
}

export interface RequestOptions {
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** A page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Path and query of the next page (older), from the Link header. */
  readonly next: string | undefined;
  readonly prev: string | undefined;
}

export interface NewPost {
  readonly visibility?: 'public' | 'unlisted' | 'private' | 'direct';
  readonly inReplyTo?: string;
  /** Idempotency-Key. */
  readonly key?: string;
  readonly language?: string;
  readonly spoiler?: string;
}

/** One token at one server; without a token it is anonymous. */
export class TestClient {
  readonly baseUrl: string;
  readonly token: string | undefined;

  constructor(baseUrl: string, token?: string) {
    this.baseUrl = baseUrl;
    this.token = token;
  }

  /** Any request; never throws for a status. */
  async raw(method: string, path: string, { body, headers = {}, timeoutMs = 30_000 }: RequestOptions = {}): Promise<Response> {
    return await fetch(new URL(path, this.baseUrl), {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
      headers: {
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  /** @throws {ClientError} unless the status is 2xx */
  async request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    return (await this.#answered<T>(method, path, options)).json;
  }

  async get<T>(path: string): Promise<T> {
    return await this.request<T>('GET', path);
  }

  /** One page of a list. */
  async page<T>(path: string): Promise<Page<T>> {
    const { json, response } = await this.#answered<readonly T[]>('GET', path, {});
    const link = response.headers.get('link') ?? '';
    const to = (rel: string): string | undefined => {
      const url = new RegExp(`<([^>]+)>; rel="${rel}"`).exec(link)?.[1];
      if (url === undefined) return undefined;
      const { pathname, search } = new URL(url);
      return pathname + search;
    };
    return { items: json, next: to('next'), prev: to('prev') };
  }

  /** A list read to its end, page by page. */
  async all<T>(path: string): Promise<T[]> {
    const items: T[] = [];
    for (let next: string | undefined = path; next !== undefined; ) {
      const page: Page<T> = await this.page<T>(next);
      items.push(...page.items);
      next = page.next;
    }
    return items;
  }

  async me(): Promise<Account> {
    return await this.get<Account>('/api/v1/accounts/verify_credentials');
  }

  async post(text: string, { visibility, inReplyTo, key, language, spoiler }: NewPost = {}): Promise<Status> {
    return await this.request<Status>('POST', '/api/v1/statuses', {
      body: { status: text, visibility, in_reply_to_id: inReplyTo, language, spoiler_text: spoiler },
      headers: key === undefined ? {} : { 'idempotency-key': key },
    });
  }

  async status(id: string): Promise<Status> {
    return await this.get<Status>(`/api/v1/statuses/${id}`);
  }

  async context(id: string): Promise<Context> {
    return await this.get<Context>(`/api/v1/statuses/${id}/context`);
  }

  async home(limit = 40): Promise<readonly Status[]> {
    return await this.get<Status[]>(`/api/v1/timelines/home?limit=${limit}`);
  }

  /** The home timeline down to its end. */
  async wholeHome(): Promise<Status[]> {
    return await this.all<Status>('/api/v1/timelines/home?limit=40');
  }

  /** Every post of an account that this client may see. */
  async wholeHistory(accountId: string): Promise<Status[]> {
    return await this.all<Status>(`/api/v1/accounts/${accountId}/statuses?limit=40`);
  }

  async notifications(): Promise<readonly Notification[]> {
    return await this.get<Notification[]>('/api/v1/notifications');
  }

  async lookUp(handle: string): Promise<Account> {
    return await this.get<Account>(`/api/v1/accounts/lookup?acct=${encodeURIComponent(handle)}`);
  }

  async follow(accountId: string): Promise<Relationship> {
    return await this.request<Relationship>('POST', `/api/v1/accounts/${accountId}/follow`);
  }

  async unfollow(accountId: string): Promise<Relationship> {
    return await this.request<Relationship>('POST', `/api/v1/accounts/${accountId}/unfollow`);
  }

  /** Server-Sent Events; resolves when the server has accepted. */
  async eventStream(path = '/api/v1/streaming/user'): Promise<TestStream> {
    const stop = new AbortController();
    const response = await fetch(new URL(path, this.baseUrl), { signal: stop.signal, headers: { accept: 'text/event-stream', ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }) } });
    if (!response.ok || response.body === null) throw new ClientError('GET', path, response, await response.text());
    const stream = new TestStream(() => stop.abort());
    void readEvents(response.body, stream);
    return stream;
  }

  /** A WebSocket with the token as its subprotocol, subscribed to `names`; resolves when it is open. */
  async webSocket(names: readonly string[] = ['user']): Promise<TestStream> {
    const url = new URL('/api/v1/streaming', this.baseUrl.replace(/^http/, 'ws'));
    const socket = new WebSocket(url, this.token === undefined ? [] : [this.token]);
    const stream = new TestStream(() => socket.terminate());
    socket.on('message', (data: Buffer) => {
      const { stream: to, event, payload } = JSON.parse(data.toString('utf8')) as { stream: string[]; event: string; payload: string };
      stream.add({ stream: to, event, payload });
    });
    socket.on('close', () => stream.end());
    await new Promise<void>((done, failed) => {
      socket.once('open', done);
      socket.once('error', failed);
    });
    socket.on('error', () => stream.end());
    for (const name of names) socket.send(JSON.stringify({ type: 'subscribe', stream: name }));
    return stream;
  }

  async #answered<T>(method: string, path: string, options: RequestOptions): Promise<{ readonly json: T; readonly response: Response }> {
    const response = await this.raw(method, path, options);
    const text = await response.text();
    if (!response.ok) throw new ClientError(method, path, response, text);
    return { json: JSON.parse(text) as T, response };
  }
}

/** What came by a stream. `payload` as sent: JSON, or the bare id of a deletion. */
export interface StreamEvent {
  readonly stream?: readonly string[];
  readonly event: string;
  readonly payload: string;
}

/** An open stream: events are kept in the order in which they came. */
export class TestStream {
  readonly events: StreamEvent[] = [];
  #ended = false;
  readonly #close: () => void;
  readonly #waiting = new Set<() => void>();

  constructor(close: () => void) {
    this.#close = close;
  }

  add(event: StreamEvent): void {
    this.events.push(event);
    for (const wake of this.#waiting) wake();
  }

  end(): void {
    this.#ended = true;
    for (const wake of this.#waiting) wake();
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** The first event, come already or to come, for which `isIt` holds. */
  async wait(isIt: (event: StreamEvent) => boolean, timeoutMs = 10_000): Promise<StreamEvent> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = this.events.find(isIt);
      if (found !== undefined) return found;
      const leftMs = deadline - performance.now();
      if (this.#ended || leftMs <= 0) throw new Error(`the stream ${this.#ended ? 'ended' : 'was silent'}; it had brought ${JSON.stringify(this.events.map(({ event }) => event))}`);
      await new Promise<void>((done) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          done();
        };
        const timer = setTimeout(wake, leftMs);
        this.#waiting.add(wake);
      });
    }
  }

  /** Waits for a Status by `update`, `status.update` or the like. */
  async status(event: string, id: string, timeoutMs?: number): Promise<Status> {
    const { payload } = await this.wait((each) => each.event === event && (JSON.parse(each.payload) as Status).id === id, timeoutMs);
    return JSON.parse(payload) as Status;
  }

  close(): void {
    this.#close();
    this.end();
  }
}

async function readEvents(body: AsyncIterable<Uint8Array>, stream: TestStream): Promise<void> {
  let rest = '';
  const decoder = new TextDecoder();
  try {
    for await (const bytes of body) {
      rest += decoder.decode(bytes, { stream: true });
      for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
        const lines = rest.slice(0, end).split('\n');
        rest = rest.slice(end + 2);
        const of = (name: string): string | undefined => lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
        const event = of('event');
        if (event !== undefined) stream.add({ event, payload: of('data') ?? '' });
      }
    }
  } catch {
    // Closed by us, or the server is gone.
  }
  stream.end();
}

/** A registered app. */
export interface App {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly redirectUri: string;
  readonly scopes: string;
}

export async function registerApp(baseUrl: string, { name = 'Test', redirectUri = 'urn:ietf:wg:oauth:2.0:oob', scopes = 'read write follow push' } = {}): Promise<App> {
  const app = await new TestClient(baseUrl).request<{ client_id: string; client_secret: string }>('POST', '/api/v1/apps', {
    body: { client_name: name, redirect_uris: redirectUri, scopes },
    headers: { 'x-forwarded-for': someAddress() },
  });
  return { clientId: app.client_id, clientSecret: app.client_secret, redirectUri, scopes };
}

/** A token by any grant. */
export async function requestToken(baseUrl: string, app: App, grant: Readonly<Record<string, string>>): Promise<ClientToken> {
  return await new TestClient(baseUrl).request<ClientToken>('POST', '/oauth/token', {
    body: { client_id: app.clientId, client_secret: app.clientSecret, redirect_uri: app.redirectUri, ...grant },
    headers: { 'x-forwarded-for': someAddress() },
  });
}

/** Somebody with an account here. */
export interface Member {
  readonly handle: string;
  readonly password: string;
  readonly client: TestClient;
  readonly account: Account;
}

/** Signs up by the client API, as Mastodon.py does: app, client_credentials, account. */
export async function signUp(baseUrl: string, handle: string, { password = `secret of ${handle}`, app }: { readonly password?: string; readonly app?: App } = {}): Promise<Member> {
  const registered = app ?? (await registerApp(baseUrl));
  const token = await requestToken(baseUrl, registered, { grant_type: 'client_credentials', scope: 'read write' });
  const given = await new TestClient(baseUrl, token.access_token).request<ClientToken>('POST', '/api/v1/accounts', {
    body: { username: handle, password, email: `${handle}@example.org`, agreement: true, locale: 'en' },
    headers: { 'x-forwarded-for': someAddress() },
  });
  const client = new TestClient(baseUrl, given.access_token);
  return { handle, password, client, account: await client.me() };
}

/** An address that nobody else in this run has. */
function someAddress(): string {
  return `10.${randomInt(256)}.${randomInt(256)}.${randomInt(1, 255)}`;
}

/** A form of a page. */
export interface Form {
  readonly action: string;
  readonly method: string;
  /** What a browser would send if the person changed nothing: hidden, filled and checked ones. */
  readonly fields: Readonly<Record<string, string>>;
  /** Names of everything that can be filled in. */
  readonly names: readonly string[];
  /** Buttons that submit, by their text. */
  readonly buttons: readonly { readonly text: string; readonly name: string | undefined; readonly value: string }[];
}

/** What a browser shows. */
export interface Shown {
  readonly url: string;
  readonly status: number;
  readonly html: string;
  readonly forms: readonly Form[];
  readonly headers: Headers;
}

/** A person at the pages, without script. */
export class Browser {
  readonly #baseUrl: string;
  readonly #cookies = new Map<string, string>();
  readonly #address = someAddress();

  constructor(baseUrl: string) {
    this.#baseUrl = baseUrl;
  }

  /** Follows redirects inside this server; one that leads elsewhere is answered as it is. */
  async open(path: string): Promise<Shown> {
    return await this.#go('GET', path, undefined);
  }

  /** Sends a form as pressing `button` (a part of its text; the first one if left out) would. */
  async submit(page: Shown, form: Form, values: Readonly<Record<string, string>> = {}, button?: string): Promise<Shown> {
    const pressed = form.buttons.find(({ text }) => button === undefined || text.toLowerCase().includes(button.toLowerCase()));
    if (pressed === undefined && (button !== undefined || form.buttons.length > 0)) throw new Error(`there is no button "${button ?? ''}" among ${form.buttons.map(({ text }) => text).join(', ')}`);
    const body = new URLSearchParams({ ...form.fields, ...values, ...(pressed?.name === undefined ? {} : { [pressed.name]: pressed.value }) });
    const target = new URL(form.action, page.url);
    if (form.method === 'get') return await this.#go('GET', `${target.pathname}?${body.toString()}`, undefined);
    return await this.#go('POST', target.pathname + target.search, body, page.url);
  }

  cookie(name: string): string | undefined {
    return this.#cookies.get(name);
  }

  async #go(method: string, path: string, body: URLSearchParams | undefined, from?: string): Promise<Shown> {
    let url = new URL(path, this.#baseUrl);
    for (let hops = 0; hops < 10; hops++) {
      const response: Response = await fetch(url, {
        method,
        redirect: 'manual',
        headers: {
          accept: 'text/html,application/xhtml+xml',
          'x-forwarded-for': this.#address,
          cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; '),
          ...(method === 'POST' ? { origin: new URL(this.#baseUrl).origin, 'sec-fetch-site': 'same-origin' } : {}),
          ...(from === undefined ? {} : { referer: from }),
        },
        ...(body === undefined ? {} : { body }),
      });
      for (const cookie of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
        if (value === '' || /max-age=0(;|$)/i.test(cookie)) this.#cookies.delete(name);
        else this.#cookies.set(name, value);
      }
      const location = response.headers.get('location');
      if (response.status >= 300 && response.status < 400 && location !== null) {
        const next = new URL(location, url);
        await response.arrayBuffer();
        if (next.origin !== url.origin) return { url: location, status: response.status, html: '', forms: [], headers: response.headers };
        url = next;
        method = 'GET';
        body = undefined;
        continue;
      }
      const html = await response.text();
      return { url: url.href, status: response.status, html, forms: formsIn(html, url.href), headers: response.headers };
    }
    throw new Error(`${path} redirects without an end`);
  }
}

/** The parts of an element's tag. */
function attributesOf(tag: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [, name = '', quoted] of tag.matchAll(/\s([a-z-]+)(?:="([^"]*)")?/g)) found[name] = unescape(quoted ?? '');
  return found;
}

const unescape = (text: string): string => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');

/** Text of a page as a person reads it. */
export const textOf = (html: string): string => unescape(html.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')).trim();

function formsIn(html: string, url: string): Form[] {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)].map(([, tag = '', inner = '']) => {
    const { action = url, method = 'get' } = attributesOf(tag);
    const fields: Record<string, string> = {};
    const names: string[] = [];
    const buttons: Form['buttons'][number][] = [];
    for (const [, input, wide, wideAttributes, content = ''] of inner.matchAll(/<input\b([^>]*)>|<(textarea|select|button)\b([^>]*)>([\s\S]*?)<\/\2>/g)) {
      const [element, attributes] = wide === undefined ? ['input', input] : [wide, wideAttributes];
      const { name, type = element === 'button' ? 'submit' : 'text', value = '', ...others } = attributesOf(` ${attributes ?? ''}`);
      if (type === 'submit') {
        buttons.push({ text: element === 'button' ? textOf(content) : value, name, value });
        continue;
      }
      if (name === undefined) continue;
      names.push(name);
      if (element === 'textarea') fields[name] = unescape(content);
      else if (element === 'select') fields[name] = attributesOf(/<option\b[^>]*\bselected\b[^>]*>/.exec(content)?.[0] ?? /<option\b[^>]*>/.exec(content)?.[0] ?? '')['value'] ?? '';
      else if ((type !== 'checkbox' && type !== 'radio') || 'checked' in others) fields[name] = value;
    }
    return { action, method: method.toLowerCase(), fields, names, buttons };
  });
}

/** The form of a page that has all these fields. */
export function formWith(page: Shown, ...names: readonly string[]): Form {
  const form = page.forms.find((each) => names.every((name) => each.names.includes(name)));
  if (form === undefined) throw new Error(`${page.url} (${page.status}) has no form with ${names.join(', ')}, but ${JSON.stringify(page.forms.map((each) => each.names))}: ${textOf(page.html).slice(0, 300)}`);
  return form;
}

/** Fills in the log-in form of a page. */
async function enter(browser: Browser, page: Shown, { handle, password }: Pick<Member, 'handle' | 'password'>): Promise<Shown> {
  return await browser.submit(page, formWith(page, 'username', 'password'), { username: handle, password });
}

/** Logs in at the page. */
export async function logIn(browser: Browser, member: Pick<Member, 'handle' | 'password'>): Promise<Shown> {
  return await enter(browser, await browser.open('/log-in'), member);
}

/**
 * Lets an app in through the pages, logging in on the way if need be, and answers the code.
 * @param further parameters of the authorize address, replacing the usual ones
 */
export async function authorize(browser: Browser, app: App, member: Pick<Member, 'handle' | 'password'>, further: Readonly<Record<string, string>> = {}): Promise<string> {
  const query = new URLSearchParams({ response_type: 'code', client_id: app.clientId, redirect_uri: app.redirectUri, scope: app.scopes, ...further });
  return await authorizeAt(browser, `/oauth/authorize?${query.toString()}`, member);
}

/** The same at the address to which a client sends its user. */
export async function authorizeAt(browser: Browser, address: string, member: Pick<Member, 'handle' | 'password'>): Promise<string> {
  let page = await browser.open(address);
  if (page.forms.some(({ names }) => names.includes('password'))) page = await enter(browser, page, member);
  const consent = page.forms.find(({ action, method }) => method === 'post' && action.endsWith('/oauth/authorize'));
  if (consent === undefined) throw new Error(`there is no form to consent at ${page.url} (${page.status}): ${textOf(page.html).slice(0, 400)}`);
  const answer = await browser.submit(page, consent, {}, 'let it in');
  // Out of band the code is shown, and stands in no address that leads elsewhere.
  const code = /<code\b[^>]*>([\w-]{20,})</.exec(answer.html)?.[1] ?? (URL.canParse(answer.url) ? new URL(answer.url).searchParams.get('code') : null);
  if (code === null) throw new Error(`no code came by ${answer.url} (${answer.status}): ${textOf(answer.html).slice(0, 300)}`);
  return code;
}

/** A PKCE verifier and its challenge (S256). */
export function pkce(): { readonly verifier: string; readonly challenge: string } {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}
