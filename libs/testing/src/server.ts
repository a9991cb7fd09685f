/**
 * The real program in a folder of its own: started, watched, killed and started again as a whole.
 *
 * What runs is what `npm start` runs after its build: `services/standalone/dist/main.js` under the
 * pinned Node, with an environment that holds nothing of ours. It listens on a free port of
 * loopback and keeps its data in a temporary folder, so that any number run beside each other.
 *
 * Nothing stays behind. {@link TestServer.dispose} ends the program and its Postgres and removes
 * the folder; a test process that ends without it does the same in its `exit` handler; and what a
 * killed test process has left, the next one that starts a server removes. Only processes that
 * were started here are ended: the program by its handle, its Postgres if it works in our folder.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { stopLeftPostgres } from '@dmb/postgres';
import type { Fault } from './fault-preload.ts';

const root = resolve(import.meta.dirname, '../../..');
const nodeBinary = join(root, 'node_modules/node/bin/node');
const program = join(root, 'services/standalone/dist/main.js');
const faultPreload = join(root, 'libs/testing/dist/fault-preload.js');
/** As tools/bootstrap.mjs passes them. */
const nodeFlags = ['--enable-source-maps', '--max-semi-space-size=16', '--import', pathToFileURL(join(root, 'libs/runtime/dist/preload.js')).href];

const waits = { readyMs: 60_000, exitMs: 45_000, pollMs: 25 } as const;
const folderPrefix = 'dmb-server-';

/** How a server under test is started. */
export interface TestServerOptions {
  /** Variables besides DMB_DATA, DMB_HTTP_PORT and DMB_TRUSTED_PROXIES (loopback), which may be replaced here. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Another place for the data folder: a mounted disk. Whoever gives it removes it. */
  readonly data?: string;
  readonly port?: number;
  /** Loads fault-preload.ts, so that {@link TestServer.arm} works. */
  readonly faults?: boolean;
}

/** What a run of the program that has ended leaves. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One run of the program. */
class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], options: { readonly cwd: string; readonly environment: Readonly<Record<string, string>>; readonly ipc: boolean }) {
    const { PATH = '', HOME = '/', TMPDIR } = process.env;
    const inherited = { PATH, HOME, ...(TMPDIR === undefined ? {} : { TMPDIR }) };
    this.child = spawn(nodeBinary, args, {
      cwd: options.cwd,
      env: { ...inherited, ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe', ...(options.ipc ? (['ipc'] as const) : [])],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = new Promise((done, failed) => {
      this.child.once('error', failed);
      // `close` comes after the last output, but not while a grandchild holds the pipes; ours do not.
      this.child.once('exit', (code, signal) => {
        const told = (): void => done({ code, signal, stdout: this.stdout, stderr: this.stderr });
        const limit = setTimeout(told, 1_000);
        this.child.once('close', () => {
          clearTimeout(limit);
          told();
        });
      });
    });
    this.ended.catch(() => undefined);
  }

