import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { shardOf } from '@dmb/protocol';
import { createWorld, type FakeLog, type FakePerson, type World } from './world.ts';

let world: World;
let ann: FakePerson;
let news: FakeLog;

beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world.close());
beforeEach(() => {
  world.services.failing.clear();
  world.services.asked.clear();
  ann = world.services.person();
  news = world.services.log();
  ann.home.add(news.log);
});

const get = (path: string, token = ann.token) => world.app.fastify.inject({ method: 'GET', url: path, headers: { host: 'localhost', authorization: `Bearer ${token}` } });
const post = (path: string, payload: string | object, token = ann.token, type?: string) =>
  world.app.fastify.inject({ method: 'POST', url: path, payload, headers: { host: 'localhost', authorization: `Bearer ${token}`, ...(type === undefined ? {} : { 'content-type': type }) } });
const idsOf = (answer: { json(): unknown }): string[] => (answer.json() as { id: string }[]).map(({ id }) => id);
const posts = (count: number): string[] => Array.from({ length: count }, () => String(world.services.append(news, 'post').id)).reverse();
const linkOf = (answer: { headers: Record<string, unknown> }, rel: string): string | undefined =>
  new RegExp(`<http://localhost([^>]+)>; rel="${rel}"`).exec(String(answer.headers['link'] ?? ''))?.[1];

describe('GET /api/v1/timelines/home', () => {
  it('shows what is followed, newest first, with links that lead through all of it', async () => {
    const all = posts(50);
    const first = await get('/api/v1/timelines/home?limit=20&x=y');
    expect(first.statusCode).toBe(200);
    expect(idsOf(first)).toEqual(all.slice(0, 20));
    expect(String(first.headers['link'])).toMatch(/^<http:\/\/localhost\/api\/v1\/timelines\/home\?limit=20&x=y&max_id=\d+>; rel="next", <http:\/\/localhost\/api\/v1\/timelines\/home\?limit=20&x=y&min_id=\d+>; rel="prev"$/);
    const second = await get(linkOf(first, 'next')!);
    const third = await get(linkOf(second, 'next')!);
    expect([...idsOf(second), ...idsOf(third)]).toEqual(all.slice(20));
    expect(linkOf(third, 'next')).toBeUndefined();
    expect(idsOf(await get(linkOf(second, 'prev')!))).toEqual(all.slice(0, 20));
  });

  it('is rebuilt once and then read from the store', async () => {
    const all = posts(3);
    expect(idsOf(await get('/api/v1/timelines/home'))).toEqual(all);
    expect(idsOf(await get('/api/v1/timelines/home/'))).toEqual(all);
    expect(world.services.asked.get('microblog.snapshot')).toBe(1);
    const late = world.services.append(news, 'post');
    await world.timelines.push(0, 1n, [{ ids: [late.id], readers: [{ shard: shardOf(ann.person), person: ann.person }] }]);
    expect(idsOf(await get('/api/v1/timelines/home'))).toEqual([String(late.id), ...all]);
  });

  it('goes on in Postgres below what the list has', async () => {
    const all = posts(1_000);
    const read: string[] = [];
    for (let path: string | undefined = '/api/v1/timelines/home?limit=40'; path !== undefined; ) {
      const page = await get(path);
      read.push(...idsOf(page));
      path = linkOf(page, 'next');
    }
    expect(read).toEqual(all);
  });

  it('reads past what the rules hide, and has no links on an empty page', async () => {
    const all = posts(60);
    for (const id of all.slice(0, 35)) world.services.hidden.add(BigInt(id) as never);
    expect(idsOf(await get('/api/v1/timelines/home?limit=20'))).toEqual(all.slice(35, 55));
    const empty = await get(`/api/v1/timelines/home?max_id=${all.at(-1)!}`);
    expect(empty.json()).toEqual([]);
    expect(empty.headers['link']).toBeUndefined();
  });

  it('is the own log for a token of a group, and no list is kept', async () => {
    const group = world.services.person(['read'], false);
    const own = { ...world.services.log(), microblog: group.microblog };
    world.services.logs.set(own.log, own);
    const wrote = world.services.append(own, 'post');
    posts(2);
    expect(idsOf(await get('/api/v1/timelines/home', group.token))).toEqual([String(wrote.id)]);
    expect(await world.timelines.read({ shard: shardOf(group.person), person: group.person })).toEqual({ state: 'absent' });
  });

  it('reads Postgres while somebody else rebuilds, and when the store is away', async () => {
    const all = posts(2);
    const reader = { shard: shardOf(ann.person), person: ann.person };
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const other = world.timelines.rebuild(reader, async () => {
      await gate;
      return { ids: [], exactFrom: 0n as never };
    });
    expect(idsOf(await get('/api/v1/timelines/home'))).toEqual(all);
    release();
    await other;
    const { read } = world.timelines;
    world.timelines.read = () => Promise.reject(new Error('away'));
    expect(idsOf(await get('/api/v1/timelines/home'))).toEqual(all);
    world.timelines.read = read;
  });

  it('answers 503 in JSON when microblog is away, and is well again afterwards', async () => {
    const all = posts(1);
    world.services.failing.add('microblog.snapshot');
    const away = await get('/api/v1/timelines/home');
    expect([away.statusCode, Object.keys(away.json() as object)]).toEqual([503, ['error']]);
    world.services.failing.clear();
    expect(idsOf(await get('/api/v1/timelines/home'))).toEqual(all);
  });

  it('wants a good token with the scope', async () => {
    const anonymous = await world.app.fastify.inject({ method: 'GET', url: '/api/v1/timelines/home', headers: { host: 'localhost' } });
    expect(anonymous.statusCode).toBe(401);
    expect((await get('/api/v1/timelines/home', 'wrong')).statusCode).toBe(401);
    expect((await get('/api/v1/timelines/home', world.services.person(['write']).token)).statusCode).toBe(403);
    world.services.roles.delete(`${ann.person}/${ann.microblog}`);
    expect((await get('/api/v1/timelines/home')).statusCode).toBe(401);
  });

  it.each(['limit=-1', 'limit=1e9', 'limit=x', 'max_id=0', 'max_id=99999999999999999999999', 'min_id=abc', 'since_id=-5', 'min_id=0&max_id=0', 'max_id[]=1'])('takes any value: %s', async (query) => {
    posts(2);
    const answer = await get(`/api/v1/timelines/home?${query}`);
    expect(answer.statusCode).toBe(200);
    expect(Array.isArray(answer.json())).toBe(true);
  });
});

