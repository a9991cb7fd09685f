import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Asker, Status } from '@dmb/events';
import { domainIdOf, parsePostId, type PostId } from '@dmb/protocol';
import { World, type Answer, type Somebody } from './rim.ts';

let world: World;
let author: Somebody;
let follower: Somebody;
let mentioned: Somebody;
let stranger: Somebody;
let app: string;

beforeAll(async () => {
  world = await World.make();
  author = await world.somebody('author1');
  follower = await world.somebody('follower1');
  mentioned = await world.somebody('mentioned1');
  stranger = await world.somebody('stranger1');
  app = world.addToken({ kind: 'app', domain: domainIdOf(world.domain), scopes: ['read'] });
  expect((await follower.follow(author)).json).toMatchObject({ following: true, requested: false });
  await world.drain();
});
afterAll(async () => {
  await world.close();
});

type Viewer = 'anonymous' | 'app' | 'stranger' | 'follower' | 'mentioned' | 'author';
const viewers: readonly Viewer[] = ['anonymous', 'app', 'stranger', 'follower', 'mentioned', 'author'];
const ask = (viewer: Viewer, path: string): Promise<Answer> => {
  switch (viewer) {
    case 'anonymous':
      return world.get(path);
    case 'app':
      return world.get(path, { authorization: `Bearer ${app}` });
    case 'stranger':
      return stranger.get(path);
    case 'follower':
      return follower.get(path);
    case 'mentioned':
      return mentioned.get(path);
    case 'author':
      return author.get(path);
  }
};
const everybody = viewers;
const askerOf = (who: Somebody): Extract<Asker, { kind: 'person' }> => ({ kind: 'person', domain: domainIdOf(world.domain), person: who.person, microblog: who.microblog, scopes: ['read'] });
const idOf = (status: { readonly id: string }): PostId => parsePostId(status.id) as PostId;
const home = async (who: Somebody, ...posts: readonly Status[]): Promise<boolean[]> => {
  const { kept } = await world.presenter.statuses(askerOf(who), posts.map(idOf), 'home');
  return posts.map((post) => kept.includes(idOf(post)));
};

