/**
 * What one asker may see: the facts that `canSee` wants, gathered in batches.
 *
 * A read says beforehand what it is about (entries, microblogs, whose follows count), `look` loads
 * the asker's role and grants in one round trip, and then every question is answered without
 * waiting, entry by entry and facet by facet. What was not loaded is answered with no.
 *
 * Reading belongs to the microblog that a token acts as. So the only role that counts is the one
 * in that microblog; and a person's grants count only while they act as their personal one: under
 * the name of a group nobody reads what its contributors privately follow.
 */
import type { Asker, LogRef } from '@dmb/events';
import {
  canSee,
  edgeVisible,
  type EdgeSide,
  type Facet,
  type LogAudience,
  type LogId,
  type MicroblogId,
  type PersonId,
  type Relation,
  type Role,
  type Shown,
  type Viewer,
} from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import type { EntryRow, Grant } from '../domain/model.ts';
import type { GrantStore } from '../store/grants.ts';
import type { MicroblogStore } from '../store/microblogs.ts';
import type { MicroblogFacts, MicroblogFactsReader } from './facts.ts';

export type SightStores = { readonly grants: Pick<GrantStore, 'ofPersons'>; readonly microblogs: Pick<MicroblogStore, 'rolesOf'> };

/** What a read is about. */
export interface About {
  readonly entries?: readonly EntryRow[];
  /** Microblogs beside the authors of the entries. */
  readonly microblogs?: readonly MicroblogId[];
  /** Whether it matters which of all these the asker follows. */
  readonly follows?: boolean;
  /** Whether it matters which followers logs of all these the asker may read. */
  readonly readers?: boolean;
  /** Whether the asker's role matters beyond what entries and accounts need: for lists, settings. */
  readonly role?: boolean;
}

/** Above every number: a grant that begins anywhere opens it. */
const entryNumberMax = 2n ** 63n - 1n;

type LogKey = Pick<LogRef, 'shard' | 'log'>;

export class Sight {
  readonly asker: Asker;
  private readonly viewer: Viewer;
  private readonly role: Role | undefined;
  private readonly facts: ReadonlyMap<MicroblogId, MicroblogFacts>;
  private readonly grants: ReadonlyMap<LogId, Grant>;

  private constructor(asker: Asker, role: Role | undefined, facts: ReadonlyMap<MicroblogId, MicroblogFacts>, grants: ReadonlyMap<LogId, Grant>) {
    this.asker = asker;
    this.viewer = viewerOf(asker);
    this.role = role;
    this.facts = facts;
    this.grants = grants;
  }

  /** Loads what is needed to answer for these things. */
  static async look(stores: SightStores, reader: MicroblogFactsReader, asker: Asker, about: About): Promise<Sight> {
    const [sight] = await Sight.lookMany(stores, reader, [{ asker, about }]);
    if (sight === undefined) throw new AppError('bug', undefined, { detail: 'one look was asked for' });
    return sight;
  }

  /** The same for many askers, in as many round trips as for one. What was loaded for all may be known to each; what each may see of it is decided for each. */
  static async lookMany(stores: SightStores, reader: MicroblogFactsReader, asks: readonly { readonly asker: Asker; readonly about: About }[]): Promise<Sight[]> {
    const concerned = asks.map(({ asker, about: { entries = [], microblogs = [] } }) => {
      const authors = entries.flatMap(({ microblog }) => (microblog === null ? [] : [microblog]));
      return [...authors, ...microblogs, ...(asker.kind === 'person' ? [asker.microblog] : [])];
    });
    const facts = await reader.many(concerned.flat());
    const persons = asks.flatMap(({ asker, about }, place) => {
      if (asker.kind !== 'person') return [];
      const own = new Map((concerned[place] ?? []).flatMap((id) => facts.get(id) ?? []).map((each) => [each.microblog.id, each]));
      const logs = isPersonal(asker, own) ? logsToAsk(about, own) : [];
      return [{ place, person: asker.person, microblog: asker.microblog, logs, role: needsRole(asker.microblog, about, own) }];
    });
    const wanting = persons.filter(({ role }) => role);
    const places = persons.flatMap(({ person, logs }) => logs.map(({ shard, log }) => ({ person, shard, log })));
    const [roles, grants] = await Promise.all([
      wanting.length === 0 ? [] : stores.microblogs.rolesOf(wanting),
      places.length === 0 ? new Map<PersonId, Map<LogId, Grant>>() : stores.grants.ofPersons(places),
    ]);
    const roleAt = new Map(wanting.map(({ place }, index) => [place, roles[index]]));
    const logsAt = new Map(persons.map(({ place, logs }) => [place, logs]));
    return asks.map(({ asker }, place) => {
      const theirs = asker.kind === 'person' ? grants.get(asker.person) : undefined;
      // One person may ask as two microblogs: each look has the grants that it asked for.
      const own = (logsAt.get(place) ?? []).flatMap(({ log }) => theirs?.get(log) ?? []);
      return new Sight(asker, roleAt.get(place), facts, new Map(own.map((grant) => [grant.log, grant])));
    });
  }

  /** What is known of a microblog, whether it may be shown or not. */
  factsOf(id: MicroblogId | null): MicroblogFacts | undefined {
    return id === null ? undefined : this.facts.get(id);
  }

