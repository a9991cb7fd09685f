import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstHeadHash, newMicroblogId, newPersonId, nextHeadHash, parseBody, type PostId } from '@dmb/protocol';
import { createEntry, newObjectId } from '@dmb/protocol';
import { firstFacets } from '../src/commands/microblogs.ts';
import { domainId, World, type Somebody } from './service.ts';

let world: World;
const contents = async (ids: readonly PostId[]): Promise<string[]> => {
  const rows = await world.microblog.stores.entries.byIds(ids);
  return rows.map(({ body }) => {
    const parsed = body === null ? undefined : parseBody('post', body);
    return parsed?.result === 'body' ? parsed.body.content : '-';
  });
};
let count = 0;
const somebody = (): Promise<Somebody> => world.signUp(`person_${++count}`);

beforeAll(async () => {
  world = await World.create();
  await world.microblog.start();
});
afterAll(async () => world.drop());

describe('signing up', () => {
  it('reserves, creates and confirms, each of them again the same', async () => {
    const [person, microblog] = [newPersonId(), newMicroblogId()];
    const create = { domain: domainId, microblog, handle: 'again', reservation: 'r1', owner: person, personal: true, title: 'Again', locale: 'en' };
    await expect(world.calls.call('microblog.create', create)).rejects.toMatchObject({ kind: 'conflict' });
    for (let i = 0; i < 2; i++) {
      expect(await world.calls.call('microblog.reserve-handle', { domain: domainId, handle: 'again', reservation: 'r1' })).toEqual({ outcome: 'reserved' });
    }
    expect(await world.calls.call('microblog.reserve-handle', { domain: domainId, handle: 'again', reservation: 'r2' })).toEqual({ outcome: 'taken' });
    for (let i = 0; i < 2; i++) await world.calls.call('microblog.create', create);
    expect(await world.microblog.stores.microblogs.byHandle(domainId, 'again')).toBeUndefined();
    expect(await world.microblog.stores.microblogs.search(domainId, 'aga', 10)).toEqual([]);
    for (let i = 0; i < 2; i++) {
      expect(await world.calls.call('microblog.confirm-handle', { domain: domainId, handle: 'again', reservation: 'r1', microblog })).toEqual({ confirmed: true });
    }
    expect(await world.microblog.stores.microblogs.byHandle(domainId, 'again')).toMatchObject({ id: microblog, personalOf: person, title: 'Again' });
    expect((await world.microblog.stores.microblogs.search(domainId, 'aga', 10)).map(({ id }) => id)).toEqual([microblog]);
    expect((await world.happenings(microblog)).map(({ what }) => what)).toEqual(['contributor-changed', 'follow-accepted']);
    expect(await world.calls.call('microblog.contributions', { person })).toMatchObject({ contributions: [{ microblog, role: 'owner', personal: true }] });
    expect(await world.calls.call('microblog.role', { person, microblog })).toEqual({ role: 'owner' });
    expect(await world.calls.call('microblog.role', { person: newPersonId(), microblog })).toBeNull();
    expect(Object.fromEntries((await world.microblog.stores.microblogs.facets([microblog])).get(microblog) ?? [])).toEqual(firstFacets);
  });

  it('refuses handles that are none, taken, or reserved for nobody', async () => {
    const ask = async (handle: string): Promise<string> => (await world.calls.call('microblog.reserve-handle', { domain: domainId, handle, reservation: 'x' })).outcome;
    expect(await Promise.all(['UPPER', '', 'a'.repeat(31), 'sp ace', 'admin', 'api'].map(ask))).toEqual(['invalid', 'invalid', 'invalid', 'invalid', 'reserved-name', 'reserved-name']);
  });

  it('gives a handle that was not confirmed in time to the next one', async () => {
    await world.calls.call('microblog.reserve-handle', { domain: domainId, handle: 'slow', reservation: 'first' });
    await world.all(`UPDATE handle SET reserved_until = now() - interval '1 s' WHERE handle = 'slow'`);
    expect(await world.calls.call('microblog.reserve-handle', { domain: domainId, handle: 'slow', reservation: 'second' })).toEqual({ outcome: 'reserved' });
    expect(await world.calls.call('microblog.confirm-handle', { domain: domainId, handle: 'slow', reservation: 'first', microblog: newMicroblogId() })).toEqual({ confirmed: false });
  });

  it('lets the person follow their own microblog, neither shown nor counted', async () => {
    const anna = await somebody();
    await world.post(anna, 'mine');
    const home = await world.calls.call('microblog.snapshot', { person: anna.person, before: null, limit: 20 });
    expect(await contents(home.ids)).toEqual(['mine']);
    expect(await world.microblog.stores.grants.followers(anna.microblog, { limit: 10 })).toEqual([]);
    expect(await world.microblog.stores.grants.following(anna.microblog, { limit: 10 })).toEqual([]);
    expect((await world.microblog.stores.microblogs.statistics([anna.microblog])).get(anna.microblog)?.followers).toBe(0n);
  });
});

