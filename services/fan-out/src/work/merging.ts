/**
 * From pushing to merging when reading, for a log with very many readers.
 *
 *   pushed ── somebody finds `DMB_MERGE_READERS` or more ──► microblog is told, which tells whoever reads
 *                                     (pushed as before)  │
 *                                                         ▼ mergeAfterMs later
 *   merged: a row in `merged`; entries move the cursor and are pushed to nobody
 *
 * For a while both are done, and ids are unique when read: nobody ever finds a page without a post that is in neither. A crash on the way
 * leaves the log pushed; the next post begins again. Open streams hear of entries as before.
 *
 * **A log stays merged.** Pushing it again would need every list made anew that was written to while it was merged, for the sake of
 * logs that lose most of their readers. It costs a reader of that log one query.
 */
import type { LogRef } from '@dmb/events';
import { sleep, type Background, type Calls, type Logger } from '@dmb/runtime';
import { fanOutLimits } from '../limits.ts';
import type { FollowerStore } from '../store/followers.ts';
import { keyOf } from '../store/progress.ts';

export interface MergingParts {
  readonly followers: () => FollowerStore;
  readonly calls: Pick<Calls, 'call'>;
  readonly background: Background;
  readonly logger: Logger;
}

export class Merging {
  private readonly parts: MergingParts;
  private readonly under = new Map<string, Promise<void>>();

  constructor(parts: MergingParts) {
    this.parts = parts;
  }

  /** Has a log merged from a little later on. */
  begin(log: LogRef): void {
    const key = keyOf(log);
    if (this.under.has(key)) return;
    const run = this.merge(log)
      .catch((error: unknown) => this.parts.logger.warn('a log with very many readers is still pushed; the next post tries again', { log: log.log, error }))
      .finally(() => this.under.delete(key));
    this.under.set(key, run);
  }

  /** Resolves when what was begun has ended. */
  async stop(): Promise<void> {
    await Promise.all(this.under.values());
  }

  private async merge(log: LogRef): Promise<void> {
    const { followers, calls, background, logger } = this.parts;
    await calls.call('microblog.merge-log', { shard: log.shard, log: log.log });
    await sleep(fanOutLimits.mergeAfterMs, background.signal);
    if (background.signal.aborted) return;
    await followers().merge(log);
    logger.info('a log has so many readers that it is merged when they read', { log: log.log });
  }
}
