/**
 * One process at a time on a database: held as long as this process runs.
 *
 * Timelines, live events and limits are in the memory of this process, and an event is handled by one
 * consumer of its group. Two such processes on one database would each miss what the other took, and
 * homes would silently lose posts until they are rebuilt. So the first database holds an advisory lock
 * of our session, which ends with the connection whatever happens to us.
 *
 * If the connection breaks, the lock is free: it is taken again as soon as the database answers, and
 * the lists in memory are forgotten, because somebody else may have taken events meanwhile. If somebody
 * else has it then, this process ends with a sentence.
 */
import type { Database, DedicatedConnection } from '@dmb/postgres';
import { sleep, StartError, type Logger } from '@dmb/runtime';

/** How long an earlier process may take to let go, and how often it is looked. */
const limits = { waitMs: 5_000, pollMs: 200 } as const;

const lockSql = `SELECT pg_try_advisory_lock(hashtextextended('dmb standalone', 0)) AS got`;

/** The right to be the only one. */
export class SoleUse {
  private readonly database: () => Database;
  private readonly logger: Logger;
  private readonly onRegained: () => Promise<void>;
  private readonly stopping = new AbortController();
  private connection: DedicatedConnection | undefined;

  constructor({ database, logger, onRegained }: { readonly database: () => Database; readonly logger: Logger; readonly onRegained: () => Promise<void> }) {
    this.database = database;
    this.logger = logger;
    this.onRegained = onRegained;
  }

  get isHeld(): boolean {
    return this.connection !== undefined;
  }

  /** @throws {StartError} if another process has it and does not let go */
  async take(): Promise<void> {
    const deadline = Date.now() + limits.waitMs;
    const connection = await this.database().dedicated(() => this.lost());
    for (;;) {
      const [row] = await connection.query<{ got: boolean }>(lockSql);
      if (row?.got === true) {
        this.connection = connection;
        return;
      }
      if (Date.now() > deadline || this.stopping.signal.aborted) {
        await connection.close();
        throw new StartError('Another DMB uses this database: stop it first. Only one process may run on a database at a time.');
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
    this.logger.warn('the connection that holds the database for this process was lost');
    void this.regain();
  }

  private async regain(): Promise<void> {
    while (!this.stopping.signal.aborted && this.connection === undefined) {
      try {
        await this.take();
        await this.onRegained();
      } catch (error) {
        // Out of the promise: this ends the process, with its sentence.
        if (error instanceof StartError && !this.stopping.signal.aborted) setImmediate(() => { throw error; });
        if (error instanceof StartError) return;
        await sleep(limits.pollMs, this.stopping.signal);
      }
    }
  }
}