describe.each([
  ['public', everybody],
  ['unlisted', everybody],
  ['private', ['follower', 'author']],
  ['direct', ['mentioned', 'author']],
] as const)('a %s post is seen by %j and nobody else', (visibility, seers) => {
  let post: Status;
  beforeAll(async () => {
    post = await author.post(`@mentioned1 secretword ${visibility}`, { visibility });
    await world.drain();
  });
  const may = (viewer: Viewer): boolean => (seers as readonly Viewer[]).includes(viewer);

  test.each(viewers)('as %s', async (viewer) => {
    const expected = may(viewer) ? 200 : 404;
    const one = await ask(viewer, `/api/v1/statuses/${post.id}`);
    expect(one.status).toBe(expected);
    // Forbidden looks exactly like absent.
    if (!may(viewer)) expect(one.text).toBe((await ask(viewer, '/api/v1/statuses/4611686018427387904')).text);
    else expect(one.json).toMatchObject({ visibility, id: post.id });
    for (const path of ['context', 'history']) expect((await ask(viewer, `/api/v1/statuses/${post.id}/${path}`)).status, path).toBe(expected);
    if (!['anonymous', 'app'].includes(viewer)) expect((await ask(viewer, `/api/v1/statuses/${post.id}/source`)).status).toBe(expected);
    const account = post.account.id;
    const found = async (path: string): Promise<boolean> => (await ask(viewer, path)).text.includes(post.id);
    expect(await found(`/api/v1/statuses?id[]=${post.id}`), 'several').toBe(may(viewer));
    // In the author's profile direct posts are for the author alone.
    expect(await found(`/api/v1/accounts/${account}/statuses?limit=40`), 'profile').toBe(may(viewer) && (visibility !== 'direct' || viewer === 'author'));
    expect(await found('/api/v1/timelines/public?limit=40'), 'public timeline').toBe(visibility === 'public');
    expect(await found(`/api/v2/search?q=${encodeURIComponent(post.uri)}`), 'search by name').toBe(may(viewer));
    expect(await found(`/api/v2/search?q=${encodeURIComponent(post.url ?? '')}`), 'search by address').toBe(may(viewer));
    const isPublic = visibility === 'public' || visibility === 'unlisted';
    for (const path of [`/@author1/${post.id}`, new URL(post.uri).pathname]) expect((await ask(viewer, path)).status, path).toBe(isPublic ? (path.startsWith('/objects') ? 302 : 200) : 404);
    for (const path of ['/@author1', '/@author1/feed.atom']) expect((await ask(viewer, path)).text.includes(`secretword ${visibility}`), path).toBe(isPublic);
    expect((await ask(viewer, '/')).text.includes(post.id), 'front page').toBe(visibility === 'public');
  });

  test('in home it is shown to followers, and to the author; never when direct', async () => {
    expect(await home(follower, post)).toEqual([visibility !== 'direct']);
    expect(await home(author, post)).toEqual([visibility !== 'direct']);
    expect(await home(stranger, post)).toEqual([false]);
    expect(await home(mentioned, post)).toEqual([false]);
  });

  test('it mentions whom it reaches; for others the name stays text', async () => {
    expect(post.mentions.map(({ acct }) => acct)).toEqual(may('mentioned') ? ['mentioned1'] : []);
    expect(post.content.includes('class="u-url mention"')).toBe(may('mentioned'));
    // Also when it is written again, and for whom it reaches by now.
    const both = await author.post(`@mentioned1 and @${follower.handle} again`, { visibility });
    const reached = visibility === 'private' ? [follower.handle] : ['mentioned1', follower.handle];
    expect(both.mentions.map(({ acct }) => acct)).toEqual(reached);
    if (visibility === 'direct') return;
    const edited = await author.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { status: `@mentioned1 and @${follower.handle} secretword ${visibility}` } });
    expect((edited.json as Status).mentions.map(({ acct }) => acct)).toEqual(reached);
    await world.drain();
    const told = async (who: Somebody) => ((await who.get('/api/v1/notifications?types[]=mention')).json as { status: Status }[]).map(({ status }) => status.id);
    for (const id of [post.id, both.id]) {
      expect((await told(follower)).includes(id)).toBe(true);
      expect((await told(mentioned)).includes(id)).toBe(may('mentioned'));
    }
  });

  test('the mentioned one is notified if they may see it', async () => {
    const { json } = await mentioned.get('/api/v1/notifications?types[]=mention');
    expect(json.some(({ status }: { status: Status }) => status.id === post.id)).toBe(may('mentioned'));
  });

  test('counts are those of public posts, for every viewer', async () => {
    const counts = await Promise.all(viewers.map(async (viewer) => (await ask(viewer, `/api/v1/accounts/${post.account.id}`)).json.statuses_count));
    expect(new Set(counts).size).toBe(1);
  });
});

