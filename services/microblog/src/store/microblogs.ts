/** Microblogs, their logs, contributors, facets and counts. */
import type { Contribution, Role } from '@dmb/events';
import type { DomainId, Facet, LogId, MicroblogId, PersonId, PostId } from '@dmb/protocol';
import type { AccessAudience, Contributor, LogRow, Microblog, MicroblogLogs, Statistics } from '../domain/model.ts';

const notYet = (): never => {
  throw new Error('not written yet');
};

export class MicroblogStore {
  /** By handle and domain, in the order of the directory: whatever its state. */
  byHandle(domainId: DomainId, handle: string): Promise<Microblog | undefined> {
    return notYet();
  }
  /** (Asked for by posts and presenting.) Confirmed handles of a domain, by handle; unknown ones are missing. Whatever their state. */
  byHandles(domainId: DomainId, handles: readonly string[]): Promise<Map<string, Microblog>> {
    return notYet();
  }
  /** (Asked for by presenting.) Like byAccountId, for many; unknown ones are missing. */
  byAccountIds(ids: readonly PostId[]): Promise<Map<PostId, Microblog>> {
    return notYet();
  }
  byAccountId(id: PostId): Promise<Microblog | undefined> {
    return notYet();
  }
  byId(id: MicroblogId): Promise<Microblog | undefined> {
    return notYet();
  }
  many(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, Microblog>> {
    return notYet();
  }
  /** Active and discoverable microblogs of a domain whose handle begins with `prefix`, at most `limit`, by handle. */
  search(domainId: DomainId, prefix: string, limit: number): Promise<Microblog[]> {
    return notYet();
  }
  logsOf(id: MicroblogId): Promise<MicroblogLogs | undefined> {
    return notYet();
  }
  logsOfMany(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, MicroblogLogs>> {
    return notYet();
  }
  /** The role in an active microblog, from the authority. */
  role(person: PersonId, microblog: MicroblogId): Promise<Role | undefined> {
    return notYet();
  }
  contributors(microblog: MicroblogId): Promise<Contributor[]> {
    return notYet();
  }
  /** What a person may act as, personal first. */
  contributions(person: PersonId): Promise<Contribution[]> {
    return notYet();
  }
  /** Who may see which facet; a facet without a row is missing: nobody. */
  facets(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, ReadonlyMap<Facet, AccessAudience>>> {
    return notYet();
  }
  statistics(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, Statistics>> {
    return notYet();
  }
  /** How many microblogs a person follows, as their personal one may count: accepted and shown. */
  followingCounts(ids: readonly MicroblogId[]): Promise<Map<MicroblogId, bigint>> {
    return notYet();
  }
  /** Microblogs of a domain that are active, and their posts that everybody may count; approximate, cached for minutes. */
  totals(domainId: DomainId): Promise<{ readonly microblogs: number; readonly posts: number }> {
    return notYet();
  }
}
export type { LogId, LogRow };