describe('a home read from Postgres', () => {
  it('is exact from any place, downwards and upwards, over many logs', async () => {
    const [reader, ...writers] = await Promise.all(Array.from({ length: 5 }, somebody));
    if (reader === undefined) throw new Error('nobody');
    for (const writer of writers) await world.microblog.commands.follows.follow(reader, writer.microblog);
    await world.microblog.drain();
    // One writes much, the others now and then.
    const written: PostId[] = [];
    const ofFirst = new Set<PostId>();
    for (let nth = 0; nth < 90; nth++) {
      const writer = writers[nth % 7 === 0 ? nth % writers.length : 0];
      if (writer === undefined) continue;
      const { id } = await world.post(writer, `number ${nth}`, { audience: nth % 5 === 0 ? 'followers' : 'public' });
      written.push(id);
      if (writer === writers[0]) ofFirst.add(id);
    }
    const all = written.toSorted((a, b) => (a > b ? -1 : 1));
    const { person } = reader;
    for (const limit of [1, 3, 20, 200]) {
      for (const place of [0, 1, 7, 45, 88, 89].map((index) => all[index] as PostId)) {
        const [down, up] = await Promise.all([
          world.calls.call('microblog.snapshot', { person, before: place, limit }),
          world.calls.call('microblog.snapshot', { person, before: null, above: place, limit }),
        ]);
        expect(down.ids).toEqual(all.filter((id) => id < place).slice(0, limit));
        expect(up).toEqual({ ids: all.filter((id) => id > place).slice(-limit), exactFrom: place });
      }
    }
    const [writer] = writers;
    if (writer === undefined) throw new Error('nobody');
    const own = all.filter((id) => ofFirst.has(id));
    const { public: publicLog } = await world.logs(writer.microblog);
    expect((await world.calls.call('microblog.snapshot', { person, before: null, above: own.at(-1) as PostId, limit: 9, only: [publicLog.log] })).ids).toHaveLength(9);
    expect((await world.calls.call('microblog.own-posts', { microblog: writer.microblog, before: null, above: own.at(-1) as PostId, limit: 9 })).ids).toEqual(own.slice(-10, -1));
  });
});