describe('replies', () => {
  test.each([
    ['private', 'public', 422],
    ['private', 'unlisted', 422],
    ['private', 'private', 200],
    ['private', 'direct', 200],
    ['direct', 'private', 422],
    ['direct', 'direct', 200],
    ['unlisted', 'public', 200],
    ['public', 'private', 200],
  ])('to a %s post as a %s one: %i', async (parent, visibility, expected) => {
    const post = await author.post('@follower1 parent', { visibility: parent });
    const answer = await follower.ask('POST', '/api/v1/statuses', { json: { status: '@author1 reply', in_reply_to_id: post.id, visibility } });
    expect(answer.status).toBe(expected);
    if (expected === 422) expect(answer.json.error).toMatch(/audience/);
  });

  test('to what one may not see is to what is not there', async () => {
    const post = await author.post('for followers', { visibility: 'private' });
    const answer = await stranger.ask('POST', '/api/v1/statuses', { json: { status: 'x', in_reply_to_id: post.id, visibility: 'direct' } });
    expect(answer.status).toBe(404);
  });

  test('do not tell of a parent that the viewer may not see', async () => {
    const parent = await author.post('@follower1 parent', { visibility: 'private' });
    const reply = await follower.post('@author1 reply', { in_reply_to_id: parent.id, visibility: 'private' });
    await stranger.follow(follower);
    await world.drain();
    expect((await follower.get(`/api/v1/statuses/${reply.id}`)).json).toMatchObject({ in_reply_to_id: parent.id, in_reply_to_account_id: parent.account.id });
    const seen = await stranger.get(`/api/v1/statuses/${reply.id}`);
    expect(seen.json).toMatchObject({ id: reply.id, in_reply_to_id: null, in_reply_to_account_id: null });
    expect((await stranger.get(`/api/v1/statuses/${reply.id}/context`)).json).toEqual({ ancestors: [], descendants: [] });
    // Nor does the parent tell of replies in its count: it counts public ones.
    expect((await author.get(`/api/v1/statuses/${parent.id}`)).json.replies_count).toBe(0);
    await stranger.ask('POST', `/api/v1/accounts/${(await follower.account()).id}/unfollow`);
  });

  test('are in home only if the one replied to is followed too', async () => {
    const other = await world.somebody('other1');
    const post = await other.post('by somebody else');
    const reply = await author.post('@other1 reply', { in_reply_to_id: post.id });
    const own = await author.post('a thread');
    const more = await author.post('goes on', { in_reply_to_id: own.id });
    await world.drain();
    expect(await home(follower, reply, own, more)).toEqual([false, true, true]);
    expect(await home(author, reply)).toEqual([false]);
    await follower.follow(other);
    await world.drain();
    expect(await home(follower, reply)).toEqual([true]);
    await follower.ask('POST', `/api/v1/accounts/${(await other.account()).id}/unfollow`);
    expect(await home(follower, reply, post)).toEqual([false, false]);
  });

  test('notify as mention, also without a mention in the text', async () => {
    const post = await author.post('ask me');
    const reply = await stranger.post('no handle in it', { in_reply_to_id: post.id });
    const own = await author.post('my own', { in_reply_to_id: post.id });
    await world.drain();
    const { json } = await author.get('/api/v1/notifications');
    const statuses = json.map(({ status }: { status?: Status }) => status?.id);
    expect(statuses).toContain(reply.id);
    expect(statuses).not.toContain(own.id);
  });
});

describe('what is taken back', () => {
  test('an unfollow, a removal: effective at once for posts to followers', async () => {
    const reader = await world.somebody('reader1');
    const post = await author.post('for followers', { visibility: 'private' });
    expect((await reader.get(`/api/v1/statuses/${post.id}`)).status).toBe(404);
    await reader.follow(author);
    expect((await reader.get(`/api/v1/statuses/${post.id}`)).status).toBe(200);
    await author.ask('POST', `/api/v1/accounts/${(await reader.account()).id}/remove_from_followers`);
    expect((await reader.get(`/api/v1/statuses/${post.id}`)).status).toBe(404);
    expect(await home(reader, post)).toEqual([false]);
    expect((await reader.get(`/api/v1/accounts/relationships?id=${(await author.account()).id}`)).json).toMatchObject([{ following: false }]);
  });

  test('a withheld post, a suspended microblog: nobody, on any path', async () => {
    const gone = await world.somebody('gone1');
    const kept = await gone.post('withheld soon');
    const at = await world.databases.all[0]?.query('SELECT 1');
    expect(at).toBeDefined();
    await Promise.all(
      world.databases.all.map((database) =>
        database.execute(`INSERT INTO withheld (log_shard, log_id, epoch_no, number, by, reason) SELECT log_shard, log_id, epoch_no, number, 'test', 'test' FROM entry WHERE id = $1`, [BigInt(kept.id)]),
      ),
    );
    expect((await gone.get(`/api/v1/statuses/${kept.id}`)).status).toBe(404);
    expect((await world.get(`/@gone1/${kept.id}`)).status).toBe(404);
    expect((await world.get('/@gone1')).text).not.toContain('withheld soon');
    const other = await gone.post('suspended soon');
    await Promise.all(world.databases.all.map((database) => database.execute(`UPDATE microblog SET state = 'suspended' WHERE microblog_id = $1`, [gone.microblog])));
    for (const path of [`/api/v1/statuses/${other.id}`, `/api/v1/accounts/${other.account.id}`, '/api/v1/accounts/lookup?acct=gone1', '/@gone1', '/@gone1/feed.atom', `/@gone1/${other.id}`]) {
      expect((await stranger.get(path)).status, path).toBe(404);
    }
    expect((await world.get('/api/v1/timelines/public')).text).not.toContain('suspended soon');
    expect((await gone.get('/api/v1/accounts/verify_credentials')).status).toBe(401);
    const mention = await stranger.post('@gone1 hello');
    expect(mention.mentions).toEqual([]);
    expect(mention.content).toBe('<p>@gone1 hello</p>');
  });
});

