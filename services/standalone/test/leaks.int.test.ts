/**
 * The leak matrix: every kind of viewer × every kind of thing × every path that reads.
 *
 * The paths are those of the tables in `@dmb/events`, and a path there that has no probe here fails.
 * What each viewer may see is worked out by `canSee` from what the test itself has done (leak-world.ts);
 * what must be in an answer, by the probe of its path (leak-probes.ts). A matrix in which nobody
 * sees anything would pass as well, so the second half is as important as the first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { readingCalls, routes, type Asker, type PresentContext, type Route } from '@dmb/events';
import { createMicroblogModule, microblogConfig } from '@dmb/microblog';
import { createDatabase, dropDatabase, openDatabases, type Databases } from '@dmb/postgres';
import { domainIdOf, type Domain, type PostId } from '@dmb/protocol';
import { Calls, readConfig, silentLogger } from '@dmb/runtime';
import { startTestServer, TestClient, type TestServer, type TestStream } from '@dmb/testing';
import { inHome, probes, type Ask } from './leak-probes.ts';
import { hidesFacets, populate, World, type Looker, type Post } from './leak-world.ts';

/** How long the program may remember how much there is of everything. */
const totalsRememberedMs = 15_500;

let server: TestServer;
let databases: Databases;
let world: World;
const urls: string[] = [];
const streams = new Map<string, { readonly sse: TestStream; readonly notices: TestStream; readonly socket: TestStream }>();

beforeAll(async () => {
  const count = inject('dmb.databases');
  if (count > 1) for (let index = 0; index < count; index++) urls.push(await createDatabase(inject('dmb.postgres'), `dmb_leaks_${process.pid}_${index}`));
  server = await startTestServer(count > 1 ? { environment: { DATABASE_URL: urls.join(',') } } : {});
  databases = await openDatabases({ urls: count > 1 ? urls : [server.databaseUrl], service: 'microblog', connectionsMax: 3, applicationName: 'leaks' });
  world = new World(server, databases);
  await populate(world, listen);
}, 240_000);

afterAll(async () => {
  for (const { sse, notices, socket } of streams.values()) for (const stream of [sse, notices, socket]) stream.close();
  await databases?.close();
  await server?.dispose();
  for (const [index] of urls.entries()) await dropDatabase(inject('dmb.postgres'), `dmb_leaks_${process.pid}_${index}`);
});

/** Opens the streams of everybody who may. */
async function listen(): Promise<void> {
  for (const looker of world.lookers) {
    if (looker.kind !== 'person' || looker.only !== undefined) continue;
    const client = new TestClient(server.url, await looker.token());
    streams.set(looker.name, { sse: await client.eventStream(), notices: await client.eventStream('/api/v1/streaming/user/notification'), socket: await client.webSocket(['user', 'user:notification']) });
  }
}

// -- asking

interface Got {
  readonly status: number;
  /** Status, headers and body, without what differs from one request to the next. */
  readonly text: string;
  readonly body: string;
  readonly next: string | undefined;
}

