import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes, type Route } from '@dmb/events';
import { domainIdOf } from '@dmb/protocol';
import { World, type Somebody } from './rim.ts';

let world: World;
let alice: Somebody;
let bob: Somebody;

beforeAll(async () => {
  world = await World.make();
  alice = await world.somebody('alice');
  bob = await world.somebody('bob');
});
afterAll(async () => {
  await world.close();
});

const accountFields = [
  'id', 'username', 'acct', 'display_name', 'locked', 'bot', 'group', 'discoverable', 'created_at', 'note', 'url', 'uri', 'avatar', 'avatar_static', 'header', 'header_static',
  'followers_count', 'following_count', 'statuses_count', 'last_status_at', 'emojis', 'fields', 'roles',
];
const statusFields = [
  'id', 'uri', 'url', 'created_at', 'edited_at', 'account', 'content', 'visibility', 'sensitive', 'spoiler_text', 'language', 'in_reply_to_id', 'in_reply_to_account_id', 'reblog',
  'media_attachments', 'mentions', 'tags', 'emojis', 'replies_count', 'reblogs_count', 'favourites_count', 'favourited', 'reblogged', 'bookmarked', 'muted', 'pinned', 'card', 'poll',
  'application', 'filtered',
];
const dateForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

describe('fields of tier 1', () => {
  test('Account', async () => {
    const { json, status, headers } = await world.get(`/api/v1/accounts/lookup?acct=alice`);
    expect(status).toBe(200);
    expect(headers['content-type']).toMatch(/^application\/json/);
    for (const field of accountFields) expect(json, field).toHaveProperty(field);
    expect(json).toMatchObject({ username: 'alice', acct: 'alice', locked: false, bot: false, group: false, note: '', emojis: [], fields: [], roles: [], last_status_at: null });
    expect(json.id).toMatch(/^\d{15,19}$/);
    expect(json.created_at).toMatch(dateForm);
    expect(json.url).toBe('https://dmb.test/@alice');
    expect(json.avatar).toMatch(/^https:\/\/dmb\.test\/assets\/avatar-/);
    expect(json.header).toMatch(/^https:\/\/dmb\.test\/assets\/header-/);
  });

  test('CredentialAccount', async () => {
    const { json } = await alice.get('/api/v1/accounts/verify_credentials');
    for (const field of accountFields) expect(json, field).toHaveProperty(field);
    expect(json.source).toMatchObject({ privacy: 'public', sensitive: false, language: 'en', note: '', fields: [], follow_requests_count: 0 });
    expect(json.source).not.toHaveProperty('role');
    expect(json.role).toMatchObject({ id: '-99', name: 'owner', color: '', permissions: '0', highlighted: false });
  });

  test('Status', async () => {
    const json = await alice.post('Hello @bob @nobody #World https://example.org/', { language: 'en' });
    for (const field of statusFields) expect(json, field).toHaveProperty(field);
    expect(json).toMatchObject({
      visibility: 'public', sensitive: false, spoiler_text: '', language: 'en', edited_at: null, in_reply_to_id: null, in_reply_to_account_id: null, reblog: null, media_attachments: [],
      emojis: [], replies_count: 0, reblogs_count: 0, favourites_count: 0, favourited: false, reblogged: false, bookmarked: false, muted: false, pinned: false, card: null, poll: null,
      application: { name: 'Test', website: null }, filtered: [],
    });
    const bobs = await bob.account();
    expect(json.mentions).toEqual([{ id: bobs.id, username: 'bob', acct: 'bob', url: 'https://dmb.test/@bob' }]);
    expect(json.tags).toMatchObject([{ name: 'world', url: 'https://dmb.test/tags/world' }]);
    expect(json.content).toBe(
      '<p>Hello <span class="h-card" translate="no"><a href="https://dmb.test/@bob" class="u-url mention">@<span>bob</span></a></span> @nobody <a href="https://dmb.test/tags/world" class="mention hashtag" rel="tag">#<span>World</span></a> <a href="https://example.org/" target="_blank" rel="nofollow noopener noreferrer ugc" translate="no"><span class="invisible">https://</span><span>example.org/</span><span class="invisible"></span></a></p>',
    );
    expect(json.created_at).toMatch(dateForm);
    expect(json.uri).toMatch(/^https:\/\/dmb\.test\/objects\/[0-9a-f]{32}$/);
    expect(json.url).toBe(`https://dmb.test/@alice/${json.id}`);
  });

  test('the application of a Status is the program that it was written with, until it is deleted', async () => {
    const app = { name: 'A "program" \\ {NULL},\n<b>', website: 'https://program.example/?a="b"\\' };
    const asker = { kind: 'person', domain: domainIdOf(world.domain), person: alice.person, microblog: alice.microblog, scopes: ['read', 'write'] } as const;
    const tokens = [app, { name: 'Other', website: null }].map((each) => world.addToken(asker, each));
    const ask = (nth: number, method: string, path: string, json?: object) => world.ask(method, path, { headers: { authorization: `Bearer ${tokens[nth] ?? ''}` }, ...(json === undefined ? {} : { json }) });
    const { json: post } = await ask(0, 'POST', '/api/v1/statuses', { status: 'by a program', visibility: 'unlisted' });
    expect(post.application).toEqual(app);
    // By another program: it stays what it was written with.
    expect((await ask(1, 'PUT', `/api/v1/statuses/${post.id}`, { status: 'changed' })).json.application).toEqual(app);
    expect((await ask(1, 'POST', '/api/v1/statuses', { status: 'by another' })).json.application).toEqual({ name: 'Other', website: null });
    expect((await world.get(`/api/v1/statuses/${post.id}`)).json.application).toEqual(app);
    const kept = async () => (await Promise.all(world.databases.all.map((database) => database.query<{ app_website: string | null }>('SELECT app_website FROM entry WHERE app_name = $1', [app.name])))).flat();
    expect(await kept()).toEqual([{ app_website: app.website }]);
    await ask(1, 'DELETE', `/api/v1/statuses/${post.id}`);
    expect(await kept()).toEqual([]);
    // Bytes that leave the server do not name it.
    const bodies = await Promise.all(world.databases.all.map((database) => database.query<{ body: Buffer | null }>('SELECT body FROM entry')));
    expect(bodies.flat().some(({ body }) => body?.toString().includes('program.example') === true)).toBe(false);
  });

  test('instance v2', async () => {
    const { json, status } = await world.get('/api/v2/instance/');
    expect(status).toBe(200);
    expect(json).toMatchObject({
      domain: 'dmb.test',
      title: 'dmb.test',
      version: '4.5.0 (compatible; DMB 0.1.0)',
      thumbnail: { url: expect.stringMatching(/^https:/) },
      languages: expect.any(Array),
      configuration: {
        urls: { streaming: 'wss://dmb.test' },
        statuses: { max_characters: 500, max_media_attachments: 0, characters_reserved_per_url: 23 },
        media_attachments: { supported_mime_types: [] },
        polls: { max_options: expect.any(Number), max_characters_per_option: expect.any(Number), min_expiration: expect.any(Number), max_expiration: expect.any(Number) },
        translation: { enabled: false },
        vapid: { public_key: '' },
      },
      registrations: { enabled: true, approval_required: false },
      api_versions: { mastodon: 1 },
      contact: { account: null },
      rules: [],
    });
  });

  test('instance v1, with the operator as contact', async () => {
    world.operator = alice.microblog;
    world.registration = 'approval';
    const { json } = await world.get('/api/v1/instance');
    world.registration = 'open';
    world.operator = null;
    expect(json).toMatchObject({
      uri: 'dmb.test',
      title: 'dmb.test',
      short_description: expect.any(String),
      description: expect.any(String),
      email: '',
      version: '4.5.0 (compatible; DMB 0.1.0)',
      urls: { streaming_api: 'wss://dmb.test' },
      stats: { user_count: 3, status_count: expect.any(Number), domain_count: 1 },
      languages: expect.any(Array),
      registrations: true,
      approval_required: true,
      translation: { enabled: false },
      configuration: { statuses: { max_characters: 500 } },
      contact_account: { acct: 'alice' },
      rules: [],
    });
  });

  test('Relationship, Notification, Search, preferences and what is constant', async () => {
    const bobs = await bob.account();
    const { json: relationships } = await alice.get(`/api/v1/accounts/relationships?id[]=${bobs.id}&id[]=1&id[]=x`);
    expect(relationships).toEqual([
      {
        id: bobs.id, following: false, showing_reblogs: false, notifying: false, languages: [], followed_by: false, blocking: false, blocked_by: false, muting: false,
        muting_notifications: false, requested: false, requested_by: false, domain_blocking: false, endorsed: false, note: '',
      },
    ]);
    await world.drain();
    const { json: notifications } = await bob.get('/api/v1/notifications');
    expect(notifications).toHaveLength(1);
    expect(notifications[0]).toMatchObject({ id: expect.stringMatching(/^\d+$/), type: 'mention', created_at: expect.stringMatching(dateForm), account: { acct: 'alice' }, status: { visibility: 'public' } });
    const { json: one } = await bob.get(`/api/v1/notifications/${notifications[0].id}`);
    expect(one).toEqual(notifications[0]);
    expect((await alice.get(`/api/v1/notifications/${notifications[0].id}`)).status).toBe(404);
    expect((await alice.get('/api/v1/notifications')).json).toEqual([]);
    expect((await alice.get('/api/v1/preferences')).json).toEqual({
      'posting:default:visibility': 'public', 'posting:default:sensitive': false, 'posting:default:language': 'en', 'reading:expand:media': 'default',
      'reading:expand:spoilers': false, 'reading:autoplay:gifs': false,
    });
    expect((await world.get('/api/v1/custom_emojis')).json).toEqual([]);
    expect((await alice.get('/api/v1/announcements')).json).toEqual([]);
  });

  test('nodeinfo, WebFinger, host-meta', async () => {
    const links = await world.get('/.well-known/nodeinfo');
    expect(links.json.links).toEqual([{ rel: 'http://nodeinfo.diaspora.software/ns/schema/2.0', href: 'https://dmb.test/nodeinfo/2.0' }]);
    expect((await world.get('/nodeinfo/2.0')).json).toMatchObject({ version: '2.0', software: { name: 'dmb', version: '0.1.0' }, openRegistrations: true, usage: { users: { total: 3 } } });
    const finger = await world.get('/.well-known/webfinger?resource=acct:Alice@dmb.test');
    expect(finger.status).toBe(200);
    expect(finger.headers['content-type']).toMatch(/^application\/jrd\+json/);
    expect(finger.headers['access-control-allow-origin']).toBe('*');
    expect(finger.json).toMatchObject({ subject: 'acct:alice@dmb.test', aliases: ['https://dmb.test/@alice'] });
    expect((await world.get('/.well-known/webfinger?resource=https://dmb.test/@alice')).status).toBe(200);
    for (const resource of ['acct:nobody@dmb.test', 'acct:alice@other.example', 'acct:alice', 'mailto:alice@dmb.test', 'https://dmb.test/alice']) {
      expect((await world.get(`/.well-known/webfinger?resource=${resource}`)).status, resource).toBe(404);
    }
    expect((await world.get('/.well-known/webfinger')).status).toBe(400);
    expect((await world.get('/.well-known/host-meta')).text).toContain('webfinger?resource={uri}');
  });
});