describe('following', () => {
  it('an open microblog takes effect at once, and again changes nothing', async () => {
    const [anna, ben] = [await somebody(), await somebody()];
    const first = await world.microblog.commands.follows.follow(ben, anna.microblog);
    expect(first).toMatchObject({ following: true, requested: false, followersLog: 'active' });
    const told = (await world.happenings(anna.microblog)).length;
    expect(await world.microblog.commands.follows.follow(ben, anna.microblog)).toEqual(first);
    expect((await world.happenings(anna.microblog)).length).toBe(told);
    expect((await world.microblog.stores.microblogs.statistics([anna.microblog])).get(anna.microblog)?.followers).toBe(1n);
    expect((await world.microblog.stores.grants.followers(anna.microblog, { limit: 10 })).map(({ microblog }) => microblog)).toEqual([ben.microblog]);
    await world.microblog.drain();
    expect((await world.microblog.stores.grants.following(ben.microblog, { limit: 10 })).map(({ microblog }) => microblog)).toEqual([anna.microblog]);
    expect((await world.microblog.stores.microblogs.followingCounts([ben.microblog])).get(ben.microblog)).toBe(1n);
    await world.post(anna, 'for followers', { audience: 'followers' });
    await world.post(anna, 'for all');
    const home = await world.calls.call('microblog.snapshot', { person: ben.person, before: null, limit: 20 });
    expect(await contents(home.ids)).toEqual(['for all', 'for followers']);
    expect(await world.microblog.commands.follows.unfollow(ben, anna.microblog)).toMatchObject({ following: false, requested: false });
    expect((await world.microblog.stores.microblogs.statistics([anna.microblog])).get(anna.microblog)?.followers).toBe(0n);
    // Grants decide at once, before the projection has heard of it.
    expect((await world.calls.call('microblog.snapshot', { person: ben.person, before: null, limit: 20 })).ids).toEqual([]);
    await world.microblog.drain();
    expect(await world.microblog.stores.grants.following(ben.microblog, { limit: 10 })).toEqual([]);
  });

  it('many times at once is once', async () => {
    const [anna, ...others] = await Promise.all(Array.from({ length: 6 }, somebody));
    if (anna === undefined) throw new Error('nobody');
    await Promise.all(others.flatMap((other) => [1, 2, 3].map(() => world.microblog.commands.follows.follow(other, anna.microblog))));
    expect((await world.microblog.stores.microblogs.statistics([anna.microblog])).get(anna.microblog)?.followers).toBe(5n);
    expect((await world.happenings(anna.microblog)).filter(({ what }) => what === 'follow-accepted').length).toBe(6);
  });

  it('a locked microblog is asked; its owner decides, and decides once', async () => {
    const [anna, ben, cleo] = [await somebody(), await somebody(), await somebody()];
    await world.microblog.commands.microblogs.updateProfile(anna, { locked: true, summary: 'ask first' });
    expect(await world.microblog.commands.follows.follow(ben, anna.microblog)).toMatchObject({ following: false, requested: true });
    await world.microblog.commands.follows.follow(cleo, anna.microblog);
    expect(await world.microblog.stores.grants.followRequestsCount(anna.microblog)).toBe(2n);
    const requests = await world.microblog.stores.grants.followRequests(anna.microblog, { limit: 10 });
    expect(requests.map(({ microblog }) => microblog)).toEqual([cleo.microblog, ben.microblog]);
    await expect(world.microblog.commands.follows.authorize({ ...ben, microblog: anna.microblog }, ben.microblog)).rejects.toMatchObject({ kind: 'forbidden' });
    expect(await world.microblog.commands.follows.authorize(anna, ben.microblog)).toMatchObject({ followedBy: true, requestedBy: false });
    expect(await world.microblog.commands.follows.authorize(anna, ben.microblog)).toMatchObject({ followedBy: true });
    expect(await world.microblog.commands.follows.reject(anna, cleo.microblog)).toMatchObject({ followedBy: false, requestedBy: false });
    expect((await world.happenings(anna.microblog)).map(({ what }) => what)).toEqual(['contributor-changed', 'follow-accepted', 'follow-asked', 'follow-asked', 'follow-accepted', 'follow-rejected']);
    expect(await world.microblog.commands.follows.relations(ben, [anna.microblog])).toMatchObject([{ following: true, requested: false }]);
    expect(await world.microblog.commands.follows.removeFollower(anna, ben.microblog)).toMatchObject({ followedBy: false });
    expect(await world.microblog.commands.follows.relations(ben, [anna.microblog])).toMatchObject([{ following: false, requested: false }]);
  });

  it('is refused to groups, towards oneself, and towards what is not there', async () => {
    const anna = await somebody();
    const group = await world.signUp('a_group', { person: anna.person, personal: false });
    await expect(world.microblog.commands.follows.follow(group, anna.microblog)).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(world.microblog.commands.follows.follow(anna, anna.microblog)).rejects.toMatchObject({ kind: 'forbidden' });
    await expect(world.microblog.commands.follows.follow(anna, newMicroblogId())).rejects.toMatchObject({ kind: 'not-found' });
    expect((await world.calls.call('microblog.contributions', { person: anna.person })).contributions.map(({ personal }) => personal)).toEqual([true, false]);
  });
});

