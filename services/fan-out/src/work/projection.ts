/**
 * Waiting for microblog's own view of a follow.
 *
 * A timeline that was removed because of a follow is made again from microblog's snapshot, which is made of
 * what a person follows: a projection that microblog's own consumer writes from the same happening, a
 * moment before or after us. A rebuild in between would come without the new log, would be taken for
 * whole, and nothing would ever mend it. So the timeline is removed only when the projection has the
 * follow: everything planned since our own row was committed is pushed, everything before is in every
 * snapshot that a rebuild can find from then on.
 *
 * What a person follows is asked by `microblog.listening`, as their personal microblog. Usually the first
 * or second answer has it. After `projectionWaitMs` the own log is parked and comes again; after
 * `projectionAttemptsMax` attempts we go on without, since a projection that never agrees is a fault
 * that must not stop the happenings of a microblog for ever.
 */
import type { Asker } from '@dmb/events';
import { domainIdOf, type Domain, type LogId, type PersonId } from '@dmb/protocol';
import { AppError, type Calls, type Logger } from '@dmb/runtime';
import { LRUCache } from 'lru-cache';
import type { FollowerChange } from '../domain/plan.ts';
import { fanOutLimits } from '../limits.ts';

type PersonAsker = Extract<Asker, { readonly kind: 'person' }>;

export class Projection {
  /** Persons as their personal microblog: never changes. */
  private readonly askers = new LRUCache<PersonId, PersonAsker>({ max: fanOutLimits.personsKnownMax });
  private readonly calls: Pick<Calls, 'call'>;
  private readonly logger: Logger;
  private readonly now: () => number;

  constructor(calls: Pick<Calls, 'call'>, logger: Logger, now: () => number) {
    this.calls = calls;
    this.logger = logger;
    this.now = now;
  }

  /**
   * Resolves when what a person follows agrees with the last of these changes about each log.
   * @throws {AppError} unavailable, if it does not in time and `patient`
   */
  async agrees(person: PersonId, changes: readonly FollowerChange[], patient: boolean): Promise<void> {
    const asker = await this.askerOf(person);
    if (asker === undefined) return;
    const wanted = new Map<LogId, boolean>(changes.map(({ log, reads }) => [log, reads]));
    const endMs = this.now() + fanOutLimits.projectionWaitMs;
    for (let pauseMs = 2; ; pauseMs = Math.min(50, pauseMs * 2)) {
      const listening = await this.calls.call('microblog.listening', { asker });
      if (listening === null) return;
      const home = new Set(listening.home);
      if ([...wanted].every(([log, reads]) => home.has(log) === reads)) return;
      if (this.now() >= endMs) break;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    if (patient) throw new AppError('unavailable', undefined, { detail: 'microblog has not taken a follow in yet' });
    this.logger.error('what a person follows disagrees with the happenings of a microblog', { logs: [...wanted.keys()] });
  }

  private async askerOf(person: PersonId): Promise<PersonAsker | undefined> {
    const known = this.askers.get(person);
    if (known !== undefined) return known;
    const { contributions } = await this.calls.call('microblog.contributions', { person });
    const personal = contributions.find((each) => each.personal);
    if (personal === undefined) return undefined;
    const asker: PersonAsker = { kind: 'person', domain: domainIdOf(personal.domain as Domain), person, microblog: personal.microblog, scopes: ['read'] };
    this.askers.set(person, asker);
    return asker;
  }
}
