/**
 * The load tests themselves, small: on a real cluster, with real k6, 2,000 followers. What is asserted is what does not
 * depend on how fast this machine is: that everything was measured, that nobody was left out, and that every follower has every post exactly once.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterMissing } from '@dmb/testing';
import { readEnvironment } from '../src/config.ts';
import { findK6 } from '../src/k6.ts';

const program = resolve(import.meta.dirname, '../dist/main.js');
const small = {
  celebrity: ['--followers', '2000', '--present', '80', '--posts', '10', '--sample', '100'],
  everyday: ['--persons', '200', '--follows-each', '10', '--rate', '15', '--seconds', '10'],
  live: ['--streams', '200', '--stream-posts', '3'],
  following: ['--followed', '300', '--readers', '3'],
} as const;

const missing = (await clusterMissing()) ?? (await k6Missing());
const reports = mkdtempSync(join(tmpdir(), 'dmb-reports-'));
afterAll(() => rmSync(reports, { recursive: true, force: true }));

/** @throws in CI, where nothing may be missing */
async function k6Missing(): Promise<string | undefined> {
  try {
    await findK6(readEnvironment(), () => undefined);
    return undefined;
  } catch (error) {
    if (readEnvironment().isCi) throw error;
    return (error as Error).message;
  }
}

interface Figure {
  readonly value: number;
  readonly unit: string;
  readonly goal: number | null;
  readonly met: boolean | null;
}

function run(args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, ['--enable-source-maps', program, ...args, '--json', '--reports', reports], { timeout: 240_000, maxBuffer: 1 << 24 }, (_, stdout, stderr) => done({ stdout, stderr }));
  });
}

describe.skipIf(missing !== undefined)('a small load on a cluster', () => {
  let figures: Readonly<Record<string, Figure>>;
  let stderr: string;

  beforeAll(async () => {
    const result = await run(Object.values(small).flat());
    ({ stderr } = result);
    figures = JSON.parse(result.stdout || '{}') as Record<string, Figure>;
  }, 300_000);

  it('measures everything, as one JSON object', () => {
    for (const name of ['celebrity.readable.p50', 'celebrity.readable.p99', 'celebrity.last_list.max', 'everyday.home.p95', 'everyday.post.p99', 'live.event.p99', 'following.first_page.p50']) {
      expect(figures[name], `${name}\n${stderr}`).toMatchObject({ unit: 'ms', value: expect.any(Number) as number });
      expect(figures[name]?.value, name).toBeGreaterThan(0);
    }
  });

  it('finds each post of a celebrity at every follower exactly once, and seen by everybody who was watched', () => {
    expect(figures['celebrity.not_exactly_once']).toMatchObject({ value: 0, met: true });
    expect(figures['celebrity.watched']).toMatchObject({ value: 100, met: true });
    expect(figures['celebrity.readable.max']?.value).toBeLessThan(60_000);
  });

  it('hears of every post on every stream once', () => {
    expect(figures['live.missed']).toMatchObject({ value: 0 });
    expect(figures['live.doubled']).toMatchObject({ value: 0 });
  });

  it('has no failed requests on an ordinary day', () => {
    expect(figures['everyday.failed']).toMatchObject({ value: 0, met: true });
  });

  it('leaves a report of each script that ran for more than moments, which stands by itself', () => {
    for (const name of ['celebrity', 'everyday']) {
      const html = readFileSync(join(reports, `${name}.html`), 'utf8');
      expect(html).toContain('<html');
      expect(html).not.toMatch(/<(?:script|link)[^>]+(?:src|href)="https?:/);
    }
  });
});

describe('a load that cannot be run', () => {
  it.each([
    [['nothing'], /There is no load test "nothing"/],
    [['celebrity', '--followers', 'many'], /--followers must be a whole number/],
    [['--url', 'http://localhost:1'], /DATABASE_URL must list the databases/],
    [['--fast'], /npm run load -- --help/],
  ])('says why: %j', async (args, why) => {
    const { stdout, stderr } = await run(args);
    expect(stdout).toBe('');
    expect(stderr).toMatch(why);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
