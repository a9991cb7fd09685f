/**
 * Starting, and being idle: the program itself, as `npm start` runs it after its build, in a folder of its own.
 *
 * The first start makes a database, the second finds it. The base of both is the same Node from its
 * start until an empty `node:http` server listens: what no program in Node gets below.
 *
 * An idle server is looked at for a minute and a half after it has come to rest, which takes a minute: then the
 * first of its hourly rounds (sweep, expired sessions) are over. Its transactions are counted by
 * Postgres itself (`pg_stat_database`), with autovacuum off, whose transactions nobody asks for, and
 * without the two of the counting.
 */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabases, type DedicatedConnection } from '@dmb/postgres';
import { freePort, startTestServer, TestServer } from '@dmb/testing';
import type { Tell } from './bench.ts';
import type { Quantity } from './quantities.ts';
import { inTurns, median, rangeOf } from './rounds.ts';

const sizes = { rounds: 3, restMs: 75_000, idleMs: 90_000 } as const;

export async function benchStart(tell: Tell): Promise<Quantity[]> {
  tell('first and second start');
  const stops: number[] = [];
  const seconds: number[] = [];
  const rounds = await inTurns(sizes.rounds, {
    base: emptyServerMs,
    ours: async () => {
      const server = new TestServer(await freePort(), {});
      try {
        const first = await server.start();
        const begun = performance.now();
        await server.stop();
        stops.push(performance.now() - begun);
        seconds.push(await server.start());
        await server.stop();
        return first;
      } finally {
        await server.dispose();
      }
    },
  });
  // As with the others, the first round is for warming up.
  const second = seconds.slice(1);
  const base = { value: median(rounds.base), unit: 'ms', of: 'node until an empty node:http server listens' };
  return [
    { name: 'start.first', value: median(rounds.ours), range: rangeOf(rounds.ours), unit: 'ms', base, of: 'start to ready in an empty folder' },
    { name: 'start.second', value: median(second), range: rangeOf(second), unit: 'ms', goal: { atMost: 5_000 }, base, of: 'start to ready in a folder that is there' },
    { name: 'start.stop', value: median(stops.slice(1)), range: rangeOf(stops.slice(1)), unit: 'ms', of: 'SIGTERM to the end of the program and its Postgres' },
    ...(await idle(tell)),
  ];
}

/** From spawning Node to its server listening. */
async function emptyServerMs(): Promise<number> {
  const begun = performance.now();
  const child = spawn(process.execPath, ['-e', `require('node:http').createServer().listen(0, '127.0.0.1', () => console.log('ready'))`], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((ready) => child.stdout.once('data', ready));
  const ms = performance.now() - begun;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill();
  await ended;
  return ms;
}

async function idle(tell: Tell): Promise<Quantity[]> {
  tell(`an idle server, for ${(sizes.restMs + sizes.idleMs) / 1_000} s`);
  const server = await startTestServer();
  try {
    const databases = await openDatabases({ urls: [server.databaseUrl], service: 'microblog', connectionsMax: 1, applicationName: 'dmb bench' });
    const [database] = databases.all;
    if (database === undefined) throw new Error('no database');
    const connection = await database.dedicated(() => undefined);
    await connection.execute('SET ROLE NONE');
    await connection.execute('ALTER SYSTEM SET autovacuum = off');
    await connection.execute('SELECT pg_reload_conf()');
    await sleep(sizes.restMs);
    const before = await transactions(connection);
    const begun = performance.now();
    await sleep(sizes.idleMs);
    const after = await transactions(connection);
    const minutes = (performance.now() - begun) / 60_000;
    await databases.close();
    const megabytes = residentMegabytes(server.pid);
    const postgres = server.postgresPid === undefined ? 0 : processesOf(server.postgresPid).reduce((total, pid) => total + proportionalMegabytes(pid), 0);
    return [
      { name: 'idle.memory', value: megabytes, unit: 'MB', goal: { atMost: 250 }, base: { value: postgres, unit: 'MB', of: 'Postgres beside it, shared memory counted once' }, of: 'resident memory of the idle program' },
      // What remains of the counting itself: the transaction of the first count, which the second one sees.
      { name: 'idle.queries', value: Math.max(0, after - before - 1) / minutes, unit: 'queries/min', goal: { atMost: 1 }, of: 'transactions of an idle server' },
    ];
  } finally {
    await server.dispose();
  }
}

/** Transactions of this database so far. Sessions report theirs within some seconds. */
async function transactions(connection: DedicatedConnection): Promise<number> {
  const [row] = await connection.query<{ count: bigint }>('SELECT xact_commit + xact_rollback AS count FROM pg_stat_database WHERE datname = current_database()');
  return Number(row?.count ?? 0n);
}

function residentMegabytes(pid: number): number {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1_024;
}

function processesOf(parent: number): number[] {
  const children = execFileSync('ps', ['-e', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n').map((line) => line.trim().split(/\s+/).map(Number));
  return [parent, ...children.flatMap(([pid = 0, ppid]) => (ppid === parent ? [pid] : []))];
}

/** Memory that several processes share is counted in parts; where the system does not tell, resident memory. */
function proportionalMegabytes(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1_024;
  } catch {
    return residentMegabytes(pid);
  }
}
