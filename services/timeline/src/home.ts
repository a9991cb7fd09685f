/**
 * Home: where the ids of somebody's home come from, and the page made of them.
 *
 *   a person's own token   the list in the store. Absent: rebuilt from microblog's snapshot, by the rule
 *                          of the store (first present, then the snapshot). Being rebuilt by somebody
 *                          else, or removed again and again meanwhile: read from the snapshot alone.
 *                          Below what the list is exact for: further snapshots.
 *   a token of a group     the group's own posts, asked of microblog; no list is kept
 *
 * **Merged when reading.** Logs with very many readers are not written into lists. Which ones is asked of microblog, at most once a
 * second; while there is none this costs nothing. What a person follows of them is asked for with the list and merged into it by id, down to where
 * both are exact. So a page is the same whether a log is pushed or merged, also for ids that were in the list before it was merged,
 * and for late ones. Where nobody can say which logs are merged, Postgres is read, which has them all.
 *
 * A store that fails is no reason to show nothing: reading falls back to snapshots, counts that, and says so in the
 * log once a minute. What is shown is decided by `microblog.present` for each row and each reader; a list holds ids
 * and no permission.
 */
import type { Asker, Status } from '@dmb/events';
import { shardOf, type LogId, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';
import { toAppError, type AppError, type Calls, type Logger } from '@dmb/runtime';
import type { Paging } from '@dmb/runtime/http';
import type { Reader, TimelineRead, Timelines } from '@dmb/timelines';
import { LRUCache } from 'lru-cache';
import { mergeSkeletons, type Skeleton, type Source } from './domain/descent.ts';
import { readPage, type HomePage } from './domain/page.ts';
import { homeLimits } from './limits.ts';
import { timelineMetrics } from './metrics.ts';

type PersonAsker = Extract<Asker, { readonly kind: 'person' }>;

export class Home {
  /** Whether a microblog is its asker's personal one: never changes. */
  private readonly personal = new LRUCache<string, boolean>({ max: homeLimits.kindsKnownMax });
  private readonly timelines: Timelines;
  private readonly calls: Pick<Calls, 'call'>;
  private readonly logger: Logger;
  private silentUntilMs = -Infinity;
  private merged: { readonly logs: Promise<readonly LogId[]>; readonly untilMs: number } | undefined;

  constructor(timelines: Timelines, calls: Pick<Calls, 'call'>, logger: Logger) {
    this.timelines = timelines;
    this.calls = calls;
    this.logger = logger;
  }

  /** A page of the asker's home, newest first. */
  async page(asker: PersonAsker, paging: Paging): Promise<HomePage<Status>> {
    const source = (await this.isPersonal(asker)) ? this.ofPerson(asker.person) : this.ofGroup(asker.microblog);
    return await readPage(source, (ids) => this.present(asker, ids), paging);
  }

  private async present(asker: PersonAsker, ids: readonly PostId[]) {
    const began = performance.now();
    const presented = await this.calls.call('microblog.present', { asker, ids, context: 'home' });
    timelineMetrics.presented('home', (performance.now() - began) / 1_000);
    return presented;
  }

  private async isPersonal(asker: PersonAsker): Promise<boolean> {
    const key = `${asker.person}/${asker.microblog}`;
    const known = this.personal.get(key);
    if (known !== undefined) return known;
    const listening = await this.calls.call('microblog.listening', { asker });
    // A role that has ended is refused by the guard; whoever slips past it is shown nothing by `present`.
    if (listening === null) return false;
    this.personal.set(key, listening.personal);
    return listening.personal;
  }

  private ofPerson(person: PersonId): Source {
    const reader: Reader = { shard: shardOf(person), person };
    const below = (before: PostId | null) => this.calls.call('microblog.snapshot', { person, before, limit: homeLimits.snapshotIdsMax });
    return {
      first: async () => (await this.mergedListOf(reader, () => below(null))) ?? (await below(null)),
      below,
      above: async (above, limit) => (await this.calls.call('microblog.snapshot', { person, before: null, above, limit })).ids,
    };
  }

  /** The list with what is merged into it; undefined where Postgres must be read. */
  private async mergedListOf(reader: Reader, load: () => Promise<Skeleton>): Promise<Skeleton | undefined> {
    const merged = await this.mergedLogs().catch(() => undefined);
    if (merged === undefined) return undefined;
    if (merged.length === 0) return await this.listOf(reader, load);
    const [list, others] = await Promise.all([
      this.listOf(reader, load),
      this.calls.call('microblog.snapshot', { person: reader.person, before: null, limit: homeLimits.snapshotIdsMax, only: merged }),
    ]);
    return list === undefined ? undefined : mergeSkeletons(list, others);
  }

  /** Logs that are merged when reading, as of a second ago. */
  private mergedLogs(): Promise<readonly LogId[]> {
    const now = performance.now();
    if (this.merged === undefined || now >= this.merged.untilMs) {
      const logs = this.calls.call('microblog.merged-logs', {}).then((answer) => answer.logs);
      const asked = { logs, untilMs: now + homeLimits.mergedKnownMs };
      this.merged = asked;
      logs.catch(() => {
        if (this.merged === asked) this.merged = undefined;
      });
    }
    return this.merged.logs;
  }

  private ofGroup(microblog: MicroblogId): Source {
    const below = (before: PostId | null) => this.calls.call('microblog.own-posts', { microblog, before, limit: homeLimits.snapshotIdsMax });
    return { first: () => below(null), below, above: async (above, limit) => (await this.calls.call('microblog.own-posts', { microblog, before: null, above, limit })).ids };
  }

  /** The list in the store, made present if it is absent; undefined where Postgres must be read. */
  private async listOf(reader: Reader, load: () => Promise<Skeleton>): Promise<Skeleton | undefined> {
    const found = await this.store(() => this.timelines.read(reader));
    const read = found?.state === 'absent' ? await this.rebuild(reader, load) : found;
    return read?.state === 'present' ? read : undefined;
  }

  private async rebuild(reader: Reader, load: () => Promise<Skeleton>): Promise<TimelineRead | undefined> {
    const began = performance.now();
    let loads = 0;
    let failed: AppError | undefined;
    const rebuilt = await this.store(
      () =>
        this.timelines.rebuild(reader, async () => {
          loads++;
          try {
            return await load();
          } catch (error) {
            failed = toAppError(error);
            throw failed;
          }
        }),
      () => failed !== undefined,
    );
    if (loads > 0) timelineMetrics.rebuilt(rebuilt?.state === 'present' ? (loads > 1 ? 'repeated' : 'done') : 'failed', (performance.now() - began) / 1_000);
    // Microblog's own failure is the answer: asking it again would only take as long again.
    if (failed !== undefined && rebuilt === undefined) throw failed;
    return rebuilt;
  }

  /** @param hasLoadFailed whether what failed was no doing of the store */
  private async store(ask: () => Promise<TimelineRead>, hasLoadFailed: () => boolean = () => false): Promise<TimelineRead | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (hasLoadFailed()) return undefined;
      timelineMetrics.storeFailed();
      // With the store away this is every read.
      if (performance.now() < this.silentUntilMs) return undefined;
      this.silentUntilMs = performance.now() + homeLimits.storeWarningMsMin;
      this.logger.warn('the store of timelines failed; reading from the database', { error });
      return undefined;
    }
  }
}
