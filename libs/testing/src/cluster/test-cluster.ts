/**
 * A whole cluster under test: the runner of `npm run cluster` as a child, with its one line of JSON read.
 *
 * It runs in a temporary folder of its own on a free port, and ends with {@link TestCluster.dispose}, at the latest with
 * this process, also if that is killed: it hears of it by its channel.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceName } from '@dmb/events';
import { findKafka } from '../kafka-engine.ts';
import { findNginx } from '../nginx.ts';
import { findRedis } from '../redis-engine.ts';
import { lines } from './member.ts';
import type { ClusterDescription } from './run.ts';

const root = resolve(import.meta.dirname, '../../../..');
const waits = { readyMs: 180_000, stopMs: 90_000, pollMs: 50 } as const;

/**
 * What keeps a cluster from being run here; undefined if nothing does. For `describe.skipIf`.
 * @throws in CI, where nothing may
 */
export async function clusterMissing(): Promise<string | undefined> {
  const sources = await Promise.all([findKafka(), findRedis(), findNginx()]);
  const missing = sources.flatMap((source) => (source.from === 'nothing' ? [source.why] : []));
  if (missing.length === 0) return undefined;
  if (process.env['CI'] === 'true') throw new Error(missing.join(' '));
  return missing.join(' ');
}

export class TestCluster {
  /** Everything that the runner wrote to standard error, its own lines and those of its processes. */
  readonly log: string[] = [];
  /** As told once it was ready. */
  readonly description: ClusterDescription;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  private constructor(child: ChildProcess, ended: Promise<number | null>, description: ClusterDescription, log: string[]) {
    this.#child = child;
    this.#ended = ended;
    this.description = description;
    this.log = log;
  }

  /** Starts a cluster and waits until it is ready. */
  static async start(options: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<TestCluster> {
    const log: string[] = [];
    const { PATH = '', HOME = '/', TMPDIR, CI, DMB_TEST_INSTALL } = process.env;
    const inherited = Object.entries({ PATH, HOME, TMPDIR, CI, DMB_TEST_INSTALL }).filter((entry): entry is [string, string] => entry[1] !== undefined);
    const args = ['--enable-source-maps', '--disable-warning=TimeoutNegativeWarning', join(root, 'libs/testing/dist/cluster/main.js'), '--json', '--port', '0', ...options];
    const child = spawn(join(root, 'node_modules/node/bin/node'), args, { cwd: root, env: { ...Object.fromEntries(inherited), ...environment }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const atExit = (): void => void child.kill('SIGTERM');
    process.once('exit', atExit);
    lines(child.stderr, (line) => log.push(line));
    let told: string | undefined;
    lines(child.stdout, (line) => (told = told === undefined ? line : `${told}\n${line}`));
    const ended = new Promise<number | null>((done) => {
      child.once('exit', (code) => {
        process.off('exit', atExit);
        done(code);
      });
    });
    for (const deadline = Date.now() + waits.readyMs; told === undefined; await sleep(waits.pollMs)) {
      if (child.exitCode !== null) throw new Error(`the cluster did not start\n${log.join('\n')}`);
      if (Date.now() < deadline) continue;
      child.kill('SIGTERM');
      throw new Error(`the cluster was not ready within ${waits.readyMs} ms\n${log.join('\n')}`);
    }
    return new TestCluster(child, ended, JSON.parse(told) as ClusterDescription, log);
  }

  get url(): string {
    return this.description.url;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** What runs now. */
  now(): ClusterDescription {
    return JSON.parse(readFileSync(this.description.state, 'utf8')) as ClusterDescription;
  }

  /** Process ids of a service, now. */
  pids(service: ServiceName): number[] {
    return this.now().processes.filter((each) => each.service === service).map(({ pid }) => pid);
  }

  /** Lines that a process wrote, and no more than that: while all is well there is only what says that it is ready. */
  get complaints(): string {
    return this.log.filter((line) => / \| /.test(line) && !/ \| DMB [\w-]+ is ready: /.test(line)).join('\n');
  }

  /** Waits until the runner has said something since line `from` of the log. */
  async said(what: RegExp, from = 0, timeoutMs: number = waits.readyMs): Promise<void> {
    for (const deadline = Date.now() + timeoutMs; !this.log.slice(from).some((line) => what.test(line)); await sleep(waits.pollMs)) {
      if (Date.now() > deadline || this.#child.exitCode !== null) throw new Error(`the runner did not say ${String(what)}\n${this.log.slice(from).join('\n')}`);
    }
  }

  /** Sends a signal to the runner. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits for the end, its exit code. */
  async ended(timeoutMs: number = waits.stopMs): Promise<number | null> {
    const late = sleep(timeoutMs, 'late' as const, { ref: false });
    const code = await Promise.race([this.#ended, late]);
    if (code !== 'late') return code;
    this.#child.kill('SIGKILL');
    throw new Error(`the cluster did not end within ${timeoutMs} ms\n${this.log.slice(-40).join('\n')}`);
  }

  /** Ends it, if it runs. */
  async dispose(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    await this.ended();
  }
}