describe('posting', () => {
  test('by JSON, form and multipart with Rails names', async () => {
    const form = await alice.ask('POST', '/api/v1/statuses', { form: 'status=by+form&sensitive=1&visibility=unlisted&spoiler_text=cw&language=de&media_ids[]=' });
    expect(form.json).toMatchObject({ content: '<p>by form</p>', sensitive: true, visibility: 'unlisted', spoiler_text: 'cw', language: 'de' });
    const boundary = 'xx';
    const multipart = await alice.ask('POST', '/api/v1/statuses', {
      raw: { type: `multipart/form-data; boundary=${boundary}`, body: `--xx\r\ncontent-disposition: form-data; name="status"\r\n\r\nby multipart\r\n--xx--\r\n` },
    });
    expect(multipart.json.content).toBe('<p>by multipart</p>');
    const query = await alice.ask('POST', '/api/v1/statuses?status=by+query');
    expect(query.json.content).toBe('<p>by query</p>');
    const toot = await alice.ask('POST', '/api/v1/statuses/', { json: { status: 'by toot', media_ids: [], sensitive: false, spoiler_text: null, in_reply_to_id: null, poll: null, scheduled_at: null } });
    expect(toot.json.content).toBe('<p>by toot</p>');
  });

  test('the same Idempotency-Key of one token makes one post', async () => {
    const again = () => alice.ask('POST', '/api/v1/statuses', { json: { status: 'once' }, headers: { 'idempotency-key': 'k1' } });
    const answers = await Promise.all([again(), again(), again()]);
    expect(new Set(answers.map(({ json }) => json.id)).size).toBe(1);
    const other = await bob.ask('POST', '/api/v1/statuses', { json: { status: 'once' }, headers: { 'idempotency-key': 'k1' } });
    expect(other.json.id).not.toBe(answers[0]?.json.id);
  });

  test('500 characters are taken, 501 are not, and links count 23', async () => {
    expect((await alice.post('x'.repeat(500))).content).toHaveLength(507);
    const tooLong = await alice.ask('POST', '/api/v1/statuses', { json: { status: 'x'.repeat(501) } });
    expect(tooLong.status).toBe(422);
    expect(tooLong.json.error).toMatch(/500/);
    expect((await alice.ask('POST', '/api/v1/statuses', { json: { status: 'x'.repeat(499), spoiler_text: 'yy' } })).status).toBe(422);
    await alice.post(`https://example.org/${'y'.repeat(400)} ${'x'.repeat(476)}`);
    expect((await alice.ask('POST', '/api/v1/statuses', { json: { status: 'z\u0300'.repeat(500) } })).status).toBe(200);
    expect((await alice.ask('POST', '/api/v1/statuses', { json: { status: `a${'\u0300'.repeat(10_000)}` } })).status).toBe(422);
  });

  test.each([
    ['nothing', {}],
    ['an empty text', { status: '' }],
    ['blanks', { status: ' \n ' }],
    ['a number', { status: 5 }],
    ['a list', { status: ['x'] }],
    ['an object', { status: { a: 1 } }],
    ['an unknown visibility', { status: 'x', visibility: 'local' }],
    ['a sensitive that is no switch', { status: 'x', sensitive: 'perhaps' }],
    ['media', { status: 'x', media_ids: ['1'] }],
    ['a poll', { status: 'x', poll: { options: ['a', 'b'], expires_in: 300 } }],
    ['a time', { status: 'x', scheduled_at: '2030-01-01T00:00:00Z' }],
    ['NUL', { status: 'a\0b' }],
    ['half a character', { status: 'a\ud83d' }],
    ['NUL in the warning', { status: 'a', spoiler_text: '\0' }],
    ['41 mentions', { status: Array.from({ length: 41 }, (_, index) => `@a${index}`).join(' ') }],
  ])('%s is refused as 422 in the form of the client', async (_, json) => {
    const answer = await alice.ask('POST', '/api/v1/statuses', { json });
    expect(answer.status).toBe(422);
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
    expect(answer.json.error).toMatch(/./);
  });

  test.each([
    ['malformed JSON', { type: 'application/json', body: '{"status":' }, 400],
    ['JSON that is a list', { type: 'application/json', body: '[1]' }, 422],
    ['JSON that is null', { type: 'application/json', body: 'null' }, 422],
    ['no body', { type: 'application/json', body: '' }, 422],
    ['10 MB', { type: 'application/json', body: `{"status":"${'x'.repeat(10_000_000)}"}` }, 413],
    ['another type', { type: 'text/xml', body: '<a/>' }, 415],
    ['a malformed form', { type: 'application/x-www-form-urlencoded', body: 'status=%ff%zz' }, 422],
  ])('%s is refused', async (_, raw, expected) => {
    const answer = await alice.ask('POST', '/api/v1/statuses', { raw });
    expect(answer.status).toBe(expected);
    expect(answer.json.error).toMatch(/./);
    expect(answer.headers['access-control-allow-origin']).toBe('*');
  });

  test('a warning without a text is the text', async () => {
    expect(await alice.post('', { spoiler_text: 'only this' })).toMatchObject({ content: '<p>only this</p>', spoiler_text: '' });
  });

  test('markup in texts is shown, never obeyed', async () => {
    const hostile = '<script>alert(1)</script> "onload="x" <img src=x onerror=y> javascript:alert(1) &lt;b&gt;';
    const { content, spoiler_text: warning } = await alice.post(hostile, { spoiler_text: '<b>cw</b>' });
    expect(content).toBe('<p>&lt;script&gt;alert(1)&lt;/script&gt; &quot;onload=&quot;x&quot; &lt;img src=x onerror=y&gt; javascript:alert(1) &amp;lt;b&amp;gt;</p>');
    expect(warning).toBe('<b>cw</b>');
  });
});