describe('facets', () => {
  test('who is not known to exist leaves no trace', async () => {
    const hidden = await world.somebody('hidden1');
    const post = await hidden.post('public, but who?');
    const mention = await author.post('@hidden1 psst');
    await world.drain();
    expect((await world.get(`/api/v1/statuses/${mention.id}`)).json.mentions).toHaveLength(1);
    await world.facet(hidden, 'exists', 'signed-in');
    expect((await world.get(`/api/v1/accounts/${post.account.id}`)).status).toBe(404);
    expect((await stranger.get(`/api/v1/accounts/${post.account.id}`)).status).toBe(200);
    expect((await world.get(`/api/v1/statuses/${post.id}`)).status).toBe(404);
    const { json } = await world.get(`/api/v1/statuses/${mention.id}`);
    expect(json).toMatchObject({ mentions: [], content: '<p>@hidden1 psst</p>' });
    expect((await stranger.get(`/api/v1/statuses/${mention.id}`)).json.mentions).toHaveLength(1);
    expect((await world.get('/@hidden1')).status).toBe(404);
    expect((await world.get('/.well-known/webfinger?resource=acct:hidden1@dmb.test')).status).toBe(404);
  });

  test.each([
    ['profile', 'note'],
    ['counts', 'statuses_count'],
    ['last-activity', 'last_status_at'],
  ])('%s is empty for who may not see it', async (facet, field) => {
    const shy = await world.somebody(`shy_${facet.replace('-', '_')}`);
    await shy.ask('PATCH', '/api/v1/accounts/update_credentials', { json: { note: 'about me', display_name: 'Shy' } });
    await shy.post('one');
    await world.drain();
    const { id } = await shy.account();
    const before = (await world.get(`/api/v1/accounts/${id}`)).json;
    expect(before[field]).not.toEqual(facet === 'profile' ? '' : facet === 'counts' ? 0 : null);
    await world.facet(shy, facet, 'contributors');
    const after = (await world.get(`/api/v1/accounts/${id}`)).json;
    expect(after[field]).toEqual(facet === 'profile' ? '' : facet === 'counts' ? 0 : null);
    expect((await shy.account())[field as 'note']).toEqual(before[field]);
  });

  test('history: no list of posts, but a post by its address', async () => {
    const shy = await world.somebody('nohistory1');
    const post = await shy.post('one');
    await world.facet(shy, 'history', 'followers');
    const path = `/api/v1/accounts/${post.account.id}/statuses`;
    expect((await world.get(path)).json).toEqual([]);
    expect((await stranger.get(path)).json).toEqual([]);
    expect((await shy.get(path)).json).toHaveLength(1);
    await follower.follow(shy);
    expect((await follower.get(path)).json).toHaveLength(1);
    expect((await world.get(`/api/v1/statuses/${post.id}`)).status).toBe(200);
    expect((await world.get('/@nohistory1')).text).not.toContain('>one<');
    expect((await world.get('/@nohistory1/feed.atom')).status).toBe(404);
  });

  test('search: not among those that begin with it, but by the whole handle', async () => {
    const shy = await world.somebody('nosearch1');
    await world.facet(shy, 'search', 'nobody');
    expect((await stranger.get('/api/v2/search?q=nosear')).json.accounts).toEqual([]);
    expect((await stranger.get('/api/v2/search?q=nosearch1')).json.accounts).toHaveLength(1);
  });
});

