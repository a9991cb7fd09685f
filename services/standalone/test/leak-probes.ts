/**
 * The paths of the leak matrix: for each route that reads, what is asked there and what has to come.
 *
 * A probe makes the requests of one route for one viewer. For each request it says which markers
 * must be in the answer (of those that the viewer may see), what besides seeing the path itself asks
 * for (`gate`: a list of posts asks for the facet `history`), and, for a request about one thing
 * which the viewer may not see, the same request about a thing that never was: both answers must be
 * the same bytes. What must *not* be in an answer needs no probe: it is everything else.
 */
import { newObjectId, objectIdShard, objectUri, parseObjectUri } from '@dmb/protocol';
import { hidesFacets, type Looker, type Place, type Post, type World } from './leak-world.ts';

export interface Ask {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH';
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of the answer's pages, all are read. */
  readonly paged?: true;
  /** Markers (or other words) that have to be there. */
  readonly shows?: readonly string[];
  /** What this path asks for besides, before it shows a post. */
  readonly gate?: (post: Post) => boolean;
  /** The same about something that never was; given where the viewer may not see what this is about. */
  readonly likeUnknown?: { readonly path: string; readonly body?: unknown };
  /** It shows the settings of the viewer's own microblog, which are theirs whatever is shown to others. */
  readonly isOwn?: true;
  /** Handles of the accounts that the answer lists, exactly. */
  readonly lists?: readonly string[];
}

export type Probe = (world: World, looker: Looker) => readonly Ask[];

const isAbout = (looker: Looker, microblog: string): boolean => (looker.only === undefined ? !(looker.skipsFacets && hidesFacets(microblog)) : looker.only === microblog);
const postsFor = (world: World, looker: Looker): Post[] => world.posts.filter(({ microblog }) => isAbout(looker, microblog));
const placesFor = (world: World, looker: Looker): Place[] => [...world.places.values()].filter(({ handle }) => isAbout(looker, handle));

/** The id of a post of the same shard that nobody ever made: an hour earlier. */
const unknownId = (id: string): string => String(BigInt(id) - (3_600_000n << 22n));
const unknownHandle = (handle: string): string => `${handle.slice(0, 20)}_x`;
const pageOf = (post: Post, id: string = post.status.id): string => `/@${post.microblog}/${id}`;
const unknownUri = (post: Post): string => {
  const parsed = parseObjectUri(post.status.uri);
  if (parsed === undefined) throw new Error(`${post.status.uri} is no address of an object`);
  return objectUri(parsed.domain, newObjectId(objectIdShard(parsed.objectId)));
};

/** One request for each post: it is there, or nobody can tell that it is. */
const perPost =
  (make: (post: Post, id: string) => Ask, shows: (world: World, looker: Looker, post: Post) => readonly string[] = (_world, _looker, post) => [post.current]): Probe =>
  (world, looker) =>
    postsFor(world, looker).map((post) => {
      const ask = make(post, post.status.id);
      if (world.seesPost(looker, post)) return { ...ask, shows: shows(world, looker, post) };
      const unknown = make(post, unknownId(post.status.id));
      return { ...ask, likeUnknown: { path: unknown.path, ...(unknown.body === undefined ? {} : { body: unknown.body }) } };
    });

/** One request for each microblog. */
const perPlace =
  (make: (place: Place, id: string) => Ask, shows: (world: World, looker: Looker, place: Place) => readonly string[] = profileOf): Probe =>
  (world, looker) =>
    placesFor(world, looker).map((place) => {
      const ask = make(place, place.account.id);
      if (world.seesFacet(looker, place.handle, 'exists')) return { ...ask, shows: [...(ask.shows ?? []), ...shows(world, looker, place)] };
      const unknown = make({ ...place, handle: unknownHandle(place.handle) }, unknownId(place.account.id));
      return { ...ask, likeUnknown: { path: unknown.path, ...(unknown.body === undefined ? {} : { body: unknown.body }) } };
    });

