/**
 * The rules as tables, and then everything: what each single fact opens stands in a table below, and every
 * combination of facts must open exactly what its single facts open. A rule that forgets whom it is asked
 * about, or lets two harmless facts open a third thing, fails here.
 */
import { describe, expect, it } from 'vitest';
import { type DomainId, type MicroblogId, type PersonId } from './ids.ts';
import {
  type Edge,
  type EdgeSide,
  type EntryThing,
  type FacetAudience,
  type FacetThing,
  type Grant,
  type LogAudience,
  type Relation,
  type Shown,
  type Viewer,
  FACETS,
  FACET_AUDIENCES,
  LOG_AUDIENCES,
  SHOWN,
  canSee,
  edgeVisible,
} from './see.ts';

const id = '00010203-0405-0607-0809-0a0b0c0d0e0f';
const viewers = {
  anonymous: { kind: 'anonymous' },
  app: { kind: 'app' },
  person: { kind: 'person', person: id as PersonId, microblog: id as MicroblogId },
  peer: { kind: 'peer', domain: id as DomainId },
} as const satisfies Record<string, Viewer>;
type ViewerKind = keyof typeof viewers;

const grant = (state: Grant['state'], sees: boolean, fromNumber: bigint): { readonly grant: Grant } => ({ grant: { state, sees, fromNumber } });

/** The facts that can open something, one by one. The entry looked at has number 41. */
const facts = {
  'nothing else': {},
  owner: { role: 'owner' },
  editor: { role: 'editor' },
  author: { role: 'author' },
  'wrote it': { isAuthor: true },
  'author, wrote it': { role: 'author', isAuthor: true },
  asked: grant('asked', true, 0n),
  ended: grant('ended', true, 0n),
  'counted only': grant('active', false, 0n),
  'from 42': grant('active', true, 42n),
  'from 41': grant('active', true, 41n),
  'recipient: owner': { recipientAs: 'owner' },
  'recipient: editor': { recipientAs: 'editor' },
  'recipient: author': { recipientAs: 'author' },
  addressee: { addressee: true },
} as const satisfies Record<string, Relation>;
type Fact = keyof typeof facts;
const factNames = Object.keys(facts) as Fact[];

const number = 41n;
const entry = (audience: LogAudience, relation: Relation, more: Partial<EntryThing> = {}): EntryThing => ({
  kind: 'entry',
  audience,
  relation,
  withheld: false,
  suspended: false,
  number,
  ...more,
});
const facet = (audience: FacetAudience | undefined, relation: Relation, more: Partial<FacetThing> = {}): FacetThing => ({
  kind: 'facet',
  facet: 'followers',
  audience,
  relation,
  suspended: false,
  ...more,
});

/** What one fact opens for a person, log by log; and for a peer. Anonymous viewers and apps see the public log, whatever the facts. */
const opens: Readonly<Record<LogAudience, Partial<Record<ViewerKind, readonly Fact[]>>>> = {
  public: { anonymous: factNames, app: factNames, person: factNames, peer: factNames },
  followers: { person: ['owner', 'editor', 'author', 'author, wrote it', 'from 41'], peer: ['from 41'] },
  direct: { person: ['owner', 'editor', 'author, wrote it', 'recipient: owner', 'recipient: editor'] },
  own: { person: ['owner', 'editor', 'author, wrote it'] },
  mail: { peer: ['addressee'] },
};

const opensFacet: Readonly<Record<FacetAudience | 'no row', Partial<Record<ViewerKind, readonly Fact[]>>>> = {
  everybody: { anonymous: factNames, app: factNames, person: factNames, peer: factNames },
  'signed-in': { person: factNames },
  // Both grants are active and see; from which number on is a matter of entries.
  followers: { person: ['owner', 'editor', 'author', 'author, wrote it', 'from 41', 'from 42'] },
  contributors: { person: ['owner', 'editor', 'author', 'author, wrote it'] },
  nobody: {},
  'no row': {},
};

const viewerKinds = Object.keys(viewers) as ViewerKind[];
const audienceOf = (row: FacetAudience | 'no row'): FacetAudience | undefined => (row === 'no row' ? undefined : row);

interface Combination {
  readonly relation: Relation;
  readonly contains: readonly Fact[];
}

