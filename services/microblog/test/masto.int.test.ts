import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { createRestAPIClient, type mastodon } from 'masto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { World, type Somebody } from './rim.ts';

/** The unmodified client library, over HTTP, for everything that this service answers. */
let world: World;
let server: Server;
let alice: Somebody;
let bob: Somebody;
let asAlice: mastodon.rest.Client;
let asBob: mastodon.rest.Client;
let asNobody: mastodon.rest.Client;

beforeAll(async () => {
  server = createServer((request, response) => world.app.handle(request, response));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  world = await World.make({ domain: `localhost:${port}` });
  alice = await world.somebody('alice');
  bob = await world.somebody('bob');
  const url = `http://localhost:${port}`;
  asAlice = createRestAPIClient({ url, accessToken: alice.token });
  asBob = createRestAPIClient({ url, accessToken: bob.token });
  asNobody = createRestAPIClient({ url });
});
afterAll(async () => {
  await new Promise((closed) => server.close(closed));
  await world.close();
});

test('the journey of a client: look around, post, follow, answer, edit, delete', async () => {
  const instance = await asNobody.v2.instance.fetch();
  expect(instance.configuration.statuses.maxCharacters).toBe(500);
  expect((await asNobody.v1.instance.fetch()).uri).toBe(world.domain);
  const me = await asAlice.v1.accounts.verifyCredentials();
  expect(me.source.privacy).toBe('public');
  expect((await asAlice.v1.preferences.fetch())['posting:default:visibility']).toBe('public');
  expect(await asAlice.v1.customEmojis.list()).toEqual([]);
  expect(await asAlice.v1.announcements.list()).toEqual([]);

  const updated = await asAlice.v1.accounts.updateCredentials({ displayName: 'Alice', note: 'me', fieldsAttributes: [{ name: 'a', value: 'b' }], source: { privacy: 'unlisted' } });
  expect(updated).toMatchObject({ displayName: 'Alice', note: '<p>me</p>', fields: [{ name: 'a', value: 'b' }], source: { privacy: 'unlisted' } });

  const post = await asAlice.v1.statuses.create({ status: 'Hello @bob', visibility: 'public', language: 'en', sensitive: false, mediaIds: [] });
  expect(post.account.acct).toBe('alice');
  const { accounts } = await asBob.v2.search.list({ q: `alice@${world.domain}`, resolve: true, type: 'accounts' });
  expect(accounts.map(({ acct }) => acct)).toEqual(['alice']);
  expect((await asBob.v1.accounts.lookup({ acct: 'alice' })).id).toBe(me.id);
  const relationship = await asBob.v1.accounts.$select(me.id).follow();
  expect(relationship).toMatchObject({ following: true, requested: false });
  expect(await asBob.v1.accounts.relationships.fetch({ id: [me.id] })).toMatchObject([{ id: me.id, following: true }]);

  const reply = await asBob.v1.statuses.create({ status: '@alice hi', inReplyToId: post.id });
  await world.drain();
  const context = await asNobody.v1.statuses.$select(post.id).context.fetch();
  expect(context.descendants.map(({ id }) => id)).toEqual([reply.id]);
  const notifications = await asAlice.v1.notifications.list();
  expect(notifications.map(({ type }) => type)).toEqual(['mention', 'follow']);
  expect((await asBob.v1.notifications.list({ types: ['mention'] })).map(({ status }) => status?.id)).toEqual([post.id]);

  const edited = await asAlice.v1.statuses.$select(post.id).update({ status: 'Hello again @bob' });
  expect(edited.editedAt).not.toBeNull();
  expect(await asAlice.v1.statuses.$select(post.id).source.fetch()).toMatchObject({ text: 'Hello again @bob' });
  expect(await asNobody.v1.statuses.$select(post.id).history.list()).toHaveLength(2);
  expect((await asAlice.v1.statuses.$select(post.id).remove()).text).toBe('Hello again @bob');
  await expect(asNobody.v1.statuses.$select(post.id).fetch()).rejects.toMatchObject({ statusCode: 404 });
});

test('pages are followed by their Link headers to the end, each post once', async () => {
  const made: string[] = [];
  for (let nth = 0; nth < 45; nth++) made.unshift((await asBob.v1.statuses.create({ status: `post ${nth}` })).id);
  const { id } = await asBob.v1.accounts.verifyCredentials();
  const found: string[] = [];
  for await (const page of asNobody.v1.accounts.$select(id).statuses.list({ excludeReplies: true, limit: 10 })) found.push(...page.map((status) => status.id));
  expect(found.slice(0, 45)).toEqual(made);
  expect(new Set(found).size).toBe(found.length);
  const listed: string[] = [];
  for await (const page of asNobody.v1.timelines.public.list({ local: true, limit: 20 })) listed.push(...page.map((status) => status.id));
  expect(listed.slice(0, 45)).toEqual(made);
});

test('HEAD is answered like GET, without a body', async () => {
  for (const path of ['/api/v1/instance', '/@bob', '/assets/dmb.css', '/api/v1/timelines/public']) {
    const answer = await fetch(`http://${world.domain}${path}`, { method: 'HEAD' });
    expect([path, answer.status]).toEqual([path, 200]);
    expect(await answer.text()).toBe('');
  }
});