describe('editing and deleting', () => {
  test('an edit changes the text, keeps the rest, and is in the history', async () => {
    const post = await alice.post('frist', { visibility: 'unlisted', language: 'de' });
    const edited = await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { status: 'first @bob', spoiler_text: 'cw' } });
    expect(edited.status).toBe(200);
    expect(edited.json).toMatchObject({ id: post.id, spoiler_text: 'cw', sensitive: true, visibility: 'unlisted', language: 'de', mentions: [{ acct: 'bob' }], created_at: post.created_at });
    expect(edited.json.edited_at).toMatch(dateForm);
    const history = await world.get(`/api/v1/statuses/${post.id}/history`);
    expect(history.json.map(({ content }: { content: string }) => content)).toEqual(['<p>frist</p>', expect.stringContaining('first')]);
    for (const field of ['content', 'spoiler_text', 'sensitive', 'created_at', 'account', 'media_attachments', 'emojis']) expect(history.json[0]).toHaveProperty(field);
    expect((await alice.get(`/api/v1/statuses/${post.id}/source`)).json).toEqual({ id: post.id, text: 'first @bob', spoiler_text: 'cw' });
    expect((await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { status: '' } })).status).toBe(422);
    expect((await bob.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { status: 'mine' } })).status).toBe(404);
  });

  // Clients send the whole post when somebody saves it as it was: that is no edit.
  test('an edit that changes nothing is none', async () => {
    const post = await alice.post('the same @bob #tag', { spoiler_text: 'cw', language: 'de' });
    const same = { status: 'the same @bob #tag', spoiler_text: 'cw', language: 'de', sensitive: true };
    const saved = await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: same });
    expect(saved.status).toBe(200);
    expect(saved.json).toEqual(post);
    expect((await world.get(`/api/v1/statuses/${post.id}/history`)).json).toHaveLength(1);
    const edited = await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { ...same, status: 'another @bob #tag' } });
    expect(edited.json.edited_at).toMatch(dateForm);
    expect((await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { ...same, status: 'another @bob #tag' } })).json).toEqual(edited.json);
    expect((await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: same })).json.content).toBe(post.content);
    expect((await world.get(`/api/v1/statuses/${post.id}/history`)).json).toHaveLength(3);
    // Who may not change a post is told so, also where nothing would change.
    const group = await world.group('unchanged', alice);
    const author = await world.contributor(group, bob, 'author');
    const owners = await group.post('of the owner');
    expect((await author.ask('PUT', `/api/v1/statuses/${owners.id}`, { json: { status: 'of the owner' } })).status).toBe(403);
  });

  test('what is deleted is gone on every path, and its text goes back', async () => {
    const post = await alice.post('to be *deleted*');
    expect((await bob.ask('DELETE', `/api/v1/statuses/${post.id}`)).status).toBe(404);
    const deleted = await alice.ask('DELETE', `/api/v1/statuses/${post.id}`);
    expect(deleted.status).toBe(200);
    expect(deleted.json).toMatchObject({ id: post.id, text: 'to be *deleted*', account: { acct: 'alice' } });
    for (const path of ['', '/context', '/history']) expect((await alice.get(`/api/v1/statuses/${post.id}${path}`)).status, path).toBe(404);
    expect((await alice.get(`/api/v1/statuses?id[]=${post.id}`)).json).toEqual([]);
    expect((await alice.get(`/api/v1/accounts/${(await alice.account()).id}/statuses`)).text).not.toContain(post.id);
    expect((await world.get(`/@alice/${post.id}`, { accept: 'text/html' })).status).toBe(404);
    expect((await alice.ask('DELETE', `/api/v1/statuses/${post.id}`)).status).toBe(404);
    expect((await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { status: 'again' } })).status).toBe(404);
  });
});