  /** The asker's role in the microblog that it acts as. */
  get actingRole(): Role | undefined {
    return this.role;
  }

  /** Whether the asker's person follows it, accepted; their own personal microblog included. */
  follows(id: MicroblogId | null): boolean {
    const log = this.factsOf(id)?.logs?.public.log;
    const grant = log === undefined ? undefined : this.grants.get(log);
    return grant !== undefined && grant.state === 'active' && grant.sees;
  }

  /** Whether an entry may be shown. `recipients` are those of a direct post; `concerns` is whether a happening is about a post that the asker wrote. */
  entry(row: EntryRow, recipients: readonly MicroblogId[] = [], concerns = false): boolean {
    if (row.body === null) return false;
    const relation: Relation = {
      ...this.relationTo(row.microblog, row.log),
      ...(this.asker.kind === 'person' && (concerns || (row.person !== null && row.person === this.asker.person)) ? { isAuthor: true } : {}),
      ...(this.role !== undefined && this.asker.kind === 'person' && recipients.includes(this.asker.microblog) ? { recipientAs: this.role } : {}),
    };
    return canSee(this.viewer, { kind: 'entry', audience: row.audience, relation, withheld: row.withheld, suspended: row.suspended, number: row.number });
  }

  /** Whether there may be entries in that log of a microblog that the asker can see; each is asked for by itself. */
  reads(id: MicroblogId, audience: LogAudience): boolean {
    const side = this.side(id);
    if (side === undefined) return false;
    const relation: Relation = { ...side.relation, isAuthor: true };
    return canSee(this.viewer, { kind: 'entry', audience, relation, withheld: false, suspended: side.suspended, number: entryNumberMax });
  }

  /** Whether a facet of a microblog may be shown; no for one that is not known. */
  facet(id: MicroblogId | null, facet: Facet): boolean {
    const side = this.side(id);
    const audience = this.factsOf(id)?.facets.get(facet);
    return side !== undefined && canSee(this.viewer, { kind: 'facet', facet, audience, relation: side.relation, suspended: side.suspended });
  }

  /** Whether it may be known that one follows the other; `list` is the list in which it would stand. */
  edge(follower: MicroblogId, followed: MicroblogId, shown: Shown, list?: 'followers' | 'following'): boolean {
    const from = this.side(follower);
    const to = this.side(followed);
    if (from === undefined || to === undefined) return false;
    const audience = list === undefined ? undefined : this.factsOf(list === 'followers' ? followed : follower)?.facets.get(list);
    return edgeVisible(this.viewer, { shown, follower: from, followed: to, list: list === undefined ? undefined : { facet: list, audience } });
  }

  private side(id: MicroblogId | null): EdgeSide | undefined {
    const facts = this.factsOf(id);
    if (facts === undefined) return undefined;
    return { exists: facts.facets.get('exists'), relation: this.relationTo(facts.microblog.id, facts.logs?.followers.log), suspended: facts.microblog.state !== 'active' };
  }

  private relationTo(id: MicroblogId | null, log: LogId | undefined): Relation {
    const grant = log === undefined ? undefined : this.grants.get(log);
    const acts = this.asker.kind === 'person' && id !== null && id === this.asker.microblog;
    return {
      ...(acts && this.role !== undefined ? { role: this.role } : {}),
      ...(grant === undefined ? {} : { grant: { state: grant.state, sees: grant.sees, fromNumber: grant.fromNumber } }),
    };
  }
}

function viewerOf(asker: Asker): Viewer {
  return asker.kind === 'person' ? { kind: 'person', person: asker.person, microblog: asker.microblog } : { kind: asker.kind };
}

function isPersonal(asker: Extract<Asker, { kind: 'person' }>, facts: ReadonlyMap<MicroblogId, MicroblogFacts>): boolean {
  return facts.get(asker.microblog)?.microblog.personalOf === asker.person;
}

/** Facets that an account is made of. */
const shownFacets: readonly Facet[] = ['exists', 'profile', 'counts', 'last-activity', 'history'];

/** Whether the role in the acting microblog decides anything: its private entries and facets, and what is addressed to it. */
function needsRole(acting: MicroblogId, { entries = [], role = false }: About, facts: ReadonlyMap<MicroblogId, MicroblogFacts>): boolean {
  if (role || entries.some(({ audience, microblog }) => audience === 'direct' || (audience !== 'public' && microblog === acting))) return true;
  const audiences = facts.get(acting)?.facets;
  return shownFacets.some((facet) => !['everybody', 'signed-in', undefined].includes(audiences?.get(facet)));
}

/** The logs on which the asker's grants matter: those of private entries, of facets for followers, of follows. */
function logsToAsk({ entries = [], follows = false, readers = false }: About, facts: ReadonlyMap<MicroblogId, MicroblogFacts>): LogKey[] {
  const logs = new Map<LogId, LogKey>();
  for (const { audience, shard, log } of entries) if (audience === 'followers') logs.set(log, { shard, log });
  for (const { logs: own, facets } of facts.values()) {
    if (own === undefined) continue;
    if (follows) logs.set(own.public.log, own.public);
    if (readers || [...facets.values()].includes('followers')) logs.set(own.followers.log, own.followers);
  }
  return [...logs.values()];
}

