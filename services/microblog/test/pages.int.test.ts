import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { routes, type Status } from '@dmb/events';
import { domainIdOf, parsePostId, type PostId } from '@dmb/protocol';
import { MemoryLimits } from '@dmb/timelines';
import { World, type Answer, type Somebody } from './rim.ts';

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

const asPage = (path: string, headers: Record<string, string> = {}): Promise<Answer> => world.get(path, { accept: 'text/html', ...headers });
const hostile = '<script>alert(1)</script>"\'><img src=x onerror=y>';

test('every route of the table is handled here', () => {
  const missing = routes.filter(({ service, method, path }) => service === 'microblog' && !world.app.fastify.hasRoute({ method, url: path }));
  expect(missing).toEqual([]);
});

describe('pages', () => {
  test('hold no script, whatever people write, and are sent with the policy that forbids it', async () => {
    await alice.ask('PATCH', '/api/v1/accounts/update_credentials', { json: { display_name: '<b>"A"&</b>', note: hostile, fields_attributes: [{ name: hostile, value: hostile }] } });
    const post = await alice.post(hostile, { spoiler_text: hostile });
    for (const path of ['/', '/@alice', `/@alice/${post.id}`]) {
      const { status, text, headers } = await asPage(path);
      expect(status, path).toBe(200);
      expect(headers['content-type'], path).toBe('text/html; charset=utf-8');
      expect(headers['content-security-policy'], path).toBe("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
      expect(text, path).not.toMatch(/<script|<img src=x|<b>"A"|onerror=y>/);
      expect(text.match(/<(script|style|iframe|object|embed|form)\b/g), path).toBeNull();
      expect(text.match(/\son\w+=/g)?.filter((found) => found !== ' onerror=') ?? [], path).toEqual([]);
      expect(headers['cache-control'], path).toMatch(/^public, max-age=\d\d?$/);
      expect(headers['vary'], path).toBe('Authorization, Cookie, Accept');
      expect((await asPage(path, { cookie: 'a=b' })).headers['cache-control'], path).toBe('private, no-store');
    }
  });

  test('the front page says what can be done here', async () => {
    expect((await asPage('/')).text).toContain('href="/sign-up"');
    world.registration = 'closed';
    const closed = (await asPage('/')).text;
    world.registration = 'open';
    expect(closed).not.toContain('href="/sign-up"');
    expect(closed).toContain('href="/log-in"');
    expect(closed).toContain('Phanpy');
    expect(closed).not.toContain('with https');
  });

  // Whoever is logged in sees the same page from the same cache.
  test('the header of every page leads to one\'s account, and to the sign-up while there is one', async () => {
    const post = await alice.post('in the header #header');
    await world.drain();
    for (const path of ['/', '/@alice', `/@alice/${post.id}`, '/tags/header']) {
      const header = async (): Promise<string> => /<header[\s\S]*?<\/header>/.exec((await asPage(path)).text)?.[0] ?? '';
      expect(await header(), path).toContain('<a href="/settings">Your account</a>');
      expect(await header(), path).not.toContain('Log in');
      expect(await header(), path).toContain('href="/sign-up"');
      world.registration = 'closed';
      const closed = await header();
      world.registration = 'open';
      expect(closed, path).not.toContain('href="/sign-up"');
    }
  });

  // Phanpy and the like refuse, or cannot reach, a server that has no certificate.
  test('without https the front page recommends what works without', async () => {
    const local = await World.make({ domain: 'localhost:3000' });
    try {
      const { text } = await local.get('/', { accept: 'text/html' });
      expect(text).toContain('href="https://toot.bezdomni.net"');
      expect(text).not.toContain('href="https://phanpy.social"');
      expect(text).toContain('need a server that has a domain with https');
    } finally {
      await local.close();
    }
  });

  test('a profile has one address, pages with real links, and a feed', async () => {
    const carol = await world.somebody('carol');
    const posts: Status[] = [];
    for (let nth = 0; nth < 25; nth++) posts.unshift(await carol.post(`post number ${nth}.`));
    for (const path of ['/@Carol', '/@carol@dmb.test', '/@CAROL@DMB.TEST']) {
      const { status, headers } = await asPage(path);
      expect([status, headers['location']], path).toEqual([301, 'https://dmb.test/@carol']);
    }
    const first = await asPage('/@carol');
    expect(first.text).toContain('rel="alternate" type="application/atom+xml"');
    expect(first.text).toContain('<meta property="og:title"');
    expect(first.text).not.toContain('noindex');
    expect(first.text).not.toContain('rel="prev"');
    const older = /rel="next" href="https:\/\/dmb\.test([^"]+)"/.exec(first.text)?.[1];
    const second = await asPage(older ?? '');
    expect(second.text.match(/post number \d+\./g)).toHaveLength(5);
    expect(second.text).not.toContain('rel="next"');
    expect(second.text).toContain('noindex');
    const newer = /rel="prev" href="https:\/\/dmb\.test([^"]+)"/.exec(second.text)?.[1];
    expect((await asPage(newer ?? '')).text).toContain('post number 24.');
    for (const path of ['/@nobody', '/carol', '/@', '/@carol@other.example', '/@caro%6c%00', '/@carol/abc', '/@carol/1', '/objects/abc', '/assets/none.css', '/assets/..%2f..%2fpackage.json']) {
      expect((await asPage(path)).status, path).toBe(404);
    }
    const feed = await world.get('/@carol/feed.atom');
    expect(feed.headers['content-type']).toBe('application/atom+xml; charset=utf-8');
    expect(feed.text.match(/<entry /g)).toHaveLength(20);
  });

  test('a feed is XML whatever was written', async () => {
    const post = await bob.post(`a\u0001b\uffff ]]> & <x> ${hostile} #tag`);
    const { text } = await world.get('/@bob/feed.atom');
    expect(text).toContain(`<id>${post.uri}</id>`);
    expect(text).not.toMatch(/[\u0000-\u0008\uffff]|<script|<x>/);
    expect(text.replace(/&(amp|lt|gt|quot);/g, '')).not.toContain('&');
    const open = [...text.matchAll(/<([a-z]+)(?:\s[^>]*[^/])?>/g)].map(([, name]) => name).sort();
    const close = [...text.matchAll(/<\/([a-z]+)>/g)].map(([, name]) => name).sort();
    expect(open).toEqual(close);
  });

  test('a permalink shows the thread, hides what a warning hides from previews, and leads to its one address', async () => {
    const root = await alice.post('the root', { spoiler_text: 'a warning' });
    const reply = await bob.post('the reply', { in_reply_to_id: root.id });
    const below = await alice.post('below the reply', { in_reply_to_id: reply.id });
    await world.drain();
    const { text } = await asPage(`/@alice/${root.id}`);
    // What answers the post of the page says nothing; what answers another answer says which.
    expect(text.match(/In reply to @\w+/g)).toEqual(['In reply to @bob']);
    expect(text).toContain(`<a href="#post-${reply.id}">In reply to @bob</a>`);
    expect(text.slice(text.indexOf('below the reply'))).toContain('In reply to @bob');
    expect((await asPage(`/@alice/${below.id}`)).text).not.toContain('In reply to @');
    expect(text).toContain('the reply');
    expect(text).toContain('<summary>a warning</summary>');
    expect(text.slice(0, text.indexOf('</head>'))).not.toContain('the root');
    expect(text).toContain(`rel="alternate" type="application/json" href="${root.uri}"`);
    expect((await asPage(`/@bob/${reply.id}`)).text).toContain('the root');
    const moved = await asPage(`/@bob/${root.id}`);
    expect([moved.status, moved.headers['location']]).toEqual([301, root.url]);
    const unlisted = await alice.post('unlisted', { visibility: 'unlisted' });
    expect((await asPage(`/@alice/${unlisted.id}`)).text).toContain('<meta name="robots" content="noindex">');
  });

  test("an object's name leads people to its page and tells programs what it is", async () => {
    const post = await bob.post('an object');
    const path = new URL(post.uri).pathname;
    const page = await asPage(path);
    expect([page.status, page.headers['location']]).toEqual([302, post.url]);
    const json = await world.get(path, { accept: 'application/json' });
    expect(json.json).toMatchObject({ id: post.id, uri: post.uri });
    expect(json.headers['content-type']).toMatch(/^application\/json/);
  });

  test('files: the stylesheet and pictures for ever, the icon, robots', async () => {
    const style = /href="(\/assets\/dmb\.css\?v=[^"]+)"/.exec((await asPage('/')).text)?.[1] ?? '';
    const css = await world.get(style);
    expect(css.headers['content-type']).toBe('text/css; charset=utf-8');
    expect(css.headers['cache-control']).toBe('public, max-age=31536000, immutable');
    expect((await world.get('/assets/dmb.css?v=old')).headers['cache-control']).toBe('public, max-age=60');
    const { avatar, header } = await alice.account();
    for (const url of [avatar, header]) {
      const picture = await world.get(new URL(url).pathname);
      expect(picture.headers['content-type']).toBe('image/png');
      expect(picture.headers['cache-control']).toBe('public, max-age=31536000, immutable');
      expect(picture.headers['access-control-allow-origin']).toBe('*');
    }
    expect((await world.get('/favicon.ico')).headers['content-type']).toBe('image/x-icon');
    expect((await world.get('/robots.txt')).text).toContain('Disallow: /api/');
  });
});