describe('ids', () => {
  const tooLarge = String(2n ** 63n);
  test.each(['1', '0', '-1', 'abc', '9'.repeat(30), tooLarge, '%00', '1.5', '٣'])('%s is a 404 wherever an id stands', async (id) => {
    for (const path of [
      `/api/v1/statuses/${id}`, `/api/v1/statuses/${id}/context`, `/api/v1/statuses/${id}/source`, `/api/v1/statuses/${id}/history`, `/api/v1/accounts/${id}`,
      `/api/v1/accounts/${id}/statuses`, `/api/v1/accounts/${id}/followers`, `/api/v1/accounts/${id}/following`, `/api/v1/notifications/${id}`,
    ]) {
      const answer = await alice.get(encodeURI(decodeURIComponent(path)).replace('%00', '%00'));
      expect(answer.status, path).toBe(404);
      expect(answer.json.error).toMatch(/./);
    }
    for (const path of [`/api/v1/accounts/${id}/follow`, `/api/v1/accounts/${id}/unfollow`, `/api/v1/follow_requests/${id}/authorize`]) {
      expect((await alice.ask('POST', path)).status, path).toBe(404);
    }
    expect((await alice.ask('POST', '/api/v1/statuses', { json: { status: 'x', in_reply_to_id: decodeURIComponent(id) } })).status).toBe(id === '%00' ? 422 : 404);
  });
});

