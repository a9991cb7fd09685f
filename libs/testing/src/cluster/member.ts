/**
 * One process of the cluster, kept running.
 *
 * It is started, waited for until it says that it is ready, and started again when it ends, whoever ended it: as an
 * orchestrator does, with a pause that doubles while it does not become ready. A process that never became ready
 * {@link bounds.startsMax} times in a row will not: then the whole cluster ends.
 *
 * Its output goes to the log line by line under its name. It has a process group of its own, because Ctrl-C at a terminal
 * would otherwise end all processes at once, in no order.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const bounds = { startsMax: 3, readyMs: 90_000, pollMs: 50, pauseMs: 300, pauseMsMax: 5_000, stopMs: 60_000 } as const;

export interface MemberOptions {
  /** `microblog-2`. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly folder: string;
  /** Answers 200 while the process can do its work. */
  readonly readyUrl: string;
  readonly write: (line: string) => void;
  /** Its process is another one now. */
  readonly onChange: () => void;
  /** It will not become ready. */
  readonly onHopeless: (why: string) => void;
}

export class Member {
  readonly name: string;
  private readonly options: MemberOptions;
  private child: ChildProcess | undefined;
  private ended: Promise<void> = Promise.resolve();
  private isStopping = false;
  private isRestarting = false;
  private isReady = false;
  private failures = 0;

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.options = options;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Starts it; {@link ready} waits. */
  start(): void {
    const { program, args, environment, folder, write } = this.options;
    this.isReady = false;
    const child = spawn(program, args, { cwd: folder, env: environment, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.child = child;
    lines(child.stdout, (line) => this.say(line));
    lines(child.stderr, (line) => this.say(line));
    this.ended = new Promise((done) => {
      child.once('error', (error) => {
        write(`${this.name} cannot be started: ${error.message}`);
        done();
      });
      child.once('exit', (code, signal) => {
        done();
        if (!this.isStopping && !this.isRestarting) void this.again(code, signal);
      });
    });
    this.options.onChange();
  }

  /** Resolves when it can do its work. @throws if it does not come to that */
  async ready(): Promise<void> {
    for (const deadline = Date.now() + bounds.readyMs; !(await this.answers()); await sleep(bounds.pollMs)) {
      if (Date.now() > deadline) throw new Error(`${this.name} did not become ready within ${bounds.readyMs / 1_000} s`);
      if (this.isStopping) return;
    }
    this.isReady = true;
    this.failures = 0;
  }

  /** Ends it as an orchestrator does, starts it again, and waits until it is ready. */
  async restart(): Promise<void> {
    this.isRestarting = true;
    await this.end();
    if (this.isStopping) return;
    this.start();
    this.isRestarting = false;
    await this.ready();
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    this.isStopping = true;
    await this.end();
  }

  /** Ends it now. */
  kill(): void {
    this.isStopping = true;
    this.child?.kill('SIGKILL');
  }

  private async end(): Promise<void> {
    this.child?.kill('SIGTERM');
    const late = setTimeout(() => {
      this.options.write(`${this.name} did not end within ${bounds.stopMs / 1_000} s and is killed`);
      this.child?.kill('SIGKILL');
    }, bounds.stopMs);
    await this.ended;
    clearTimeout(late);
  }

  private async again(code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    const how = signal === null ? `ended with code ${code ?? '?'}` : `was ended by ${signal}`;
    this.failures = this.isReady ? 1 : this.failures + 1;
    if (this.failures > bounds.startsMax) {
      this.options.onHopeless(`${this.name} ${how} and does not become ready.`);
      return;
    }
    this.options.write(`${this.name} ${how} and is started again`);
    await sleep(Math.min(bounds.pauseMs * 2 ** (this.failures - 1), bounds.pauseMsMax));
    if (this.isStopping) return;
    this.start();
    await this.ready().then(
      () => this.options.write(`${this.name} is ready again`),
      (error: unknown) => this.options.onHopeless((error as Error).message),
    );
  }

  private async answers(): Promise<boolean> {
    try {
      const answer = await fetch(this.options.readyUrl, { signal: AbortSignal.timeout(3_000) });
      await answer.arrayBuffer();
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  private say(line: string): void {
    this.options.write(`${this.name.padEnd(12)} | ${line}`);
  }
}

/** Calls `take` for each line of a stream. */
export function lines(stream: NodeJS.ReadableStream | null, take: (line: string) => void): void {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) if (line !== '') take(line);
  });
  stream?.on('end', () => {
    if (rest !== '') take(rest);
  });
}
