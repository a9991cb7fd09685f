/**
 * Starting, being ready, and stopping a process.
 *
 * A process is a list of *parts* in the order in which they start: database, services, consumers,
 * ingress. Stopping runs twice over the list backwards. First every part *drains*: it takes
 * nothing new and finishes what it has (the ingress its requests, a consumer its batch, streams
 * say goodbye). Only when all have drained does each *stop* and let go of what others may have
 * needed until then. A part that fails or hangs while stopping is told of and passed over, so that
 * the ones below it (the database!) still stop in order.
 *
 * {@link runProcess} is what a `main.ts` consists of:
 *  - SIGINT, SIGTERM: stop in order, exit code 0. Ctrl-C reaches a child of npm twice, so a second
 *    signal changes nothing for `forceAfterMs`; after that a further one, or the end of
 *    `stopTimeoutMs`, ends the process with code 1. `kill` of every part is called then: it must
 *    be synchronous, and is for what would outlive us (a child process).
 *  - a StartError, wherever it comes from: its sentences on standard error, exit code 1, no stack.
 *  - anything else that nobody caught: logged with its stack, stopped in order, exit code 1.
 * A kill -9 runs none of this; every part must be startable after it.
 */
import { StartError } from './errors.ts';
import { httpLimits } from './limits.ts';
import { type Logger } from './log.ts';
import { stopTelemetry } from './telemetry.ts';

/** One thing that starts and stops. All of it may be left out. */
export interface Part {
  readonly name: string;
  start?(): Promise<void> | void;
  /** Takes nothing new, finishes what there is. */
  drain?(): Promise<void> | void;
  stop?(): Promise<void> | void;
  /** Last resort before a forced exit: synchronous and quick. */
  kill?(): void;
}

/** True, or what is missing. May throw. */
export type ReadinessCheck = () => boolean | Promise<boolean>;

export interface LifecycleOptions {
  readonly logger: Logger;
  /** For one part to drain, and again for one part to stop. */
  readonly partTimeoutMs?: number;
}

type State = 'new' | 'starting' | 'running' | 'stopping' | 'stopped';

export class Lifecycle {
  private readonly parts: Part[] = [];
  private readonly started: Part[] = [];
  private readonly checks = new Map<string, ReadinessCheck>();
  private readonly logger: Logger;
  private readonly partTimeoutMs: number;
  private state: State = 'new';
  private stopped: Promise<void> | undefined;
  private current: Promise<void> = Promise.resolve();

  constructor(options: LifecycleOptions) {
    this.logger = options.logger;
    this.partTimeoutMs = options.partTimeoutMs ?? httpLimits.drainTimeoutMs + 2_000;
  }

  /** Adds a part after those already there; {@link start} starts it. */
  add(part: Part): void {
    this.parts.push(part);
  }

  /** Adds a readiness check. A failing, throwing or slow one makes the process unready; it is named, nothing else is told. */
  check(name: string, isReady: ReadinessCheck): void {
    this.checks.set(name, isReady);
  }

  /**
   * Starts, in order, the parts that are not started yet; parts may add further ones while they start.
   * @throws what the failing part threw, after those already started have been stopped
   */
  async start(): Promise<void> {
    this.state = 'starting';
    try {
      for (let index = this.started.length; index < this.parts.length; index++) {
        const part = this.parts[index];
        if (part === undefined || this.stopped !== undefined) break;
        // Stopped even if its start fails half way: a part's stop must bear that.
        this.started.push(part);
        this.current = Promise.resolve().then(() => part.start?.());
        await this.current;
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
    if (this.stopped === undefined) this.state = 'running';
  }

  /** Whether everything is started, nothing is stopping and every check holds. */
  async readiness(): Promise<{ readonly ready: boolean; readonly failing: readonly string[] }> {
    if (this.state !== 'running') return { ready: false, failing: [this.state === 'starting' || this.state === 'new' ? 'starting' : 'stopping'] };
    const results = await Promise.all([...this.checks].map(async ([name, isReady]) => ((await this.holds(name, isReady)) ? undefined : name)));
    const failing = results.filter((name) => name !== undefined);
    return { ready: failing.length === 0, failing };
  }

  /** Drains, then stops; further calls wait for the first. Never throws. */
  stop(): Promise<void> {
    this.stopped ??= this.stopAll();
    return this.stopped;
  }

  /** Calls `kill` of everything that was started. */
  kill(): void {
    for (const part of this.started.toReversed()) {
      try {
        part.kill?.();
      } catch {
        // There is nobody left to tell.
      }
    }
  }

  private async stopAll(): Promise<void> {
    this.state = 'stopping';
    // A signal may come in the middle of a start.
    await this.within('the start was not waited for', () => this.current.catch(() => undefined));
    const parts = this.started.toReversed();
    for (const part of parts) await this.within(`${part.name} did not drain`, () => part.drain?.());
    for (const part of parts) await this.within(`${part.name} did not stop`, () => part.stop?.());
    this.state = 'stopped';
  }

  private async within(complaint: string, work: () => Promise<void> | void): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`took longer than ${this.partTimeoutMs} ms`)), this.partTimeoutMs);
    });
    try {
      await Promise.race([Promise.resolve().then(work), late]);
    } catch (error) {
      this.logger.error(complaint, { error });
    } finally {
      clearTimeout(timer);
    }
  }

  private async holds(name: string, isReady: ReadinessCheck): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), httpLimits.readinessCheckTimeoutMs);
    });
    try {
      return await Promise.race([isReady(), late]);
    } catch (error) {
      this.logger.debug('a readiness check failed', { check: name, error });
      return false;
    } finally {
      clearTimeout(timer);
    }
  }
}

