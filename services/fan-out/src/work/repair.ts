/**
 * Repair: parked logs are fetched again, in order, until they have what was heard of them.
 *
 * This process remembers when the next parked log's turn comes, as far as it knows, and asks the
 * database only then: while nothing is parked nobody is asked. Rows that another process left are
 * found at the start and by each sweep. A turn puts a log's next attempt off before it tries (doubling,
 * up to `parkedPauseMsMax`), so two processes seldom try the same one, and it does no harm if they do.
 */
import type { Databases } from '@dmb/postgres';
import { toAppError, type Background, type Logger } from '@dmb/runtime';
import { fanOutLimits } from '../limits.ts';
import { keyOf, type ParkedLog, type ProgressStore } from '../store/progress.ts';
import { inParallel, type Applier } from './applier.ts';

export interface RepairParts {
  readonly databases: Databases;
  readonly progress: ProgressStore;
  readonly applier: () => Applier;
  readonly background: Background;
  readonly logger: Logger;
  readonly now: () => number;
}

export class Repair {
  private readonly parts: RepairParts;
  /** When to look next, Unix ms; Infinity while nothing is parked as far as we know. */
  private dueMs = 0;

  constructor(parts: RepairParts) {
    this.parts = parts;
  }

  start(): void {
    this.parts.background.every('repair of parked logs', { intervalMs: fanOutLimits.repairLookMs, firstAfterMs: 0 }, async () => {
      if (this.parts.now() >= this.dueMs) await this.run();
    });
  }

  /** Something was parked, or may have been by others. */
  expect(): void {
    this.dueMs = Math.min(this.dueMs, this.parts.now() + fanOutLimits.parkedPauseMs);
  }

  /** Tries every parked log whose turn has come. */
  async run(): Promise<void> {
    this.dueMs = Infinity;
    try {
      for (const database of this.parts.databases.all) {
        for (;;) {
          const some = await this.parts.progress.takeParked(database, fanOutLimits.parkedPerTurnMax);
          await inParallel(some, fanOutLimits.fetchesAtOnce, (log) => this.mend(log));
          if (some.length < fanOutLimits.parkedPerTurnMax) break;
        }
      }
      const waitMs = await this.parts.progress.nextParkedMs();
      if (waitMs !== undefined) this.dueMs = Math.min(this.dueMs, this.parts.now() + waitMs);
    } catch (error) {
      this.expect();
      throw error;
    }
  }

  private async mend(parked: ParkedLog): Promise<void> {
    const log = { shard: parked.shard, log: parked.log, epochNo: parked.epochNo };
    try {
      await this.parts.applier().catchUp(log, parked.wanted, parked.attempts);
      // Everything may have been there already: then no move has taken the row away.
      const cursor = (await this.parts.progress.load([log])).get(keyOf(log))?.cursor ?? 0n;
      await this.parts.progress.unpark(log, cursor);
      this.parts.logger.info('a parked log goes on', { log: log.log, attempts: parked.attempts });
    } catch (error) {
      const cursor = (await this.parts.progress.load([log])).get(keyOf(log))?.cursor ?? 0n;
      const { kind, detail, message } = toAppError(error);
      await this.parts.progress.stillParked({ log, number: cursor + 1n, wanted: parked.wanted, cause: `${kind}: ${detail ?? message}` });
    }
  }
}
