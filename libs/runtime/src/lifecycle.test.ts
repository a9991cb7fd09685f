import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { ClockCheck, Lifecycle, type Part } from './lifecycle.ts';
import { silentLogger } from './log.ts';

const part = (name: string, story: string[], extra: Partial<Part> = {}): Part => ({
  name,
  start: () => void story.push(`start ${name}`),
  drain: () => void story.push(`drain ${name}`),
  stop: () => void story.push(`stop ${name}`),
  ...extra,
});

describe('Lifecycle', () => {
  it('starts in order, drains all backwards, then stops all backwards, once', async () => {
    const story: string[] = [];
    const lifecycle = new Lifecycle({ logger: silentLogger });
    lifecycle.add(part('database', story));
    lifecycle.add(part('ingress', story));
    await lifecycle.start();
    await Promise.all([lifecycle.stop(), lifecycle.stop()]);
    expect(story).toEqual(['start database', 'start ingress', 'drain ingress', 'drain database', 'stop ingress', 'stop database']);
  });

  it('stops what was started when a start fails, and throws that failure', async () => {
    const story: string[] = [];
    const lifecycle = new Lifecycle({ logger: silentLogger });
    lifecycle.add(part('database', story));
    lifecycle.add(part('ingress', story, { start: () => Promise.reject(new Error('port')) }));
    lifecycle.add(part('never', story));
    await expect(lifecycle.start()).rejects.toThrow('port');
    expect(story).toContain('stop database');
    expect(story).not.toContain('start never');
  });

  it('passes over what fails or hangs while stopping', async () => {
    const story: string[] = [];
    const lifecycle = new Lifecycle({ logger: silentLogger, partTimeoutMs: 20 });
    lifecycle.add(part('database', story));
    lifecycle.add(part('failing', story, { drain: () => Promise.reject(new Error('x')) }));
    lifecycle.add(part('hanging', story, { stop: () => new Promise(() => undefined) }));
    await lifecycle.start();
    await lifecycle.stop();
    expect(story.at(-1)).toBe('stop database');
  });

  it('is ready when everything is started and every check holds', async () => {
    const lifecycle = new Lifecycle({ logger: silentLogger });
    let holds = false;
    lifecycle.check('database', () => holds);
    lifecycle.check('clock', () => Promise.reject(new Error('x')));
    expect((await lifecycle.readiness()).failing).toEqual(['starting']);
    await lifecycle.start();
    expect(await lifecycle.readiness()).toEqual({ ready: false, failing: ['database', 'clock'] });
    holds = true;
    lifecycle.check('clock', () => true);
    expect(await lifecycle.readiness()).toEqual({ ready: true, failing: [] });
    await lifecycle.stop();
    expect((await lifecycle.readiness()).failing).toEqual(['stopping']);
  });
});

it('a clock that is ahead of the database by more than allowed is not safe', () => {
  const clock = new ClockCheck(5_000);
  expect(clock.isSafe()).toBe(true);
  clock.observe(100_000, 105_001);
  expect(clock.isSafe()).toBe(false);
  clock.observe(100_000, 90_000);
  expect(clock.isSafe()).toBe(true);
});

describe('a process', () => {
  const url = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
  /** A process with the given parts; type stripping runs the sources as they are. */
  async function run(parts: string, signals: readonly NodeJS.Signals[] = []): Promise<{ code: number | null; out: string; err: string }> {
    const script = `
      import { runProcess } from ${url('./lifecycle.ts')};
      import { StartError } from ${url('./errors.ts')};
      import { silentLogger, notice, createLogger } from ${url('./log.ts')};
      setInterval(() => {}, 1000);
      await runProcess({ logger: createLogger({ name: 'p', form: 'json' }), forceAfterMs: 300, stopTimeoutMs: 3000 }, (lifecycle) => { ${parts} }, () => notice('ready'));`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()));
    const ended = once(child, 'exit') as Promise<[number | null]>;
    if (signals.length > 0) {
      await expect.poll(() => out, { timeout: 20_000 }).toContain('ready');
      for (const signal of signals) {
        child.kill(signal);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    const [code] = await ended;
    return { code, out, err };
  }
  const slow = `lifecycle.add({ name: 'slow', stop: async () => { notice('stopping'); await new Promise((r) => setTimeout(r, 250)); notice('stopped'); }, kill: () => notice('killed') });`;

  it('stops once in order on Ctrl-C, however often it is delivered at once', { timeout: 30_000 }, async () => {
    const { code, out, err } = await run(slow, ['SIGINT', 'SIGINT']);
    expect([code, out, err]).toEqual([0, 'ready\nstopping\nstopped\n', '']);
  });

  it('is ended by force when it hangs and is asked again later', { timeout: 30_000 }, async () => {
    const { code, out } = await run(slow.replace('250', '60000'), ['SIGTERM', 'SIGTERM', 'SIGTERM', 'SIGTERM', 'SIGTERM']);
    expect([code, out]).toEqual([1, 'ready\nstopping\nkilled\n']);
  });

  it('tells a StartError as its sentence alone', { timeout: 30_000 }, async () => {
    const { code, out, err } = await run(`lifecycle.add({ name: 'x', start: () => { throw new StartError('Port 8080 is already in use.'); } });`);
    expect([code, out, err]).toEqual([1, '', 'Port 8080 is already in use.\n']);
  });

  it('stops in order after a bug that nobody caught', { timeout: 30_000 }, async () => {
    const { code, out, err } = await run(`${slow} setTimeout(() => { throw new TypeError('surprise'); }, 50);`);
    expect(code).toBe(1);
    expect(out).toContain('stopped');
    expect(err).toContain('surprise');
  });
});