describe('lists of followers', () => {
  test('are for the owner, unless the owner, the follower and the followed all show them', async () => {
    const star = await world.somebody('star1');
    const fan = await world.somebody('fan1');
    await fan.follow(star);
    await world.drain();
    const star1 = (await star.account()).id;
    const fan1 = (await fan.account()).id;
    const names = ({ json }: Answer): string[] => json.map(({ acct }: { acct: string }) => acct);
    expect(names(await star.get(`/api/v1/accounts/${star1}/followers`))).toEqual(['fan1']);
    expect(names(await fan.get(`/api/v1/accounts/${fan1}/following`))).toEqual(['star1']);
    for (const list of [`${star1}/followers`, `${fan1}/following`]) {
      const answer = await stranger.get(`/api/v1/accounts/${list}`);
      expect(answer.json, list).toEqual([]);
      expect(answer.headers['link'], list).toBeUndefined();
      expect((await world.get(`/api/v1/accounts/${list}`)).json, list).toEqual([]);
    }
    await world.facet(star, 'followers', 'everybody');
    // The list is open, but this follower shows it to the owner only.
    expect((await stranger.get(`/api/v1/accounts/${star1}/followers`)).json).toEqual([]);
    expect(names(await star.get(`/api/v1/accounts/${star1}/followers`))).toEqual(['fan1']);
    await Promise.all(world.databases.all.map((database) => database.execute(`UPDATE grants SET shown = 'everybody' WHERE via = $1 AND NOT is_owner`, [fan.microblog])));
    expect(names(await stranger.get(`/api/v1/accounts/${star1}/followers`))).toEqual(['fan1']);
    await world.facet(fan, 'exists', 'nobody');
    expect((await stranger.get(`/api/v1/accounts/${star1}/followers`)).json).toEqual([]);
    expect((await world.get(`/api/v1/accounts/${star1}`)).json.followers_count).toBe(1);
  });

  test('are paged by an id of their own', async () => {
    const star = await world.somebody('star2');
    for (let nth = 0; nth < 5; nth++) await (await world.somebody(`fan2_${nth}`)).follow(star);
    const id = (await star.account()).id;
    const seen: string[] = [];
    let path: string | undefined = `/api/v1/accounts/${id}/followers?limit=2`;
    while (path !== undefined) {
      const answer: Answer = await star.get(path);
      seen.push(...answer.json.map(({ acct }: { acct: string }) => acct));
      path = /^<https:\/\/dmb\.test([^>]+)>; rel="next"/.exec(answer.headers['link'] ?? '')?.[1];
    }
    expect(seen).toEqual(['fan2_4', 'fan2_3', 'fan2_2', 'fan2_1', 'fan2_0']);
  });
});

describe('locked microblogs', () => {
  test('are asked; the owner decides; notifications follow what is so', async () => {
    const locked = await world.somebody('locked1');
    const asking = await world.somebody('asking1');
    const rejected = await world.somebody('rejected1');
    await locked.ask('PATCH', '/api/v1/accounts/update_credentials', { json: { locked: true } });
    const post = await locked.post('for followers', { visibility: 'private' });
    expect((await asking.follow(locked)).json).toMatchObject({ following: false, requested: true });
    await rejected.follow(locked);
    await world.drain();
    expect((await asking.get(`/api/v1/statuses/${post.id}`)).status).toBe(404);
    expect((await locked.account()).source).toMatchObject({ follow_requests_count: 2 });
    const requests = await locked.get('/api/v1/follow_requests');
    expect(requests.json.map(({ acct }: { acct: string }) => acct)).toEqual(['rejected1', 'asking1']);
    const types = async () => (await locked.get('/api/v1/notifications')).json.map(({ type, account }: { type: string; account: { acct: string } }) => `${type} ${account.acct}`);
    expect(await types()).toEqual(['follow_request rejected1', 'follow_request asking1']);
    const accept = await locked.ask('POST', `/api/v1/follow_requests/${(await asking.account()).id}/authorize`);
    expect(accept.json).toMatchObject({ id: (await asking.account()).id, followed_by: true });
    const again = await locked.ask('POST', `/api/v1/follow_requests/${(await asking.account()).id}/authorize`);
    expect(again.json).toEqual(accept.json);
    expect((await locked.ask('POST', `/api/v1/follow_requests/${(await rejected.account()).id}/reject`)).json).toMatchObject({ followed_by: false });
    await world.drain();
    expect(await types()).toEqual(['follow asking1']);
    expect((await asking.get(`/api/v1/statuses/${post.id}`)).status).toBe(200);
    expect((await rejected.get(`/api/v1/statuses/${post.id}`)).status).toBe(404);
    expect((await locked.get('/api/v1/notifications?exclude_types[]=follow')).json).toEqual([]);
    expect((await locked.get('/api/v1/notifications?types[]=favourite&types[]=poll')).json).toEqual([]);
    await asking.ask('POST', `/api/v1/accounts/${(await locked.account()).id}/unfollow`);
    expect(await types()).toEqual([]);
  });
});

