/** Grants: who may read which log, and the lists made of them. */
import type { LogRef } from '@dmb/events';
import type { LogId, MicroblogId, PersonId } from '@dmb/protocol';
import type { FollowEdge, Grant, Page } from '../domain/model.ts';

const notYet = (): never => {
  throw new Error('not written yet');
};

export class GrantStore {
  /** The grants that a person has on these logs, whatever their state. */
  ofPerson(person: PersonId, logs: readonly Pick<LogRef, 'shard' | 'log'>[]): Promise<Map<LogId, Grant>> {
    return notYet();
  }
  /** Accepted followers of a microblog that are shown as a microblog, falling by id; the owner's own is left out. */
  followers(microblog: MicroblogId, page: Page): Promise<FollowEdge[]> {
    return notYet();
  }
  /** What a microblog is shown to follow, accepted only, falling by id. */
  following(microblog: MicroblogId, page: Page): Promise<FollowEdge[]> {
    return notYet();
  }
  /** Who asked to follow and waits, falling by id; `microblog` of an edge is the asking one. */
  followRequests(microblog: MicroblogId, page: Page): Promise<FollowEdge[]> {
    return notYet();
  }
  followRequestsCount(microblog: MicroblogId): Promise<bigint> {
    return notYet();
  }
}