describe('posts', () => {
  it('are counted, hashed and threaded, and mentions and replies are told', async () => {
    const [anna, ben] = [await somebody(), await somebody()];
    const post = await world.entry(await world.post(anna, 'hello @ben', { mentions: [ben] }));
    const reply = await world.entry(await world.post(ben, 'hello', { replyTo: post }));
    await world.post(ben, 'psst', { audience: 'direct', mentions: [anna] });
    await world.microblog.drain();
    expect((await world.happenings(ben.microblog)).at(-1)).toMatchObject({ what: 'mention', actor: { id: anna.microblog }, post: { id: post.objectId, number: 1 } });
    expect((await world.happenings(anna.microblog)).slice(-2).map(({ what }) => what).sort()).toEqual(['mention', 'reply']);
    const logs = await world.microblog.stores.microblogs.logsOf(ben.microblog);
    const [row] = logs === undefined ? [] : await world.microblog.stores.entries.happenings(logs.own, { limit: 1 }, ['mention']);
    expect(row).toMatchObject({ replyTo: post.id, replyToMicroblog: anna.microblog });
    expect((await world.microblog.stores.entries.replies([post.id])).get(post.id)).toEqual([reply.id]);
    expect((await world.microblog.stores.entries.replyCounts([post.id])).get(post.id)).toBe(1n);
    const statistics = await world.microblog.stores.microblogs.statistics([anna.microblog, ben.microblog]);
    expect(statistics.get(anna.microblog)).toMatchObject({ posts: 1n, lastPostAt: expect.any(Date) as Date });
    expect(statistics.get(ben.microblog)).toMatchObject({ posts: 1n });
    expect((await world.microblog.stores.entries.byObject(post.objectId))?.id).toBe(post.id);
  });

  it('for followers are told only to those who may see them', async () => {
    const [anna, ben, cleo] = [await somebody(), await somebody(), await somebody()];
    await world.microblog.commands.follows.follow(ben, anna.microblog);
    await world.post(anna, 'hello', { audience: 'followers', mentions: [ben, cleo] });
    await world.microblog.drain();
    expect((await world.happenings(ben.microblog)).map(({ what }) => what)).toContain('mention');
    expect((await world.happenings(cleo.microblog)).map(({ what }) => what)).not.toContain('mention');
  });

  it('have head hashes in order', async () => {
    const anna = await somebody();
    for (let i = 0; i < 5; i++) await world.post(anna, `${i}`);
    await world.microblog.drain();
    const logs = await world.microblog.stores.microblogs.logsOf(anna.microblog);
    if (logs === undefined) throw new Error('no logs');
    let hash = firstHeadHash(logs.public.originLog, logs.public.epoch);
    const rows = await world.all<{ number: bigint; envelope: Buffer; hash: Buffer }>('SELECT number, envelope, hash FROM entry JOIN log_hash USING (log_shard, log_id, epoch_no, number) WHERE log_id = $1 ORDER BY number', [logs.public.log]);
    expect(rows.length).toBe(5);
    for (const row of rows) {
      hash = nextHeadHash(hash, row.number, row.envelope);
      expect(row.hash.equals(hash)).toBe(true);
    }
  });

  it('are edited and deleted by who may, and a deleted one leaves no text', async () => {
    const [anna, ben] = [await somebody(), await somebody()];
    const parent = await world.entry(await world.post(ben, 'parent'));
    const post = await world.entry(await world.post(anna, 'frist', { replyTo: parent }));
    await expect(world.microblog.commands.entries.edit(ben, post, { type: 'Note', content: 'hacked' })).rejects.toMatchObject({ kind: 'not-found' });
    await expect(world.microblog.commands.entries.delete({ ...ben, microblog: anna.microblog }, post)).rejects.toMatchObject({ kind: 'forbidden' });
    const mention = { type: 'Mention', name: `@${ben.handle}@dmb.test`, href: 'https://dmb.test/@b' };
    await world.microblog.commands.entries.edit(anna, post, { type: 'Note', content: 'first', tag: [mention] });
    await world.microblog.commands.entries.edit(anna, post, { type: 'Note', content: 'First', tag: [mention] });
    await world.microblog.drain();
    expect(await contents([post.id])).toEqual(['First']);
    expect((await world.entry(post)).editedAt).not.toBeNull();
    expect((await world.microblog.stores.entries.versions(post)).length).toBe(3);
    expect((await world.happenings(ben.microblog)).filter(({ what }) => what === 'mention').length).toBe(1);
    expect((await world.microblog.stores.entries.replyCounts([parent.id])).get(parent.id)).toBe(1n);
    await world.microblog.commands.entries.delete(anna, post);
    await expect(world.microblog.commands.entries.delete(anna, post)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(world.microblog.commands.entries.edit(anna, post, { type: 'Note', content: 'back' })).rejects.toMatchObject({ kind: 'not-found' });
    await world.microblog.drain();
    expect((await world.entry(post)).body).toBeNull();
    expect((await world.microblog.stores.entries.versions(post)).every(({ body }) => body === null)).toBe(true);
    expect((await world.microblog.stores.microblogs.statistics([anna.microblog])).get(anna.microblog)?.posts).toBe(0n);
    expect((await world.microblog.stores.entries.replyCounts([parent.id])).get(parent.id)).toBeUndefined();
    const logs = await world.microblog.stores.microblogs.logsOf(anna.microblog);
    if (logs === undefined) throw new Error('no logs');
    expect(await world.microblog.stores.entries.ofLogs([logs.public], { limit: 10 })).toEqual([]);
    const answer = await world.calls.call('microblog.entries', { shard: logs.public.shard, log: logs.public.log, epochNo: 1, after: 0n, limit: 10 });
    expect(answer.entries.map(({ kind, about, body }) => [kind, about, body === null])).toEqual([[1, null, true], [2, 1n, true], [2, 1n, true], [3, 1n, false]]);
    expect(answer.head).toBe(4n);
  });

  it('are listed only if public and listed, and pages lead to each of them once', async () => {
    const anna = await somebody();
    const ids: PostId[] = [];
    for (let i = 0; i < 7; i++) ids.unshift((await world.post(anna, `${i}`)).id);
    await world.post(anna, 'unlisted', { listed: false });
    const seen: PostId[] = [];
    for (let before: PostId | undefined; ; ) {
      const page = await world.microblog.stores.entries.publicTimeline(domainId, { limit: 3, ...(before === undefined ? {} : { before }) });
      seen.push(...page.filter(({ microblog }) => microblog === anna.microblog).map(({ id }) => id));
      before = page.at(-1)?.id;
      if (before === undefined) break;
    }
    expect(seen).toEqual(ids);
    const [oldest] = ids.slice(-1);
    if (oldest === undefined) throw new Error('no post');
    const above = await world.microblog.stores.entries.publicTimeline(domainId, { limit: 2, min: oldest });
    expect(above.map(({ id }) => id)).toEqual(ids.slice(-3, -1));
  });

  it('with a body that makes no sense have no effect and do not stop the log', async () => {
    const anna = await somebody();
    const logs = await world.microblog.stores.microblogs.logsOf(anna.microblog);
    if (logs === undefined) throw new Error('no logs');
    const objectId = newObjectId(logs.public.shard);
    const entry = createEntry('post', objectId, Date.now(), { type: 'Note', content: 'x' });
    await world.microblog.appender.append({ ...entry, body: Buffer.from('{"nonsense'), log: { shard: logs.public.shard, log: logs.public.log, epochNo: 1 }, kind: 'post' });
    await world.post(anna, 'after');
    await world.microblog.drain();
    expect(await world.all('SELECT * FROM parked')).toEqual([]);
  });
});

describe('home from Postgres', () => {
  it('is exact down to its oldest id, page by page, however many logs and posts there are', async () => {
    const reader = await somebody();
    const followed = await Promise.all(Array.from({ length: 12 }, somebody));
    await Promise.all(followed.map((each) => world.microblog.commands.follows.follow(reader, each.microblog)));
    await world.microblog.drain();
    // One writes much more than the others: more than a first look finds.
    const posts: PostId[] = [];
    for (let i = 0; i < 120; i++) {
      const author = i % 3 === 0 ? followed[i % 12] : followed[0];
      if (author !== undefined) posts.unshift((await world.post(author, `${i}`, { audience: i % 5 === 0 ? 'followers' : 'public' })).id);
    }
    posts.sort((a, b) => (a > b ? -1 : 1));
    const seen: PostId[] = [];
    for (let before: PostId | null = null; ; ) {
      const { ids, exactFrom }: { readonly ids: readonly PostId[]; readonly exactFrom: PostId } = await world.calls.call('microblog.snapshot', { person: reader.person, before, limit: 25 });
      seen.push(...ids);
      expect(exactFrom).toBe(ids.length < 25 ? 0n : ids.at(-1));
      if (ids.length < 25) break;
      before = ids.at(-1) ?? null;
    }
    expect(seen).toEqual(posts);
    const own = await world.calls.call('microblog.own-posts', { microblog: followed[0]?.microblog ?? reader.microblog, before: null, limit: 800 });
    expect(own.ids.length).toBe(90);
  });

  it('respects from where on a follower may see', async () => {
    const [anna, ben] = [await somebody(), await somebody()];
    await world.all(`UPDATE microblog SET history = 'since-accept' WHERE microblog_id = $1`, [anna.microblog]);
    await world.post(anna, 'before', { audience: 'followers' });
    await world.microblog.commands.follows.follow(ben, anna.microblog);
    await world.post(anna, 'after', { audience: 'followers' });
    await world.microblog.drain();
    const home = await world.calls.call('microblog.snapshot', { person: ben.person, before: null, limit: 20 });
    expect(await contents(home.ids)).toEqual(['after']);
  });
});

describe('calls', () => {
  it('listening tells followed logs and the own log, and null once the role is over', async () => {
    const [anna, ben] = [await somebody(), await somebody()];
    await world.microblog.commands.follows.follow(ben, anna.microblog);
    await world.microblog.drain();
    const asker = { kind: 'person' as const, ...ben, scopes: ['read'] };
    const logs = await world.microblog.stores.microblogs.logsOfMany([anna.microblog, ben.microblog]);
    const listening = await world.calls.call('microblog.listening', { asker });
    expect(new Set(listening?.home)).toEqual(new Set([...logs.values()].flatMap((four) => [four.public.log, four.followers.log])));
    expect(listening).toMatchObject({ notifications: logs.get(ben.microblog)?.own.log, personal: true });
    await world.all('DELETE FROM contributor WHERE microblog_id = $1', [ben.microblog]);
    expect(await world.calls.call('microblog.listening', { asker })).toBeNull();
  });

  it('roles tells each in the order asked, repeated and unknown ones included, and refuses too many', async () => {
    const [anna, ben] = [await somebody(), await somebody()];
    const contributions = [anna, { ...anna, microblog: ben.microblog }, ben, { person: newPersonId(), microblog: anna.microblog }, anna].map(({ person, microblog }) => ({ person, microblog }));
    expect(await world.calls.call('microblog.roles', { contributions })).toEqual({ roles: ['owner', null, 'owner', null, 'owner'] });
    expect(await world.calls.call('microblog.roles', { contributions: [] })).toEqual({ roles: [] });
    await expect(world.calls.call('microblog.roles', { contributions: Array.from({ length: 1_001 }, () => ({ person: anna.person, microblog: anna.microblog })) })).rejects.toMatchObject({ kind: 'bug' });
    const tooMany = Array.from({ length: 1_001 }, () => ({ asker: { kind: 'person' as const, ...anna, scopes: ['read'] }, ids: [] }));
    await expect(world.calls.call('microblog.present-live', { asks: tooMany })).rejects.toMatchObject({ kind: 'bug' });
  });

  it('present-live reads posts once for all askers, and is in the order that each asks for', async () => {
    const [anna, ben, carl] = [await somebody(), await somebody(), await somebody()];
    await world.microblog.commands.follows.follow(ben, anna.microblog);
    await world.microblog.drain();
    const [first, second] = [(await world.post(anna, 'one')).id, (await world.post(anna, 'two')).id];
    const asks = [ben, carl, anna, ben].map((who, place) => ({ asker: { kind: 'person' as const, ...who, scopes: ['read'] }, ids: place === 3 ? [second, first] : [first, second] }));
    const { statuses, seen } = await world.calls.call('microblog.present-live', { asks });
    expect(seen.map((places) => places.map((place) => statuses[place]?.id))).toEqual([[String(first), String(second)], [], [String(first), String(second)], [String(second), String(first)]]);
    expect(statuses).toHaveLength(2);
  });

  it('heads tells every log once', async () => {
    const found: string[] = [];
    let databases = 1;
    for (let database = 0; database < databases; database++) {
      const answer = await world.calls.call('microblog.heads', { database, after: null });
      databases = answer.databases;
      found.push(...answer.logs.map(({ log }) => log));
    }
    const [logs] = await world.all<{ count: bigint }>('SELECT count(*) AS count FROM log');
    expect(found.length).toBeGreaterThanOrEqual(Number(logs?.count));
    expect(new Set(found).size).toBe(found.length);
  });
});
