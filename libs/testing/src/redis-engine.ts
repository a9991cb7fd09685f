/**
 * Redis for tests: found, started, asked, killed.
 *
 * Where it comes from, the first that works:
 *   1. TEST_REDIS_URL   a server that is there already. It is emptied again and again: never name one that is used. It cannot
 *                       be killed or have replicas, so what needs that takes 2 or 3.
 *   2. Docker           the image pinned below, on the host's network, when a Docker engine answers
 *   3. native           `redis-server` on the PATH; installed by apt-get when DMB_TEST_INSTALL=1 or CI=true, and we are root
 * {@link findRedis} says what was chosen and why, or what to install. Where nothing works, a run with CI=true fails;
 * any other says that these tests were not run.
 *
 * A server is a process of its own on a free port of loopback, in memory only. It ends with {@link TestRedis.stop}, and at
 * the latest with this process. At most `serversMax` run at a time.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isDockerThere } from './docker.ts';
import { freePort } from './server.ts';

/** Pinned: the same image in every run. */
export const redisImage = 'redis:7.4.7-alpine';

const bounds = { serversMax: 12, startMsMax: 20_000, askMsMax: 5_000, installMsMax: 180_000, pollMs: 20 } as const;

/** What was found to run Redis with. */
export type RedisSource =
  | { readonly from: 'url'; readonly why: string; readonly url: string }
  | { readonly from: 'docker' | 'native'; readonly why: string }
  /** `required`: this run must not pass without. */
  | { readonly from: 'nothing'; readonly why: string; readonly required: boolean };

/** A server under test. */
export interface TestRedis {
  readonly port: number;
  readonly url: string;
  /** Sends a command; answers the first line of the reply, or the text of a bulk reply. */
  ask(...command: readonly string[]): Promise<string>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** After {@link kill}: starts an empty one at the same port. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

let found: Promise<RedisSource> | undefined;

/** Finds out once per process what Redis can be run with. */
export function findRedis(options: { readonly startable?: boolean } = {}): Promise<RedisSource> {
  const url = process.env['TEST_REDIS_URL'];
  if (options.startable !== true && url !== undefined && url !== '') return Promise.resolve({ from: 'url', why: 'TEST_REDIS_URL names it', url });
  found ??= findStartable();
  return found;
}

async function findStartable(): Promise<RedisSource> {
  if (await isDockerThere()) return { from: 'docker', why: `a Docker engine answers; image ${redisImage}` };
  if (isOnPath('redis-server')) return { from: 'native', why: 'redis-server is on the PATH' };
  const mayInstall = process.getuid?.() === 0 && (process.env['DMB_TEST_INSTALL'] === '1' || process.env['CI'] === 'true');
  if (mayInstall) {
    try {
      const aptGet = (...parameters: readonly string[]): Promise<unknown> => promisify(execFile)('apt-get', parameters, { timeout: bounds.installMsMax });
      const install = (): Promise<unknown> => aptGet('install', '-y', '--no-install-recommends', 'redis-server');
      // A new machine has no list of packages yet, or an old one.
      await install().catch(() => aptGet('update').then(install));
      if (isOnPath('redis-server')) return { from: 'native', why: 'redis-server was installed by apt-get' };
    } catch (error) {
      return nothing(`apt-get could not install redis-server: ${(error as Error).message}`);
    }
  }
  return nothing(
    'No Redis: install redis-server 7 or later (Debian and Ubuntu: apt-get install redis-server; macOS: brew install redis), start Docker, or name an empty server in TEST_REDIS_URL.',
  );
}

const nothing = (why: string): RedisSource => ({ from: 'nothing', why, required: process.env['CI'] === 'true' });

const isOnPath = (program: string): boolean => (process.env['PATH'] ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, program)));

/** What runs a server: a process or a container. */
interface Runner {
  end(): Promise<void>;
}

const running = new Set<Runner>();

/**
 * Starts a server in memory. `args` are further settings (`--maxmemory`, `8mb`).
 * @throws when no Redis can be had, with what to install
 */
export async function startTestRedis(options: { readonly args?: readonly string[]; readonly port?: number } = {}): Promise<TestRedis> {
  const source = await findRedis({ startable: true });
  if (source.from === 'nothing') throw new Error(source.why);
  const port = options.port ?? (await freePort());
  const folder = mkdtempSync(join(tmpdir(), `dmb-redis-${process.pid}-`));
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...(options.args ?? [])];
  const launch = (): Promise<Runner> => (source.from === 'docker' ? launchContainer(args) : launchProcess([...args, '--dir', folder]));
  let runner: Runner | undefined;
  const redis: TestRedis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    ask: (...command) => askRedis(`redis://127.0.0.1:${port}`, command),
    async kill() {
      const ended = runner;
      runner = undefined;
      if (ended !== undefined) running.delete(ended);
      await ended?.end();
    },
    async start() {
      if (runner !== undefined) throw new Error('it runs');
      if (running.size >= bounds.serversMax) throw new Error(`more than ${bounds.serversMax} Redis servers at a time`);
      runner = await launch();
      running.add(runner);
      await until(async () => (await redis.ask('PING')) === '+PONG', `Redis did not answer on port ${port}`);
    },
    async stop() {
      await redis.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await redis.start();
  return redis;
}

