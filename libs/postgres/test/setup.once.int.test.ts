import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { StartError } from '@dmb/runtime';
import { createTestDatabases, startTestPostgres, type TestDatabases } from '@dmb/testing';
import { createDatabase, dropDatabase, loadMigrations, migrate, openDatabases, openInstallation, type Migration } from '../src/index.ts';

const server = inject('dmb.postgres');
const prefix = `dmb_setup_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
const made: string[] = [];
const fresh = async (): Promise<string> => {
  const name = `${prefix}_${made.length}`;
  made.push(name);
  return await createDatabase(server, name);
};
afterAll(() => Promise.all(made.map((name) => dropDatabase(server, name))));

const as = async <T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};
const sentence = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartError);
  const { sentences } = error as StartError;
  expect(sentences).toHaveLength(1);
  expect(sentences[0]).toMatch(/^[A-Z].*\.$/);
  expect(sentences[0]).not.toMatch(/secret|password=/);
  return sentences[0] ?? '';
};

describe('an installation', () => {
  it('is made once and found again', async () => {
    const urls = [await fresh(), await fresh()];
    const made = await openInstallation({ urls, domain: 'example.org' });
    expect(made).toMatchObject({ domain: 'example.org', databases: 2 });
    expect(await openInstallation({ urls, domain: 'example.org' })).toEqual(made);
  });

  it('is one when several processes make it at once', async () => {
    const urls = [await fresh(), await fresh()];
    const all = await Promise.all(Array.from({ length: 8 }, () => openInstallation({ urls, domain: 'example.org' })));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  });

  it('refuses what does not belong to it, with one sentence', async () => {
    const [a, b, c] = [await fresh(), await fresh(), await fresh()];
    await openInstallation({ urls: [a, b], domain: 'example.org' });
    await openInstallation({ urls: [c], domain: 'example.org' });
    expect(await sentence(openInstallation({ urls: [a, b], domain: 'example.com' }))).toContain('belongs to the domain example.org, but DMB_DOMAIN is example.com');
    expect(await sentence(openInstallation({ urls: [b, a], domain: 'example.org' }))).toContain('another order');
    expect(await sentence(openInstallation({ urls: [a], domain: 'example.org' }))).toContain('one of 2 databases of this installation, but DATABASE_URL lists 1');
    expect(await sentence(openInstallation({ urls: [a, c], domain: 'example.org' }))).toContain('belongs to another installation');
    expect(await sentence(openInstallation({ urls: [a, await fresh()], domain: 'example.org' }))).toContain('Database 2');
    expect(await sentence(openInstallation({ urls: [a, a], domain: 'example.org' }))).toContain('twice');
    expect(await sentence(openInstallation({ urls: [], domain: 'example.org' }))).toContain('names no database');
  });

  it('never writes a list that names a database twice', async () => {
    const url = await fresh();
    expect(await sentence(openInstallation({ urls: [url, `${url}${url.includes('?') ? '&' : '?'}application_name=other`], domain: 'example.org' }))).toContain('twice');
    expect(await openInstallation({ urls: [url], domain: 'example.org' })).toMatchObject({ databases: 1 });
  });

  it('is finished after a crash in the middle of making it', async () => {
    const [a, b] = [await fresh(), await fresh()];
    const { id } = await openInstallation({ urls: [a, b], domain: 'example.org' });
    await as(a, (client) => client.query('DROP SCHEMA dmb CASCADE'));
    expect(await openInstallation({ urls: [a, b], domain: 'example.org' })).toMatchObject({ id });
    await expect(openDatabases({ urls: [a, b], service: 'identity', connectionsMax: 1, applicationName: 'x' })).rejects.toThrow();
  });

  // Filling a database that was lost and replaced by an empty one would hide the loss.
  it('does not paper over a database that was replaced by an empty one', async () => {
    const [a, b, empty] = [await fresh(), await fresh(), await fresh()];
    const urls = [a, b];
    await openInstallation({ urls, domain: 'example.org' });
    await migrate({ urls, service: 'identity', migrations: [] });
    expect(await sentence(openInstallation({ urls: [a, empty], domain: 'example.org' }))).toContain('Database 2');
    expect(await sentence(openInstallation({ urls: [empty, b], domain: 'example.org' }))).toMatch(/Database 1 .* is empty, although it was in use/);
  });

  it('leaves alone what is not ours', async () => {
    const url = await fresh();
    await as(url, (client) => client.query('CREATE SCHEMA timeline; CREATE TABLE timeline.mine (a int)'));
    expect(await sentence(openInstallation({ urls: [url], domain: 'example.org' }))).toContain('has a schema "timeline" already');
    expect(await as(url, (client) => client.query(`SELECT FROM pg_namespace WHERE nspname = 'dmb'`)).then(({ rowCount }) => rowCount)).toBe(0);
  });

  it('says so when a database cannot be used', async () => {
    const url = await fresh();
    expect(await sentence(openInstallation({ urls: [url.replace(/\/dmb_setup[^?]*/, '/missing')], domain: 'example.org' }))).toContain('does not exist');
    expect(await sentence(openInstallation({ urls: ['postgresql://u:secret@127.0.0.1:1/x'], domain: 'example.org' }))).toContain('cannot be reached');
    expect(await sentence(openDatabases({ urls: [url], service: 'identity', connectionsMax: 1, applicationName: 'x' }))).toBeTruthy();
    await openInstallation({ urls: [url], domain: 'example.org' });
    await migrate({ urls: [url], service: 'identity', migrations: [] });
    expect(await sentence(openDatabases({ urls: [url, url], service: 'identity', connectionsMax: 1, applicationName: 'x' }))).toContain('one of 1 databases');
  });
});

describe('migrations', () => {
  let test: TestDatabases;
  beforeAll(async () => {
    test = await createTestDatabases({ count: 2 });
  });
  afterAll(() => test.drop());

  const one: Migration = { name: '0001_one', sql: 'CREATE TABLE one (a int4); INSERT INTO one VALUES (1);' };
  const two: Migration = { name: '0002_two', sql: 'ALTER TABLE one ADD b int4;' };
  const run = (migrations: readonly Migration[], service: 'identity' | 'timeline' | 'fan-out' = 'identity') => migrate({ urls: test.urls, service, migrations });

  it('run once in every database, in order', async () => {
    expect(await run([one])).toEqual(test.urls.map(() => ['0001_one']));
    expect(await run([one, two])).toEqual(test.urls.map(() => ['0002_two']));
    expect(await run([one, two])).toEqual(test.urls.map(() => []));
    const databases = await test.open('identity');
    for (const database of databases.all) expect(await database.query('SELECT a, b FROM one')).toEqual([{ a: 1, b: null }]);
  });

  it('refuse a file that changed, and a database that a newer version made', async () => {
    expect(await sentence(run([one, { ...two, sql: `${two.sql} ` }]))).toContain('0002_two of identity is not the one');
    expect(await sentence(run([one]))).toContain('made by a newer version of DMB (identity has the migration 0002_two)');
  });

  it('leave nothing of one that failed', async () => {
    await expect(run([one, two, { name: '0003_bad', sql: 'CREATE TABLE three (a int4); SELECT 1 / 0;' }])).rejects.toThrow();
    expect(await run([one, two, { name: '0003_good', sql: 'CREATE TABLE three (a int4);' }])).toEqual(test.urls.map(() => ['0003_good']));
  });

  it('run once when many processes start at the same time', async () => {
    const slow = { name: '0001_slow', sql: 'CREATE TABLE slow (a int4); SELECT pg_sleep(0.05);' };
    const all = await Promise.all(Array.from({ length: 6 }, () => run([slow], 'timeline')));
    expect(all.flat(2)).toEqual(test.urls.map(() => '0001_slow'));
  });

  // Roles belong to the server: advisory locks, which belong to a database, do not help.
  it('make a role that somebody else is making at this moment in another database of the server', async () => {
    const alone = await startTestPostgres();
    onTestFinished(() => alone.stop());
    const { urls } = await createTestDatabases({ count: 1, server: alone.url });
    await as(alone.url, async (client) => {
      await client.query('BEGIN; CREATE ROLE dmb_timeline NOLOGIN');
      const migrating = migrate({ urls, service: 'timeline', migrations: [one] });
      await vi.waitFor(async () => expect((await client.query('SELECT FROM pg_locks WHERE NOT granted')).rowCount).toBeGreaterThan(0));
      await client.query('COMMIT');
      expect(await migrating).toEqual([['0001_one']]);
    });
  });

  it('give up soon on a table that somebody holds', async () => {
    const databases = await test.open('identity');
    await databases.at(0).transaction(async (tx) => {
      await tx.query('SELECT * FROM one');
      expect(await sentence(run([one, two, { name: '0003_good', sql: 'CREATE TABLE three (a int4);' }, { name: '0004_alter', sql: 'ALTER TABLE one ADD c int4' }]))).toContain('does not answer in time');
    });
  });

  // Every service in one database: only grants keep them apart.
  it('show a service its own schema and no other', async () => {
    await run([{ name: '0001_x', sql: 'CREATE TABLE secret (a int4)' }], 'fan-out');
    const fanOut = await test.open('fan-out');
    const identity = await test.open('identity');
    for (const database of fanOut.all) {
      expect(await database.query('SELECT * FROM secret')).toEqual([]);
      await expect(database.query('SELECT * FROM identity.one')).rejects.toMatchObject({ fault: 'permission' });
      await expect(database.execute('CREATE TABLE identity.mine (a int4)')).rejects.toMatchObject({ fault: 'permission' });
      await expect(database.execute('CREATE TABLE public.mine (a int4)')).rejects.toMatchObject({ fault: 'permission' });
      await expect(database.execute(`UPDATE dmb.installation SET domain = 'x'`)).rejects.toMatchObject({ fault: 'permission' });
    }
    for (const database of identity.all) await expect(database.query('SELECT * FROM fan_out.secret')).rejects.toMatchObject({ fault: 'permission' });
  });

  it('cannot reach beyond the schema of their service', async () => {
    await expect(run([{ name: '0001_slow', sql: 'CREATE TABLE slow (a int4); SELECT pg_sleep(0.05);' }, { name: '0002_bad', sql: 'DROP TABLE identity.one' }], 'timeline')).rejects.toThrow();
  });

  // A login user of a managed Postgres is no superuser.
  it('are made by a user who may make roles and nothing more', async () => {
    const role = `maker_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
    const url = await fresh();
    const roles = ['dmb_identity', 'dmb_timeline'];
    await as(server, (client) => client.query(`CREATE ROLE ${role} LOGIN CREATEROLE PASSWORD 'secret'`));
    await as(url, async (client) => {
      await client.query(`ALTER DATABASE ${pg.escapeIdentifier(made.at(-1) ?? '')} OWNER TO ${role}`);
      // Made by somebody else on this server, as after an earlier installation.
      for (const each of roles) await client.query(`GRANT ${each} TO ${role} WITH ADMIN OPTION`);
    });
    const own = url.replace(/\/\/[^@]*@/, `//${role}:secret@`);
    await openInstallation({ urls: [own], domain: 'example.org' });
    expect(await migrate({ urls: [own], service: 'identity', migrations: [one, two] })).toEqual([['0001_one', '0002_two']]);
    const databases = await openDatabases({ urls: [own], service: 'identity', connectionsMax: 1, applicationName: 'x' });
    expect(await databases.at(5).query('SELECT a FROM one')).toEqual([{ a: 1 }]);
    await databases.close();
    await as(url, (client) => client.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`));
  });

  it('are read from a folder whose numbers have no gap', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dmb-migrations-'));
    const url = pathToFileURL(`${folder}/`);
    await writeFile(join(folder, '0002_b.sql'), 'SELECT 2');
    await writeFile(join(folder, '0001_a.sql'), 'SELECT 1');
    await writeFile(join(folder, 'README.md'), '');
    expect(await loadMigrations(url)).toEqual([
      { name: '0001_a', sql: 'SELECT 1' },
      { name: '0002_b', sql: 'SELECT 2' },
    ]);
    await writeFile(join(folder, '0004_d.sql'), 'SELECT 4');
    await expect(loadMigrations(url)).rejects.toThrow('0004_d.sql');
    await rm(folder, { recursive: true });
  });
});
