import { describe, expect, it } from 'vitest';
import { Background, retry, sleep } from './background.ts';
import { AppError } from './errors.ts';
import { silentLogger, type Logger } from './log.ts';

const until = (condition: () => boolean) => expect.poll(condition, { interval: 5 }).toBe(true);

describe('background work', () => {
  it('runs again and again without overlapping, and never after stop', async () => {
    const background = new Background();
    let running = 0;
    let most = 0;
    let runs = 0;
    background.every('tick', { intervalMs: 1, firstAfterMs: 0 }, async () => {
      most = Math.max(most, ++running);
      await sleep(5);
      running--;
      runs++;
    });
    await until(() => runs >= 3);
    expect(await background.stop()).toEqual([]);
    const then = runs;
    await sleep(20);
    expect([most, runs]).toEqual([1, then]);
  });

  it('waits longer after each failure, tells of it once, and tells when it has passed', async () => {
    const told: string[] = [];
    const logger: Logger = { ...silentLogger, error: (message) => told.push(`error ${message}`), info: (message) => told.push(`info ${message}`) };
    const background = new Background({ logger, random: () => 0 });
    let runs = 0;
    background.every('work', { intervalMs: 1, firstAfterMs: 0 }, () => {
      runs++;
      if (runs <= 2) throw new Error('broken');
    });
    await until(() => runs >= 4);
    await background.stop();
    expect(told).toEqual(['error work failed and will be tried again', 'info work works again']);
  });

  it('can be woken from a long pause', async () => {
    const background = new Background();
    let runs = 0;
    background.every('rare', { intervalMs: 3_600_000 }, () => void runs++);
    background.wake('rare');
    await until(() => runs === 1);
    background.wake('rare');
    await until(() => runs === 2);
    await background.stop();
  });

  it('starts a loop again when it ends or fails, and aborts it at stop', async () => {
    const background = new Background({ random: () => 0 });
    let starts = 0;
    background.loop('follow', async (signal) => {
      starts++;
      if (starts === 1) throw new Error('lost');
      if (starts === 2) return;
      await sleep(3_600_000, signal);
    });
    await until(() => starts === 3);
    expect(await background.stop()).toEqual([]);
  });

  it('names what does not stop in time', async () => {
    const background = new Background();
    background.every('stubborn', { intervalMs: 1, firstAfterMs: 0 }, () => new Promise(() => undefined));
    await sleep(10);
    expect(await background.stop(20)).toEqual(['stubborn']);
  });
});

describe('retry', () => {
  const quick = { firstPauseMs: 1, pauseMaxMs: 2 };

  it('tries what may pass until it does', async () => {
    const result = await retry((attempt) => (attempt < 3 ? Promise.reject(new AppError('unavailable')) : Promise.resolve(attempt)), { ...quick, attemptsMax: 5 });
    expect(result).toBe(3);
  });

  it('gives up at once on what will not pass, and at last on what did not', async () => {
    let attempts = 0;
    const failing = (error: Error) => () => {
      attempts++;
      return Promise.reject(error);
    };
    await expect(retry(failing(new AppError('invalid')), { ...quick, attemptsMax: 5 })).rejects.toMatchObject({ kind: 'invalid' });
    expect(attempts).toBe(1);
    await expect(retry(failing(new AppError('unavailable')), { ...quick, attemptsMax: 4 })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(attempts).toBe(5);
  });
});
