/**
 * A Postgres of our own in a data folder, for whoever does not bring one.
 *
 * The folder holds one cluster per major version (`18/`) and the socket. There is no TCP port and
 * no password: who may enter the socket's folder (mode 0700) may log in.
 *
 * **One program.** Whoever starts, or clears away what was left, holds the folder (`folder-lock.ts`).
 *
 * **Making it.** initdb writes into `18.tmp-<pid>`, which is renamed when it is complete, so a
 * half-made cluster is never taken for one.
 *
 * **Running it.** Postgres is our child, in a process group of its own: Ctrl-C at a terminal
 * reaches us alone, and the database outlives the drain of its users until {@link
 * EmbeddedPostgres.stop}. If it dies by itself (killed, out of memory, disk full) it is started
 * again, sooner the longer it had been well; its users see lost connections meanwhile and answer
 * 503. If we die, it stays: see `postmaster.ts` for what the next start does about it.
 *
 * **Told of before.** A folder that another DMB uses, that is newer or older than this program, or
 * belongs to somebody else, is left exactly as it is, with a sentence.
 */
import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger, StartError, type Logger } from '@dmb/runtime';
import { withConnection } from '../database.ts';
import { embeddedLimits } from '../limits.ts';
import { accountFor, type Account } from './account.ts';
import { findBinaries, type Binaries } from './binaries.ts';
import { lockFolder, type FolderLock } from './folder-lock.ts';
import { freeCluster, inUse, ownerSetting, readPostmaster, userOf } from './postmaster.ts';

/** How an embedded Postgres is started. */
export interface EmbeddedPostgresOptions {
  /** Made if it is missing. Belongs to the embedded Postgres alone. */
  readonly dataDir: string;
  /** Settings of the server that replace ours. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Do not wait for the disk when the cluster is made. For tests. */
  readonly initWithoutSync?: boolean;
  readonly logger?: Logger;
}

/** Postgres ended without having been asked to. */
export interface EmbeddedExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly restartInMs: number;
}

/** A running embedded Postgres. */
export interface EmbeddedPostgres {
  /** Of the database `dmb`, as its superuser. The same after every restart. */
  readonly url: string;
  /** URL of another database of this server. */
  urlOf(database: string): string;
  /** Undefined while it is not running. */
  readonly pid: number | undefined;
  /** `listener` is called whenever Postgres has ended by itself; it is then being restarted. */
  onExit(listener: (exit: EmbeddedExit) => void): void;
  /** Ends transactions, writes a checkpoint, and waits for the end. Again is the same. */
  stop(): Promise<void>;
}

const user = 'dmb';
const database = 'dmb';
const port = 5432;

/**
 * Starts the Postgres of a data folder and resolves when it takes connections.
 * @throws {StartError} one sentence: folder in use, newer, older, another user's, no room
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { logger = silentLogger } = options;
  const binaries = findBinaries();
  const folder = makeFolder(options.dataDir);
  const cluster = join(folder, String(binaries.major));
  checkVersion(folder, cluster, binaries);
  const lock = hold(folder, cluster);
  try {
    const account = accountFor({ folder, cluster: existsSync(cluster) ? cluster : undefined, programs: [binaries.postgres] });
    if (!existsSync(cluster)) await initialise({ folder, cluster, binaries, account, withoutSync: options.initWithoutSync === true });
    const server = new Server({ cluster, binaries, account, settings: options.settings ?? {}, logger, lock });
    await server.start();
    return server;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Stops the Postgres that a killed program has left in a data folder, if one runs there.
 * @throws {StartError} if a living program uses it
 */
export async function stopLeftPostgres(dataDir: string): Promise<void> {
  const clusters = readdirSync(dataDir).filter((name) => /^\d+$/.test(name)).map((name) => join(dataDir, name));
  const lock = hold(dataDir, clusters[0] ?? dataDir);
  try {
    for (const cluster of clusters) await freeCluster(cluster, () => undefined);
  } finally {
    lock.release();
  }
}

/** @throws {StartError} if somebody else has the folder */
function hold(folder: string, cluster: string): FolderLock {
  const lock = lockFolder(folder);
  if (lock === undefined) throw inUse(folder, userOf(cluster));
  return lock;
}