const passing = new Set(['date', 'x-request-id', 'x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'keep-alive', 'connection', 'transfer-encoding']);
let addresses = 0;

async function get(looker: Looker, path: string, ask: Pick<Ask, 'method' | 'body' | 'headers'> = {}): Promise<Got> {
  const token = await looker.token();
  // Each anonymous request from an address of its own: the limits are not what is tested here.
  const response = await new TestClient(server.url, token).raw(ask.method ?? 'GET', path, {
    body: ask.body,
    headers: { 'x-forwarded-for': `10.9.${(++addresses >> 8) & 255}.${addresses & 255}`, ...ask.headers },
  });
  const body = await response.text();
  const headers = [...response.headers].filter(([name]) => !passing.has(name)).map(([name, value]) => `${name}: ${value}`);
  const text = [response.status, ...headers, '', body].join('\n').replaceAll(response.headers.get('x-request-id') ?? '\0', 'REQUEST');
  const { pathname = '', search = '' } = URL.parse(/<([^>]+)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1] ?? '') ?? {};
  return { status: response.status, text, body, next: pathname === '' ? undefined : pathname + search };
}

/** With its further pages, if they are to be read. */
async function getAll(looker: Looker, ask: Ask): Promise<Got> {
  const first = await get(looker, ask.path, ask);
  if (ask.paged !== true) return first;
  let { text } = first;
  let { next } = first;
  for (let page = 0; next !== undefined && page < 20; page++) {
    const more = await get(looker, next, ask);
    text += more.text;
    ({ next } = more);
  }
  return { ...first, text };
}

// -- judging

const byMarker = new Map<string, Post>();
const ofProfile = new Map<string, string>();
const byId = new Map<string, Post>();

function index(): void {
  for (const post of world.posts) {
    byId.set(post.status.id, post);
    for (const word of [post.current, post.marker, ...post.before]) byMarker.set(word, post);
  }
  for (const { marker, handle } of world.places.values()) ofProfile.set(marker, handle);
}

/** What is in a text and must not be there for this viewer. */
function leaksIn(text: string, looker: Looker, options: { readonly gate?: Ask['gate']; readonly isOwn?: true; readonly ever?: boolean } = {}): string[] {
  const { gate = () => true, ever = false } = options;
  const found: string[] = [];
  for (const word of new Set(text.match(/zq[0-9a-f]{12}/g))) {
    const post = byMarker.get(word);
    const profile = ofProfile.get(word);
    if (post !== undefined && !(world.seesPost(looker, post, ever) && (ever || gate(post)))) found.push(`a ${post.isGone ? 'deleted ' : ''}${post.visibility} post of ${post.microblog}`);
    if (profile !== undefined && !(options.isOwn === true && profile === looker.microblog) && !(world.seesFacet(looker, profile, 'exists', ever) && world.seesFacet(looker, profile, 'profile', ever))) found.push(`the profile of ${profile}`);
  }
  for (const { handle, facets } of world.places.values()) {
    if (facets.exists !== 'everybody' && !world.seesFacet(looker, handle, 'exists') && text.includes(handle)) found.push(`that ${handle} exists`);
  }
  return found;
}

/** What stands in the objects of an answer and must not, or is not as it should be. */
function wrongIn(value: unknown, looker: Looker): string[] {
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((member) => wrongIn(member, looker));
  const wrong: string[] = [];
  const object = value as Record<string, unknown>;
  if (typeof object['acct'] === 'string' && 'followers_count' in object) wrong.push(...wrongInAccount(object, looker));
  if (typeof object['replies_count'] === 'number') {
    const post = byId.get(String(object['id']));
    const parent = object['in_reply_to_id'];
    const above = typeof parent === 'string' ? byId.get(parent) : undefined;
    if (typeof parent === 'string' && (above === undefined || !world.seesPost(looker, above))) wrong.push('in_reply_to_id names a post that may not be seen');
    if (post?.parent !== undefined && world.seesPost(looker, post.parent) && parent !== post.parent.status.id) wrong.push('in_reply_to_id is missing');
    if (parent === null && object['in_reply_to_account_id'] !== null) wrong.push('in_reply_to_account_id without in_reply_to_id');
    const replies = post === undefined ? 0 : world.repliesTo(post).filter((reply) => reply.audience === 'public' && !reply.isGone).length;
    if (post !== undefined && object['replies_count'] !== replies) wrong.push(`replies_count of ${post.microblog}'s ${post.visibility} post is ${object['replies_count']}, and ${replies} are public`);
  }
  return [...wrong, ...Object.values(object).flatMap((member) => wrongIn(member, looker))];
}

function wrongInAccount(account: Record<string, unknown>, looker: Looker): string[] {
  const handle = String(account['acct']);
  const place = world.places.get(handle);
  if (place === undefined || !hidesFacets(handle)) return [];
  const counts = world.seesFacet(looker, handle, 'counts');
  const posts = world.ofMicroblog(handle).filter(({ audience }) => audience === 'public').length;
  const expected = {
    followers_count: counts ? world.followersOf(handle).length : 0,
    following_count: counts ? world.followedBy(handle).length : 0,
    statuses_count: counts ? posts : 0,
    last_status_at: world.seesFacet(looker, handle, 'last-activity') && posts > 0,
  };
  const shown = { followers_count: account['followers_count'], following_count: account['following_count'], statuses_count: account['statuses_count'], last_status_at: account['last_status_at'] !== null };
  return JSON.stringify(shown) === JSON.stringify(expected) ? [] : [`the account of ${handle} shows ${JSON.stringify(shown)}, not ${JSON.stringify(expected)}`];
}

async function problemsOf(route: Route, looker: Looker, eyes: Looker, ask: Ask): Promise<string[]> {
  const got = await getAll(looker, ask);
  const name = `${looker.name}: ${ask.method ?? 'GET'} ${ask.path} (${got.status})`;
  const problems = leaksIn(got.text, eyes, ask).map((leak) => `${name} shows ${leak}`);
  if (got.status >= 500) problems.push(`${name}: ${got.body}`);
  for (const word of ask.shows ?? []) {
    if (got.text.includes(word)) continue;
    const post = byMarker.get(word);
    problems.push(`${name} does not show ${post === undefined ? word : `the ${post.visibility} post of ${post.microblog}`}`);
  }
  const json: unknown = got.body.startsWith('{') || got.body.startsWith('[') ? JSON.parse(got.body) : undefined;
  problems.push(...new Set(wrongIn(json, eyes).map((wrong) => `${name}: ${wrong}`)));
  if (ask.likeUnknown !== undefined) {
    const unknown = await unknownTo(route, looker, ask, ask.likeUnknown);
    if (unknown.text !== got.text) problems.push(`${name} can be told from what never was:\n${got.text}\n--- ${ask.likeUnknown.path}\n${unknown.text}`);
  } else if (ask.lists !== undefined && got.status === 200) {
    const accounts = Array.isArray(json) ? (json as { acct: string }[]) : ((json as { accounts?: { acct: string }[] }).accounts ?? []);
    const [listed, expected] = [accounts.map(({ acct }) => acct).sort(), [...ask.lists].sort()];
    if (listed.join() !== expected.join()) problems.push(`${name} lists ${listed.join(', ')}, not ${expected.join(', ')}`);
  }
  return problems.map((problem) => `${route.path} ${problem}`);
}

/** Nothing of what never was differs from anything else that never was: each viewer asks once for each path and form. */
const unknowns = new Map<string, Promise<Got>>();
async function unknownTo(route: Route, looker: Looker, ask: Ask, { path, body }: NonNullable<Ask['likeUnknown']>): Promise<Got> {
  const key = `${looker.name} ${keyOf(route)} ${JSON.stringify(ask.headers)}`;
  const known = unknowns.get(key) ?? get(looker, path, { ...ask, body });
  unknowns.set(key, known);
  return await known;
}

const keyOf = ({ method, path }: Pick<Route, 'method' | 'path'>): string => `${method} ${path}`;
const reading = routes.filter(({ reads }) => reads.length > 0);
const nobody = (): Looker => world.lookers.find(({ name }) => name === 'anonymous') as Looker;

describe('the table of routes', () => {
  it('has a probe here for every route that reads, and no probe is for another', () => {
    expect(Object.keys(probes).sort()).toEqual(reading.map(keyOf).sort());
  });

  it('names every call through which content reaches a reader, and each is tried here', () => {
    expect(readingCalls.map(({ call }) => call).sort()).toEqual(['microblog.account', 'microblog.listening', 'microblog.present', 'microblog.present-live', 'microblog.present-notifications']);
  });
});

describe('what somebody may see is what they are shown', () => {
  const names = ['anonymous', 'app', 'oda', 'lola', 'fay', 'fanny', 'petra', 'exa', 'remo', 'rejan', 'mina', 'una', 'late', 'gruppe', 'edi as gruppe', 'autor as gruppe', 'edi', 'owners of microblogs that hide facets'];

  beforeAll(() => {
    index();
    // Nobody is forgotten in the list of names.
    expect(world.lookers.filter(({ only }) => only === undefined).map(({ name }) => name).sort()).toEqual([...names.filter((name) => !name.startsWith('owners')), 'colin as gruppe'].sort());
  });

  // With two databases, who is enough to read across them.
  it.each(inject('dmb.databases') > 1 ? names.filter((name) => ['anonymous', 'lola', 'fay', 'mina', 'edi as gruppe'].includes(name)) : names)('%s', async (name) => {
    const lookers = world.lookers.filter((looker) => (name.startsWith('owners') ? looker.only !== undefined : looker.name === name));
    const problems: string[] = [];
    for (const looker of lookers) {
      for (const route of reading) {
        // Pages take no notice of tokens; that a token changes nothing is tried with few of them.
        const isPage = route.auth === 'none';
        if (isPage && !['anonymous', 'lola', 'fay'].includes(looker.name)) continue;
        const eyes = isPage ? { ...nobody(), skipsFacets: looker.skipsFacets } : looker;
        for (const asks of chunks(probes[keyOf(route)]?.(world, eyes) ?? [], 8)) problems.push(...(await Promise.all(asks.map((ask) => problemsOf(route, looker, eyes, ask)))).flat());
      }
    }
    expect(problems.slice(0, 20), `${problems.length} problems`).toEqual([]);
  });

  it('is nothing on routes that read nothing', async () => {
    const problems: string[] = [];
    for (const looker of world.lookers.filter(({ only, name }) => only === undefined && name !== 'colin as gruppe')) {
      for (const route of routes.filter(({ method, reads }) => method === 'GET' && reads.length === 0)) {
        const got = await get(looker, route.path.replace(/:\w+/g, 'oda'));
        problems.push(...leaksIn(got.text, looker).map((leak) => `${looker.name}: ${route.path} shows ${leak}`));
        if (/zq[0-9a-f]{12}/.test(got.text)) problems.push(`${looker.name}: ${route.path} shows content, and the table says that it reads nothing`);
      }
    }
    expect(problems).toEqual([]);
  });

  it('for one notification is what the list has, and for others nothing at all', async () => {
    const problems: string[] = [];
    const persons = world.lookers.filter(({ only, kind, name }) => only === undefined && kind === 'person' && name !== 'colin as gruppe');
    const of = new Map<string, string[]>();
    for (const looker of persons) {
      const list = JSON.parse((await get(looker, '/api/v1/notifications?limit=40')).body) as { id: string }[];
      of.set(looker.name, list.map(({ id }) => id));
    }
    expect(of.get('mina')?.length).toBeGreaterThan(3);
    expect(of.get('lola')?.length).toBeGreaterThan(3);
    const all = [...new Set([...of.values()].flat())];
    const one = routes.find(({ path }) => path === '/api/v1/notifications/:id') as Route;
    for (const looker of [...persons, nobody()]) {
      for (const some of chunks(all, 4)) {
        await Promise.all(
          some.map(async (id) => {
            const got = await get(looker, `/api/v1/notifications/${id}`);
            const isTheirs = of.get(looker.name)?.includes(id) === true;
            if (isTheirs !== (got.status === 200)) problems.push(`${looker.name}: notification ${id} answers ${got.status}`);
            if (!isTheirs) {
              const path = `/api/v1/notifications/${BigInt(id) - (3_600_000n << 22n)}`;
              const unknown = await unknownTo(one, looker, { path }, { path });
              if (unknown.text !== got.text) problems.push(`${looker.name}: ${got.text} is not ${unknown.text}`);
            }
            problems.push(...leaksIn(got.text, looker).map((leak) => `${looker.name}: notification ${id} shows ${leak}`));
          }),
        );
      }
    }
    expect(problems).toEqual([]);
  });

  it('in streams, too, in which everything was heard from the beginning', async () => {
    const problems: string[] = [];
    for (const looker of world.lookers) {
      const open = streams.get(looker.name);
      if (open === undefined || looker.name === 'colin as gruppe') continue;
      for (const [kind, stream] of Object.entries(open)) {
        if (stream.hasEnded) problems.push(`${looker.name}: the stream ${kind} has ended`);
        const frames = stream.events.map(({ event, payload }) => `${event} ${payload}`);
        problems.push(...leaksIn(frames.join('\n'), looker, { ever: true }).map((leak) => `${looker.name}: the stream ${kind} told ${leak}`));
        for (const { event, payload } of stream.events) {
          const deleted = event === 'delete' ? byId.get(payload) : undefined;
          if (deleted !== undefined && !world.seesPost(looker, deleted, true)) problems.push(`${looker.name}: the stream ${kind} told of the end of a post that could not be seen`);
        }
      }
      // What is gone at once may be gone before it is told.
      const expected = world.posts.filter((post) => inHome(world, looker, post, true) && !post.isGone && !world.place(post.microblog).isSuspended);
      for (const [kind, stream] of [['sse', open.sse], ['socket', open.socket]] as const) {
        for (const post of expected) if (!stream.events.some(({ event, payload }) => /update$/.test(event) && (payload.includes(post.marker) || payload.includes(post.current)))) problems.push(`${looker.name}: the stream ${kind} did not tell the ${post.visibility} post of ${post.microblog}`);
      }
    }
    expect(problems, server.stderr).toEqual([]);
    // Those who ended their follow or lost it heard before of other things, and of these no more.
    expect(streams.get('mina')?.notices.events.length).toBeGreaterThan(3);
    expect(streams.get('fay')?.sse.events.length).toBeGreaterThan(10);
  });
});

describe('a contributor who was removed', () => {
  it('is refused by every route that takes a token, and hears nothing more', async () => {
    const colin = world.lookers.find(({ name }) => name === 'colin as gruppe') as Looker;
    for (const route of routes.filter(({ auth, method, stream }) => (auth === 'person' || auth === 'optional') && method === 'GET' && stream !== true)) {
      const got = await get(colin, route.path.replace(/:\w+/g, world.posts[0]?.status.id ?? ''));
      expect([route.path, got.status, got.body]).toEqual([route.path, 401, '{"error":"The access token was revoked"}']);
    }
    const open = streams.get(colin.name);
    for (let waited = 0; waited < 8_000 && open?.sse.hasEnded === false; waited += 50) await sleep(50);
    expect([open?.sse.hasEnded, open?.notices.hasEnded, open?.socket.hasEnded]).toEqual([true, true, true]);
  });
});

describe('the calls through which content reaches a reader', () => {
  let calls: Calls;

  beforeAll(async () => {
    // The service as it stands, reading the same tables, in this process: it is never started and consumes nothing.
    calls = new Calls({ checked: true });
    createMicroblogModule({
      config: readConfig(microblogConfig, {}),
      databases,
      calls,
      eventLog: { subscribe: () => Promise.reject(new Error('not here')), committed: () => undefined },
      logger: silentLogger,
      domain: `localhost:${server.port}` as Domain,
    });
    await sleep(0);
  });

  const askerOf = async ({ kind, person, microblog }: Looker): Promise<Asker> => {
    const domain = domainIdOf(`localhost:${server.port}` as Domain);
    if (kind !== 'person') return kind === 'app' ? { kind, domain, scopes: ['read'] } : { kind, domain };
    return { kind, domain, person: await world.personId(person ?? ''), microblog: world.place(microblog ?? '').id, scopes: ['read'] };
  };

  it('present exactly what may be seen', async () => {
    const problems: string[] = [];
    const happenings = (await world.sql<{ id: bigint }>('SELECT id FROM entry WHERE kind = 9 AND id IS NOT NULL')).map(({ id }) => id as PostId);
    for (const looker of world.lookers.filter(({ only }) => only === undefined || only.startsWith('xv'))) {
      const asker = await askerOf(looker);
      const ids = world.posts.map(({ status }) => BigInt(status.id) as PostId);
      for (const context of ['home', 'public', 'account', 'thread', 'notification'] satisfies PresentContext[]) {
        const { kept, statuses } = await calls.call('microblog.present', { asker, ids, context });
        expect(statuses.map(({ id }) => id)).toEqual(kept.map(String));
        problems.push(...leaksIn(JSON.stringify(statuses), looker).map((leak) => `${looker.name}: present in ${context} shows ${leak}`), ...wrongIn(statuses, looker));
        const expected = world.posts.filter((post) => (context === 'home' ? inHome(world, looker, post) : world.seesPost(looker, post)));
        if (context === 'public') continue;
        const missing = expected.filter(({ status }) => !kept.includes(BigInt(status.id) as PostId));
        problems.push(...missing.map((post) => `${looker.name}: present in ${context} does not show the ${post.visibility} post of ${post.microblog}`));
        if (kept.length !== expected.length) problems.push(`${looker.name}: present in ${context} shows ${kept.length} posts of ${expected.length}`);
      }
      const { notifications } = await calls.call('microblog.present-notifications', { asker, ids: happenings.slice(0, 800) });
      problems.push(...leaksIn(JSON.stringify(notifications), looker).map((leak) => `${looker.name}: present-notifications shows ${leak}`));
      if (looker.kind !== 'person' && notifications.length > 0) problems.push(`${looker.name} has notifications`);
      for (const place of world.places.values()) {
        const { account } = await calls.call('microblog.account', { asker, microblog: place.id });
        if ((account !== null) !== world.seesFacet(looker, place.handle, 'exists')) problems.push(`${looker.name}: the call account ${account === null ? 'hides' : 'shows'} ${place.handle}`);
        problems.push(...leaksIn(JSON.stringify(account), looker).map((leak) => `${looker.name}: the call account shows ${leak}`), ...wrongIn(account, looker));
      }
    }
    expect([...new Set(problems)].slice(0, 20)).toEqual([]);
  });

  // All in one call: what is read for one must not be shown to another.
  it('tell streams exactly what each may see', async () => {
    const problems: string[] = [];
    const lookers = world.lookers.filter(({ only }) => only === undefined || only.startsWith('xv'));
    const askers = await Promise.all(lookers.map(askerOf));
    for (const post of world.posts) {
      const id = BigInt(post.status.id) as PostId;
      const { statuses, seen } = await calls.call('microblog.present-live', { asks: askers.map((asker) => ({ asker, ids: [id] })) });
      for (const [place, looker] of lookers.entries()) {
        const shown = (seen[place] ?? []).map((index) => statuses[index]);
        problems.push(...leaksIn(JSON.stringify(shown), looker).map((leak) => `${looker.name}: present-live shows ${leak}`), ...wrongIn(shown, looker));
        const expected = inHome(world, looker, post) ? [post.status.id] : [];
        if (JSON.stringify(shown.map((status) => status?.id)) !== JSON.stringify(expected)) problems.push(`${looker.name}: present-live ${expected.length === 1 ? 'hides' : 'shows'} the ${post.visibility} post of ${post.microblog}`);
        const alone = await calls.call('microblog.present', { asker: askers[place]!, ids: [id], context: 'home' });
        if (JSON.stringify(alone.statuses) !== JSON.stringify(shown)) problems.push(`${looker.name}: present-live shows the post of ${post.microblog} otherwise than home`);
      }
    }
    expect([...new Set(problems)].slice(0, 20)).toEqual([]);
  });

  it('listen only to logs that may be read', async () => {
    const logs = new Map((await world.sql<{ log_id: string; audience: string; handle: string }>('SELECT l.log_id, l.audience, m.handle FROM log l JOIN microblog m USING (log_shard, microblog_id)')).map((row) => [row.log_id, row]));
    for (const looker of world.lookers) {
      const answer = await calls.call('microblog.listening', { asker: await askerOf(looker) });
      if (looker.kind !== 'person' || looker.name === 'colin as gruppe') {
        expect(answer, looker.name).toBeNull();
        continue;
      }
      const own = logs.get(answer?.notifications ?? '');
      expect([looker.name, own?.handle, own?.audience]).toEqual([looker.name, looker.microblog, 'own']);
      for (const log of answer?.home ?? []) {
        const { audience, handle } = logs.get(log) ?? { audience: 'unknown', handle: '' };
        expect(['public', 'followers'], `${looker.name} listens to ${handle}`).toContain(audience);
        const { grant, role } = world.relation(looker, handle);
        expect(audience === 'public' || role !== undefined || (grant?.state === 'active' && grant.sees), `${looker.name} listens to ${handle}`).toBe(true);
      }
      const wanted = [...world.places.values()].filter(({ handle }) => world.follows(looker, handle)).length;
      expect(answer?.home.length, looker.name).toBe(2 * wanted);
    }
  });
});

describe('what everybody can count', () => {
  it('does not change by anything that is not public', async () => {
    const [ines, una] = [await world.person('ines'), world.member('una')];
    const post = await world.post('ines', 'public');
    const reply = await world.post('una', 'public', { parent: post });
    await world.follow('una', 'ines', 'accepted');
    await world.drain();
    await world.settle();
    // Counts of the whole server are remembered for a while: a new program remembers none of before.
    await world.server.stop();
    await world.server.start();
    const look = async (): Promise<Map<string, string>> => {
      const seen = new Map<string, string>();
      const paths = ['/', '/@ines', '/@ines/feed.atom', `/@ines/${post.status.id}`, '/api/v1/instance', '/api/v2/instance', '/nodeinfo/2.0', `/api/v1/accounts/${ines.account.id}`, '/api/v1/accounts/lookup?acct=ines', `/api/v1/statuses/${post.status.id}`, `/api/v1/accounts/${ines.account.id}/statuses`, '/api/v1/timelines/public', `/api/v1/statuses/${post.status.id}/context`, `/tags/t${post.marker}`, '/api/v2/search?q=tzq'];
      for (const path of paths) for (const name of ['anonymous', 'app', 'petra']) seen.set(`${name} ${path}`, (await get(world.lookers.find((looker) => looker.name === name) as Looker, path)).text);
      // Their own counts are the same to those who see more.
      for (const { client } of [ines, una]) seen.set(`${client.token ?? ''} account`, JSON.stringify((await client.lookUp('ines')).statuses_count));
      return seen;
    };
    const before = await look();
    expect(before.get(`anonymous /api/v1/accounts/${ines.account.id}`)).toContain('"statuses_count":1');
    expect(before.get('anonymous /@ines/feed.atom')).toContain(post.marker);

    await world.post('ines', 'private');
    await world.post('ines', 'private', { parent: post });
    await world.post('ines', 'direct', { parent: reply, mentions: ['una'] });
    await world.post('una', 'direct', { parent: post, mentions: ['ines'] });
    await world.post('una', 'private', { parent: post });
    await world.delete(await world.post('ines', 'private'));
    await world.edit(await world.post('ines', 'private'));
    await world.withhold(await world.post('ines', 'direct'));
    await world.drain();
    await sleep(totalsRememberedMs);
    const after = await look();
    for (const [what, text] of before) expect([what, after.get(what)]).toEqual([what, text]);
  });
});

function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, index * size + size));
}
