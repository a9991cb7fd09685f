import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Asker } from '@dmb/events';
import { newId, type PostId } from '@dmb/protocol';
import { Calls, silentLogger } from '@dmb/runtime';
import { Microblog } from '../src/microblog.ts';
import { Writes } from '../src/store/writes.ts';
import { domain, World, type Somebody } from './service.ts';

let world: World;
/** The only process on the databases. */
let alone: Microblog;
let reader: Somebody;
let author: Somebody;

beforeAll(async () => {
  world = await World.create();
  await world.microblog.stop();
  const calls = new Calls();
  alone = new Microblog({ config: { appendLanes: 2 }, databases: world.databases, calls, eventLog: world.eventLog, logger: silentLogger, domain, isAlone: () => true });
  world.calls = calls;
  world.microblog = alone;
  reader = await world.signUp('reader');
  author = await world.signUp('author');
  await alone.start();
  await alone.commands.follows.follow(reader, author.microblog);
  await alone.drain();
});
afterAll(async () => world.drop());

const askerOf = (somebody: Somebody): Asker => ({ kind: 'person', domain: somebody.domain, person: somebody.person, microblog: somebody.microblog, scopes: ['read'] });
const home = async (...ids: readonly PostId[]) => alone.presenter.statuses(askerOf(reader), ids, 'home');

describe('a page of home that is kept', () => {
  it('is the same while nothing is written', async () => {
    const { id } = await world.post(author, 'one');
    await alone.drain();
    const first = await home(id);
    expect(first.statuses).toHaveLength(1);
    expect(await home(id)).toBe(first);
  });

  // Each of these would be shown as it was before if pages were kept for a time alone.
  it('shows at once what was edited, deleted, answered, and whom one follows no more', async () => {
    const { id } = await world.post(author, 'before');
    await alone.drain();
    const text = async () => (await home(id)).statuses[0]?.content;
    expect(await text()).toContain('before');
    await alone.commands.entries.edit(author, await world.entry({ id }), { type: 'Note', content: 'after' });
    expect(await text()).toContain('after');

    await world.post(reader, 'answer', { replyTo: await world.entry({ id }) });
    await alone.drain();
    expect((await home(id)).statuses[0]?.replies_count).toBe(1);

    await alone.commands.follows.unfollow(reader, author.microblog);
    expect((await home(id)).statuses).toHaveLength(0);
    await alone.commands.follows.follow(reader, author.microblog);
    expect((await home(id)).statuses).toHaveLength(1);

    await alone.commands.entries.delete(author, await world.entry({ id }));
    expect((await home(id)).statuses).toHaveLength(0);
  });

  it('is for nobody else', async () => {
    const { id } = await world.post(author, 'private', { audience: 'followers' });
    await alone.drain();
    expect((await home(id)).statuses).toHaveLength(1);
    const stranger = await world.signUp('stranger');
    expect((await alone.presenter.statuses(askerOf(stranger), [id], 'home')).statuses).toHaveLength(0);
    expect((await home(id)).statuses).toHaveLength(1);
  });
});

describe('writes', () => {
  it('are counted however they are made, also those that fail, and reads are not', async () => {
    const writes = new Writes();
    const [database] = writes.observe(world.databases).all;
    if (database === undefined) throw new Error('no database');
    const counts = async (work: () => Promise<unknown>): Promise<boolean> => {
      const before = writes.count;
      await work().catch(() => undefined);
      return writes.count > before;
    };
    const insert = `INSERT INTO cursor (log_shard, log_id, epoch_no, number) VALUES (1, $1, 1, 1)`;
    expect(await counts(() => database.query('SELECT 1 AS one'))).toBe(false);
    expect(await counts(() => database.query(`${insert} RETURNING number`, [newId()]))).toBe(true);
    expect(await counts(() => database.execute(insert, [newId()]))).toBe(true);
    expect(await counts(() => database.execute('UPDATE nothing SET is = here'))).toBe(true);
    expect(await counts(() => database.transaction((tx) => tx.execute(insert, [newId()])))).toBe(true);
    const connection = await database.dedicated(() => undefined);
    expect(await counts(() => connection.query(insert, [newId()]))).toBe(true);
    expect(await counts(() => connection.transaction((tx) => tx.execute(insert, [newId()])))).toBe(true);
    expect(connection.lost).toBeUndefined();
    await connection.close();
    expect(connection.lost).toBeDefined();
    await world.databases.all[0]?.execute('DELETE FROM cursor WHERE log_shard = 1 AND number = 1 AND NOT EXISTS (SELECT FROM log l WHERE l.log_id = cursor.log_id)');
  });
});
