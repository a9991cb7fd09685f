/**
 * Identity as a whole for one test: real Postgres, the real HTTP host, and a microblog service that
 * is a few maps. Requests go in without a socket; a {@link TestBrowser} keeps cookies and sends forms.
 */
import 'reflect-metadata';
import type { AnswerOf, Contribution, PersonEvent } from '@dmb/events';
import { type Domain, type DomainId, type MicroblogId, type PersonId, baseUrl, domainIdOf } from '@dmb/protocol';
import { AppError, Calls, readConfig, silentLogger } from '@dmb/runtime';
import { errorPageOf } from '@dmb/runtime/pages';
import { type ServiceApp, createServiceApp } from '@dmb/runtime/http';
import { type TestDatabases, createTestDatabases } from '@dmb/testing';
import { type LiveEvent, MemoryLimits, MemoryLiveEvents } from '@dmb/timelines';
import type { Databases } from '@dmb/postgres';
import type { InjectOptions, LightMyRequestResponse as Response } from 'fastify';
import { type IdentityContext, createIdentityModule, identityConfig, identityMigrations } from '../src/index.ts';

/** What the microblog service would do, and what a test wants it to do wrong. */
export class FakeMicroblog {
  readonly handles = new Map<string, { reservation: string; microblog: MicroblogId | null; confirmed: boolean }>();
  readonly microblogs = new Map<MicroblogId, { readonly handle: string; readonly title: string; readonly owner: PersonId }>();
  readonly groups = new Map<PersonId, Contribution[]>();
  /** Name of the call that fails, once. */
  failing: string | undefined;

  bind(calls: Calls, domain: string): void {
    const may = (name: string): void => {
      if (this.failing !== name) return;
      this.failing = undefined;
      throw new AppError('unavailable');
    };
    calls.bind('microblog.reserve-handle', async ({ handle, reservation }): Promise<AnswerOf<'microblog.reserve-handle'>> => {
      may('reserve-handle');
      if (!/^[a-z0-9_]{1,30}$/.test(handle)) return { outcome: 'invalid' };
      if (handle === 'admin') return { outcome: 'reserved-name' };
      const there = this.handles.get(handle);
      if (there !== undefined && there.reservation !== reservation) return { outcome: 'taken' };
      if (there === undefined) this.handles.set(handle, { reservation, microblog: null, confirmed: false });
      return { outcome: 'reserved' };
    });
    calls.bind('microblog.create', async ({ microblog, handle, title, owner }) => {
      may('create');
      this.microblogs.set(microblog, { handle, title, owner });
      return { microblog };
    });
    calls.bind('microblog.confirm-handle', async ({ handle, reservation, microblog }) => {
      may('confirm-handle');
      const there = this.handles.get(handle);
      if (there?.reservation !== reservation || !this.microblogs.has(microblog)) return { confirmed: false };
      Object.assign(there, { microblog, confirmed: true });
      return { confirmed: true };
    });
    calls.bind('microblog.contributions', async ({ person }): Promise<AnswerOf<'microblog.contributions'>> => ({
      contributions: [
        ...[...this.microblogs].filter(([, { owner }]) => owner === person).map(([microblog, { handle, title }]) => ({ microblog, handle, domain, title, role: 'owner', personal: true }) as const),
        ...(this.groups.get(person) ?? []),
      ],
    }));
    calls.bind('microblog.role', async (): Promise<AnswerOf<'microblog.role'>> => ({ role: 'owner' }));
  }
}

export interface WorldOptions {
  readonly domain?: string;
  readonly registration?: 'open' | 'approval' | 'closed';
}

export interface World {
  readonly app: ServiceApp;
  readonly context: IdentityContext;
  readonly calls: Calls;
  readonly databases: Databases;
  readonly microblog: FakeMicroblog;
  readonly domainId: DomainId;
  readonly origin: string;
  /** Live events that were published. */
  readonly live: LiveEvent[];
  inject(options: InjectOptions): Promise<Response>;
  /** Every row of every database. */
  rows<R extends object>(sql: string, parameters?: readonly unknown[]): Promise<R[]>;
  browser(): TestBrowser;
  close(): Promise<void>;
}

/** A world of its own, with its own databases. */
export async function createWorld({ domain = 'example.org', registration = 'open' }: WorldOptions = {}): Promise<World> {
  const testDatabases: TestDatabases = await createTestDatabases({ domain });
  const databases = await testDatabases.openMigrated('identity', await identityMigrations());
  const calls = new Calls({ checked: true });
  const microblog = new FakeMicroblog();
  microblog.bind(calls, domain);
  const live: LiveEvent[] = [];
  const liveEvents = new MemoryLiveEvents();
  await liveEvents.listen((event) => void live.push(event));
  const origin = baseUrl(domain as Domain);
  const context: IdentityContext = {
    config: readConfig(identityConfig, { DMB_REGISTRATION: registration }),
    databases,
    calls,
    eventLog: { committed: () => undefined },
    limits: new MemoryLimits(),
    live: liveEvents,
    logger: silentLogger,
    domain: domain as Domain,
    baseUrl: origin,
  };
  const app = await createServiceApp(createIdentityModule(context), { name: 'identity', logger: silentLogger, isKnownHost: (host) => host === domain, https: origin.startsWith('https'), trustedProxies: ['127.0.0.1/32'], errorPage: errorPageOf(domain) });
  const inject = async (options: InjectOptions): Promise<Response> => await app.fastify.inject({ ...options, headers: { host: domain, ...options.headers } });
  return {
    app, context, calls, databases, microblog, domainId: domainIdOf(domain as Domain), origin, live, inject,
    rows: async <R extends object>(sql: string, parameters: readonly unknown[] = []) => (await Promise.all(databases.all.map((database) => database.query<R>(sql, parameters)))).flat(),
    browser: () => new TestBrowser(inject, origin),
    close: async () => {
      await app.close();
      await testDatabases.drop();
    },
  };
}

