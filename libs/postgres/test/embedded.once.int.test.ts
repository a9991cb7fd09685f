import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { StartError } from '@dmb/runtime';
import { mountSmallDisk, startTestPostgres } from '@dmb/testing';
import { accountFor } from '../src/embedded/account.ts';
import { findBinaries, linkLibraries } from '../src/embedded/binaries.ts';
import { PooledDatabase } from '../src/database.ts';
import { lockFolder } from '../src/embedded/folder-lock.ts';
import { freeCluster } from '../src/embedded/postmaster.ts';
import { isConnectionLost, isDiskFull, startEmbeddedPostgres, stopLeftPostgres, type EmbeddedExit, type EmbeddedPostgres, type EmbeddedPostgresOptions } from '../src/index.ts';

const isRoot = process.getuid?.() === 0;
const { major } = findBinaries();
const running = new Set<EmbeddedPostgres>();
const folders: string[] = [];

afterEach(async () => {
  await Promise.all([...running].map((postgres) => postgres.stop()));
  running.clear();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A folder that others may pass, for a data folder inside. */
const folder = (): string => {
  const made = realpathSync(mkdtempSync(join(tmpdir(), `dmb-embedded-${process.pid}-`)));
  chmodSync(made, 0o755);
  folders.push(made);
  return made;
};
/** A cluster made once, for all tests whose subject is not how one is made. */
let template: string | undefined;
const copyTemplate = async (dataDir: string): Promise<void> => {
  if (template === undefined) {
    template = realpathSync(mkdtempSync(join(tmpdir(), `dmb-embedded-${process.pid}-template-`)));
    chmodSync(template, 0o755);
    await (await startEmbeddedPostgres({ initWithoutSync: true, dataDir: join(template, 'data') })).stop();
  }
  mkdirSync(dirname(dataDir), { recursive: true });
  spawnSync('cp', ['-a', join(template, 'data'), dataDir]);
};
afterAll(() => rmSync(template ?? '', { recursive: true, force: true }));
/** A folder with a cluster that has been used before. */
const used = async (name = 'data'): Promise<string> => {
  const dataDir = join(folder(), name);
  await copyTemplate(dataDir);
  return dataDir;
};
const start = async (dataDir: string, options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> => {
  const postgres = await startEmbeddedPostgres({ initWithoutSync: true, ...options, dataDir });
  running.add(postgres);
  return postgres;
};
const connect = (postgres: EmbeddedPostgres): PooledDatabase => {
  const database = new PooledDatabase(0, { url: postgres.url, applicationName: 'test' }, 3);
  onTestFinished(() => database.close());
  return database;
};
const sentence = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartError);
  expect((error as StartError).sentences).toHaveLength(1);
  expect((error as StartError).message).toMatch(/^[A-Z][^\n]*\.$/);
  return (error as StartError).message;
};
const eventually = <T>(work: () => T | Promise<T>): Promise<T> => vi.waitFor(work, { timeout: 20_000, interval: 20 });
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !existsSync('/proc/self/stat') || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};
/** Everything in a folder with its sizes and times, but for what a running Postgres writes. */
const fingerprint = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const at = join(path, entry.name);
    return entry.isDirectory() ? fingerprint(at) : [`${at} ${lstatSync(at).size} ${lstatSync(at).mtimeMs}`];
  });