const profileOf = (world: World, looker: Looker, { handle, marker }: Place): string[] =>
  world.seesFacet(looker, handle, 'profile') ? [`"${handle}"`, `T${marker}`, `N${marker}`, `F${marker}`, `V${marker}`] : [`"${handle}"`];

/** Posts of a microblog that the viewer sees in lists of them. */
const historyOf = (world: World, looker: Looker, handle: string): Post[] =>
  world.seesFacet(looker, handle, 'history') ? world.ofMicroblog(handle).filter((post) => world.seesPost(looker, post)) : [];
/** A direct post is found by those to whom it went where it was told to them, and in this list by those who wrote it. */
const isListedFor = (looker: Looker, post: Post): boolean => post.audience !== 'direct' || post.microblog === looker.microblog;
const current = (posts: readonly Post[]): string[] => posts.map((post) => post.current);

/** Up from a post to the first that may not be seen, and down likewise. */
function thread(world: World, looker: Looker, post: Post): Post[] {
  const found: Post[] = [];
  for (let above = post.parent; above !== undefined && world.seesPost(looker, above); above = above.parent) found.push(above);
  const descend = (from: Post): void => {
    for (const reply of world.repliesTo(from)) {
      if (!world.seesPost(looker, reply)) continue;
      found.push(reply);
      descend(reply);
    }
  };
  descend(post);
  return found;
}

/** Posts of what the viewer follows, replies only to what they follow; a group's own posts. */
export function inHome(world: World, looker: Looker, post: Post, ever = false): boolean {
  if (post.audience === 'direct' || !world.seesPost(looker, post, ever) || !world.follows(looker, post.microblog)) return false;
  return post.parent === undefined || world.follows(looker, post.parent.microblog) || world.place(looker.microblog ?? '').isGroup;
}

/** Public and listed, and no reply to others. */
const isListed = (post: Post): boolean => post.visibility === 'public' && (post.parent === undefined || post.parent.microblog === post.microblog);

/** Of what happens to the viewer's microblog, the posts that it is told of. */
const told = (world: World, looker: Looker): Post[] =>
  looker.kind !== 'person'
    ? []
    : world.posts.filter(
        (post) =>
          post.microblog !== looker.microblog &&
          world.seesPost(looker, post) &&
          (post.mentions.includes(looker.microblog ?? '') || post.parent?.microblog === looker.microblog) &&
          // Authors hear of what concerns what they wrote, which is nothing here.
          (world.relation(looker, looker.microblog ?? '').role !== 'author'),
      );

const ifPerson =
  (probe: Probe): Probe =>
  (world, looker) => {
    const asks = probe(world, looker);
    // An app is refused, and anonymous ones are; what they see of it is checked for leaks alone.
    return looker.kind === 'person' ? asks : asks.map(({ method, path, body, headers }) => ({ ...(method === undefined ? {} : { method }), path, ...(body === undefined ? {} : { body }), ...(headers === undefined ? {} : { headers }) }));
  };

/** As long as it exists for its own contributors. */
const me = (world: World, looker: Looker): string[] =>
  looker.microblog === undefined || !world.seesFacet(looker, looker.microblog, 'exists') ? [] : [`"${looker.microblog}"`, `N${world.place(looker.microblog).marker}`];

const edges =
  (list: 'followers' | 'following'): Probe =>
  (world, looker) =>
    perPlace(
      ({ handle }, id) => {
        const path = `/api/v1/accounts/${id}/${list}?limit=80`;
        if (!world.places.has(handle)) return { path };
        const others = list === 'followers' ? world.followersOf(handle).filter((person) => world.seesEdge(looker, person, handle, list)) : world.followedBy(handle).filter((followed) => world.seesEdge(looker, handle, followed, list));
        return { path, lists: others };
      },
      () => [],
    )(world, looker);

