/** Entries: posts with their current version, happenings, replies, what is public. */
import type { LogRef } from '@dmb/events';
import type { DomainId, EntryKind, MicroblogId, ObjectId, PostId } from '@dmb/protocol';
import type { EntryRow, EntryVersion, Page } from '../domain/model.ts';

const notYet = (): never => {
  throw new Error('not written yet');
};

export class EntryStore {
  /** Entries of these ids in the order asked; unknown ones are left out. */
  byIds(ids: readonly PostId[]): Promise<EntryRow[]> {
    return notYet();
  }
  /** Posts and boosts (or `kinds`) of these logs, merged, falling by id; deleted ones left out. */
  ofLogs(logs: readonly LogRef[], page: Page, options?: { readonly kinds?: readonly EntryKind[]; readonly withoutReplies?: boolean }): Promise<EntryRow[]> {
    return notYet();
  }
  /** Happenings of an own log, falling by id; only those whose `what` is listed. */
  happenings(ownLog: LogRef, page: Page, what: readonly string[]): Promise<EntryRow[]> {
    return notYet();
  }
  /** The post or boost with that object id, of our own logs. */
  byObject(objectId: ObjectId): Promise<EntryRow | undefined> {
    return notYet();
  }
  /** (Asked for by presenting notifications.) Like byObject, for many; unknown ones are missing. */
  byObjects(objectIds: readonly ObjectId[]): Promise<Map<ObjectId, EntryRow>> {
    return notYet();
  }
  /** All versions of a post, oldest first. */
  versions(post: EntryRow): Promise<EntryVersion[]> {
    return notYet();
  }
  /** Ids of the replies to each of these posts, rising, at most 200 each. */
  replies(parents: readonly PostId[]): Promise<Map<PostId, PostId[]>> {
    return notYet();
  }
  /** Number of public replies to each of these posts (missing = 0). */
  replyCounts(parents: readonly PostId[]): Promise<Map<PostId, bigint>> {
    return notYet();
  }
  /** Listed public posts of a domain, falling by id. */
  publicTimeline(domainId: DomainId, page: Page): Promise<EntryRow[]> {
    return notYet();
  }
}
export type { MicroblogId };
