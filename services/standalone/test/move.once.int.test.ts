/**
 * Moving a data folder into the databases of a cluster, with the real programs: everything is there afterwards
 * with the same ids, goes on, and cannot be started twice. A move that carried only most tables, or let the
 * old folder start again, would look the same to whoever tries it for a minute.
 */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { serviceNames } from '@dmb/events';
import { askDatabase, createDatabase, dropDatabase, openDatabases, schemaOf, type Databases } from '@dmb/postgres';
import { Browser, TestClient, authorize, eventually, freePort, logIn, registerApp, requestToken, signUp, startTestServer, TestServer, type Member } from '@dmb/testing';

const root = resolve(import.meta.dirname, '../../..');
const program = join(root, 'services/standalone/dist/move/main.js');

const ours = new Set<TestServer>();
let names: string[];
let targets: string[];

beforeEach(async () => {
  const name = `dmb_moved_${process.pid}_${randomBytes(4).toString('hex')}`;
  names = [`${name}_0`, `${name}_1`];
  targets = await Promise.all(names.map((each) => createDatabase(inject('dmb.postgres'), each)));
});
afterEach(async () => {
  await Promise.all([...ours].map((server) => server.dispose()));
  ours.clear();
  await Promise.all(names.map((each) => dropDatabase(inject('dmb.postgres'), each)));
});

async function started(): Promise<TestServer> {
  const server = await startTestServer();
  ours.add(server);
  return server;
}

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function move(from: string, to: readonly string[]): Promise<Result> {
  return new Promise((done) => {
    execFile(process.execPath, [program, '--from', from, '--to', to.join(',')], { timeout: 60_000 }, (error, stdout, stderr) => done({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }));
  });
}

/** The same server on other databases, at the same address. */
async function startOn(urls: readonly string[], port: number): Promise<TestServer> {
  const server = new TestServer(port, { environment: { DATABASE_URL: urls.join(',') } });
  ours.add(server);
  await server.start();
  return server;
}

async function withDatabases<T>(urls: readonly string[], work: (open: ReadonlyMap<string, Databases>) => Promise<T>): Promise<T> {
  const opened = new Map<string, Databases>();
  try {
    for (const service of serviceNames) opened.set(service, await openDatabases({ urls, service, connectionsMax: 2, applicationName: 'dmb test' }));
    return await work(opened);
  } finally {
    for (const databases of opened.values()) await databases.close();
  }
}

/** Every row of every table, but of what is not carried: the bookkeeping of migrations and of the outbox. */
async function rowsOf(urls: readonly string[]): Promise<Map<string, string[]>> {
  return await withDatabases(urls, async (opened) => {
    const found = new Map<string, string[]>();
    for (const service of serviceNames) {
      for (const database of opened.get(service)?.all ?? []) {
        const tables = await database.query<{ name: string }>('SELECT tablename::text AS name FROM pg_tables WHERE schemaname = $1', [schemaOf(service)]);
        for (const { name } of tables.filter((table) => !/^(migration|outbox\w*)$/.test(table.name))) {
          const rows = await database.query<{ row: string }>(`SELECT to_jsonb(t)::text AS row FROM ${name} t`);
          found.set(`${service} ${name}`, [...(found.get(`${service} ${name}`) ?? []), ...rows.map(({ row }) => row)].sort());
        }
      }
    }
    return found;
  });
}

const drained = (urls: readonly string[]): Promise<boolean> =>
  withDatabases(urls, async (opened) => {
    for (const service of ['identity', 'microblog']) {
      for (const database of opened.get(service)?.all ?? []) if ((await database.query('SELECT FROM outbox LIMIT 1')).length > 0) return false;
    }
    return true;
  });

/** Waits for a condition. */
async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  expect(await eventually(async () => ((await holds()) ? [] : [what]), 20_000)).toEqual([]);
}

const ids = async (client: TestClient): Promise<string[]> => (await client.wholeHome()).map(({ id }) => id);

/** Notifications without what is counted: counts may be some seconds old. */
const heard = async (client: TestClient) => (await client.notifications()).map(({ id, type, created_at, account, status }) => ({ id, type, created_at, account: account.id, status: status?.id, content: status?.content }));