/** Every relation that the facts can make together, with the single facts that are in it. */
function combinations(): Combination[] {
  const roles: Relation[] = [{}, { role: 'owner' }, { role: 'editor' }, { role: 'author' }];
  const wrote: Relation[] = [{}, { isAuthor: true }];
  const granted: Relation[] = [{}, facts.asked, facts.ended, facts['counted only'], facts['from 42'], facts['from 41']];
  const recipients: Relation[] = [{}, facts['recipient: owner'], facts['recipient: editor'], facts['recipient: author']];
  const addressed: Relation[] = [{}, facts.addressee];
  return roles.flatMap((role) =>
    wrote.flatMap((isAuthor) =>
      granted.flatMap((given) =>
        recipients.flatMap((recipient) =>
          addressed.map((addressee) => {
            const relation: Relation = { ...role, ...isAuthor, ...given, ...recipient, ...addressee };
            const contains = factNames.filter((fact) => Object.entries(facts[fact]).every(([name, value]) => Object.is(relation[name as keyof Relation], value)));
            return { relation, contains };
          }),
        ),
      ),
    ),
  );
}

const all = combinations();
const refusals: readonly (readonly [string, Relation, { readonly suspended?: boolean; readonly withheld?: boolean }])[] = [
  ['blocked', { blocked: true }, {}],
  ['suspended', {}, { suspended: true }],
  ['withheld', {}, { withheld: true }],
];

describe('canSee', () => {
  it('has a table for every audience', () => {
    expect(Object.keys(opens)).toEqual(LOG_AUDIENCES);
    expect(Object.keys(opensFacet)).toEqual([...FACET_AUDIENCES, 'no row']);
    expect(all).toHaveLength(4 * 2 * 6 * 4 * 2);
  });

  const rows = LOG_AUDIENCES.flatMap((audience) => viewerKinds.map((viewer) => ({ audience, viewer })));
  it.each(rows)('shows $viewer the entries of a log that is $audience by these facts, in every combination, and by no others', ({ audience, viewer }) => {
    const open: readonly Fact[] = opens[audience][viewer] ?? [];
    for (const { relation, contains } of all) {
      const expected = contains.some((fact) => open.includes(fact));
      expect(canSee(viewers[viewer], entry(audience, relation)), JSON.stringify(contains)).toBe(expected);
    }
  });

  it.each(refusals)('shows nobody an entry that is %s', (_, relation, more) => {
    for (const combination of all) {
      for (const { audience, viewer } of rows) {
        expect(canSee(viewers[viewer], entry(audience, { ...combination.relation, ...relation }, more))).toBe(false);
      }
    }
  });

  const facetRows = [...FACET_AUDIENCES, 'no row' as const].flatMap((audience) => viewerKinds.map((viewer) => ({ audience, viewer })));
  it.each(facetRows)('shows $viewer a facet for $audience by these facts, in every combination, and by no others', ({ audience, viewer }) => {
    const open: readonly Fact[] = opensFacet[audience][viewer] ?? [];
    for (const { relation, contains } of all) {
      const expected = contains.some((fact) => open.includes(fact));
      for (const name of FACETS) {
        expect(canSee(viewers[viewer], facet(audienceOf(audience), relation, { facet: name })), `${name} ${JSON.stringify(contains)}`).toBe(expected);
      }
    }
  });

  it.each(refusals.filter(([name]) => name !== 'withheld'))('shows nobody a facet of a microblog that is %s', (_, relation, { suspended = false }) => {
    for (const combination of all) {
      for (const { audience, viewer } of facetRows) {
        expect(canSee(viewers[viewer], facet(audienceOf(audience), { ...combination.relation, ...relation }, { suspended }))).toBe(false);
      }
    }
  });

  it('opens a followers log from the number granted on', () => {
    const seen = [0n, 40n, 41n, 42n, 10n ** 15n].map((n) => canSee(viewers.peer, entry('followers', facts['from 41'], { number: n })));
    expect(seen).toEqual([false, false, true, true, true]);
  });

  // What tables or newer code may hand over although the types forbid it.
  it('says no to what it does not know', () => {
    const everything: Relation = { role: 'owner', isAuthor: true, ...facts['from 41'], recipientAs: 'owner', addressee: true };
    const strange = <T>(value: unknown): T => value as T;
    for (const viewer of Object.values(viewers)) {
      expect(canSee(viewer, entry(strange('friends'), everything))).toBe(false);
      expect(canSee(viewer, facet(strange('friends'), everything))).toBe(false);
      expect(canSee(viewer, facet('everybody', everything, { facet: strange('secrets') }))).toBe(false);
      expect(canSee(viewer, strange({ ...entry('public', everything), kind: 'page' }))).toBe(false);
      expect(canSee(viewer, entry('public', everything, { withheld: strange(undefined) }))).toBe(false);
      expect(canSee(viewer, entry('public', everything, { suspended: strange(null) }))).toBe(false);
      expect(canSee(viewer, entry('public', { ...everything, blocked: strange('t') }))).toBe(false);
    }
    for (const audience of LOG_AUDIENCES) expect(canSee(strange({ kind: 'robot' }), entry(audience, everything))).toBe(false);
    for (const audience of FACET_AUDIENCES) expect(canSee(strange({ kind: 'robot' }), facet(audience, everything))).toBe(false);
    expect(canSee(viewers.person, entry('own', { role: strange('reader') }))).toBe(false);
    expect(canSee(viewers.person, entry('followers', { role: strange('reader') }))).toBe(false);
    expect(canSee(viewers.person, entry('followers', { grant: strange({ state: 'active', sees: 't', fromNumber: 0n }) }))).toBe(false);
    expect(canSee(viewers.person, entry('own', { role: 'author', isAuthor: strange('t') }))).toBe(false);
  });
});