describe('paging', () => {
  let carol: Somebody;
  let ids: string[];
  beforeAll(async () => {
    carol = await world.somebody('carol');
    ids = [];
    for (let nth = 0; nth < 25; nth++) ids.unshift((await carol.post(`post ${nth}`)).id);
  });
  const page = async (query: string) => {
    const answer = await world.get(`/api/v1/accounts/${(await carol.account()).id}/statuses${query}`);
    expect(answer.status).toBe(200);
    return { ids: (answer.json as { id: string }[]).map(({ id }) => id), link: answer.headers['link'] };
  };

  test('goes down by max_id with the Link header that clients need, and ends', async () => {
    const first = await page('?exclude_replies=true&limit=10');
    expect(first.ids).toEqual(ids.slice(0, 10));
    const account = (await carol.account()).id;
    expect(first.link).toBe(
      `<https://dmb.test/api/v1/accounts/${account}/statuses?exclude_replies=true&limit=10&max_id=${ids[9]}>; rel="next", <https://dmb.test/api/v1/accounts/${account}/statuses?exclude_replies=true&limit=10&min_id=${ids[0]}>; rel="prev"`,
    );
    const last = await page(`?limit=10&max_id=${ids[19]}`);
    expect(last.ids).toEqual(ids.slice(20));
    expect(last.link).not.toContain('rel="next"');
    const beyond = await page(`?limit=10&max_id=${ids[24]}`);
    expect(beyond).toEqual({ ids: [], link: undefined });
  });

  test('min_id is the page next to it, since_id the newest', async () => {
    expect((await page(`?limit=5&min_id=${ids[20]}`)).ids).toEqual(ids.slice(15, 20));
    expect((await page(`?limit=5&since_id=${ids[20]}`)).ids).toEqual(ids.slice(0, 5));
    expect((await page(`?limit=40&since_id=${ids[3]}`)).ids).toEqual(ids.slice(0, 3));
    expect((await page(`?min_id=${ids[0]}`)).ids).toEqual([]);
  });

  test.each([
    ['?limit=-1', 1],
    ['?limit=0', 1],
    ['?limit=1000000000', 25],
    ['?limit=abc', 20],
    ['?limit[]=3', 20],
    ['', 20],
    ['?max_id=99999999999999999999999', 20],
    ['?max_id=-5', 0],
    ['?since_id=abc', 20],
    ['?pinned=true', 0],
    ['?only_media=1', 0],
    ['?tagged=none', 0],
  ])('%s answers %i', async (query, expected) => {
    expect((await page(query)).ids).toHaveLength(expected);
  });

  test('a page is filled although rules hide posts between', async () => {
    const root = await carol.post('root');
    const answers: string[] = [];
    for (let nth = 0; nth < 12; nth++) answers.unshift((await bob.post(`@carol reply ${nth}`, { in_reply_to_id: root.id })).id);
    const before = await bob.post('one more');
    const list = await world.get(`/api/v1/accounts/${(await bob.account()).id}/statuses?exclude_replies=true&limit=2`);
    expect(list.json[0].id).toBe(before.id);
    expect(list.json).toHaveLength(2);
    expect(list.json.map(({ id }: { id: string }) => id)).not.toContain(answers[0]);
  });
});