describe('a data folder that is moved to two databases', () => {
  it('has everything there, with the same ids, tokens and links, goes on, and is closed', { timeout: 180_000 }, async () => {
    const before = await started();
    const app = await registerApp(before.url);
    const [ada, bob] = [await signUp(before.url, 'ada', { app }), await signUp(before.url, 'bob', { app })];
    const others: Member[] = [];
    for (const handle of ['cyd', 'dot', 'eve', 'fay']) others.push(await signUp(before.url, handle, { app }));
    for (const reader of [ada, ...others]) await reader.client.follow(bob.account.id);
    const posts = [];
    for (let index = 0; index < 12; index++) posts.push(await bob.client.post(`Number ${index} #moving @ada`, { visibility: index % 3 === 0 ? 'private' : 'public' }));
    await ada.client.post('An answer', { inReplyTo: posts[4]!.id });
    await ada.client.request('POST', '/api/v1/markers', { body: { home: { last_read_id: posts[4]!.id } } });
    await until(async () => (await ids(ada.client)).length === 13, 'everything is in the home of ada');
    await until(() => drained([before.databaseUrl]), 'everything is drained');
    const homes = new Map(await Promise.all([ada, bob, ...others].map(async ({ handle, client }) => [handle, await ids(client)] as const)));
    const notifications = await heard(ada.client);
    const told = await heard(bob.client);
    const rows = await rowsOf([before.databaseUrl]);

    const inUse = await move(before.data, targets);
    expect(inUse.code).toBe(1);
    expect(inUse.stderr).toMatch(/^The data folder is in use.*\.\n$/);
    await before.stop();

    const moved = await move(before.data, targets);
    expect(moved.stderr).toBe('');
    expect(moved.code).toBe(0);
    expect(moved.stdout).toMatch(/among them 6 persons, 6 microblogs/);

    // Row by row, nothing more and nothing less; and both databases have some.
    const after = await rowsOf(targets);
    expect([...after.keys()].sort()).toEqual([...rows.keys()].sort());
    for (const [table, some] of rows) expect(after.get(table), table).toEqual(some);
    await withDatabases(targets, async (opened) => {
      for (const database of opened.get('microblog')?.all ?? []) expect((await database.query('SELECT FROM microblog')).length).toBeGreaterThan(0);
    });

    const closed = new TestServer(before.port, { data: before.data });
    ours.add(closed);
    closed.launch();
    const refused = await closed.ended();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^What was in the data folder .* has been moved to .*: start DMB with these databases\..*\n$/);

    const server = await startOn(targets, before.port);
    for (const { handle, client } of [ada, bob, ...others]) expect(await ids(client), handle).toEqual(homes.get(handle));
    expect(await heard(ada.client)).toEqual(notifications);
    expect(await heard(bob.client)).toEqual(told);
    expect(await ada.client.get('/api/v1/markers?timeline[]=home')).toMatchObject({ home: { last_read_id: posts[4]!.id } });
    expect((await fetch(posts[4]!.url ?? '')).status).toBe(200);
    expect((await logIn(new Browser(server.url), bob)).status).toBeLessThan(400);
    // An app that registered before is still known: its client_id is good for new tokens.
    const code = await authorize(new Browser(server.url), app, bob);
    const again = await requestToken(server.url, app, { grant_type: 'authorization_code', code, redirect_uri: 'urn:ietf:wg:oauth:2.0:oob' });
    const post = await new TestClient(server.url, again.access_token).post('After the move');
    expect(BigInt(post.id)).toBeGreaterThan(BigInt(posts.at(-1)!.id));
    for (const { client, handle } of [ada, ...others]) await until(async () => (await ids(client)).filter((id) => id === post.id).length === 1, `the new post is in the home of ${handle} once`);
    expect((await others[0]!.client.follow(ada.account.id)).following).toBe(true);
    await signUp(server.url, 'gus', { app });
    await withDatabases(targets, async (opened) => {
      for (const database of opened.get('microblog')?.all ?? []) {
        expect(await database.query('SELECT log_id FROM entry GROUP BY log_id, epoch_no HAVING max(number) <> count(*)')).toEqual([]);
      }
    });
  });

  it('loses nothing that was acknowledged before its server was killed', { timeout: 180_000 }, async () => {
    const before = await started();
    const app = await registerApp(before.url);
    const [ada, bob] = [await signUp(before.url, 'ada', { app }), await signUp(before.url, 'bob', { app })];
    await ada.client.follow(bob.account.id);
    await until(async () => (await bob.client.notifications()).length === 1, 'the follow has arrived');
    const posts = await Promise.all(Array.from({ length: 60 }, (_, index) => bob.client.post(`Number ${index}`)));
    await before.kill();
    expect((await move(before.data, targets)).code).toBe(0);
    await startOn(targets, before.port);
    const wanted = posts.map(({ id }) => BigInt(id)).sort((a, b) => (a < b ? 1 : -1)).map(String);
    await until(async () => JSON.stringify(await ids(ada.client)) === JSON.stringify(wanted), 'every post is in the home of the follower once, in order');
    await until(() => drained(targets), 'what nobody had taken is taken');
  });
});