describe('edgeVisible', () => {
  const side = (relation: Relation = {}, more: Partial<EdgeSide> = {}): EdgeSide => ({ exists: 'everybody', relation, suspended: false, ...more });
  const edge = (shown: Shown, more: Partial<Edge> = {}): Edge => ({ shown, follower: side(), followed: side(), list: undefined, ...more });

  /** Who sees an edge that both sides and the list would allow, by what they are to the follower and to the followed. */
  const table: readonly (readonly [string, Viewer, Relation, Relation, readonly Shown[]])[] = [
    ['anybody', viewers.anonymous, {}, {}, ['everybody']],
    ['an app', viewers.app, {}, {}, ['everybody']],
    ['a peer', viewers.peer, facts['from 41'], facts['from 41'], ['everybody']],
    ['a peer that claims roles', viewers.peer, facts.owner, facts.owner, ['everybody']],
    ['a person', viewers.person, {}, {}, ['everybody']],
    ["the follower's follower", viewers.person, facts['from 41'], {}, ['everybody', 'followers']],
    ['who asked to follow the follower', viewers.person, facts.asked, {}, ['everybody']],
    ["the followed's follower", viewers.person, {}, facts['from 41'], ['everybody']],
    ["the followed's owner", viewers.person, {}, facts.owner, ['everybody', 'followers', 'owner']],
    ["the followed's editor", viewers.person, {}, facts.editor, ['everybody', 'followers', 'owner']],
    ["the followed's author", viewers.person, {}, facts.author, ['everybody']],
    ["the follower's owner", viewers.person, facts.owner, {}, ['everybody', 'followers', 'owner', 'none']],
    ["the follower's editor", viewers.person, facts.editor, {}, ['everybody', 'followers']],
  ];

  it.each(table)('is seen by %s as it is shown', (_, viewer, follower, followed, expected) => {
    expect(SHOWN.filter((shown) => edgeVisible(viewer, edge(shown, { follower: side(follower), followed: side(followed) })))).toEqual(expected);
  });

  it('needs the list to allow it: followers by the followed, following by the follower', () => {
    const list = (facetName: 'followers' | 'following', audience: FacetAudience | undefined): Partial<Edge> => ({ list: { facet: facetName, audience } });
    const owner = side(facts.owner);
    const seen = (more: Partial<Edge>): boolean => edgeVisible(viewers.person, edge('everybody', more));
    expect(seen(list('followers', 'everybody'))).toBe(true);
    expect(seen(list('followers', 'contributors'))).toBe(false);
    expect(seen(list('followers', undefined))).toBe(false);
    expect(seen({ ...list('followers', 'contributors'), followed: owner })).toBe(true);
    expect(seen({ ...list('followers', 'contributors'), follower: owner })).toBe(false);
    expect(seen({ ...list('following', 'contributors'), follower: owner })).toBe(true);
    expect(seen({ ...list('following', 'contributors'), followed: owner })).toBe(false);
    expect(seen({ ...list('followers', 'nobody'), followed: owner, follower: owner })).toBe(false);
  });

  it('needs both ends to be there for the viewer', () => {
    for (const end of ['follower', 'followed'] as const) {
      for (const hidden of [side({}, { exists: 'nobody' }), side({}, { exists: undefined }), side({ blocked: true }), side({}, { suspended: true })]) {
        expect(edgeVisible(viewers.person, edge('everybody', { [end]: hidden }))).toBe(false);
      }
    }
  });

  it('says no to a word that it does not know', () => {
    expect(edgeVisible(viewers.person, edge('friends' as Shown, { followed: side(facts.owner) }))).toBe(false);
  });
});