describe('a log that is merged when reading', () => {
  /** Every page from the top down, and up again from the bottom. */
  async function walk(reader: FakePerson, limit: number): Promise<{ readonly down: string[][]; readonly up: string[][] }> {
    const [down, up]: [string[][], string[][]] = [[], []];
    for (let path: string | undefined = `/api/v1/timelines/home?limit=${limit}`; path !== undefined; ) {
      const page = await get(path, reader.token);
      down.push(idsOf(page));
      path = linkOf(page, 'next');
    }
    for (let path: string | undefined = `/api/v1/timelines/home?limit=${limit}&min_id=${down.at(-1)?.at(-1) ?? 1}`; path !== undefined; ) {
      const page = await get(path, reader.token);
      if (idsOf(page).length > 0) up.push(idsOf(page));
      path = linkOf(page, 'prev');
    }
    return { down, up };
  }

  // Merging only what is newer than the switch, or not cutting where either side ends, makes other pages.
  it('makes the same pages as one that is pushed, with follows, ends of follows and late entries', { timeout: 60_000 }, async () => {
    const pushed = world.services.person();
    const merged = world.services.person();
    const logs = Array.from({ length: 4 }, () => world.services.log());
    const crowded = logs[0]!;
    const both = [pushed, merged];
    const readerOf = ({ person }: FakePerson) => ({ shard: shardOf(person), person });
    const late: (() => Promise<void>)[] = [];
    for (const reader of both) for (const log of logs.slice(0, 3)) reader.home.add(log.log);
    for (const reader of both) await get('/api/v1/timelines/home', reader.token);
    let state = 7;
    const below = (bound: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff) % bound;
    for (let step = 0; step < 2_500; step++) {
      const log = logs[below(3) === 0 ? 0 : below(4)]!;
      const id = world.services.append(log, below(9) === 0 ? 'edit' : 'post').id;
      const push = async (): Promise<void> => {
        const entry = log.entries.find((each) => each.id === id);
        if (entry?.kind !== 1) return;
        for (const reader of both) {
          if (reader.home.has(log.log) && !(reader === merged && log === crowded)) await world.timelines.push(0, BigInt(step), [{ ids: [id], readers: [readerOf(reader)] }]);
        }
      };
      if (below(10) === 0) late.push(push);
      else await push();
      if (below(20) === 0) for (const waiting of late.splice(0)) await waiting();
      if (below(300) === 0) {
        const other = logs[below(4)]!;
        for (const reader of both) {
          if (!reader.home.delete(other.log)) reader.home.add(other.log);
          await world.timelines.remove([readerOf(reader)]);
          await get('/api/v1/timelines/home', reader.token);
        }
      }
    }
    for (const waiting of late) await waiting();
    for (const reader of both.filter(({ home }) => !home.has(crowded.log))) {
      reader.home.add(crowded.log);
      await world.timelines.remove([readerOf(reader)]);
    }
    const expected = { 20: await walk(pushed, 20), 40: await walk(pushed, 40) };
    expect(expected[40].down.flat()).toHaveLength(new Set(expected[40].down.flat()).size);

    world.services.merged.add(crowded.log);
    world.services.asked.clear();
    // Which logs are merged is known for a second.
    for (const end = Date.now() + 10_000; Date.now() < end && !world.services.asked.has('microblog.snapshot of merged logs'); ) await get('/api/v1/timelines/home', merged.token);
    for (const limit of [20, 40] as const) expect(await walk(merged, limit)).toEqual(expected[limit]);
    world.services.merged.clear();
  });

  it('is read from Postgres while nobody says which logs are merged', async () => {
    const all = posts(3);
    await get('/api/v1/timelines/home');
    const unpushed = posts(1);
    world.services.failing.add('microblog.merged-logs');
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    expect(idsOf(await get('/api/v1/timelines/home'))).toEqual([...unpushed, ...all]);
  });
});