/** Events of persons that stand in the outbox. */
export async function personEvents(world: World): Promise<PersonEvent['what'][]> {
  const rows = await world.rows<{ refs: [number, string, PersonEvent['what'], string | null][] }>('SELECT refs FROM outbox ORDER BY seq');
  return rows.flatMap(({ refs }) => refs.map(([, , what]) => what));
}

let addresses = 0;
/** An address that nobody else in this file has: limits count by address. */
export const nextAddress = (): string => `10.1.${(++addresses >> 8) & 255}.${addresses & 255}`;

/** A browser without script: keeps cookies, follows redirects inside the site, sends forms as they stand on the page. */
export class TestBrowser {
  readonly cookies = new Map<string, string>();
  /** Set-Cookie headers of the last answer. */
  setCookies: readonly string[] = [];
  readonly #inject: World['inject'];
  readonly #origin: string;
  readonly #address = nextAddress();

  constructor(inject: World['inject'], origin: string) {
    this.#inject = inject;
    this.#origin = origin;
  }

  async get(path: string): Promise<Response> {
    return await this.#go({ method: 'GET', url: path });
  }

  /** Sends the form of `page` that has a field `name` (or goes to an action of that name), with values over those that stand there. */
  async submit(page: Response, name: string, values: Readonly<Record<string, string>> = {}, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const form = formsOf(page.body).find(({ action, fields }) => action === name || name in fields);
    if (form === undefined) throw new Error(`no form with ${name} on ${page.body.replace(/<[^>]+>/g, ' ').replace(/\s+/g, ' ').slice(0, 600)}`);
    return await this.post(form.action, { ...form.fields, ...values }, headers);
  }

  async post(path: string, fields: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const payload = new URLSearchParams(fields).toString();
    return await this.#go({ method: 'POST', url: path, payload, headers: { 'content-type': 'application/x-www-form-urlencoded', origin: this.#origin, 'sec-fetch-site': 'same-origin', ...headers } });
  }

  async #go(options: InjectOptions): Promise<Response> {
    let next = options;
    for (let hop = 0; hop < 8; hop++) {
      const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const answer = await this.#inject({ ...next, headers: { accept: 'text/html', cookie, 'x-forwarded-for': this.#address, ...next.headers } });
      this.setCookies = [answer.headers['set-cookie'] ?? []].flat();
      for (const line of this.setCookies) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        if (value === '') this.cookies.delete(name);
        else this.cookies.set(name, value);
      }
      const location = answer.headers.location;
      if (answer.statusCode < 300 || answer.statusCode >= 400 || location === undefined || !location.startsWith('/')) return answer;
      next = { method: 'GET', url: location };
    }
    throw new Error('redirects without an end');
  }
}

const decode = (text: string): string => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&#96;', '`').replaceAll('&amp;', '&');

/** Forms of a page with what a browser would send: hidden and filled fields, checked choices. */
export function formsOf(document: string): { readonly action: string; readonly fields: Record<string, string> }[] {
  return [...document.matchAll(/<form[^>]*action="([^"]*)"[^>]*>([\s\S]*?)<\/form>/g)].map(([, action = '', inner = '']) => {
    const fields: Record<string, string> = {};
    for (const [tag] of inner.matchAll(/<(?:input|textarea)\b[^>]*>/g)) {
      const name = /\bname="([^"]*)"/.exec(tag)?.[1];
      if (name === undefined || (tag.includes('type="radio"') && !/\bchecked\b/.test(tag))) continue;
      fields[name] = decode(/\bvalue="([^"]*)"/.exec(tag)?.[1] ?? '');
    }
    return { action: decode(action), fields };
  });
}

/** A registered app. */
export interface TestApp {
  readonly client_id: string;
  readonly client_secret: string;
}

export async function registerApp(world: World, fields: Readonly<Record<string, unknown>> = {}): Promise<TestApp> {
  const answer = await world.inject({ method: 'POST', url: '/api/v1/apps', headers: { 'x-forwarded-for': nextAddress() }, payload: { client_name: 'Test', redirect_uris: 'https://client.example/back', scopes: 'read write follow push', ...fields } });
  if (answer.statusCode !== 200) throw new Error(answer.body);
  return answer.json<TestApp>();
}

/** Signs up on the page; the browser is logged in then. */
export async function signUpOnPage(browser: TestBrowser, handle: string, password = `password of ${handle}`): Promise<Response> {
  return await browser.submit(await browser.get('/sign-up'), 'username', { username: handle, password, reason: 'Because' });
}

/** Agrees on the authorize page; the answer that leads back to the client. */
export async function agree(browser: TestBrowser, query: Readonly<Record<string, string>>, values: Readonly<Record<string, string>> = {}): Promise<Response> {
  const page = await browser.get(`/oauth/authorize?${new URLSearchParams(query).toString()}`);
  return await browser.submit(page, 'client_id', { decision: 'allow', ...values });
}

/** Query of an answer to a client. */
export function answerOf(response: Response): URLSearchParams {
  return new URL(String(response.headers.location)).searchParams;
}
