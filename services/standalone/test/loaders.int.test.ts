/**
 * Persons who were loaded are as persons who signed up: every row of every table of the three services, ids, times
 * and secrets apart, and everything that they do afterwards. A loader that forgets a row (a cursor, a count,
 * a key) passes every test of its own; only the comparison with the product finds it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serviceNames, type ClientToken, type ServiceName } from '@dmb/events';
import { loadFollowers } from '@dmb/fan-out';
import { loadPersons, type LoadedPerson } from '@dmb/identity';
import { MicroblogLoader } from '@dmb/microblog';
import { schemaOf, type Databases } from '@dmb/postgres';
import type { Domain } from '@dmb/protocol';
import { Browser, TestClient, createTestDatabases, eventually, freePort, logIn, registerApp, requestToken, startTestServer, type TestDatabases, type TestServer } from '@dmb/testing';

const scopes = 'read write follow push';
const password = 'a password for everybody';
const names = ['1', '2', '3'];
/** By place: 1 follows 2 and 3, 2 follows 3. */
const edges = [[0, 1], [0, 2], [1, 2]] as const;

let databases: TestDatabases;
let server: TestServer;
const opened = new Map<ServiceName, Databases>();
let loaded: LoadedPerson[];
let client: (index: number) => TestClient;

const of = (service: ServiceName): Databases => opened.get(service) ?? (() => { throw new Error(service); })();

beforeAll(async () => {
  const port = await freePort();
  const domain = `localhost:${port}` as Domain;
  databases = await createTestDatabases({ domain });
  server = await startTestServer({ port, environment: { DATABASE_URL: databases.urls.join(',') } });
  for (const service of serviceNames) opened.set(service, await databases.open(service));

  const app = await registerApp(server.url, { name: 'Loaded', scopes });
  const signedUp: TestClient[] = [];
  const appToken = await requestToken(server.url, app, { grant_type: 'client_credentials', scope: scopes });
  for (const name of names) {
    const form = { username: `signed${name}`, password, agreement: true };
    const { access_token } = await new TestClient(server.url, appToken.access_token).request<ClientToken>('POST', '/api/v1/accounts', { body: form });
    signedUp.push(new TestClient(server.url, access_token));
  }
  for (const [from, to] of edges) await signedUp[from]?.follow((await signedUp[to]!.me()).id);

  loaded = await loadPersons({ databases: of('identity'), domain, handles: names.map((name) => `loaded${name}`), password, app: { name: 'Loaded', scopes: scopes.split(' ') } });
  const loader = new MicroblogLoader({ databases: of('microblog'), domain });
  const { ownLogs } = await loader.microblogs(loaded);
  await loadFollowers(of('fan-out'), ownLogs);
  await loadFollowers(of('fan-out'), await loader.follows(edges.map(([from, to]) => ({ target: loaded[to]!.microblog, person: loaded[from]!.person, via: { id: loaded[from]!.microblog, handle: loaded[from]!.handle } }))));
  client = (index) => new TestClient(server.url, loaded[index]!.token);
}, 120_000);

afterAll(async () => {
  await server.dispose();
  await databases.drop();
});

describe('loaded persons', () => {
  it('have the rows that signing up and following write, in every table', async () => {
    await until(async () => (await symbols()).open === 0, 'everything is drained');
    const { byUuid } = await symbols();
    const signedUp = await rowsOf('signed', byUuid);
    const byLoader = await rowsOf('loaded', byUuid);
    // What is compared is there at all.
    for (const table of ['identity.person', 'identity.token', 'identity.directory', 'microblog.entry', 'microblog.grants', 'microblog.following', 'fan_out.follower', 'fan_out.cursor']) {
      expect(signedUp.get(table)?.length, table).toBeGreaterThan(2);
    }
    expect([...byLoader.keys()].sort()).toEqual([...signedUp.keys()].sort());
    for (const [table, rows] of signedUp) expect(byLoader.get(table), table).toEqual(rows);
  });

  it('are known to every client by their tokens, and log in with their password', async () => {
    for (const [index, { handle }] of loaded.entries()) expect(await client(index).me()).toMatchObject({ username: handle, display_name: handle, followers_count: index });
    expect((await logIn(new Browser(server.url), { handle: 'loaded2', password })).status).toBeLessThan(400);
  });

  it('read what those post whom they follow, and are told of who follows them', async () => {
    expect(await client(0).home()).toEqual([]);
    const post = await client(2).post('To who follows me');
    for (const reader of [0, 1, 2]) await until(async () => (await client(reader).home()).filter(({ id }) => id === post.id).length === 1, `reader ${reader} has the post once`);
    expect((await client(2).notifications()).map(({ type, account }) => `${type} ${account.username}`).sort()).toEqual(['follow loaded1', 'follow loaded2']);
    const secret = await client(1).post('For followers only', { visibility: 'private' });
    await until(async () => (await client(0).home()).some(({ id }) => id === secret.id), 'a private post arrives');
    expect((await client(2).home()).some(({ id }) => id === secret.id)).toBe(false);
  });

  it('follow and unfollow as everybody else', async () => {
    const [first, third] = [client(0), client(2)];
    const { id } = await first.me();
    expect((await third.follow(id)).following).toBe(true);
    const post = await first.post('To my new follower');
    await until(async () => (await third.home()).some((each) => each.id === post.id), 'the new follower reads');
    expect((await first.unfollow((await third.me()).id)).following).toBe(false);
    expect((await third.me()).followers_count).toBe(1);
    await third.post('Not for who has left');
    await until(async () => (await client(1).home()).some(({ content }) => content.includes('who has left')), 'the other follower reads');
    expect((await first.home()).some(({ content }) => content.includes('who has left'))).toBe(false);
  });

  it('are not loaded a second time, nor follow twice', async () => {
    const domain = databases.domain as Domain;
    await expect(loadPersons({ databases: of('identity'), domain, handles: ['loaded1'], password, app: { name: 'x', scopes: ['read'] } })).rejects.toMatchObject({ fault: 'unique' });
    const loader = new MicroblogLoader({ databases: of('microblog'), domain });
    const again = { target: loaded[2]!.microblog, person: loaded[1]!.person, via: { id: loaded[1]!.microblog, handle: 'loaded2' } };
    await until(async () => (await symbols()).open === 0, 'everything is drained');
    const before = await of('microblog').at(0).query('SELECT count(*) AS count FROM entry');
    await expect(loader.follows([again])).rejects.toMatchObject({ fault: 'unique' });
    expect(await of('microblog').at(0).query('SELECT count(*) AS count FROM entry')).toEqual(before);
  });
});

