/**
 * Who may see what: the one decision behind every read.
 *
 * Every route, page, feed, stream, job and pull asks `canSee` (and `edgeVisible` for a line of a list of
 * followers) before it shows anything; nothing else decides. It is a pure function of three things that the
 * caller knows: who looks, at what, and how the two stand to each other. It does no I/O and keeps nothing, so
 * that it can be tested as a table and asked again for each entry, when hydrating and when streaming.
 *
 * The answer is no unless a rule below says yes. What is unknown, forbidden and absent looks the same from
 * outside; that is the caller's part: a no is a 404.
 *
 *   before all rules   withheld, suspended, or blocked by the microblog: no, whoever looks
 *
 *   entry of the log   is seen by
 *   public             everybody, servers too
 *   followers          contributors; readers and domains with an active grant that `sees`, from its number on
 *   direct             owners and editors of the microblog that wrote it, authors what they wrote; owners
 *                      and editors of a microblog it is addressed to. Never a server: mail carries copies
 *   own                owners and editors; authors what concerns what they wrote. It never leaves the server
 *   mail               the domain that it is addressed to
 *
 *   facet for          is seen by
 *   everybody          everybody, servers too
 *   signed-in          persons
 *   followers          persons with an active grant on the followers log that `sees`; contributors
 *   contributors       contributors
 *   nobody, no row     nobody
 *
 * Facets are no cover for entries: a route that lists posts asks for `history` and then for each entry. A
 * domain sees only facets for everybody: how it would keep the others from its own people, nobody can tell.
 */
import { type DomainId, type MicroblogId, type PersonId } from './ids.ts';

/** Facets of a microblog. */
export const FACETS = [
  'exists',
  'profile',
  'history',
  'followers',
  'following',
  'counts',
  'contributors',
  'last-activity',
  'feeds',
  'search',
] as const;
export type Facet = (typeof FACETS)[number];

/** For whom a facet is, from most to fewest. */
export const FACET_AUDIENCES = ['everybody', 'signed-in', 'followers', 'contributors', 'nobody'] as const;
export type FacetAudience = (typeof FACET_AUDIENCES)[number];

/** What a person is to a microblog that they contribute to. */
export const ROLES = ['owner', 'editor', 'author'] as const;
export type Role = (typeof ROLES)[number];

/** To whom a follower shows that they follow. */
export const SHOWN = ['everybody', 'followers', 'owner', 'none'] as const;
export type Shown = (typeof SHOWN)[number];

/** Audiences of logs. `mail` is the audience of a mail log, which belongs to two domains and to no microblog. */
export const LOG_AUDIENCES = ['public', 'followers', 'direct', 'own', 'mail'] as const;
export type LogAudience = (typeof LOG_AUDIENCES)[number];

/** Who looks. A person looks as one of their microblogs; an app by itself sees what the public sees. */
export type Viewer =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'app' }
  | { readonly kind: 'person'; readonly person: PersonId; readonly microblog: MicroblogId }
  | { readonly kind: 'peer'; readonly domain: DomainId };

/** What a viewer was granted on one log. */
export interface Grant {
  readonly state: 'asked' | 'active' | 'ended';
  readonly sees: boolean;
  /** Sees entries of this number and above. */
  readonly fromNumber: bigint;
}

/** The facts of this viewer towards the microblog concerned. What is absent is not so. */
export interface Relation {
  /** The person's role in the microblog concerned. */
  readonly role?: Role;
  /** The person wrote the entry; in an own log: wrote the post that the happening concerns. */
  readonly isAuthor?: boolean;
  /** The grant on the entry's log; for a facet, on the followers log. For a peer, its domain's. For a person at a replica, what the origin's list says. */
  readonly grant?: Grant;
  /** The person's role in a microblog that a direct post names as recipient: `owner` in their personal one. */
  readonly recipientAs?: Role;
  /** The peer is the domain that the mail log is addressed to. */
  readonly addressee?: boolean;
  /** The microblog blocks the viewer: the person, the microblog they look as, or the domain. */
  readonly blocked?: boolean;
}

export interface EntryThing {
  readonly kind: 'entry';
  /** The audience of its log. */
  readonly audience: LogAudience;
  readonly relation: Relation;
  /** Withdrawn by moderation or erasure. */
  readonly withheld: boolean;
  /** The microblog, or its domain, is suspended here. */
  readonly suspended: boolean;
  readonly number: bigint;
}

export interface FacetThing {
  readonly kind: 'facet';
  readonly facet: Facet;
  /** Undefined where there is no row. */
  readonly audience: FacetAudience | undefined;
  readonly relation: Relation;
  /** The microblog, or its domain, is suspended here. */
  readonly suspended: boolean;
}

export type Thing = EntryThing | FacetThing;

/** Whether the viewer may see the thing. Pure; no unless a rule says yes, also for values outside of the types. */
export function canSee(viewer: Viewer, thing: Thing): boolean {
  if (isTrue(thing.suspended) || isTrue(thing.relation.blocked ?? false)) return false;
  switch (thing.kind) {
    case 'entry':
      return !isTrue(thing.withheld) && canSeeEntry(viewer, thing);
    case 'facet':
      return FACETS.includes(thing.facet) && canSeeFacet(viewer, thing.audience, thing.relation);
    default:
      return never(thing);
  }
}