function makeFolder(path: string): string {
  try {
    mkdirSync(dirname(resolve(path)), { recursive: true });
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return realpathSync(resolve(path));
  } catch (cause) {
    throw new StartError(`The data folder ${path} cannot be made or read (${(cause as NodeJS.ErrnoException).code ?? String(cause)}).`, { cause });
  }
}

/** @throws {StartError} if the folder was made by another major version */
function checkVersion(folder: string, cluster: string, { major }: Binaries): void {
  let majors: number[];
  try {
    majors = readdirSync(folder).filter((name) => /^\d+$/.test(name)).map(Number);
  } catch (cause) {
    throw new StartError(`The data folder ${folder} cannot be read.`, { cause });
  }
  const newest = Math.max(0, ...majors);
  if (newest > major) throw new StartError(`The data folder ${folder} is newer than this program: it was made by Postgres ${newest}, and this is ${major}.`);
  if (newest > 0 && newest < major) throw new StartError(`The data folder ${folder} was made by Postgres ${newest}; this program brings Postgres ${major}. Start the version of DMB that made it, export, and import here.`);
  if (newest === 0) return;
  const version = readIfThere(join(cluster, 'PG_VERSION'));
  if (version?.trim() !== String(major)) throw new StartError(`The data folder ${cluster} is damaged or not a Postgres ${major}: its PG_VERSION says ${version === undefined ? 'nothing' : `"${version.trim()}"`}.`);
}

const readIfThere = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new StartError(`The data folder cannot be read: ${path} (${(cause as NodeJS.ErrnoException).code ?? String(cause)}).`, { cause });
  }
};

interface Making {
  readonly folder: string;
  readonly cluster: string;
  readonly binaries: Binaries;
  readonly account: Account;
  readonly withoutSync: boolean;
}