/** A change of what the viewer may not see: told like one of what never was. What they may see is not tried, since it would change the world. */
const refused =
  (probe: Probe): Probe =>
  (world, looker) =>
    looker.kind === 'person' ? probe(world, looker).filter((ask) => ask.likeUnknown !== undefined) : [];

/** By method and path as the table of routes has them. */
export const probes: Readonly<Record<string, Probe>> = {
  // Pages and feeds
  'GET /': (world) => [{ path: '/', shows: current(world.posts.filter((post) => isListed(post) && !post.isGone && post.microblog.startsWith('xv_everybody'))) }],
  'GET /.well-known/webfinger': (world, looker) => perPlace(({ handle }) => ({ path: `/.well-known/webfinger?resource=acct:${handle}@localhost:${world.server.port}` }), (_world, _looker, { handle }) => [`acct:${handle}@`])(world, looker),
  'GET /:handle': perPlace(
    ({ handle }) => ({ path: `/@${handle}` }),
    (world, looker, { handle, marker }) => [
      `@${handle}`,
      ...(world.seesFacet(looker, handle, 'profile') ? [`T${marker}`, `N${marker}`, `F${marker}`, `V${marker}`] : []),
      ...current(historyOf(world, looker, handle).slice(-20)),
    ],
  ),
  'GET /:handle/feed.atom': (world, looker) =>
    placesFor(world, looker).map((place) => {
      const path = `/@${place.handle}/feed.atom`;
      const isThere = (['exists', 'feeds', 'history'] as const).every((facet) => world.seesFacet(looker, place.handle, facet));
      if (!isThere) return { path, likeUnknown: { path: `/@${unknownHandle(place.handle)}/feed.atom` } };
      return { path, shows: [...(world.seesFacet(looker, place.handle, 'profile') ? [`T${place.marker}`, `N${place.marker}`] : []), ...current(historyOf(world, looker, place.handle).filter(isListed).slice(-15))] };
    }),
  'GET /:handle/:id': (world, looker) => [
    ...perPost((post, id) => ({ path: pageOf(post, id) }), (_world, _looker, post) => [post.current, ...current(thread(world, looker, post))])(world, looker),
    // Under the name of another.
    ...perPost((post, id) => ({ path: `/@una/${id}` }), () => [])(world, looker),
  ],
  'GET /tags/:tag': tagged((tag) => `/tags/${tag}`),
  'GET /objects/:id': (world, looker) =>
    postsFor(world, looker).flatMap((post): Ask[] => {
      const path = new URL(post.status.uri).pathname;
      const unknown = new URL(unknownUri(post)).pathname;
      const sees = world.seesPost(looker, post);
      const headers = { accept: 'application/json' };
      return sees ? [{ path, shows: [post.status.id] }, { path, headers, shows: [post.current] }] : [{ path, likeUnknown: { path: unknown } }, { path, headers, likeUnknown: { path: unknown } }];
    }),

  // Accounts
  'GET /api/v1/accounts/verify_credentials': ifPerson((world, looker) => [{ path: '/api/v1/accounts/verify_credentials', isOwn: true, shows: me(world, looker) }]),
  'PATCH /api/v1/accounts/update_credentials': ifPerson((world, looker) => [{ method: 'PATCH', path: '/api/v1/accounts/update_credentials', body: {}, isOwn: true, shows: world.relation(looker, looker.microblog ?? '').role === 'owner' ? me(world, looker) : [] }]),
  'GET /api/v1/accounts/lookup': perPlace(({ handle }) => ({ path: `/api/v1/accounts/lookup?acct=${handle}` })),
  'GET /api/v1/accounts/search': ifPerson((world, looker) => searches(world, looker, (q) => `/api/v1/accounts/search?limit=80&q=${q}`)),
  'GET /api/v1/accounts/relationships': ifPerson((world, looker) => {
    const places = placesFor(world, looker);
    const shows = places.filter(({ handle }) => world.seesFacet(looker, handle, 'exists')).map(({ account }) => `"${account.id}"`);
    return [{ path: `/api/v1/accounts/relationships?${places.map(({ account }) => `id[]=${account.id}`).join('&')}`, shows }];
  }),
  'GET /api/v1/accounts/:id': perPlace((_place, id) => ({ path: `/api/v1/accounts/${id}` })),
  'GET /api/v1/accounts/:id/statuses': (world, looker) =>
    ['?limit=40', '?limit=40&exclude_replies=true', '?limit=40&pinned=true', '?limit=3'].flatMap((query) =>
      perPlace(
        (place, id) => ({ path: `/api/v1/accounts/${id}/statuses${query}`, paged: true, gate: (post) => world.seesFacet(looker, post.microblog, 'history') || place.handle !== post.microblog }),
        (_world, _looker, { handle }) => (query.includes('pinned') ? [] : current(historyOf(world, looker, handle).filter((post) => isListedFor(looker, post) && (!query.includes('exclude') || post.parent === undefined)))),
      )(world, looker),
    ),
  'GET /api/v1/accounts/:id/followers': edges('followers'),
  'GET /api/v1/accounts/:id/following': edges('following'),
  'POST /api/v1/accounts/:id/follow': refused(perPlace((_place, id) => ({ method: 'POST', path: `/api/v1/accounts/${id}/follow` }))),
  'POST /api/v1/accounts/:id/unfollow': refused(perPlace((_place, id) => ({ method: 'POST', path: `/api/v1/accounts/${id}/unfollow` }))),
  'POST /api/v1/accounts/:id/remove_from_followers': refused(perPlace((_place, id) => ({ method: 'POST', path: `/api/v1/accounts/${id}/remove_from_followers` }))),
  'GET /api/v1/follow_requests': ifPerson((world, looker) => [
    { path: '/api/v1/follow_requests', lists: ['owner', 'editor'].includes(world.relation(looker, looker.microblog ?? '').role ?? '') ? world.requestersOf(looker.microblog ?? '') : [] },
  ]),
  'POST /api/v1/follow_requests/:id/authorize': refused(perPlace((_place, id) => ({ method: 'POST', path: `/api/v1/follow_requests/${id}/authorize` }))),
  'POST /api/v1/follow_requests/:id/reject': refused(perPlace((_place, id) => ({ method: 'POST', path: `/api/v1/follow_requests/${id}/reject` }))),
  'GET /api/v2/search': (world, looker) => [
    ...searches(world, looker, (q) => `/api/v2/search?limit=40&resolve=true&q=${q}`),
    ...postsFor(world, looker).flatMap((post): Ask[] => {
      const shows = world.seesPost(looker, post) ? [post.current] : [];
      const find = (q: string): string => `/api/v2/search?resolve=true&q=${encodeURIComponent(q)}`;
      const like = (q: string): Pick<Ask, 'likeUnknown'> => (shows.length > 0 ? {} : { likeUnknown: { path: find(q) } });
      const url = post.status.url ?? '';
      return [
        { path: find(url), shows, ...like(url.replace(post.status.id, unknownId(post.status.id))) },
        { path: find(post.status.uri), shows, ...like(unknownUri(post)) },
        // Hashtags of what is listed are found.
        { path: find(`#t${post.current}`), ...(shows.length > 0 && post.visibility === 'public' ? { shows: [`"t${post.current}"`] } : { likeUnknown: { path: find('#tzqnothing') } }) },
        // Text is not searched.
        { path: find(post.current), likeUnknown: { path: find('zqnothing') } },
      ];
    }),
  ],

  // Posts
  'POST /api/v1/statuses': refused(perPost((_post, id) => ({ method: 'POST', path: '/api/v1/statuses', body: { status: 'a reply to what I may not see', visibility: 'direct', in_reply_to_id: id } }))),
  'GET /api/v1/statuses': (world, looker) => {
    const posts = postsFor(world, looker);
    return Array.from({ length: Math.ceil(posts.length / 40) }, (_, index) => posts.slice(index * 40, index * 40 + 40)).map((some) => ({
      path: `/api/v1/statuses?${some.map(({ status }) => `id[]=${status.id}`).join('&')}`,
      shows: current(some.filter((post) => world.seesPost(looker, post))),
    }));
  },
  'GET /api/v1/statuses/:id': perPost((_post, id) => ({ path: `/api/v1/statuses/${id}` })),
  'PUT /api/v1/statuses/:id': refused(perPost((_post, id) => ({ method: 'PUT', path: `/api/v1/statuses/${id}`, body: { status: 'changed by somebody else' } }))),
  'DELETE /api/v1/statuses/:id': refused(perPost((_post, id) => ({ method: 'DELETE', path: `/api/v1/statuses/${id}` }))),
  'GET /api/v1/statuses/:id/context': perPost((_post, id) => ({ path: `/api/v1/statuses/${id}/context` }), (world, looker, post) => current(thread(world, looker, post))),
  'GET /api/v1/statuses/:id/source': ifPerson(perPost((_post, id) => ({ path: `/api/v1/statuses/${id}/source` }))),
  'GET /api/v1/statuses/:id/history': perPost((_post, id) => ({ path: `/api/v1/statuses/${id}/history` }), (_world, _looker, post) => [post.current, ...post.before]),
  'GET /api/v1/timelines/public': (world, looker) => [{ path: '/api/v1/timelines/public?limit=40', paged: true, shows: looker.only === undefined ? current(world.posts.filter((post) => isListed(post) && world.seesPost(looker, post))) : [] }],
  'GET /api/v1/timelines/tag/:hashtag': tagged((tag) => `/api/v1/timelines/tag/${tag}`),

  // What happens to oneself
  'GET /api/v1/notifications': ifPerson((world, looker) => [{ path: '/api/v1/notifications?limit=40', paged: true, shows: current(told(world, looker)) }]),
  // Asked about by the test itself, which has to know the ids of others.
  'GET /api/v1/notifications/:id': () => [],

  // Reading
  'GET /api/v1/timelines/home': ifPerson((world, looker) => [{ path: '/api/v1/timelines/home?limit=40', paged: true, shows: current(world.posts.filter((post) => inHome(world, looker, post))) }]),
  // Listened to from the beginning by the test itself.
  'GET /api/v1/streaming': () => [],
  'GET /api/v1/streaming/user': () => [],
  'GET /api/v1/streaming/user/notification': () => [],
};