describe('who asks', () => {
  test('no token: 401 where one is needed, as JSON with CORS', async () => {
    for (const [method, path] of [
      ['GET', '/api/v1/accounts/verify_credentials'],
      ['POST', '/api/v1/statuses'],
      ['GET', '/api/v1/notifications'],
      ['PATCH', '/api/v1/accounts/update_credentials'],
    ] as const) {
      const answer = await world.ask(method, path, { json: {} });
      expect(answer.status, path).toBe(401);
      expect(answer.json).toEqual({ error: 'The access token is invalid' });
      expect(answer.headers['access-control-allow-origin']).toBe('*');
    }
  });

  test('a bad token is 401 also where none is needed', async () => {
    for (const token of ['nonsense', 'null', 'x'.repeat(1_000), '<script>']) {
      const answer = await world.get('/api/v1/timelines/public', { authorization: `Bearer ${token}` });
      expect(answer.status, token).toBe(401);
    }
    expect((await world.get('/api/v1/timelines/public?access_token=nonsense')).status).toBe(200);
  });

  test('scopes are kept to', async () => {
    const readOnly = world.token(alice.person, alice.microblog, ['read']);
    const answer = await world.ask('POST', '/api/v1/statuses', { json: { status: 'x' }, headers: { authorization: `Bearer ${readOnly}` } });
    expect(answer.status).toBe(403);
    expect(answer.json.error).toBe('This action is outside the authorized scopes');
    const narrow = world.token(alice.person, alice.microblog, ['write:statuses']);
    expect((await world.ask('POST', '/api/v1/statuses', { json: { status: 'narrow' }, headers: { authorization: `Bearer ${narrow}` } })).status).toBe(200);
    const follow = world.token(alice.person, alice.microblog, ['follow']);
    expect((await world.get('/api/v1/follow_requests', { authorization: `Bearer ${follow}` })).status).toBe(200);
  });

  test('an app sees what is public and is no person', async () => {
    const app = world.addToken({ kind: 'app', domain: world.presenter.site.domainId, scopes: ['read'] });
    expect((await world.get('/api/v1/timelines/public', { authorization: `Bearer ${app}` })).status).toBe(200);
    expect((await world.get('/api/v1/accounts/verify_credentials', { authorization: `Bearer ${app}` })).status).toBe(422);
    const secret = await alice.post('for followers', { visibility: 'private' });
    expect((await world.get(`/api/v1/statuses/${secret.id}`, { authorization: `Bearer ${app}` })).status).toBe(404);
  });

  test("a token of another domain, or whose role is over, is refused", async () => {
    const foreign = world.addToken({ kind: 'person', domain: alice.person as never, person: alice.person, microblog: alice.microblog, scopes: ['read'] });
    expect((await world.get('/api/v1/preferences', { authorization: `Bearer ${foreign}` })).status).toBe(401);
    const group = await world.group('crew', alice);
    const author = await world.contributor(group, bob, 'author');
    expect((await author.get('/api/v1/accounts/verify_credentials')).json).toMatchObject({ acct: 'crew', group: true, bot: false });
    await world.end(author);
    const answer = await author.get('/api/v1/accounts/verify_credentials');
    expect(answer.status).toBe(401);
    expect(answer.json).toEqual({ error: 'The access token was revoked' });
    expect((await author.ask('POST', '/api/v1/statuses', { json: { status: 'x' } })).status).toBe(401);
  });

  test('what is not served is a JSON 404, and slashes at the end do not matter', async () => {
    for (const path of ['/api/v1/nothing', '/api/v2/nothing/', '/api/v1/accounts/1/featured_tags']) {
      const answer = await alice.get(path);
      expect(answer.status, path).toBe(404);
      expect(answer.headers['content-type'], path).toMatch(/^application\/json/);
    }
    expect((await world.get('/api/v1/instance/')).status).toBe(200);
    expect((await alice.get('/api/v1/accounts/verify_credentials/')).status).toBe(200);
  });
});