describe('a move', () => {
  it('that was killed leaves nothing that could be started, and begins again', { timeout: 180_000 }, async () => {
    const before = await started();
    const ada = await signUp(before.url, 'ada');
    await ada.client.post('Before');
    await until(() => drained([before.databaseUrl]), 'everything is drained');
    const rows = await rowsOf([before.databaseUrl]);
    await before.stop();

    const run = spawn(process.execPath, [program, '--from', before.data, '--to', targets.join(',')], { stdio: 'ignore' });
    const gone = new Promise((done) => run.once('exit', done));
    await until(async () => {
      const result = await askDatabase(targets[0]!, `SELECT to_regclass('identity.person') IS NOT NULL AS there`);
      return result[0]?.['there'] === true;
    }, 'the move has begun');
    run.kill('SIGKILL');
    await gone;
    expect(await askDatabase(targets[0]!, `SELECT to_regclass('dmb.unfinished_move') IS NOT NULL AS there`)).toEqual([{ there: true }]);

    const early = new TestServer(before.port, { environment: { DATABASE_URL: targets.join(',') } });
    ours.add(early);
    early.launch();
    const refused = await early.ended();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^The move into the database .* has not ended: run the same "npm run move" again\.\n$/);

    expect((await move(before.data, targets)).code).toBe(0);
    const after = await rowsOf(targets);
    for (const [table, some] of rows) expect(after.get(table), table).toEqual(some);
  });

  it('is refused, and touches nothing, where it cannot be right', { timeout: 120_000 }, async () => {
    const before = await started();
    const ada = await signUp(before.url, 'ada');
    await before.stop();
    const description = readFileSync(join(before.data, 'dmb.json'), 'utf8');

    expect(await move(join(before.data, 'nowhere'), targets)).toMatchObject({ code: 1, stderr: expect.stringMatching(/^There is no data folder of DMB at .*\.\n$/) as string });
    writeFileSync(join(before.data, 'dmb.json'), JSON.stringify({ ...(JSON.parse(description) as object), format: 99 }));
    expect(await move(before.data, targets)).toMatchObject({ code: 1, stderr: expect.stringMatching(/was made by a newer release of DMB/) as string });
    writeFileSync(join(before.data, 'dmb.json'), description);

    const other = await startOn([targets[1]!], await freePort());
    await other.stop();
    const full = await move(before.data, targets);
    expect(full).toMatchObject({ code: 1, stderr: expect.stringMatching(/^Database 2 \(.*\) is not empty: .*\.\n$/) as string });
    expect(await move(before.data, [targets[0]!.replace(names[0]!, 'dmb_nowhere')])).toMatchObject({ code: 1, stderr: expect.stringMatching(/does not exist\.\n$/) as string });
    for (const wrong of [['--from', before.data], ['--to', targets[0]!], ['--from', before.data, '--to', 'mysql://x/y'], ['--over', 'x']]) {
      const { code } = await new Promise<{ code: number | null }>((done) => spawn(process.execPath, [program, ...wrong], { stdio: 'ignore' }).once('exit', (exit) => done({ code: exit })));
      expect(code).toBe(1);
    }

    // The folder is as it was.
    await before.start();
    expect((await ada.client.me()).username).toBe('ada');
  });
});