/** By the hashtag that each post has to itself: what is listed has one. */
function tagged(path: (tag: string) => string): Probe {
  return (world, looker) =>
    postsFor(world, looker).map((post) =>
      world.seesPost(looker, post) && post.visibility === 'public' ? { path: path(`t${post.current}`), shows: [post.current, post.status.id] } : { path: path(`t${post.current}`), likeUnknown: { path: path('tzqnothing') } },
    );
}

/** By the whole handle, which whoever may know of a microblog may ask for, and by its beginning, which `search` decides. */
function searches(world: World, looker: Looker, path: (q: string) => string): Ask[] {
  return placesFor(world, looker).flatMap((place) => {
    const { handle } = place;
    const exists = world.seesFacet(looker, handle, 'exists');
    const begin = handle.slice(0, -1);
    const findable = [...world.places.values()].filter((other) => other.handle.startsWith(begin) && other.handle !== begin && world.seesFacet(looker, other.handle, 'exists') && world.seesFacet(looker, other.handle, 'search'));
    return [
      { path: path(`@${handle}`), shows: exists ? [`"${handle}"`] : [] },
      { path: path(encodeURIComponent(place.account.url)), shows: exists && path('').includes('v2') ? [`"${handle}"`] : [] },
      // What begins so, and what is called so.
      { path: path(begin), lists: [...(world.places.has(begin) && world.seesFacet(looker, begin, 'exists') ? [begin] : []), ...findable.map((other) => other.handle)] },
    ];
  });
}