describe('profile', () => {
  test('is changed by its owner, in every form that clients send', async () => {
    const dora = await world.somebody('dora');
    const json = await dora.ask('PATCH', '/api/v1/accounts/update_credentials', {
      json: {
        display_name: ' Do\u202era \u200b<b> ', note: 'Line 1\nhttps://example.org <i>', locked: true, discoverable: false,
        source: { privacy: 'private', sensitive: true, language: 'de' },
        fields_attributes: [{ name: 'Web', value: 'https://dora.example' }, { name: '', value: '' }],
      },
    });
    expect(json.status).toBe(200);
    expect(json.json).toMatchObject({
      display_name: 'Dora <b>', locked: true, discoverable: false,
      source: { privacy: 'private', sensitive: true, language: 'de', note: 'Line 1\nhttps://example.org <i>', fields: [{ name: 'Web', value: 'https://dora.example' }] },
    });
    expect(json.json.note).toMatch(/^<p>Line 1<br \/><a href="https:\/\/example\.org"/);
    expect(json.json.note).toContain('&lt;i&gt;');
    expect(json.json.fields[0].value).toMatch(/^<a href="https:\/\/dora\.example"/);
    const form = await dora.ask('PATCH', '/api/v1/accounts/update_credentials', {
      form: 'display_name=D&source[privacy]=unlisted&source[language]=&fields_attributes[0][name]=a&fields_attributes[0][value]=b&locked=false',
    });
    expect(form.json).toMatchObject({ display_name: 'D', locked: false, fields: [{ name: 'a', value: 'b', verified_at: null }], source: { privacy: 'unlisted', language: null, sensitive: true } });
    expect((await dora.post('default visibility')).visibility).toBe('unlisted');
  });

  test.each([
    [{ display_name: 'x'.repeat(31) }],
    [{ note: 'x'.repeat(501) }],
    [{ fields_attributes: Array.from({ length: 5 }, () => ({ name: 'a', value: 'b' })) }],
    [{ fields_attributes: [{ name: 'x'.repeat(256), value: 'b' }] }],
    [{ display_name: 5 }],
    [{ source: { privacy: 'nobody' } }],
    [{ source: { language: '<b>' } }],
    [{ avatar: 'data:image/png;base64,xx' }],
    [{ display_name: 'a\0' }],
  ])('refuses %j', async (json) => {
    const answer = await alice.ask('PATCH', '/api/v1/accounts/update_credentials', { json });
    expect(answer.status).toBe(422);
    expect(answer.json.error).toMatch(/./);
  });
});

