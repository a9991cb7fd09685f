/**
 * What is known of microblogs, in batches and for a moment.
 *
 * To show twenty posts takes the authors' rows, facets, logs and counts. None of these decides by
 * itself who may read an entry: that is the grants', which are asked for each time and never kept
 * here. So they may be a little old (`microblogsCachedMs`), and are kept in one bounded cache whose
 * keys begin with the domain of whoever asks. What a handle leads to is kept likewise.
 */
import { LRUCache } from 'lru-cache';
import { baseUrl, domainIdOf, type Domain, type DomainId, type Facet, type FacetAudience, type MicroblogId } from '@dmb/protocol';
import type { Microblog, MicroblogLogs, Statistics } from '../domain/model.ts';
import type { MicroblogStore } from '../store/microblogs.ts';
import { presentLimits } from './limits.ts';

/** A microblog with everything that may be shown of it. */
export interface MicroblogFacts {
  readonly microblog: Microblog;
  readonly logs: MicroblogLogs | undefined;
  readonly facets: ReadonlyMap<Facet, FacetAudience>;
  readonly statistics: Statistics;
  readonly followingCount: bigint;
}

/** The domain that this server answers for. */
export interface Site {
  readonly domain: Domain;
  readonly domainId: DomainId;
  /** Scheme and authority, without a slash at the end. */
  readonly origin: string;
  /** What the operator calls it; the domain, if nothing else. */
  readonly title: string;
}

/** A site by its domain. */
export function siteOf(domain: Domain, title: string = domain): Site {
  return { domain, domainId: domainIdOf(domain), origin: baseUrl(domain), title };
}

type FactsStore = Pick<MicroblogStore, 'many' | 'facets' | 'statistics' | 'followingCounts' | 'logsOfMany' | 'byHandles'>;

const nothing: Statistics = { followers: 0n, posts: 0n, lastPostAt: null };

export class MicroblogFactsReader {
  private readonly store: FactsStore;
  private readonly site: Site;
  private readonly facts: LRUCache<string, MicroblogFacts> | undefined;
  private readonly handles: LRUCache<string, MicroblogId> | undefined;

  /** `cachedMs` 0 keeps nothing: for tests. */
  constructor(store: FactsStore, site: Site, cachedMs: number = presentLimits.microblogsCachedMs) {
    this.store = store;
    this.site = site;
    const options = { max: presentLimits.microblogsCachedMax, ttl: cachedMs };
    this.facts = cachedMs === 0 ? undefined : new LRUCache(options);
    this.handles = cachedMs === 0 ? undefined : new LRUCache(options);
  }

  /** Facts by id; what there is none of is missing. One round trip for all that are not known. */
  async many(ids: Iterable<MicroblogId>): Promise<Map<MicroblogId, MicroblogFacts>> {
    const found = new Map<MicroblogId, MicroblogFacts>();
    const unknown: MicroblogId[] = [];
    for (const id of new Set(ids)) {
      const known = this.facts?.get(this.key(id));
      if (known === undefined) unknown.push(id);
      else found.set(id, known);
    }
    if (unknown.length === 0) return found;
    const [rows, facets, statistics, followingCounts, logs] = await Promise.all([
      this.store.many(unknown),
      this.store.facets(unknown),
      this.store.statistics(unknown),
      this.store.followingCounts(unknown),
      this.store.logsOfMany(unknown),
    ]);
    for (const [id, microblog] of rows) {
      const facts: MicroblogFacts = {
        microblog,
        logs: logs.get(id),
        facets: facets.get(id) ?? new Map<Facet, FacetAudience>(),
        statistics: statistics.get(id) ?? nothing,
        followingCount: followingCounts.get(id) ?? 0n,
      };
      this.facts?.set(this.key(id), facts);
      this.handles?.set(this.handleKey(microblog.domainId, microblog.handle), id);
      found.set(id, facts);
    }
    return found;
  }

  /** The microblogs behind handles, by `name@domain`; unknown ones are missing. */
  async byHandles(handles: readonly { readonly name: string; readonly domain: Domain }[]): Promise<Map<string, MicroblogId>> {
    const found = new Map<string, MicroblogId>();
    const unknown: { readonly domainId: DomainId; readonly handle: string }[] = [];
    for (const { name, domain } of handles) {
      const domainId = domain === this.site.domain ? this.site.domainId : domainIdOf(domain);
      const known = this.handles?.get(this.handleKey(domainId, name));
      if (known !== undefined) found.set(`${name}@${domain}`, known);
      else unknown.push({ domainId, handle: name });
    }
    for (const { id, handle, domain, domainId } of unknown.length === 0 ? [] : await this.store.byHandles(unknown)) {
      found.set(`${handle}@${domain}`, id);
      this.handles?.set(this.handleKey(domainId, handle), id);
    }
    return found;
  }

  /** Something of this microblog was changed here just now. */
  forget(id: MicroblogId): void {
    this.facts?.delete(this.key(id));
  }

  private key(id: MicroblogId): string {
    return `${this.site.domainId}/${id}`;
  }

  private handleKey(domainId: DomainId, name: string): string {
    return `${this.site.domainId}/${domainId}/${name}`;
  }
}
