/**
 * k6: found, or built once, and run with one of our scripts.
 *
 * It is taken from the PATH if it is there (1.0 or newer: scripts are TypeScript), else from our cache, else built by Go into the cache. A run is told what it
 * needs by a file, and leaves its figures in another one and an HTML report beside it. Its exit code 99 says that a threshold was missed.
 */
import { execFile, spawn } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { StartError } from '@dmb/runtime';
import type { LoadEnvironment } from './config.ts';
import { loadTestLimits } from './limits.ts';
import type { Tell } from './options.ts';

const version = '1.8.1';
const run = promisify(execFile);
const scripts = resolve(import.meta.dirname, '../k6');

/** @throws {StartError} what to install */
export async function findK6(environment: LoadEnvironment, tell: Tell): Promise<string> {
  const built = join(environment.cache, `k6-${version}`, 'k6');
  for (const candidate of ['k6', built]) if (await works(candidate, environment)) return candidate;
  tell(`k6 is not on the PATH: building ${version} with Go, once`);
  try {
    const folder = join(environment.cache, `k6-${version}`);
    await mkdir(folder, { recursive: true });
    await run('go', ['install', `go.k6.io/k6@v${version}`], { env: { ...environment.inherited, GOBIN: folder }, timeout: loadTestLimits.k6BuildTimeoutMs });
    await access(built);
    return built;
  } catch (error) {
    throw new StartError(`Load tests need k6 1.0 or newer on the PATH (https://grafana.com/docs/k6/latest/set-up/install-k6/), or Go to build it (${String((error as Error).message).split('\n')[0]}).`, { cause: error });
  }
}

async function works(program: string, { inherited }: LoadEnvironment): Promise<boolean> {
  try {
    const { stdout } = await run(program, ['version'], { env: inherited });
    return Number(/v(\d+)\./.exec(stdout)?.[1] ?? 0) >= 1;
  } catch {
    return false;
  }
}

/** One metric as k6 sums it up: `med`, `p(95)`, `max`, `count`, `rate` … */
export type Metric = Readonly<Record<string, number>>;

export interface K6Result {
  readonly metrics: Readonly<Record<string, Metric>>;
  /** Thresholds that were missed, as `metric: expression`. */
  readonly missed: readonly string[];
}

export interface K6Run {
  readonly program: string;
  readonly environment: LoadEnvironment;
  /** Name of the script, and of the report. */
  readonly script: string;
  readonly url: string;
  /** What the script reads. */
  readonly seed: unknown;
  /** Folder of the HTML report. */
  readonly reports: string;
  readonly tell: Tell;
}

/** @throws {Error} if k6 could not run the script; a threshold that was missed is no error */
export async function runK6({ program, environment, script, url, seed, reports, tell }: K6Run): Promise<K6Result> {
  const folder = await mkdtemp(join(tmpdir(), 'dmb-load-'));
  try {
    const [seedFile, summaryFile] = [join(folder, 'seed.json'), join(folder, 'summary.json')];
    await writeFile(seedFile, JSON.stringify(seed));
    await mkdir(reports, { recursive: true });
    await rm(join(reports, `${script}.html`), { force: true });
    // Readers have different addresses, and limits are by address; elsewhere only 127.0.0.1 is there.
    const addresses = process.platform === 'linux' && isLoopback(url) ? ['--local-ips', `127.0.0.2-127.0.0.${1 + loadTestLimits.localAddresses}`] : [];
    const report = join(reports, `${script}.html`);
    const code = await spawned(program, ['run', '--no-usage-report', '--quiet', '--no-color', ...addresses, '-e', `SEED=${seedFile}`, '-e', `SUMMARY=${summaryFile}`, '-e', `URL=${url}`, join(scripts, `${script}.ts`)], {
      ...environment.inherited, K6_WEB_DASHBOARD: 'true', K6_WEB_DASHBOARD_EXPORT: report, K6_WEB_DASHBOARD_PORT: '-1', K6_WEB_DASHBOARD_PERIOD: '1s',
    }, tell);
    if (code !== 0 && code !== 99) throw new Error(`k6 ended with ${code}`);
    const summary = JSON.parse(await readFile(summaryFile, 'utf8')) as { readonly metrics: Record<string, { readonly values: Metric; readonly thresholds?: Record<string, { readonly ok: boolean }> }> };
    // A run of a few moments has nothing to draw, and k6 writes no report.
    tell((await access(report).then(() => true, () => false)) ? `report: ${report}` : 'too short for a report');
    return {
      metrics: Object.fromEntries(Object.entries(summary.metrics).map(([name, { values }]) => [name, values])),
      missed: Object.entries(summary.metrics).flatMap(([name, { thresholds = {} }]) => Object.entries(thresholds).flatMap(([expression, { ok }]) => (ok ? [] : [`${name}: ${expression}`]))),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const isLoopback = (url: string): boolean => /^(localhost|127\.0\.0\.1)$/.test(new URL(url).hostname);

function spawned(program: string, args: readonly string[], env: Readonly<Record<string, string>>, tell: Tell): Promise<number | null> {
  return new Promise((done, failed) => {
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const stop = (): void => void child.kill('SIGTERM');
    process.once('exit', stop);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        for (const line of text.split('\n')) if (line.trim() !== '') tell(`k6: ${line.trim()}`);
      });
    }
    child.once('error', failed);
    child.once('exit', (code) => {
      process.off('exit', stop);
      done(code);
    });
  });
}
