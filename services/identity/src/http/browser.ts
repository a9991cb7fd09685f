/**
 * What all pages have in common: who looks, by which cookie, and whether a form is one of ours.
 *
 * Two cookies, both HttpOnly, SameSite=Lax and (with TLS) `__Host-` and Secure: the session of
 * somebody who is logged in, and before that one that only binds forms to their browser. A form
 * carries a hash of either cookie, which no other site can read or compute, and must come from our
 * own origin. Both are checked. Our pages are sent with `Referrer-Policy: no-referrer`, and
 * browsers then write `Origin: null` even to ourselves; they tell where the form stood by
 * `Sec-Fetch-Site`, which no page can set, so that decides in this case.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { AppError, type HtmlValue, type Page, html, renderPage } from '@dmb/runtime';
import { pagePolicy } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { textOf, toParameters } from '../domain/parameters.ts';
import { secretKey } from '../domain/secrets.ts';
import { ages, textLimits } from '../limits.ts';
import type { FoundSession, Sessions } from '../store/sessions.ts';

/** Somebody who looks at a page. */
export interface Visit {
  readonly session: FoundSession | undefined;
  /** For the hidden field of every form on the page. */
  readonly formToken: string;
}

export interface BrowserOptions {
  readonly sessions: Sessions;
  /** What the site is called. */
  readonly site: string;
  readonly baseUrl: string;
}

/** How a page is sent. */
export interface SendOptions {
  readonly status?: number;
  /** The answer to its form is a redirect to a client, which `form-action` would block. */
  readonly forClient?: boolean;
  /** Part of the way that begins at a client: in a window that it opened, it still waits for what comes back. */
  readonly inWindow?: boolean;
}

const formField = 'form';

export class Browser {
  readonly #sessions: Sessions;
  readonly #site: string;
  readonly #baseUrl: string;
  readonly #sessionCookie: string;
  readonly #formCookie: string;
  readonly #attributes: string;

  constructor({ sessions, site, baseUrl }: BrowserOptions) {
    this.#sessions = sessions;
    this.#site = site;
    this.#baseUrl = baseUrl;
    const secure = baseUrl.startsWith('https://');
    this.#sessionCookie = secure ? '__Host-dmb_session' : 'dmb_session';
    this.#formCookie = secure ? '__Host-dmb_form' : 'dmb_form';
    this.#attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  }

  /** Who looks; gives a cookie for forms to whoever has none. */
  async visit(request: FastifyRequest, reply: FastifyReply): Promise<Visit> {
    const cookies = cookiesOf(request);
    const sessionSecret = cookies.get(this.#sessionCookie);
    const key = secretKey(sessionSecret);
    const session = key && (await this.#sessions.find(key));
    if (session !== undefined && sessionSecret !== undefined) return { session, formToken: formTokenOf(sessionSecret) };
    const known = cookies.get(this.#formCookie);
    if (known !== undefined && /^[A-Za-z0-9_-]{43}$/.test(known)) return { session: undefined, formToken: formTokenOf(known) };
    const fresh = randomBytes(32).toString('base64url');
    reply.header('set-cookie', `${this.#formCookie}=${fresh}; ${this.#attributes}`);
    return { session: undefined, formToken: formTokenOf(fresh) };
  }

  /** Like {@link visit}, for a form that was sent. @throws {AppError} `forbidden` unless it is ours */
  async submission(request: FastifyRequest, reply: FastifyReply): Promise<Visit & { readonly fields: Readonly<Record<string, unknown>> }> {
    const fields = toParameters(request.body);
    const cookies = cookiesOf(request);
    const given = textOf(fields, formField) ?? '';
    // A form that was opened before logging in elsewhere in this browser is still ours.
    const tokens = [cookies.get(this.#sessionCookie), cookies.get(this.#formCookie)].filter((cookie) => cookie !== undefined).map(formTokenOf);
    if (!this.#isOurOrigin(request) || !tokens.some((token) => isSame(token, given))) {
      throw new AppError('forbidden', 'This form did not come from a page of ours, or that page was open for too long. Go back, load it again and try once more.');
    }
    return { ...(await this.visit(request, reply)), fields };
  }

  /** Logs this browser in: always with a new cookie, the session before it ends. */
  async logIn(request: FastifyRequest, reply: FastifyReply, person: FoundSession['person']): Promise<void> {
    const before = secretKey(cookiesOf(request).get(this.#sessionCookie));
    const secret = await this.#sessions.begin(person.id, request.headers['user-agent'] ?? '');
    if (before !== undefined) await this.#sessions.end(before);
    reply.header('set-cookie', `${this.#sessionCookie}=${secret}; ${this.#attributes}; Max-Age=${Math.floor(ages.sessionCookieMs / 1_000)}`);
  }

  async logOut(session: FoundSession, reply: FastifyReply): Promise<void> {
    await this.#sessions.end(session.key);
    reply.header('set-cookie', `${this.#sessionCookie}=; ${this.#attributes}; Max-Age=0`);
  }

  /** Sends a page, with the navigation that fits who looks. */
  send(reply: FastifyReply, visit: Visit, page: Omit<Page, 'site' | 'nav' | 'navEnd'>, options: SendOptions = {}): void {
    const { session, formToken } = visit;
    const document = renderPage({
      hidden: true,
      ...page,
      site: this.#site,
      nav: session ? [{ href: '/settings', text: 'Settings' }] : [{ href: '/log-in', text: 'Log in' }],
      ...(session ? { navEnd: html`<form method="post" action="/log-out">${formTokenField(formToken)}<button type="submit">Log out</button></form>` } : {}),
    });
    if (options.forClient) reply.header('content-security-policy', pagePolicy({ formAction: false }));
    if (options.inWindow) reply.removeHeader('cross-origin-opener-policy');
    void reply.code(options.status ?? 200).type('text/html; charset=utf-8').send(document);
  }

  /** Goes on with a GET elsewhere. The address is sent byte for byte. */
  redirect(reply: FastifyReply, location: string): void {
    void reply.code(303).header('location', location).send('');
  }

  /** Where to go after logging in: an address of this site, or `fallback`. */
  nextOf(value: string | undefined, fallback: string): string {
    if (value === undefined || value.length > textLimits.nextLengthMax || !/^\/(?![/\\])[\x21-\x7e]*$/.test(value)) return fallback;
    const isOurs = URL.canParse(value, this.#baseUrl) && new URL(value, this.#baseUrl).origin === new URL(this.#baseUrl).origin;
    return isOurs ? value : fallback;
  }

  #isOurOrigin(request: FastifyRequest): boolean {
    const { origin, host = '' } = request.headers;
    const site = request.headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin') return false;
    if (origin === undefined || origin === 'null') return site === 'same-origin';
    // The host was checked before anything else: it is the domain, or this machine by another name.
    return origin === this.#baseUrl || origin === `${new URL(this.#baseUrl).protocol}//${host}`;
  }
}

/** The hidden field that a form of ours carries. */
export function formTokenField(formToken: string): HtmlValue {
  return html`<input type="hidden" name="${formField}" value="${formToken}">`;
}

const formTokenOf = (cookie: string): string => createHash('sha256').update('DMB form\0').update(cookie).digest('base64url');

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Cookies by name; of a name sent twice the first counts, as browsers send the more exact one first. */
function cookiesOf(request: FastifyRequest): ReadonlyMap<string, string> {
  const cookies = new Map<string, string>();
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const mark = part.indexOf('=');
    const name = part.slice(0, mark).trim();
    if (mark > 0 && !cookies.has(name)) cookies.set(name, part.slice(mark + 1).trim());
  }
  return cookies;
}
