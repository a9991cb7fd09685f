/**
 * Work that nobody waits for: timers, loops, retries.
 *
 * Every piece of background work of a service is started here, so that it has a name, is stopped
 * and waited for at drain, never keeps the process alive by itself, and cannot die unseen.
 *
 *  - {@link Background.every} runs a function again and again; the pause begins when the run has
 *    ended, so that runs never overlap, and is varied by ±10 % so that many processes started
 *    together do not ask together. {@link Background.wake} runs it now.
 *  - {@link Background.loop} supervises a function that is meant to go on until it is stopped.
 *  - after a failure both wait longer: doubled each time up to `backOffMaxMs`, until a success.
 *
 * A failure that stays is one line a minute with a count, not a line each time, and one line when
 * it has passed. A crash of the process loses no work here: work that must not be lost has a row.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { isRetryable } from './errors.ts';
import { silentLogger, type Logger } from './log.ts';

const backOffFirstMs = 200;
const backOffMaxMs = 30_000;
const repeatAfterMs = 60_000;

export interface EveryOptions {
  /** From the end of one run to the begin of the next. */
  readonly intervalMs: number;
  /** Before the first run; the interval, if left out. 0 = at once. */
  readonly firstAfterMs?: number;
  /** Part of the interval by which it varies both ways. */
  readonly jitter?: number;
}

/** One supervised piece of work. */
interface Piece {
  readonly done: Promise<void>;
  wake: () => void;
}

export class Background {
  private readonly stopping = new AbortController();
  private readonly pieces = new Map<string, Piece>();
  private readonly logger: Logger;
  private readonly random: () => number;

  constructor(options: { readonly logger?: Logger; readonly random?: () => number } = {}) {
    this.logger = options.logger ?? silentLogger;
    this.random = options.random ?? Math.random;
  }

  /** Aborted when {@link stop} is called. */
  get signal(): AbortSignal {
    return this.stopping.signal;
  }

  /** Runs `work` at intervals until stopped. `name` is unique in this Background. */
  every(name: string, options: EveryOptions, work: (signal: AbortSignal) => Promise<void> | void): void {
    const { intervalMs, firstAfterMs = intervalMs, jitter = 0.1 } = options;
    this.supervise(name, firstAfterMs, work, () => intervalMs * (1 + jitter * (2 * this.random() - 1)));
  }

  /** Keeps `work` going until stopped: it is started again when it ends or fails. */
  loop(name: string, work: (signal: AbortSignal) => Promise<void>): void {
    this.supervise(name, 0, work, () => 0);
  }

  /** Ends the pause of `name` now; during a run, the next one follows at once. */
  wake(name: string): void {
    this.pieces.get(name)?.wake();
  }

  /** Stops everything and waits for what runs, at most `timeoutMs`; the names of what still runs then. */
  async stop(timeoutMs = 5_000): Promise<string[]> {
    this.stopping.abort();
    const running = new Set(this.pieces.keys());
    const ended = [...this.pieces].map(async ([name, piece]) => {
      await piece.done;
      running.delete(name);
    });
    const limit = new AbortController();
    await Promise.race([Promise.all(ended), pause(timeoutMs, undefined, { signal: limit.signal }).catch(() => undefined)]);
    limit.abort();
    return [...running];
  }

  private supervise(name: string, firstAfterMs: number, work: (signal: AbortSignal) => Promise<void> | void, pauseMs: () => number): void {
    if (this.pieces.has(name)) throw new Error(`background work "${name}" is started twice`);
    let awake = new AbortController();
    const piece: Piece = { wake: () => awake.abort(), done: this.run(name, firstAfterMs, work, pauseMs, () => (awake = new AbortController()), () => awake.signal) };
    this.pieces.set(name, piece);
  }

  private async run(
    name: string,
    firstAfterMs: number,
    work: (signal: AbortSignal) => Promise<void> | void,
    pauseMs: () => number,
    newPause: () => AbortController,
    pauseSignal: () => AbortSignal,
  ): Promise<void> {
    const failures = new FailureLog(name, this.logger);
    let waitMs = firstAfterMs;
    while (!this.signal.aborted) {
      await sleep(waitMs, AbortSignal.any([this.signal, pauseSignal()]));
      newPause();
      if (this.signal.aborted) return;
      try {
        await work(this.signal);
        failures.passed();
        waitMs = pauseMs();
        if (waitMs === 0) await sleep(1, this.signal);
      } catch (error) {
        if (this.signal.aborted) return;
        failures.failed(error);
        waitMs = Math.max(pauseMs(), backOff(failures.count, this.random));
      }
    }
  }
}

export interface RetryOptions {
  readonly attemptsMax: number;
  readonly firstPauseMs?: number;
  readonly pauseMaxMs?: number;
  readonly signal?: AbortSignal;
  /** By default what {@link isRetryable} says. */
  readonly worthIt?: (error: unknown) => boolean;
  readonly random?: () => number;
}

/** Tries `work` until it succeeds, is not worth another try, or was tried `attemptsMax` times; then throws its last error. */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { attemptsMax, firstPauseMs = backOffFirstMs, pauseMaxMs = backOffMaxMs, worthIt = isRetryable, random = Math.random } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      if (attempt >= attemptsMax || options.signal?.aborted === true || !worthIt(error)) throw error;
      await sleep(backOff(attempt, random, firstPauseMs, pauseMaxMs), options.signal);
    }
  }
}

/** A pause that does not keep the process alive and ends early, without an error, when `signal` is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return;
  await pause(ms, undefined, { ref: false, ...(signal === undefined ? {} : { signal }) }).catch(() => undefined);
}

/** Half to all of first·2ⁿ⁻¹, at most `maxMs`. */
function backOff(failures: number, random: () => number, firstMs = backOffFirstMs, maxMs = backOffMaxMs): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30)) * (0.5 + random() / 2);
}

/** Tells of a failure once, then once a minute with a count, then that it has passed. */
class FailureLog {
  count = 0;
  private lastText = '';
  private lastAt = 0;
  private untold = 0;
  private readonly name: string;
  private readonly logger: Logger;

  constructor(name: string, logger: Logger) {
    this.name = name;
    this.logger = logger;
  }

  failed(error: unknown): void {
    this.count++;
    const text = error instanceof Error ? error.message : String(error);
    const now = Date.now();
    if (text === this.lastText && now - this.lastAt < repeatAfterMs) {
      this.untold++;
      return;
    }
    this.logger.error(`${this.name} failed and will be tried again`, { failures: this.count, untold: this.untold, error });
    this.lastText = text;
    this.lastAt = now;
    this.untold = 0;
  }

  passed(): void {
    if (this.count > 0) this.logger.info(`${this.name} works again`, { failures: this.count });
    this.count = 0;
    this.lastText = '';
  }
}
