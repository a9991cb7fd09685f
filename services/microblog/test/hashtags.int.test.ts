import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Status } from '@dmb/events';
import { World, type Somebody } from './rim.ts';

let world: World;
let alice: Somebody;
const ids = (statuses: readonly Status[]): string[] => statuses.map(({ id }) => id);

beforeAll(async () => {
  world = await World.make();
  alice = await world.somebody('alice');
});
afterAll(async () => {
  await world.close();
});

const tagged = async (tag: string): Promise<Status[]> => {
  await world.drain();
  return (await world.get(`/api/v1/timelines/tag/${encodeURIComponent(tag)}`)).json as Status[];
};

test('a hashtag finds public posts in any spelling, on its page, in its timeline and by search', async () => {
  const first = await alice.post('about #Harbours and #éClairs');
  const second = await alice.post('more about #harbours');
  await alice.post('quietly about #harbours', { visibility: 'unlisted' });
  await alice.post('for friends about #harbours', { visibility: 'private' });
  await alice.post('for nobody about #harbours', { visibility: 'direct' });
  expect(ids(await tagged('HARBOURS'))).toEqual([second.id, first.id]);
  expect(ids(await tagged('éclairs'))).toEqual([first.id]);
  expect(ids(await tagged('harbour'))).toEqual([]);
  const page = await world.get('/tags/harbours', { accept: 'text/html' });
  expect(page.status).toBe(200);
  expect(page.text).toContain(`/@alice/${first.id}`);
  expect(page.text).not.toMatch(/quietly|friends|nobody/);
  expect((await world.get('/tags/never', { accept: 'text/html' })).status).toBe(404);
  expect((await world.get('/tags/%3Cscript%3E', { accept: 'text/html' })).status).toBe(404);
  for (const q of ['#harb', 'HARB', 'harbours']) expect((await world.get(`/api/v2/search?type=hashtags&q=${encodeURIComponent(q)}`)).json.hashtags, q).toMatchObject([{ name: 'harbours', url: 'https://dmb.test/tags/harbours' }]);
  expect((await world.get('/api/v2/search?type=hashtags&q=%25')).json.hashtags).toEqual([]);
});

test('an edit changes the hashtags of a post, and deleting it ends them', async () => {
  const post = await alice.post('about #boats');
  expect(ids(await tagged('boats'))).toEqual([post.id]);
  await alice.ask('PUT', `/api/v1/statuses/${post.id}`, { json: { status: 'about #ships' } });
  expect(ids(await tagged('boats'))).toEqual([]);
  expect(ids(await tagged('ships'))).toEqual([post.id]);
  await alice.ask('DELETE', `/api/v1/statuses/${post.id}`);
  expect(ids(await tagged('ships'))).toEqual([]);
  expect((await world.get('/api/v2/search?type=hashtags&q=ships')).json.hashtags).toEqual([]);
});

test('a hashtag is not named by search when nobody may see the posts that have it', async () => {
  const named = async (): Promise<unknown> => (await world.get('/api/v2/search?type=hashtags&q=lighthouses')).json.hashtags;
  const post = await alice.post('about #lighthouses');
  await world.drain();
  expect(await named()).toMatchObject([{ name: 'lighthouses' }]);
  for (const database of world.databases.all) {
    await database.execute(`INSERT INTO withheld (log_shard, log_id, epoch_no, number, by, reason) SELECT log_shard, log_id, epoch_no, number, 'test', 'test' FROM entry WHERE id = $1`, [post.id]);
  }
  expect(await named()).toEqual([]);
});

test('a hashtag is named by search although the newest posts that have it are all hidden', async () => {
  const named = async (): Promise<unknown> => (await world.get('/api/v2/search?type=hashtags&q=lightship')).json.hashtags;
  const posts: Status[] = [];
  for (let nth = 0; nth < 60; nth++) posts.push(await alice.post(`number ${nth} about #lightships`));
  await world.drain();
  const hide = async (some: readonly Status[]): Promise<void> => {
    for (const database of world.databases.all) {
      await database.execute(`INSERT INTO withheld (log_shard, log_id, epoch_no, number, by, reason) SELECT log_shard, log_id, epoch_no, number, 'test', 'test' FROM entry WHERE id = ANY ($1::int8[])`, [some.map(({ id }) => id)]);
    }
  };
  await hide(posts.slice(5));
  expect(await named()).toMatchObject([{ name: 'lightships' }]);
  await hide(posts.slice(0, 5));
  expect(await named()).toEqual([]);
});