/** Another program that runs an embedded Postgres on this folder; resolves when it is up, or has ended. */
async function program(dataDir: string, { then = '', user }: { readonly then?: string; readonly user?: number } = {}): Promise<{ readonly child: ChildProcess; readonly said: string; readonly postgres: number }> {
  const code = `
    import { startEmbeddedPostgres } from '@dmb/postgres';
    try {
      const postgres = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, initWithoutSync: true });
      console.log('up ' + postgres.pid);
      ${then === '' ? 'setInterval(() => {}, 1000);' : then}
    } catch (error) { console.log(error.name + ': ' + error.message); process.exitCode = 1; }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    cwd: dirname(import.meta.dirname),
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(user === undefined ? {} : { uid: user, gid: user }),
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const said = await new Promise<string>((done) => {
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      if (text.includes('\n')) done(text.trim());
    });
    child.once('exit', () => done(text.trim()));
  });
  return { child, said, postgres: Number(/^up (\d+)/.exec(said)?.[1] ?? 0) };
}
const gone = (child: ChildProcess): Promise<void> => new Promise((done) => (child.exitCode === null && child.signalCode === null ? child.once('exit', () => done()) : done()));

describe('an embedded Postgres', () => {
  it('keeps what was written from one start to the next, and takes no connection from outside', async () => {
    const dataDir = join(folder(), 'data', 'postgres');
    const first = await start(dataDir);
    const database = connect(first);
    await database.execute('CREATE TABLE kept (a int4); INSERT INTO kept VALUES (1)');
    const [settings] = await database.query(
      `SELECT current_setting('listen_addresses') AS tcp, current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit, current_setting('data_checksums') AS checksums, lower('ÄÖ') AS lower`,
    );
    expect(settings).toEqual({ tcp: '', fsync: 'on', commit: 'on', checksums: 'on', lower: 'äö' });
    const socket = new URL(first.url).searchParams.get('host') ?? '';
    expect(statSync(socket).mode & 0o777).toBe(0o700);
    expect(statSync(join(dataDir, String(major))).mode & 0o077).toBe(0);
    await database.close();
    await first.stop();
    await first.stop();
    expect(existsSync(join(dataDir, String(major), 'postmaster.pid'))).toBe(false);
    const second = await start(dataDir);
    expect(await connect(second).query('SELECT a FROM kept')).toEqual([{ a: 1 }]);
  });

  it('stops at once although somebody is connected in the middle of a transaction', async () => {
    const postgres = await start(await used());
    const database = connect(postgres);
    const open = database.transaction((tx) => tx.query('SELECT pg_sleep(20)')).catch((error: unknown) => error);
    await sleep(100);
    const begun = Date.now();
    await postgres.stop();
    expect(Date.now() - begun).toBeLessThan(10_000);
    expect(isConnectionLost(await open)).toBe(true);
  });

  it('is started again when it dies by itself, with everything that was committed', async () => {
    const postgres = await start(await used());
    const { url } = postgres;
    const exits: EmbeddedExit[] = [];
    postgres.onExit((exit) => exits.push(exit));
    const database = connect(postgres);
    await database.execute('CREATE TABLE kept (a int8)');
    for (let round = 1; round <= 3; round++) {
      const { pid } = postgres;
      await database.execute('INSERT INTO kept SELECT generate_series(1, 1000)');
      process.kill(pid ?? 0, 'SIGKILL');
      await eventually(() => expect(exits).toHaveLength(round));
      expect(postgres.url).toBe(url);
      await eventually(async () => expect(await database.query('SELECT count(*) AS n FROM kept')).toEqual([{ n: BigInt(round * 1000) }]));
      expect(postgres.pid).not.toBe(pid);
    }
    expect(exits).toMatchObject([{ signal: 'SIGKILL' }, { signal: 'SIGKILL' }, { signal: 'SIGKILL' }]);
    // Later each time, until it has been well for long.
    expect(exits[2]?.restartInMs).toBeGreaterThan((exits[0]?.restartInMs ?? 0) * 1.5);
  });

  it('can be stopped while it is being started again', async () => {
    const dataDir = await used();
    const postgres = await start(dataDir);
    const exited = new Promise((done) => postgres.onExit(done));
    const first = postgres.pid ?? 0;
    process.kill(first, 'SIGKILL');
    await exited;
    // In the middle of its recovery.
    await eventually(() => expect(postgres.pid).not.toBe(undefined));
    const second = postgres.pid ?? 0;
    await postgres.stop();
    await sleep(500);
    expect([isAlive(first), isAlive(second)]).toEqual([false, false]);
    expect(existsSync(join(dataDir, String(major), 'postmaster.pid'))).toBe(false);
  });

  it('does not hear the Ctrl-C that its program hears, and ends when the program ends without a word', async () => {
    const dataDir = await used();
    const { child, postgres } = await program(dataDir, { then: 'setTimeout(() => process.exit(3), 300);' });
    if (existsSync('/proc/self/stat')) {
      const group = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[2];
      expect(group(postgres)).toBe(String(postgres));
      expect(group(postgres)).not.toBe(group(child.pid ?? 0));
    }
    await gone(child);
    await eventually(() => expect(isAlive(postgres)).toBe(false));
    expect(existsSync(join(dataDir, String(major), 'postmaster.pid'))).toBe(false);
  });
});

describe('what an earlier run left', () => {
  it('an orphan is stopped, and what it held is there', async () => {
    const dataDir = await used();
    const { child, postgres: orphan } = await program(dataDir);
    child.kill('SIGKILL');
    await gone(child);
    await sleep(50);
    expect(isAlive(orphan)).toBe(true);
    const postgres = await start(dataDir);
    expect(isAlive(orphan)).toBe(false);
    expect(postgres.pid).not.toBe(orphan);
    expect(await connect(postgres).query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('an orphan that was killed too is recovered from', async () => {
    const dataDir = await used();
    const { child, postgres: orphan } = await program(dataDir);
    child.kill('SIGKILL');
    await gone(child);
    process.kill(orphan, 'SIGKILL');
    expect(await connect(await start(dataDir)).query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  // Postgres itself only asks whether the process exists, and would never start again.
  it('a pid that another program has by now is not fought', async () => {
    const dataDir = await used();
    const first = await start(dataDir);
    const pidFile = join(dataDir, String(major), 'postmaster.pid');
    const lines = readFileSync(pidFile, 'utf8').split('\n');
    await first.stop();
    // It even works in that folder.
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore', cwd: join(dataDir, String(major)) });
    onTestFinished(() => void stranger.kill('SIGKILL'));
    writeFileSync(pidFile, [String(stranger.pid), ...lines.slice(1)].join('\n'));
    expect(await connect(await start(dataDir)).query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(isAlive(stranger.pid ?? 0)).toBe(true);
  });

  it('a half-made cluster is thrown away', async () => {
    const dataDir = join(folder(), 'data');
    mkdirSync(dataDir);
    mkdirSync(join(dataDir, `${major}.tmp-999999999`));
    writeFileSync(join(dataDir, `${major}.tmp-999999999`, 'PG_VERSION'), String(major));
    await start(dataDir);
    expect(readdirSync(dataDir).sort()).toEqual([String(major), 'socket']);
  });
});

describe('a folder that is not to be touched', () => {
  it('is in use by another program, which does not notice', async () => {
    const dataDir = await used();
    const { said, postgres } = await program(dataDir);
    expect(said).toMatch(/^up/);
    expect(await sentence(start(dataDir))).toContain('in use');
    expect((await program(dataDir)).said).toMatch(/^StartError: The data folder is in use/);
    expect(isAlive(postgres)).toBe(true);
  });

  it('is in use by this one', async () => {
    const dataDir = await used();
    const postgres = await start(dataDir);
    expect(await sentence(start(dataDir))).toContain('this one');
    expect(await connect(postgres).query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it.each(['a new folder', 'one whose Postgres was killed'])('is taken by exactly one of several that start at once: %s', async (which) => {
    const dataDir = which === 'a new folder' ? join(folder(), 'data') : await used();
    if (which !== 'a new folder') {
      const { child, postgres: orphan } = await program(dataDir);
      child.kill('SIGKILL');
      await gone(child);
      process.kill(orphan, 'SIGKILL');
    }
    const all = await Promise.all(Array.from({ length: 4 }, () => program(dataDir)));
    const winners = all.filter(({ said }) => said.startsWith('up '));
    expect(winners).toHaveLength(1);
    expect(all.filter(({ said }) => /^StartError: .* in use/.test(said))).toHaveLength(3);
    await sleep(200);
    expect(isAlive(winners[0]?.postgres ?? 0)).toBe(true);
  });

  // Of several that start at once, all would find the same leftovers, and one would end what another has just begun.
  it('belongs to one program from before it looks until it is gone, whatever ends it', async () => {
    const dataDir = await used();
    const lock = lockFolder(dataDir);
    expect(lockFolder(dataDir)).toBeUndefined();
    const before = fingerprint(dataDir);
    expect(await sentence(start(dataDir))).toBe(`The data folder is in use: ${dataDir}.`);
    expect(await sentence(stopLeftPostgres(dataDir))).toContain('in use');
    expect(fingerprint(dataDir)).toEqual(before);
    lock?.release();
    const { child, postgres } = await program(dataDir);
    expect(lockFolder(dataDir)).toBeUndefined();
    child.kill('SIGKILL');
    await gone(child);
    // Not by its Postgres, which still runs.
    expect(isAlive(postgres)).toBe(true);
    const again = lockFolder(dataDir);
    expect(again).toBeDefined();
    again?.release();
    await (await start(dataDir)).stop();
    lockFolder(dataDir)?.release();
    await start(dataDir);
  });

  // Postgres writes its pid first, and its command line only later: until then the file names who had the folder before.
  it('is not taken from a Postgres that has just begun, whatever its files say of an earlier one', async () => {
    const dataDir = await used();
    const { postgres } = await program(dataDir);
    const cluster = join(dataDir, String(major));
    const options = readFileSync(join(cluster, 'postmaster.opts'), 'utf8');
    writeFileSync(join(cluster, 'postmaster.opts'), options.replace(/cluster_name=dmb-\d+/, 'cluster_name=dmb-999999999'));
    expect(await sentence(freeCluster(cluster, () => undefined))).toContain('in use');
    expect(isAlive(postgres)).toBe(true);
  });

  // Who finds the file of a killed Postgres must not end the Postgres that another starter has put in its place meanwhile.
  it.runIf(existsSync('/proc/self/stat'))('is never cleared of a newcomer that is well', async () => {
    const dataDir = await used();
    const { postgres } = await program(dataDir);
    const pidFile = join(dataDir, String(major), 'postmaster.pid');
    const written = readFileSync(pidFile, 'utf8');
    writeFileSync(pidFile, written.replace(/^\d+/, '999999999'));
    await freeCluster(join(dataDir, String(major)), () => undefined);
    writeFileSync(pidFile, written);
    await sleep(200);
    expect(isAlive(postgres)).toBe(true);
  });

  it('is newer, older, damaged, or no folder', async () => {
    const dataDir = await used();
    await (await start(dataDir)).stop();
    const cluster = join(dataDir, String(major));
    renameSync(cluster, join(dataDir, String(major + 1)));
    const before = fingerprint(dataDir);
    expect(await sentence(start(dataDir))).toMatch(/newer than this program: it was made by Postgres \d+, and this is \d+/);
    expect(fingerprint(dataDir)).toEqual(before);
    renameSync(join(dataDir, String(major + 1)), join(dataDir, String(major - 1)));
    expect(await sentence(start(dataDir))).toContain(`was made by Postgres ${major - 1}`);
    renameSync(join(dataDir, String(major - 1)), cluster);
    const version = readFileSync(join(cluster, 'PG_VERSION'));
    rmSync(join(cluster, 'PG_VERSION'));
    expect(await sentence(start(dataDir))).toContain('damaged');
    writeFileSync(join(cluster, 'PG_VERSION'), version);
    const file = join(folder(), 'file');
    writeFileSync(file, '');
    expect(await sentence(start(join(file, 'data')))).toContain('cannot be made or read');
    await start(dataDir);
  });
});

describe('places', () => {
  it.each([
    ['a path too long for a socket', 'x'.repeat(90)],
    ['blanks, commas and quotes in the path', `a b,c"d'e`],
    ['letters beyond ASCII', 'Überläufer'],
  ])('with %s', async (_, name) => {
    const dataDir = await used(join(name, 'data'));
    const postgres = await start(dataDir);
    expect(await connect(postgres).query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    const socket = new URL(postgres.url).searchParams.get('host') ?? '';
    expect(socket).toMatch(/^\/tmp\/dmb-postgres-/);
    expect(statSync(socket).mode & 0o777).toBe(0o700);
    await postgres.stop();
    expect(existsSync(socket)).toBe(false);
  });

  // A clone below /root, or in a folder of mktemp -d: the user postgres cannot pass it.
  it.runIf(isRoot)('below a folder that only root may pass', async () => {
    const closed = folder();
    chmodSync(closed, 0o700);
    const postgres = await start(join(closed, 'data'));
    const database = connect(postgres);
    expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    const exited = new Promise((done) => postgres.onExit(done));
    process.kill(postgres.pid ?? 0, 'SIGKILL');
    await exited;
    await eventually(async () => expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]));
    expect(statSync(closed).mode & 0o777).toBe(0o700);
  });

  // The test above has its programs where everybody may pass.
  it.runIf(isRoot)('of programs below a folder that only root may pass', async () => {
    const [closed, data] = [folder(), folder()];
    chmodSync(closed, 0o700);
    const { initdb } = findBinaries();
    cpSync(resolve(initdb, '../..'), join(closed, 'native'), { recursive: true, verbatimSymlinks: true });
    const programs = join(closed, 'native/bin');
    const child = accountFor({ folder: data, cluster: undefined, programs: [join(programs, 'postgres')] }).spawn(join(programs, 'initdb'), ['-D', join(data, 'made'), '-U', 'dmb', '--auth=trust', '--no-sync'], { cwd: data, stdio: 'ignore' });
    expect(await new Promise((done) => child.once('exit', done))).toBe(0);
  });

  it.runIf(isRoot)('of root after a copy by root, and of the user who made it', async () => {
    const dataDir = await used();
    await (await start(dataDir)).stop();
    const owner = statSync(join(dataDir, String(major))).uid;
    expect(owner).not.toBe(0);
    spawnSync('chown', ['-R', '0:0', dataDir]);
    await (await start(dataDir)).stop();
    expect(statSync(join(dataDir, String(major), 'PG_VERSION')).uid).toBe(owner);
    spawnSync('chown', ['-R', '54321:54321', dataDir]);
    await start(dataDir);
    expect(statSync(join(dataDir, String(major), 'postmaster.pid')).uid).toBe(54321);
  });

  it.runIf(isRoot)('of an ordinary user', async () => {
    const home = folder();
    const user = Number(spawnSync('id', ['-u', 'nobody'], { encoding: 'utf8' }).stdout);
    chownSync(home, user, user);
    // Whoever has cloned the repository into a closed folder cannot test this.
    const reach = spawnSync(process.execPath, ['-e', '0'], { uid: user, gid: user, cwd: '/' });
    if (reach.error !== undefined || reach.status !== 0) return;
    const { child, said } = await program(join(home, 'data'), { user, then: 'await postgres.stop();' });
    expect(said).toMatch(/^up/);
    await gone(child);
    const theirs = await used();
    await (await start(theirs)).stop();
    chmodSync(theirs, 0o755);
    expect((await program(theirs, { user })).said).toMatch(/^StartError: The data folder .*(belongs to another user|cannot be read)/);
  });
});