function canSeeEntry(viewer: Viewer, { audience, relation, number }: EntryThing): boolean {
  switch (audience) {
    case 'public':
      return isViewer(viewer);
    case 'followers':
      return (viewer.kind === 'person' && contributes(relation)) || (canBeGranted(viewer) && grants(relation.grant, number));
    case 'direct':
      return viewer.kind === 'person' && (answersFor(relation) || leads(relation.recipientAs));
    case 'own':
      return viewer.kind === 'person' && answersFor(relation);
    case 'mail':
      return viewer.kind === 'peer' && relation.addressee === true;
    default:
      return never(audience);
  }
}

function canSeeFacet(viewer: Viewer, audience: FacetAudience | undefined, relation: Relation): boolean {
  switch (audience) {
    case 'everybody':
      return isViewer(viewer);
    case 'signed-in':
      return viewer.kind === 'person';
    case 'followers':
      return viewer.kind === 'person' && (contributes(relation) || isActive(relation.grant));
    case 'contributors':
      return viewer.kind === 'person' && contributes(relation);
    case 'nobody':
    case undefined:
      return false;
    default:
      return never(audience);
  }
}

/** A follow, as a line of a list or behind a notification, and what is needed to decide who sees it. */
export interface Edge {
  /** To whom the follower shows it. */
  readonly shown: Shown;
  readonly follower: EdgeSide;
  readonly followed: EdgeSide;
  /**
   * The list that it would stand in: `followers` of the followed or `following` of the follower, with the audience of
   * that facet. Undefined outside of lists: a notification, `followed_by`, a suggestion.
   */
  readonly list: { readonly facet: 'followers' | 'following'; readonly audience: FacetAudience | undefined } | undefined;
}

/** One end of a follow: the microblog shown as the follower, or the one followed. */
export interface EdgeSide {
  /** The audience of its facet `exists`. */
  readonly exists: FacetAudience | undefined;
  /** The facts of the viewer towards this microblog; `grant` on its followers log. */
  readonly relation: Relation;
  readonly suspended: boolean;
}

/**
 * Whether the viewer may see that one microblog follows another: the follower, the followed and the list must all
 * allow it. `shown` is the follower's word: `everybody`; the `followers` of the microblog shown as the follower; the
 * `owner`, which stands for those who decide about the followed microblog's followers, its owner and editors; `none`.
 * Whatever it says, the follower's owner sees the edge; and unless it says `none`, those who decide do.
 */
export function edgeVisible(viewer: Viewer, edge: Edge): boolean {
  const { follower, followed, list } = edge;
  const exist = [follower, followed].every(({ exists, relation, suspended }) =>
    canSee(viewer, { kind: 'facet', facet: 'exists', audience: exists, relation, suspended }),
  );
  if (!exist) return false;
  if (list !== undefined) {
    const { relation, suspended } = list.facet === 'followers' ? followed : follower;
    if (!canSee(viewer, { kind: 'facet', facet: list.facet, audience: list.audience, relation, suspended })) return false;
  }
  if (viewer.kind === 'person' && follower.relation.role === 'owner') return true;
  switch (edge.shown) {
    case 'everybody':
      return true;
    case 'followers':
      return canSeeFacet(viewer, 'followers', follower.relation) || (viewer.kind === 'person' && leads(followed.relation.role));
    case 'owner':
      return viewer.kind === 'person' && leads(followed.relation.role);
    case 'none':
      return false;
    default:
      return never(edge.shown);
  }
}

/** Who answers for what the microblog wrote and received: owners and editors for all, authors for their own. */
function answersFor({ role, isAuthor }: Relation): boolean {
  return leads(role) || (role === 'author' && isAuthor === true);
}

function leads(role: Role | undefined): boolean {
  return role === 'owner' || role === 'editor';
}

function contributes({ role }: Relation): boolean {
  return role !== undefined && ROLES.includes(role);
}

function isActive(grant: Grant | undefined): boolean {
  return grant?.state === 'active' && grant.sees === true;
}

function grants(grant: Grant | undefined, number: bigint): boolean {
  return grant !== undefined && isActive(grant) && number >= grant.fromNumber;
}

function canBeGranted(viewer: Viewer): boolean {
  return viewer.kind === 'person' || viewer.kind === 'peer';
}

/** Whether it is one of the four kinds: a fifth, from code that is newer than this function, sees nothing. */
function isViewer(viewer: Viewer): boolean {
  switch (viewer.kind) {
    case 'anonymous':
    case 'app':
    case 'person':
    case 'peer':
      return true;
    default:
      return never(viewer);
  }
}

/** Whether a reason to refuse holds: anything but a clear false does. */
function isTrue(reason: boolean): boolean {
  return reason !== false;
}

/** What the types exclude sees nothing. */
function never(_value: never): false {
  return false;
}