describe('/api/v1/markers', () => {
  it('answers every timeline asked for, set or not', async () => {
    const none = await get('/api/v1/markers?timeline[]=notifications');
    expect(none.json()).toEqual({ notifications: { last_read_id: '0', version: 0, updated_at: '1970-01-01T00:00:00.000Z' } });
    expect((await get('/api/v1/markers')).json()).toEqual({});
    expect((await get('/api/v1/markers?timeline=home&timeline[]=x')).statusCode).toBe(200);
  });

  it('keeps what was set, by JSON and by form, and counts versions', async () => {
    const set = await post('/api/v1/markers', { home: { last_read_id: '9223372036854775807' } });
    expect(set.json()).toMatchObject({ home: { last_read_id: '9223372036854775807', version: 1 } });
    const again = await post('/api/v1/markers', 'home[last_read_id]=5&notifications[last_read_id]=7', ann.token, 'application/x-www-form-urlencoded');
    expect(again.json()).toMatchObject({ home: { last_read_id: '5', version: 2 }, notifications: { last_read_id: '7', version: 1 } });
    expect((await get('/api/v1/markers?timeline[]=home&timeline[]=notifications')).json()).toMatchObject({ home: { last_read_id: '5', version: 2 }, notifications: { last_read_id: '7' } });
  });

  it('keeps those of each token of a person apart by its microblog, and forgets a person who is removed', async () => {
    await post('/api/v1/markers', { home: { last_read_id: '5' } });
    const bob = world.services.person();
    expect((await get('/api/v1/markers?timeline[]=home', bob.token)).json()).toMatchObject({ home: { last_read_id: '0' } });
    await world.events.tell({ shard: shardOf(ann.person), person: ann.person, what: 'removed', microblog: null });
    expect((await get('/api/v1/markers?timeline[]=home')).json()).toMatchObject({ home: { last_read_id: '0' } });
  });

  it('refuses what is no id and stores nothing', async () => {
    for (const last_read_id of ['x', '-1', '9223372036854775808', '', { a: 1 }, null]) {
      const answer = await post('/api/v1/markers', { home: { last_read_id } });
      expect([answer.statusCode, typeof (answer.json() as { error: string }).error]).toEqual([422, 'string']);
    }
    expect((await get('/api/v1/markers?timeline[]=home')).json()).toMatchObject({ home: { version: 0 } });
    expect((await post('/api/v1/markers', {})).json()).toEqual({});
  });
});

describe('what is empty here', () => {
  it.each(['/api/v1/lists', '/api/v2/filters', '/api/v1/followed_tags'])('%s', async (path) => {
    const answer = await get(path);
    expect([answer.statusCode, answer.json()]).toEqual([200, []]);
  });
});