it('makes the links that the programs need where install scripts were not run', () => {
  const root = folder();
  mkdirSync(join(root, 'native', 'lib'), { recursive: true });
  writeFileSync(join(root, 'native', 'lib', 'libx.so.1.2'), 'x');
  writeFileSync(join(root, 'native', 'lib', 'liby.so.3'), 'y');
  symlinkSync('liby.so.3', join(root, 'native', 'lib', 'liby.so'));
  const links = [
    { source: 'native/lib/libx.so.1.2', target: 'native/lib/libx.so.1' },
    { source: 'native/lib/liby.so.3', target: 'native/lib/liby.so' },
  ];
  writeFileSync(join(root, 'native', 'pg-symlinks.json'), JSON.stringify(links));
  linkLibraries(root);
  linkLibraries(root);
  expect(readFileSync(join(root, 'native', 'lib', 'libx.so.1'), 'utf8')).toBe('x');
});

it('says what to do where there is no Postgres for the platform', () => {
  expect(() => findBinaries('sunos', 'sparc')).toThrow('set DATABASE_URL');
  expect(() => findBinaries('win32', 'x64')).toThrow('set DATABASE_URL');
});

it('tells of a full disk, loses nothing, and goes on when there is room', async (context) => {
  const disk = mountSmallDisk(160);
  if ('impossible' in disk) return context.skip(disk.impossible);
  onTestFinished(() => disk.unmount());
  const postgres = await startTestPostgres({ dataDir: join(disk.path, 'data'), settings: { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on', min_wal_size: '32MB', max_wal_size: '64MB' } });
  running.add(postgres);
  const database = connect(postgres);
  await database.execute('CREATE TABLE kept (n int4, filler text)');
  disk.fill();
  const filler = Buffer.alloc(4_000, 'x').toString('hex');
  let acknowledged = 0;
  let failure: unknown;
  for (let n = 1; n <= 20_000 && failure === undefined; n++) {
    try {
      await database.execute('INSERT INTO kept VALUES ($1, $2 || random()::text)', [n, filler]);
      acknowledged = n;
    } catch (error) {
      failure = error;
    }
  }
  expect(failure).toMatchObject({ kind: 'unavailable' });
  expect(isDiskFull(failure) || isConnectionLost(failure)).toBe(true);
  await sleep(500);
  disk.makeRoom();
  await eventually(async () => expect(Number((await database.query<{ n: bigint }>('SELECT count(*) AS n FROM kept'))[0]?.n)).toBeGreaterThanOrEqual(acknowledged));
  await eventually(() => database.execute('INSERT INTO kept VALUES (0, $1)', ['again']));
});

it('says so when there is no room to make it in', async (context) => {
  const disk = mountSmallDisk(16);
  if ('impossible' in disk) return context.skip(disk.impossible);
  onTestFinished(() => disk.unmount());
  expect(await sentence(start(join(disk.path, 'data')))).toContain('No space left on device');
  expect(readdirSync(join(disk.path, 'data'))).toEqual([]);
});