export interface RunOptions extends LifecycleOptions {
  /** From the first signal on, further signals change nothing for this long. */
  readonly forceAfterMs?: number;
  /** From the begin of stopping to a forced exit. */
  readonly stopTimeoutMs?: number;
  /** Told when a signal ends the process: that it stops, and that it has. */
  readonly onSignal?: (what: 'stopping' | 'stopped') => void;
}

/**
 * Runs a process: `compose` adds the parts, they are started, and the process goes on until a
 * signal. Resolves when everything has started, and never rejects; `ready` runs then.
 */
export async function runProcess(
  options: RunOptions,
  compose: (lifecycle: Lifecycle) => Promise<void> | void,
  ready?: (lifecycle: Lifecycle) => Promise<void> | void,
): Promise<void> {
  const { logger, forceAfterMs = 2_000, stopTimeoutMs = 30_000 } = options;
  const lifecycle = new Lifecycle(options);
  let stoppingSince: number | undefined;
  let signalled = false;

  const force = (): void => {
    lifecycle.kill();
    process.exit(1);
  };
  const end = (code: number): void => {
    if (stoppingSince !== undefined) return;
    stoppingSince = Date.now();
    process.exitCode = code;
    setTimeout(() => {
      logger.error('stopping took too long and was cut short');
      force();
    }, stopTimeoutMs).unref();
    void lifecycle
      .stop()
      .then(() => stopTelemetry())
      .then(() => {
        if (signalled) options.onSignal?.('stopped');
      })
      // What still holds the process (a socket of a peer, a timer) has no part left that needs it.
      .finally(() => process.exit());
  };
  const onSignal = (): void => {
    if (stoppingSince !== undefined && Date.now() - stoppingSince > forceAfterMs) force();
    else if (stoppingSince === undefined) {
      signalled = true;
      options.onSignal?.('stopping');
      end(0);
    }
  };
  const fail = (error: unknown): void => {
    if (error instanceof StartError) process.stderr.write(`${error.message}\n`);
    else logger.error('the process failed', { error });
    if (stoppingSince === undefined) end(1);
    else process.exitCode = 1;
  };

  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  process.on('uncaughtException', fail);
  // Whoever read our sentences (a pipe) may have ended before us, by the same Ctrl-C: that is no failure.
  process.stdout.on('error', () => undefined);
  process.on('unhandledRejection', fail);
  try {
    await compose(lifecycle);
    await lifecycle.start();
    if (stoppingSince === undefined) await ready?.(lifecycle);
  } catch (error) {
    fail(error);
  }
}

/**
 * Compares our clock with the database's. A process whose clock is more than `aheadMaxMs` ahead
 * must not draw ids: they would lie above what others draw for as long. What asks the database
 * anyway (a lease renewal) passes the time it got to {@link ClockCheck.observe}, so that checking
 * costs no query of its own.
 */
export class ClockCheck {
  /** How far we are ahead, in ms, at least; undefined before the first observation. */
  aheadMs: number | undefined;
  private readonly aheadMaxMs: number;

  constructor(aheadMaxMs = 5_000) {
    this.aheadMaxMs = aheadMaxMs;
  }

  /** `askedAt` is our time when the question was sent: the answer cannot be older than that. */
  observe(databaseMs: number, askedAt: number): void {
    this.aheadMs = askedAt - databaseMs;
  }

  /** False only once it is known that our clock is too far ahead: a readiness check. */
  readonly isSafe = (): boolean => this.aheadMs === undefined || this.aheadMs <= this.aheadMaxMs;
}