describe('groups', () => {
  test('have their own world, and roles are looked at each time', async () => {
    const owner = await world.somebody('owner1');
    const second = await world.somebody('second1');
    const group = await world.group('group1', owner);
    const writer = await world.contributor(group, second, 'author');
    const editor = await world.contributor(group, stranger, 'editor');
    const byOwner = await group.post('by the owner');
    const byAuthor = await writer.post('by the author', { visibility: 'private' });
    expect(byAuthor.account).toMatchObject({ acct: 'group1', group: true, bot: false });
    expect((await writer.ask('PUT', `/api/v1/statuses/${byOwner.id}`, { json: { status: 'x' } })).status).toBe(403);
    expect((await writer.ask('DELETE', `/api/v1/statuses/${byOwner.id}`)).status).toBe(403);
    expect((await writer.ask('PUT', `/api/v1/statuses/${byAuthor.id}`, { json: { status: 'edited' } })).status).toBe(200);
    expect((await editor.ask('PUT', `/api/v1/statuses/${byOwner.id}`, { json: { status: 'edited' } })).status).toBe(200);
    expect((await editor.ask('PATCH', '/api/v1/accounts/update_credentials', { json: { display_name: 'x' } })).status).toBe(403);
    expect((await group.ask('PATCH', '/api/v1/accounts/update_credentials', { json: { display_name: 'The group' } })).json.display_name).toBe('The group');
    // A personal token of a contributor sees what everybody sees.
    expect((await second.get(`/api/v1/statuses/${byAuthor.id}`)).status).toBe(404);
    expect((await editor.get(`/api/v1/statuses/${byAuthor.id}`)).status).toBe(200);
    const follow = await writer.ask('POST', `/api/v1/accounts/${(await author.account()).id}/follow`);
    expect(follow.status).toBe(403);
    // What its contributors follow privately is not the group's to read.
    await second.follow(author);
    const secret = await author.post('for followers', { visibility: 'private' });
    expect((await second.get(`/api/v1/statuses/${secret.id}`)).status).toBe(200);
    expect((await writer.get(`/api/v1/statuses/${secret.id}`)).status).toBe(404);
    expect((await writer.get(`/api/v1/accounts/${(await group.account()).id}/following`)).json).toEqual([]);
    expect(await home(group, byOwner, byAuthor, secret)).toEqual([true, true, false]);
  });

  test('direct posts to a group are for owner and editors', async () => {
    const owner = await world.somebody('owner2');
    const second = await world.somebody('second2');
    const group = await world.group('group2', owner);
    const writer = await world.contributor(group, second, 'author');
    const letter = await stranger.post('@group2 between us', { visibility: 'direct' });
    await world.drain();
    expect((await group.get(`/api/v1/statuses/${letter.id}`)).status).toBe(200);
    expect((await writer.get(`/api/v1/statuses/${letter.id}`)).status).toBe(404);
    expect((await owner.get(`/api/v1/statuses/${letter.id}`)).status).toBe(404);
    expect((await group.get('/api/v1/notifications')).json).toHaveLength(1);
    expect((await writer.get('/api/v1/notifications')).json).toEqual([]);
    // An edit adds no recipient.
    await stranger.ask('PUT', `/api/v1/statuses/${letter.id}`, { json: { status: '@follower1 and you' } });
    expect((await follower.get(`/api/v1/statuses/${letter.id}`)).status).toBe(404);
    expect((await group.get(`/api/v1/statuses/${letter.id}`)).status).toBe(200);
  });

  test('an author is notified of replies to their own posts only, and decides no requests', async () => {
    const owner = await world.somebody('owner3');
    const second = await world.somebody('second3');
    const group = await world.group('group3', owner);
    const writer = await world.contributor(group, second, 'author');
    const mine = await writer.post('mine');
    const theirs = await group.post('theirs');
    const reply = await stranger.post('to the author', { in_reply_to_id: mine.id });
    await stranger.post('to the owner', { in_reply_to_id: theirs.id });
    await follower.follow(group);
    await world.drain();
    expect((await group.get('/api/v1/notifications')).json).toHaveLength(3);
    expect((await writer.get('/api/v1/notifications')).json.map(({ status }: { status: Status }) => status.id)).toEqual([reply.id]);
    expect((await writer.get('/api/v1/follow_requests')).json).toEqual([]);
    expect((await writer.ask('POST', `/api/v1/follow_requests/${(await follower.account()).id}/authorize`)).status).toBe(403);
  });
});