/** A Redis Cluster of masters that share the slots evenly, each with a replica if asked for. */
export async function startTestRedisCluster(options: { readonly masters?: number; readonly replicas?: boolean } = {}): Promise<{
  readonly masters: readonly TestRedis[];
  readonly replicas: readonly TestRedis[];
  readonly urls: readonly string[];
  stop(): Promise<void>;
}> {
  const count = options.masters ?? 3;
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-config-file', 'nodes.conf'];
  const start = (number: number): Promise<TestRedis[]> => Promise.all(Array.from({ length: number }, () => startTestRedis({ args })));
  const masters = await start(count);
  const replicas = options.replicas === true ? await start(count) : [];
  const all = [...masters, ...replicas];
  const stop = async (): Promise<void> => {
    await Promise.all(all.map((redis) => redis.stop()));
  };
  try {
    for (const [index, master] of masters.entries()) {
      const slot = (of: number): string => String(Math.floor((of * 16_384) / count) - (of > index ? 1 : 0));
      await master.ask('CLUSTER', 'ADDSLOTSRANGE', slot(index), slot(index + 1));
      // Without distinct epochs two masters might settle between themselves for seconds.
      await master.ask('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
    }
    for (const other of all.slice(1)) await other.ask('CLUSTER', 'MEET', '127.0.0.1', String(all[0]!.port));
    await until(async () => (await Promise.all(all.map((redis) => redis.ask('CLUSTER', 'INFO')))).every((info) => info.includes(`cluster_known_nodes:${all.length}`)), 'the nodes did not meet');
    for (const [index, replica] of replicas.entries()) {
      const id = await masters[index]!.ask('CLUSTER', 'MYID');
      await until(async () => (await replica.ask('CLUSTER', 'REPLICATE', id)) === '+OK', 'a replica did not find its master');
    }
    await until(async () => (await Promise.all(all.map((redis) => redis.ask('CLUSTER', 'INFO')))).every((info) => info.includes('cluster_state:ok')), 'the cluster did not come up');
    await until(async () => (await Promise.all(replicas.map((redis) => redis.ask('INFO', 'replication')))).every((info) => info.includes('master_link_status:up')), 'the replicas did not connect');
  } catch (error) {
    await stop();
    throw error;
  }
  return { masters, replicas, urls: masters.map(({ url }) => url), stop };
}

function launchProcess(args: readonly string[]): Promise<Runner> {
  // A process group of its own: Ctrl-C at a terminal reaches us alone, and those who use it end first.
  const child = spawn('redis-server', args, { stdio: 'ignore', detached: true });
  const ended = new Promise<void>((done) => {
    child.once('exit', () => done());
    child.once('error', () => done());
  });
  const atExit = (): void => void child.kill('SIGKILL');
  process.once('exit', atExit);
  return Promise.resolve({
    async end() {
      process.off('exit', atExit);
      child.kill('SIGKILL');
      await ended;
    },
  });
}

async function launchContainer(args: readonly string[]): Promise<Runner> {
  const { GenericContainer } = await import('testcontainers');
  // On the host's network a replica and a cluster find each other by the ports that we know them by.
  const container = await new GenericContainer(redisImage)
    .withNetworkMode('host')
    .withCommand(['redis-server', ...args])
    .start();
  return {
    async end() {
      await container.stop({ timeout: 0 });
    },
  };
}

/** One command on a connection of its own, without TLS. */
export async function askRedis(url: string, command: readonly string[]): Promise<string> {
  const { hostname, port, username, password } = new URL(url);
  const auth = password === '' ? [] : [['AUTH', decodeURIComponent(username) || 'default', decodeURIComponent(password)]];
  return await new Promise((done, failed) => {
    const socket = connect({ port: Number(port || 6379), host: hostname });
    socket.setTimeout(bounds.askMsMax, () => socket.destroy(new Error(`no answer to ${command[0] ?? ''}`)));
    let reply = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      reply += text;
      if (auth.length > 0 && reply.startsWith('+OK\r\n')) {
        auth.pop();
        reply = reply.slice(5);
      }
      const end = reply.indexOf('\r\n');
      if (end < 0) return;
      const length = reply.startsWith('$') ? Number(reply.slice(1, end)) : -1;
      if (length >= 0 && reply.length < end + 2 + length) return;
      done(length >= 0 ? reply.slice(end + 2, end + 2 + length) : reply.slice(0, end));
      socket.destroy();
    });
    socket.once('error', failed);
    socket.once('close', () => failed(new Error('the connection was closed')));
    for (const parts of [...auth, command]) socket.write(`*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`);
  });
}

async function until(holds: () => Promise<boolean>, otherwise: string): Promise<void> {
  for (const end = Date.now() + bounds.startMsMax; ; await sleep(bounds.pollMs)) {
    if (await holds().catch(() => false)) return;
    if (Date.now() > end) throw new Error(otherwise);
  }
}