describe('finding', () => {
  test('lookup takes @, any case and our own domain', async () => {
    for (const acct of ['alice', '@alice', 'Alice', 'alice@dmb.test', '@ALICE@DMB.TEST']) {
      expect((await world.get(`/api/v1/accounts/lookup?acct=${acct}`)).json.acct, acct).toBe('alice');
    }
    for (const acct of ['', 'nobody', 'alice@other.example', 'al ice', '../alice', '%00']) {
      const { status } = await world.get(`/api/v1/accounts/lookup?acct=${acct}`);
      expect(status, acct).toBe(acct === '%00' ? 422 : 404);
    }
    expect((await world.get('/api/v1/accounts/lookup')).status).toBe(404);
  });

  test('search answers handles, beginnings and addresses, always with three lists', async () => {
    const post = await alice.post('findable');
    const search = async (q: string, more = '') => (await alice.get(`/api/v2/search?q=${encodeURIComponent(q)}&resolve=true&limit=5${more}`)).json;
    expect(await search('alice@dmb.test')).toMatchObject({ accounts: [{ acct: 'alice' }], statuses: [], hashtags: [] });
    expect((await search('ALI')).accounts).toMatchObject([{ acct: 'alice' }]);
    expect((await search('https://dmb.test/@alice')).accounts).toMatchObject([{ acct: 'alice' }]);
    expect(await search(post.url ?? '')).toMatchObject({ accounts: [], statuses: [{ id: post.id }], hashtags: [] });
    expect((await search(post.uri)).statuses).toMatchObject([{ id: post.id }]);
    expect(await search('alice', '&type=statuses')).toEqual({ accounts: [], statuses: [], hashtags: [] });
    expect(await search('alice', '&offset=5')).toEqual({ accounts: [], statuses: [], hashtags: [] });
    for (const q of ['', '%', '_', 'bob@other.example', 'https://other.example/@alice/1', '#tag', 'javascript:alert(1)', 'a'.repeat(5_000), '\\', "'"]) {
      expect(await search(q), q).toEqual({ accounts: [], statuses: [], hashtags: [] });
    }
    expect((await alice.get('/api/v2/search')).json).toEqual({ accounts: [], statuses: [], hashtags: [] });
    expect((await alice.get('/api/v1/accounts/search?q=ali')).json).toMatchObject([{ acct: 'alice' }]);
    expect((await world.get('/api/v2/search?q=alice')).json.accounts).toHaveLength(1);
  });
});

test('threads: ancestors oldest first, descendants depth first', async () => {
  const root = await alice.post('1');
  const a = await bob.post('@alice 1a', { in_reply_to_id: root.id });
  const b = await alice.post('1b', { in_reply_to_id: root.id });
  const aa = await alice.post('@bob 1aa', { in_reply_to_id: a.id });
  const ba = await bob.post('1ba', { in_reply_to_id: b.id });
  await world.drain();
  const context = await world.get(`/api/v1/statuses/${root.id}/context`);
  expect(context.json.descendants.map(({ id }: { id: string }) => id)).toEqual([a.id, aa.id, b.id, ba.id]);
  const middle = await world.get(`/api/v1/statuses/${aa.id}/context`);
  expect(middle.json.ancestors.map(({ id }: { id: string }) => id)).toEqual([root.id, a.id]);
  expect((await world.get(`/api/v1/statuses/${root.id}`)).json.replies_count).toBe(2);
  expect((await world.get(`/api/v1/statuses/${aa.id}`)).json).toMatchObject({ in_reply_to_id: a.id, in_reply_to_account_id: (await bob.account()).id });
  const several = await alice.get(`/api/v1/statuses?id[]=${ba.id}&id[]=${root.id}&id[]=12`);
  expect(several.json.map(({ id }: { id: string }) => id)).toEqual([ba.id, root.id]);
});

test('the OpenAPI document tells the routes and their parameters', async () => {
  const { json, status } = await world.get('/api/openapi.json');
  expect(status).toBe(200);
  expect(json.paths['/api/v1/statuses'].post.requestBody).toBeDefined();
  expect(json.paths['/api/v1/timelines/public'].get.parameters.map(({ name }: { name: string }) => name)).toContain('max_id');
});

// Generated from the handlers alone it would hold this service only, and no client could be made of it.
test('the OpenAPI document holds every route for programs, whichever service answers it', async () => {
  const { json } = await world.get('/api/openapi.json');
  const told = Object.entries<Record<string, { summary?: string; parameters?: { name: string; in: string }[]; security?: unknown; responses?: object }>>(json.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
  );
  const wanted = routes.filter(({ path }) => /^\/(?:api|\.well-known|nodeinfo)\//.test(path) || path === '/oauth/token' || path === '/oauth/revoke');
  const nameOf = ({ method, path }: Route): string => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`;
  expect(told.map(({ name }) => name).sort()).toEqual(wanted.map(nameOf).sort());
  for (const route of wanted) {
    const name = nameOf(route);
    const operation = told.find((each) => each.name === name)?.operation;
    expect(operation?.summary, name).toMatch(/./);
    expect(operation?.responses, name).toBeDefined();
    const inPath = (operation?.parameters ?? []).filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name);
    expect(inPath, name).toEqual([...route.path.matchAll(/:(\w+)/g)].map(([, parameter]) => parameter));
    const scopes = route.scope === undefined ? [] : [route.scope];
    expect(operation?.security, name).toEqual(route.auth === 'none' ? [] : route.auth === 'optional' ? [{ oauth2: scopes }, {}] : [{ oauth2: scopes }]);
    for (const scope of scopes) expect(json.components.securitySchemes.oauth2.flows.authorizationCode.scopes).toHaveProperty([scope]);
  }
});