test('twenty posts take a bounded number of statements, however many authors, parents and mentions there are', async () => {
  const reader = await world.somebody('reader');
  const authors: Somebody[] = [];
  for (let nth = 0; nth < 10; nth++) authors.push(await world.somebody(`many_${nth}`));
  for (const author of authors) await reader.follow(author);
  const posts: Status[] = [];
  for (const [nth, author] of [...authors, ...authors].entries()) {
    const parent = posts[nth - 10];
    posts.push(await author.post(`@alice @bob post ${nth}`, { visibility: nth % 2 === 0 ? 'public' : 'private', ...(parent === undefined ? {} : { in_reply_to_id: parent.id }) }));
  }
  await world.drain();
  let statements = 0;
  for (const database of world.databases.all) {
    const query = database.query.bind(database);
    database.query = (...given) => {
      statements++;
      return query(...given);
    };
  }
  const asker = { kind: 'person', domain: domainIdOf(world.domain), person: reader.person, microblog: reader.microblog, scopes: ['read'] } as const;
  const { kept } = await world.presenter.statuses(
    asker,
    posts.map(({ id }) => parsePostId(id) as PostId),
    'home',
  );
  expect(kept).toHaveLength(20);
  // Without anything known: posts, counts, handles and their microblogs, then six tables of microblogs, role, grants.
  expect(statements / world.databases.all.length).toBeLessThanOrEqual(14);
});

test('requests are counted by token, and told in headers', async () => {
  const limits = new MemoryLimits();
  const limited = await World.make({ limiter: limits, requestsMax: 3 });
  try {
    const dora = await limited.somebody('dora');
    const answers = [];
    for (let nth = 0; nth < 4; nth++) answers.push(await dora.get('/api/v1/preferences'));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
    expect(answers.map(({ headers }) => headers['x-ratelimit-remaining'])).toEqual(['2', '1', '0', '0']);
    expect(answers[3]?.headers['x-ratelimit-limit']).toBe('3');
    expect(answers[3]?.headers['x-ratelimit-reset']).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(answers[3]?.headers['retry-after']).toMatch(/^\d+$/);
    expect(answers[3]?.json.error).toBe('Too many requests');
    // Who comes without a token has a count of their own.
    expect((await limited.get('/api/v1/instance')).status).toBe(200);
    expect((await limited.get('/@dora')).status).toBe(200);
  } finally {
    await limited.close();
    await limits.close();
  }
});
