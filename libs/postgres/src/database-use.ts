/**
 * Who may work on a database: one process alone, or any number that share it. Held as long as this process runs.
 *
 * In one process timelines, live events and limits are in memory, and an event is handled by one consumer of its
 * group. Two such processes on one database, or one and a cluster, would each miss what the other took, and
 * homes would silently lose posts until they are rebuilt. So the first database holds an advisory lock of
 * our session, exclusive or shared, which ends with the connection whatever happens to us.
 *
 * If the connection breaks, the lock is free: it is taken again as soon as the database answers, and
 * whoever was alone is told (`onRegained`), because somebody else may have taken events meanwhile. If somebody
 * else has it then, this process ends with a sentence.
 */
import { sleep, StartError, type Logger } from '@dmb/runtime';
import type { Database, DedicatedConnection } from './database.ts';

/** How long an earlier process may take to let go, and how often it is looked. */
const limits = { waitMs: 5_000, pollMs: 200 } as const;

/** Alone, or together with others who share. */
export type DatabaseUseMode = 'alone' | 'shared';

export interface DatabaseUseOptions {
  readonly mode: DatabaseUseMode;
  /** The first of the installation. */
  readonly database: () => Database;
  readonly logger: Logger;
  /** The lock was lost and is held again. */
  readonly onRegained?: () => Promise<void>;
}

const lockSql: Readonly<Record<DatabaseUseMode, string>> = {
  alone: `SELECT pg_try_advisory_lock(hashtextextended('dmb standalone', 0)) AS got`,
  shared: `SELECT pg_try_advisory_lock_shared(hashtextextended('dmb standalone', 0)) AS got`,
};

const refusals: Readonly<Record<DatabaseUseMode, string>> = {
  alone: 'Another DMB uses this database: stop it first. Only one process may run on a database at a time.',
  shared: 'A DMB that runs as one process uses this database: stop it first. A cluster and one process cannot share a database.',
};

/** The right to work on a database. */
export class DatabaseUse {
  private readonly options: DatabaseUseOptions;
  private readonly stopping = new AbortController();
  private connection: DedicatedConnection | undefined;

  constructor(options: DatabaseUseOptions) {
    this.options = options;
  }

  get isHeld(): boolean {
    return this.connection !== undefined;
  }

  /** @throws {StartError} if it is used otherwise, and whoever does that does not let go */
  async take(): Promise<void> {
    const { mode, database } = this.options;
    const deadline = Date.now() + limits.waitMs;
    const connection = await database().dedicated(() => this.lost());
    for (;;) {
      const [row] = await connection.query<{ got: boolean }>(lockSql[mode]);
      if (row?.got === true) {
        this.connection = connection;
        return;
      }
      if (Date.now() > deadline || this.stopping.signal.aborted) {
        await connection.close();
        throw new StartError(refusals[mode]);
      }
      await sleep(limits.pollMs, this.stopping.signal);
    }
  }

  async release(): Promise<void> {
    this.stopping.abort();
    await this.connection?.close();
    this.connection = undefined;
  }

  private lost(): void {
    this.connection = undefined;
    if (this.stopping.signal.aborted) return;
    this.options.logger.warn('the connection that holds the database for this process was lost');
    void this.regain();
  }

  private async regain(): Promise<void> {
    while (!this.stopping.signal.aborted && this.connection === undefined) {
      try {
        await this.take();
        await this.options.onRegained?.();
      } catch (error) {
        // Out of the promise: this ends the process, with its sentence.
        if (error instanceof StartError && !this.stopping.signal.aborted) setImmediate(() => { throw error; });
        if (error instanceof StartError) return;
        await sleep(limits.pollMs, this.stopping.signal);
      }
    }
  }
}
