/**
 * Home: where the ids of somebody's home come from, and the page made of them.
 *
 *   a person's own token   the list in the store. Absent: rebuilt from microblog's snapshot, by the rule
 *                          of the store (first present, then the snapshot). Being rebuilt by somebody
 *                          else, or removed again and again meanwhile: read from the snapshot alone.
 *                          Below what the list is exact for: further snapshots.
 *   a token of a group     the group's own posts, asked of microblog; no list is kept
 *
 * A store that fails is no reason to show nothing: reading falls back to snapshots, counts that, and says so in the
 * log once a minute. What is shown is decided by `microblog.present` for each row and each reader; a list holds ids
 * and no permission.
 */
import type { Asker, Status } from '@dmb/events';
import { shardOf, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';
import { toAppError, type AppError, type Calls, type Logger } from '@dmb/runtime';
import type { Paging } from '@dmb/runtime/http';
import type { Reader, TimelineRead, Timelines } from '@dmb/timelines';
import { LRUCache } from 'lru-cache';
import type { Skeleton, Source } from './domain/descent.ts';
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
      first: async () => (await this.listOf(reader, () => below(null))) ?? (await below(null)),
      below,
    };
  }

  private ofGroup(microblog: MicroblogId): Source {
    const below = (before: PostId | null) => this.calls.call('microblog.own-posts', { microblog, before, limit: homeLimits.snapshotIdsMax });
    return { first: () => below(null), below };
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