/** Waits for a condition. */
async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  expect(await eventually(async () => ((await holds()) ? [] : [what]), 20_000)).toEqual([]);
}

/** Names for the ids of persons, microblogs and logs, by place; and how much is still to be done. */
async function symbols(): Promise<{ readonly byUuid: ReadonlyMap<string, string>; readonly open: number }> {
  const byUuid = new Map<string, string>();
  let open = 0;
  for (const database of of('identity').all) {
    for (const { login, person, microblog } of await database.query<{ login: string; person: string; microblog: string }>('SELECT login, person_id AS person, microblog_id AS microblog FROM person')) {
      byUuid.set(person, `${login} person`);
      byUuid.set(microblog, `${login} microblog`);
    }
    open += (await database.query('SELECT FROM outbox')).length;
  }
  for (const database of of('microblog').all) {
    for (const { log, microblog, audience } of await database.query<{ log: string; microblog: string; audience: string }>('SELECT log_id AS log, microblog_id AS microblog, audience FROM log')) {
      byUuid.set(log, `${byUuid.get(microblog)?.split(' ')[0] ?? ''} ${audience} log`);
    }
    open += (await database.query('SELECT FROM outbox')).length;
  }
  return { byUuid, open };
}

/** Rows that belong to one of the two groups, by table, with everything that cannot be the same made the same. */
async function rowsOf(group: 'signed' | 'loaded', byUuid: ReadonlyMap<string, string>): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const service of serviceNames) {
    const schema = schemaOf(service);
    for (const database of of(service).all) {
      const tables = await database.query<{ name: string }>('SELECT tablename::text AS name FROM pg_tables WHERE schemaname = $1 ORDER BY 1', [schema]);
      // What was done to timelines within the last hour: to those of who was loaded nothing was.
      for (const { name } of tables.filter((table) => `${schema}.${table.name}` !== 'fan_out.plan')) {
        const rows = await database.query<{ row: Record<string, unknown> }>(`SELECT to_jsonb(t) AS row FROM ${name} t`);
        const ours = rows.map(({ row }) => normal(row, byUuid)).filter((text) => text.includes(group)).map((text) => text.replaceAll(group, 'group'));
        if (ours.length > 0) found.set(`${schema}.${name}`, [...(found.get(`${schema}.${name}`) ?? []), ...ours].sort());
      }
    }
  }
  return found;
}

const uuids = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/g;
const times = /\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)/g;

function normal(row: Record<string, unknown>, byUuid: ReadonlyMap<string, string>): string {
  const entries = Object.entries(row).map(([column, value]): [string, unknown] => {
    // Where a row lies follows from its ids.
    if (column.endsWith('_shard')) return [column, 'a shard'];
    if (column === 'body' && typeof value === 'string') return [column, Buffer.from(value.slice(2), 'hex').toString().replace(/"salt":"[\w-]{22}"/, '"salt"')];
    // Envelope, hashes, salts: their lengths; what an envelope says besides the hash of the body is in columns.
    if (typeof value === 'string' && value.startsWith('\\x')) return [column, `${value.length} characters`];
    if (typeof value === 'number' && value > 1e15) return [column, 'an id'];
    return [column, value];
  });
  return JSON.stringify(Object.fromEntries(entries)).replace(uuids, (id) => byUuid.get(id) ?? 'an id').replace(times, 'a time');
}