/** A new cluster, complete or not at all. */
async function initialise({ folder, cluster, binaries, account, withoutSync }: Making): Promise<void> {
  for (const name of readdirSync(folder)) {
    const pid = /\.tmp-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && (Number(pid) === process.pid || !isAlive(Number(pid)))) rmSync(join(folder, name), { recursive: true, force: true });
  }
  const making = `${cluster}.tmp-${process.pid}`;
  mkdirSync(making, { mode: 0o700 });
  account.own(making);
  // Characters by Unicode, sorted by code point: the same on every system, whatever its libraries.
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const child = account.spawn(binaries.initdb, ['-D', making, '-U', user, '--auth=trust', '--no-instructions', ...locale, ...(withoutSync ? ['--no-sync'] : [])], {
    cwd: making,
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  const log = new ServerLog(child, silentLogger);
  const exit = await Promise.race([ended(child), sleep(embeddedLimits.initTimeoutMs, undefined, { ref: false })]);
  if (exit?.code !== 0) {
    if (exit === undefined) child.kill('SIGKILL');
    rmSync(making, { recursive: true, force: true });
    throw new StartError(`A database could not be made in ${folder}: ${log.reason() ?? (exit === undefined ? 'it took too long' : 'initdb failed')}.`);
  }
  renameSync(making, cluster);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

function ended(child: ChildProcess): Promise<Ended> {
  return new Promise((done) => {
    if (child.exitCode !== null || child.signalCode !== null) return done({ code: child.exitCode, signal: child.signalCode });
    child.once('error', () => done({ code: -1, signal: null }));
    child.once('exit', (code, signal) => done({ code, signal }));
  });
}

/** The last lines that a child wrote to standard error; what matters of them goes to our log. */
class ServerLog {
  readonly #lines: string[] = [];
  #rest = '';

  constructor(child: ChildProcess, logger: Logger) {
    child.once('error', (error) => this.#lines.push(`FATAL:  ${error.message}`));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = (lines.pop() ?? '').slice(0, embeddedLimits.logLineLengthMax);
      for (const line of lines.map((each) => each.slice(0, embeddedLimits.logLineLengthMax))) {
        this.#lines.push(line);
        if (/ (WARNING|FATAL|PANIC): {2}(?!the database system is |terminating connection)/.test(line)) logger.warn('postgres', { line });
        else if (/ ERROR: {2}/.test(line)) logger.debug('postgres', { line });
      }
      this.#lines.splice(0, this.#lines.length - embeddedLimits.logLinesMax);
    });
    // Its pipe must not keep us alive.
    (child.stderr as unknown as { unref?: () => void } | null)?.unref?.();
  }

  /** Why it ended, in its own words. */
  reason(): string | undefined {
    const lines = [...this.#lines, this.#rest];
    const line =
      lines.findLast((each) => /(FATAL|PANIC): {2}(?!the database system is |terminating connection)|^(initdb|postgres): error: /.test(each)) ??
      // Before Postgres itself can speak: a library that is missing, a file that cannot be run.
      lines.findLast((each) => each.trim() !== '' && !/ [A-Z]+: {2}/.test(each));
    return line?.replace(/^.*?(FATAL|PANIC|error): +/, '');
  }
}

interface ServerOptions {
  readonly cluster: string;
  readonly binaries: Binaries;
  readonly account: Account;
  readonly settings: Readonly<Record<string, string | number>>;
  readonly logger: Logger;
  readonly lock: FolderLock;
}

class Server implements EmbeddedPostgres {
  readonly #options: ServerOptions;
  readonly #socketFolder: string;
  readonly #listeners = new Set<(exit: EmbeddedExit) => void>();
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #startedAt = 0;
  #deaths = 0;
  #restarting: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#socketFolder = makeSocketFolder(options);
  }

  get url(): string {
    return this.urlOf(database);
  }

  urlOf(name: string): string {
    return `postgresql://${user}@localhost:${port}/${encodeURIComponent(name)}?host=${encodeURIComponent(this.#socketFolder)}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  onExit(listener: (exit: EmbeddedExit) => void): void {
    this.#listeners.add(listener);
  }

  async start(): Promise<void> {
    try {
      await this.#launch();
      await makeDatabase(this.urlOf('postgres'));
    } catch (error) {
      await this.stop();
      throw error;
    }
    process.once('exit', this.#atExit);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  async #end(): Promise<void> {
    this.#stopping.abort();
    // A start that is under way ends with its child.
    if (this.#restarting !== undefined) this.#child?.kill('SIGINT');
    await this.#restarting;
    process.off('exit', this.#atExit);
    const child = this.#child;
    if (child !== undefined) {
      const steps: [NodeJS.Signals, number][] = [['SIGINT', embeddedLimits.stopTimeoutMs], ['SIGQUIT', embeddedLimits.quitTimeoutMs], ['SIGKILL', embeddedLimits.quitTimeoutMs]];
      const gone = ended(child);
      for (const [signal, timeoutMs] of steps) {
        child.kill(signal);
        const timer = new AbortController();
        const exit = await Promise.race([gone, sleep(timeoutMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
        timer.abort();
        if (exit !== undefined) break;
        this.#options.logger.warn(`Postgres did not end within ${timeoutMs} ms of ${signal}`);
      }
    }
    if (isTemporary(this.#socketFolder)) rmSync(this.#socketFolder, { recursive: true, force: true });
    this.#options.lock.release();
  }

  /** If nobody has stopped us in order: better a database that ends than one that nobody owns. */
  readonly #atExit = (): void => {
    this.#child?.kill('SIGINT');
  };

  async #launch(): Promise<void> {
    const { cluster, binaries, account, settings, logger } = this.#options;
    const left = readPostmaster(cluster)?.socketFolder;
    await freeCluster(cluster, (sentence) => logger.warn(sentence));
    if (left !== undefined && left !== this.#socketFolder && isTemporary(left)) rmSync(left, { recursive: true, force: true });
    const all = { ...defaultSettings, unix_socket_directories: this.#socketFolder, ...settings };
    const args = ['-D', cluster, '-p', String(port), '-c', ownerSetting(process.pid), ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    const child = account.spawn(binaries.postgres, args, { cwd: cluster, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    child.unref();
    const log = new ServerLog(child, logger);
    const gone = ended(child);
    this.#child = child;
    const exit = await Promise.race([gone, this.#whenReady(child)]);
    if (exit !== undefined) {
      this.#child = undefined;
      throw new StartError(explain(log.reason(), cluster, exit));
    }
    this.#startedAt = Date.now();
    void gone.then((end) => this.#died(end, log));
  }

  /** Resolves when Postgres takes connections. */
  async #whenReady(child: ChildProcess): Promise<undefined> {
    const begun = Date.now();
    let told = false;
    while (child.exitCode === null && child.signalCode === null) {
      const postmaster = readPostmaster(this.#options.cluster);
      if (postmaster?.pid === child.pid && postmaster?.ready === true) return;
      await sleep(embeddedLimits.readyPollMs);
      const waitedMs = Date.now() - begun;
      if (waitedMs > embeddedLimits.readyTimeoutMs) child.kill('SIGQUIT');
      else if (waitedMs > embeddedLimits.tellAfterMs && !told) {
        told = true;
        this.#options.logger.warn('Postgres is still starting: it recovers from having been cut off');
      }
    }
    // It has ended; the other promise of the race knows how.
    return await new Promise(() => undefined);
  }

  #died(exit: Ended, log: ServerLog): void {
    this.#child = undefined;
    if (this.#stopping.signal.aborted) return;
    if (Date.now() - this.#startedAt > embeddedLimits.restartForgetMs) this.#deaths = 0;
    this.#restarting = this.#restart(exit, log.reason());
  }

  async #restart(exit: Ended, reason: string | undefined): Promise<void> {
    const { logger } = this.#options;
    let why = reason;
    while (!this.#stopping.signal.aborted) {
      const restartInMs = Math.min(embeddedLimits.restartDelayMs * 2 ** this.#deaths, embeddedLimits.restartDelayMsMax) * (0.75 + Math.random() / 2);
      this.#deaths++;
      logger.error(`Postgres ended by itself; starting it again in ${Math.round(restartInMs)} ms`, { code: exit.code, signal: exit.signal, reason: why });
      for (const listener of this.#listeners) listener({ ...exit, restartInMs });
      await sleep(restartInMs, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => undefined);
      if (this.#stopping.signal.aborted) return;
      try {
        await this.#launch();
        logger.info('Postgres is back');
        return;
      } catch (error) {
        why = error instanceof Error ? error.message : String(error);
      }
    }
  }
}

const defaultSettings: Readonly<Record<string, string | number>> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: embeddedLimits.connectionsMax,
  shared_buffers: `${embeddedLimits.sharedBuffersMegabytes}MB`,
  // A small machine with a flash disk, and a log that never needs much of it.
  random_page_cost: 1.1,
  effective_cache_size: '512MB',
  maintenance_work_mem: '32MB',
  max_wal_size: '512MB',
  checkpoint_timeout: '15min',
  max_parallel_workers_per_gather: 0,
  autovacuum_max_workers: 2,
  io_method: 'sync',
  log_line_prefix: '%m [%p] ',
};

function makeSocketFolder({ cluster, account }: ServerOptions): string {
  const near = join(dirname(cluster), 'socket');
  const file = `/.s.PGSQL.${port}.lock`;
  // Postgres takes a list of folders: commas and quotes mean something to it.
  if (/^[\w/.-]+$/.test(near) && Buffer.byteLength(near + file) <= embeddedLimits.socketPathBytesMax) {
    mkdirSync(near, { recursive: true, mode: 0o700 });
    account.own(near);
    chmodSync(near, 0o700);
    return near;
  }
  const far = mkdtempSync(temporaryPrefix);
  account.own(far);
  return far;
}

const temporaryPrefix = '/tmp/dmb-postgres-';
const isTemporary = (folder: string): boolean => folder.startsWith(temporaryPrefix) && dirname(folder) === '/tmp' && basename(folder) !== '';

async function makeDatabase(url: string): Promise<void> {
  await withConnection({ url, applicationName: 'dmb setup' }, async (session) => {
    const there = await session.query('SELECT FROM pg_database WHERE datname = $1', [database]);
    if (there.length === 0) await session.execute(`CREATE DATABASE ${database}`);
  });
}

function explain(reason: string | undefined, cluster: string, exit: Ended): string {
  if (reason !== undefined && /No space left on device/.test(reason)) return `The disk of ${cluster} is full, so Postgres cannot start.`;
  if (reason !== undefined && /lock file ".*" already exists|pre-existing shared memory block/.test(reason)) return `The data folder is in use: ${cluster}.`;
  return `Postgres could not start in ${cluster}: ${reason ?? `it ended with ${exit.signal ?? exit.code}`}.`;
}
