/**
 * Shards that are moved to another database of the list, with the real programs: everything is read and written as before, and nothing is
 * left where it was. Whatever reaches a database other than by the shard map goes on looking in the old one.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { serviceNames } from '@dmb/events';
import { askDatabase, createDatabase, dropDatabase, schemaOf } from '@dmb/postgres';
import { eventually, freePort, registerApp, signUp, TestServer, type TestClient } from '@dmb/testing';

const program = join(resolve(import.meta.dirname, '../../..'), 'services/standalone/dist/move/shards-main.js');

const servers = new Set<TestServer>();
let names: string[];
let urls: string[];

beforeEach(async () => {
  const name = `dmb_shards_${process.pid}_${randomBytes(4).toString('hex')}`;
  names = [`${name}_0`, `${name}_1`];
  urls = await Promise.all(names.map((each) => createDatabase(inject('dmb.postgres'), each)));
});
afterEach(async () => {
  await Promise.all([...servers].map((server) => server.dispose()));
  servers.clear();
  await Promise.all(names.map((each) => dropDatabase(inject('dmb.postgres'), each)));
});

async function started(port: number): Promise<TestServer> {
  const server = new TestServer(port, { environment: { DATABASE_URL: urls.join(',') } });
  servers.add(server);
  await server.start();
  return server;
}

function moveShards(shards: string, to: number): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [program, '--databases', urls.join(','), '--shards', shards, '--to', String(to)], { timeout: 60_000 }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  });
}

/** Every row of some shards in one database, by table. */
async function rowsOf(url: string, from: number, to: number): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const service of serviceNames) {
    const tables = await askDatabase(url, `SELECT c.relname::text AS name, a.attname::text AS shard FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
      WHERE n.nspname = '${schemaOf(service)}' AND c.relkind = 'r' AND a.attname LIKE '%\\_shard'`);
    for (const { name, shard } of tables) {
      const rows = await askDatabase(url, `SELECT to_jsonb(t)::text AS row FROM ${schemaOf(service)}.${String(name)} t WHERE ${String(shard)} BETWEEN ${from} AND ${to}`);
      if (rows.length > 0) found.set(`${service} ${String(name)}`, rows.map(({ row }) => String(row)).sort());
    }
  }
  return found;
}

const ids = async (client: TestClient): Promise<string[]> => (await client.wholeHome()).map(({ id }) => id);

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  expect(await eventually(async () => ((await holds()) ? [] : [what]), 20_000)).toEqual([]);
}

it('moves one shard, and shards of both databases: all that is in them is read and written where they lie now', { timeout: 240_000 }, async () => {
  const port = await freePort();
  const before = await started(port);
  const app = await registerApp(before.url);
  const [ada, bob, cyd] = [await signUp(before.url, 'ada', { app }), await signUp(before.url, 'bob', { app }), await signUp(before.url, 'cyd', { app })];
  for (const reader of [ada, cyd]) await reader.client.follow(bob.account.id);
  await bob.client.follow(ada.account.id);
  const posts = [await bob.client.post('One #shards'), await bob.client.post('Two', { visibility: 'private' }), await ada.client.post('Three')];
  await until(async () => (await ids(bob.client)).length === 3 && (await ids(ada.client)).length === 3, 'everything is in the homes');
  const homes = await Promise.all([ada, bob, cyd].map(({ client }) => ids(client)));
  // A post's id has the shard of its microblog in bits 12 to 21.
  const shard = Number((BigInt(posts[0]!.id) >> 12n) & 1_023n);
  const [here, there] = shard < 512 ? [0, 1] : [1, 0];
  const used = await moveShards(String(shard), there + 1);
  expect(used).toMatchObject({ code: 1, stderr: 'A DMB uses these databases: stop every process of it first.\n' });
  await before.stop();

  const rows = await rowsOf(urls[here]!, shard, shard);
  expect([...rows.keys()]).toEqual(expect.arrayContaining(['microblog entry', 'microblog log', 'fan-out follower', 'fan-out cursor']));
  expect(await moveShards(String(shard), there + 1)).toMatchObject({ code: 0, stderr: '' });
  expect(await rowsOf(urls[there]!, shard, shard)).toEqual(rows);
  expect(await rowsOf(urls[here]!, shard, shard)).toEqual(new Map());

  const server = await started(port);
  expect(await Promise.all([ada, bob, cyd].map(({ client }) => ids(client)))).toEqual(homes);
  const next = [await bob.client.post('Four #shards'), await ada.client.post('Five')];
  expect((await cyd.client.follow(ada.account.id)).following).toBe(true);
  for (const { client } of [ada, bob]) {
    await until(async () => (await ids(client)).filter((id) => next.some((post) => post.id === id)).length === 2, 'what was posted since is in the homes once');
  }
  await until(async () => (await ids(cyd.client)).length === 5, 'who follows now has what there is');
  await server.stop();

  // Everything into the first database, part of which lies there already; and twice.
  const all = await Promise.all(urls.map((url) => rowsOf(url, 0, 1_023)));
  for (let time = 0; time < 2; time++) expect(await moveShards('0-1023', 1)).toMatchObject({ code: 0, stderr: '' });
  const together = await rowsOf(urls[0]!, 0, 1_023);
  for (const table of new Set(all.flatMap((each) => [...each.keys()]))) expect(together.get(table), table).toEqual(all.flatMap((each) => each.get(table) ?? []).sort());
  expect(await rowsOf(urls[1]!, 0, 1_023)).toEqual(new Map());
  await started(port);
  await ada.client.post('Six');
  await until(async () => (await ids(cyd.client)).length === 6, 'a post of after that is there');
});

it('that was broken off is not started from, and is ended by the same command', { timeout: 120_000 }, async () => {
  const port = await freePort();
  const server = await started(port);
  const ada = await signUp(server.url, 'ada');
  const post = await ada.client.post('Before');
  await server.stop();
  // As it is left between the copy and the change of the map: a part is there, and is not to be there twice.
  await askDatabase(urls[0]!, 'CREATE TABLE dmb.unfinished_remap (since timestamptz NOT NULL DEFAULT now())');
  const refused = new TestServer(port, { environment: { DATABASE_URL: urls.join(',') } });
  servers.add(refused);
  refused.launch();
  expect(await refused.ended()).toMatchObject({ code: 1, stderr: expect.stringMatching(/^Shards are being moved.*has not ended: run the same "npm run move-shards" again\.\n$/) as string });
  expect(await moveShards('0-1023', 2)).toMatchObject({ code: 0 });
  expect(await moveShards('0-511', 1)).toMatchObject({ code: 0 });
  await started(port);
  expect(await ids(ada.client)).toEqual([post.id]);
});

it('is refused where it cannot be right', { timeout: 60_000 }, async () => {
  expect(await moveShards('0', 1)).toMatchObject({ code: 1, stderr: expect.stringMatching(/has not been set up for DMB/) as string });
  await (await started(await freePort())).stop();
  expect(await moveShards('5-1024', 1)).toMatchObject({ code: 1, stderr: 'Shards are numbered from 0 to 1023.\n' });
  expect(await moveShards('5', 3)).toMatchObject({ code: 1, stderr: 'DATABASE_URL lists 2 databases; there is no number 3.\n' });
  urls.reverse();
  expect(await moveShards('5', 1)).toMatchObject({ code: 1, stderr: expect.stringMatching(/lists the databases in another order/) as string });
});