  get isAlive(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** @throws if it does not end in time; it is killed then */
  async end(timeoutMs: number = waits.exitMs): Promise<Ended> {
    const ended = await within(this.ended, timeoutMs);
    if (ended !== undefined) return ended;
    this.child.kill('SIGKILL');
    throw new Error(`the server did not end within ${timeoutMs} ms\n${this.stdout}${this.stderr}`);
  }
}

/** Runs the program to its end in an empty folder: `--help`, and starts that are refused. It is killed if it stays. `left` is what it made there. */
export async function runProgram(
  options: { readonly args?: readonly string[]; readonly environment?: Readonly<Record<string, string>>; readonly timeoutMs?: number } = {},
): Promise<Ended & { readonly left: readonly string[] }> {
  const folder = makeFolder();
  const run = new Run([...nodeFlags, program, ...(options.args ?? [])], { cwd: folder, environment: options.environment ?? {}, ipc: false });
  ours.add(run);
  try {
    const ended = await run.end(options.timeoutMs);
    return { ...ended, left: readdirSync(folder) };
  } finally {
    ours.delete(run);
    await endPostgresIn(join(folder, 'data'));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A started server. */
export class TestServer {
  readonly url: string;
  readonly port: number;
  /** The data folder. */
  readonly data: string;
  readonly #folder: string;
  readonly #options: TestServerOptions;
  #run: Run | undefined;

  constructor(port: number, options: TestServerOptions) {
    this.#folder = makeFolder();
    this.#options = options;
    this.port = port;
    this.url = `http://localhost:${port}`;
    this.data = options.data ?? join(this.#folder, 'data');
    ours.add(this);
  }

  /** Starts the program and waits until it says that it is ready. How long that took, in ms. */
  async start(): Promise<number> {
    const begun = performance.now();
    this.launch();
    await this.ready();
    return performance.now() - begun;
  }

  /** Starts the program and does not wait. */
  launch(): void {
    if (this.#run?.isAlive === true) throw new Error('the server is running');
    const { faults = false, environment = {} } = this.#options;
    this.#run = new Run([...nodeFlags, ...(faults ? ['--import', pathToFileURL(faultPreload).href] : []), program], {
      cwd: this.#folder,
      environment: { DMB_DATA: this.data, DMB_HTTP_PORT: String(this.port), DMB_TRUSTED_PROXIES: '127.0.0.1,::1', ...environment },
      ipc: faults,
    });
    writeFileSync(join(this.#folder, 'server.pid'), String(this.#run.child.pid));
  }

  /** Waits until the program says that it is ready. @throws if it ends or takes too long */
  async ready(): Promise<void> {
    const run = this.#running();
    const deadline = performance.now() + waits.readyMs;
    while (this.toldUrl === undefined) {
      if (!run.isAlive) throw new Error(`the server did not start\n${run.stdout}${run.stderr}`);
      if (performance.now() > deadline) {
        run.child.kill('SIGKILL');
        throw new Error(`the server was not ready within ${waits.readyMs} ms\n${run.stdout}${run.stderr}`);
      }
      await sleep(waits.pollMs);
    }
  }

  /** Of the program. */
  get pid(): number {
    const pid = this.#run?.child.pid;
    if (pid === undefined) throw new Error('the server was never started');
    return pid;
  }

  get isAlive(): boolean {
    return this.#run?.isAlive === true;
  }

  /** Of its Postgres; undefined when none runs. */
  get postgresPid(): number | undefined {
    return postgresIn(this.data)?.pid;
  }

  get stdout(): string {
    return this.#run?.stdout ?? '';
  }

  get stderr(): string {
    return this.#run?.stderr ?? '';
  }

  /** The address that the server said it is ready at. */
  get toldUrl(): string | undefined {
    return /^DMB is ready at (\S+)$/m.exec(this.stdout)?.[1];
  }

  /** The one-time link of this run; undefined when it printed none. */
  get operatorLink(): string | undefined {
    return /https?:\/\/\S+\/operator\/[\w-]+/.exec(this.stdout)?.[0];
  }

  /** Of the embedded Postgres, as its superuser. */
  get databaseUrl(): string {
    const folder = postgresIn(this.data)?.socketFolder;
    if (folder === undefined) throw new Error('no Postgres is running');
    return `postgresql://dmb@localhost:5432/dmb?host=${encodeURIComponent(folder)}`;
  }

  /** Asks the program to stop. @throws unless it ends with exit code 0 and its Postgres with it */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    const run = this.#running();
    run.child.kill(signal);
    const ended = await run.end();
    if (ended.code !== 0) throw new Error(`the server ended with ${ended.code ?? ended.signal} after ${signal}\n${ended.stdout}${ended.stderr}`);
    if (this.postgresPid !== undefined) throw new Error('the server has ended and its Postgres has not');
    return ended;
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#running().child.kill(signal);
  }

  /** kill -9 of the program alone; its Postgres goes on as an orphan. */
  async kill(): Promise<Ended> {
    const run = this.#running();
    run.child.kill('SIGKILL');
    return await run.end();
  }

  /** Waits for the program to end, whoever ends it. */
  async ended(timeoutMs?: number): Promise<Ended> {
    if (this.#run === undefined) throw new Error('the server was never started');
    return await this.#run.end(timeoutMs);
  }

  /** kill -9 of the Postgres alone. */
  killPostgres(): number {
    const postgres = postgresIn(this.data);
    if (postgres === undefined) throw new Error('no Postgres is running');
    process.kill(postgres.pid, 'SIGKILL');
    return postgres.pid;
  }

  /** Makes the program kill itself at a named point; resolves when the program knows. Needs `faults`. */
  async arm(fault: Fault): Promise<void> {
    const { child } = this.#running();
    const known = new Promise<void>((done, failed) => {
      child.once('message', () => done());
      child.once('exit', () => failed(new Error('the server ended before it was armed')));
    });
    child.send(fault);
    await known;
  }

  /** Ends whatever still runs and removes the folder. Never throws for what has ended already. */
  async dispose(): Promise<void> {
    if (this.#run?.isAlive === true) {
      this.#run.child.kill('SIGKILL');
      await this.#run.end().catch(() => undefined);
    }
    await endPostgresIn(this.data);
    this.endNow();
    ours.delete(this);
  }

  /** What is possible while the test process exits. */
  endNow(): void {
    if (this.#run?.isAlive === true) this.#run.child.kill('SIGKILL');
    const postgres = postgresIn(this.data);
    if (postgres !== undefined) process.kill(postgres.pid, 'SIGQUIT');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }

  #running(): Run {
    if (this.#run?.isAlive !== true) throw new Error(`the server is not running\n${this.stdout}${this.stderr}`);
    return this.#run;
  }
}

/** Starts a server with a fresh data folder (unless `options` name one) and waits until it is ready. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  await removeLeft();
  const server = new TestServer(options.port ?? (await freePort()), options);
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

/** Below the ports that Linux (32768 to 60999) and macOS (49152 to 65535) give to outgoing connections. */
const ports = { from: 20_000, to: 32_000, attemptsMax: 200 } as const;

/**
 * A TCP port of loopback that nobody listens on at this moment. It is not one that the system would give to an outgoing connection
 * in the seconds until somebody listens there.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ports.attemptsMax; attempt++) {
    const port = randomInt(ports.from, ports.to);
    const server = createServer();
    const isFree = await new Promise<boolean>((done) => server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
    if (!isFree) continue;
    await new Promise((done) => server.close(done));
    return port;
  }
  throw new Error(`no free port from ${ports.from} to ${ports.to}`);
}

/** Servers and runs that a test has not ended yet. */
const ours = new Set<TestServer | Run>();
process.on('exit', () => {
  for (const each of ours) {
    try {
      if (each instanceof Run) each.child.kill('SIGKILL');
      else each.endNow();
    } catch {
      // The next start sees what is left.
    }
  }
});

/** The user as whom Postgres runs must be able to pass. */
function makeFolder(): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), `${folderPrefix}${process.pid}-`));
  chmodSync(folder, 0o711);
  return folder;
}

/** The Postgres that runs in a data folder. */
function postgresIn(data: string): { readonly pid: number; readonly socketFolder: string } | undefined {
  const folder = join(data, 'postgres');
  if (!existsSync(folder)) return undefined;
  for (const major of readdirSync(folder).filter((name) => /^\d+$/.test(name))) {
    const cluster = join(folder, major);
    const file = join(cluster, 'postmaster.pid');
    if (!existsSync(file)) continue;
    const lines = readFileSync(file, 'utf8').split('\n');
    const pid = Number(lines[0]);
    if (pid > 0 && worksIn(pid, cluster)) return { pid, socketFolder: lines[4] ?? '' };
  }
  return undefined;
}

/** Only Linux can tell; elsewhere a living process is believed to be the one. */
function worksIn(pid: number, folder: string): boolean {
  if (!isRunning(pid)) return false;
  if (!existsSync('/proc/self/cwd')) return true;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(folder);
  } catch {
    return false;
  }
}

/** Whether a process runs. One that has ended and that nobody has asked for its end (a zombie) does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return !existsSync('/proc/self/stat');
  }
}

async function endPostgresIn(data: string): Promise<void> {
  const folder = join(data, 'postgres');
  if (existsSync(folder)) await stopLeftPostgres(folder).catch(() => undefined);
}

/** What killed test processes have left. */
async function removeLeft(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${folderPrefix}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || isRunning(Number(owner))) continue;
    const folder = join(realpathSync(tmpdir()), name);
    const pid = existsSync(join(folder, 'server.pid')) ? Number(readFileSync(join(folder, 'server.pid'), 'utf8')) : 0;
    if (pid > 0 && existsSync('/proc/self/cwd') && worksIn(pid, folder)) process.kill(pid, 'SIGKILL');
    await endPostgresIn(join(folder, 'data'));
    rmSync(folder, { recursive: true, force: true });
  }
}

async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  const limit = new AbortController();
  try {
    return await Promise.race([promise, sleep(timeoutMs, undefined, { signal: limit.signal })]);
  } finally {
    limit.abort();
  }
}
