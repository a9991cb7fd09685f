import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogEvent } from '@dmb/event-log';
import { entryRefSchema, type EntryRef } from '@dmb/events';
import type { Database, Databases, Statement, Transaction } from '@dmb/postgres';
import { domainIdOf, type PersonId } from '@dmb/protocol';
import { silentLogger } from '@dmb/runtime';
import { PersonCommands } from '../src/commands/persons.ts';
import { EntryConsumer } from '../src/events/consumer.ts';
import { OutsideEffects } from '../src/events/outside.ts';
import { domain, World, type Somebody } from './service.ts';

let world: World;
let people: Somebody[] = [];

beforeAll(async () => {
  world = await World.create();
});
afterAll(async () => world.drop());

/** The consumer of the service, on these databases, taking part in no event log. */
function newConsumer(databases: Databases = world.databases, followingChanged: (persons: readonly PersonId[]) => Promise<void> = () => Promise.resolve()): EntryConsumer {
  const parts = { followingChanged, databases, appender: world.microblog.appender, microblogs: world.microblog.stores.microblogs, grants: world.microblog.stores.grants, domains: new Map([[domainIdOf(domain), domain]]) };
  return new EntryConsumer({ databases, outside: new OutsideEffects(parts), persons: new PersonCommands(parts), logger: silentLogger });
}

/** Everything that was ever told of, in the order of the outboxes. */
async function events(): Promise<LogEvent[]> {
  const rows = await world.all<{ refs: unknown[]; created: Date }>('SELECT refs, created FROM outbox ORDER BY relay, seq');
  return rows.flatMap(({ refs, created }) =>
    refs.map((ref): LogEvent<'microblog.entry.v1'> => ({ topic: 'microblog.entry.v1', key: '', payload: entryRefSchema.parse(ref), headers: {}, producedAt: created.getTime() })),
  );
}

const ref = (event: LogEvent): EntryRef => event.payload as EntryRef;

/** Events until nothing new is told: happenings that were appended on the way are events too. */
async function consume(consumer: EntryConsumer, order: (all: LogEvent[]) => LogEvent[] = (all) => all): Promise<void> {
  let before = -1;
  for (let all = await events(); all.length > before; all = await events()) {
    before = all.length;
    await consumer.handle(order(all));
  }
}

/** All that the consumer has made, but for what differs each time (ids, salts, times). */
async function made(): Promise<unknown> {
  const [hashes, statistics, replies, following, contributions, cursors, own] = await Promise.all([
    world.all('SELECT log_id, number, hash FROM log_hash ORDER BY log_id, number'),
    world.all('SELECT microblog_id, followers, posts, last_post_at FROM statistics ORDER BY 1'),
    world.all('SELECT parent_id, child_id, is_public FROM reply ORDER BY 1, 2'),
    world.all('SELECT person_id, microblog_id, via, state, sees_followers, shown, is_owner FROM following ORDER BY 1, 2'),
    world.all('SELECT person_id, microblog_id, role FROM contribution ORDER BY 1, 2'),
    world.all('SELECT log_id, epoch_no, number FROM cursor ORDER BY 1, 2'),
    Promise.all(people.map(async ({ microblog }) => (await world.happenings(microblog)).map(({ what, actor, post }) => `${what} ${actor?.handle ?? ''} ${post?.id ?? ''}`).sort())),
  ]);
  return { hashes, statistics, replies: sorted(replies), following: sorted(following), contributions: sorted(contributions), cursors: sorted(cursors), own };
}

const sorted = (rows: readonly object[]): string[] => rows.map((row) => JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))).sort();

/** Forgets what the consumer made and how far it was; what logs say stays. */
async function forget(): Promise<void> {
  for (const database of world.databases.all) await database.execute(`TRUNCATE log_hash, reply, following, contribution, cursor, parked; UPDATE statistics SET posts = 0, last_post_at = NULL`);
}

/** The databases, with one thing that fails when `fails` says so. */
function failing(fails: (what: 'transaction' | 'query', sql: string) => boolean): Databases {
  const check = (what: 'transaction' | 'query', sql: string): void => {
    if (fails(what, sql)) throw new Error('a fault of this test');
  };
  const wrapped = new Map<Database, Database>(
    world.databases.all.map((database) => [
      database,
      new Proxy(database, {
        get(target, property) {
          const value: unknown = Reflect.get(target, property, target);
          if (property === 'transaction') {
            return async (work: (tx: Transaction) => Promise<unknown>) => {
              check('transaction', 'begin');
              const result = await target.transaction(async (tx) => {
                const done = await work(tx);
                check('transaction', 'commit');
                return done;
              });
              check('transaction', 'committed');
              return result;
            };
          }
          if (property === 'execute' || property === 'query') {
            return async (sql: string | Statement, params?: readonly unknown[]) => {
              check('query', typeof sql === 'string' ? sql : sql.text);
              return await target[property](sql, params);
            };
          }
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      }),
    ]),
  );
  const of = (database: Database): Database => wrapped.get(database) ?? database;
  return new Proxy(world.databases, {
    get(target, property) {
      if (property === 'all') return target.all.map(of);
      if (property === 'at') return (shard: number) => of(target.at(shard));
      if (property === 'group') return <T>(items: readonly T[], shardOf: (item: T) => number) => new Map([...target.group(items, shardOf)].map(([database, group]) => [of(database), group]));
      return Reflect.get(target, property, target) as unknown;
    },
  });
}

// Whoever asks at that word and finds the old state believes it until something else happens.
it('says that following has changed when whoever asks finds the change, and not before', async () => {
  const [reader, writer] = [await world.signUp('one_who_reads'), await world.signUp('one_who_writes')];
  await consume(newConsumer());
  const { public: log } = await world.logs(writer.microblog);
  const found: [PersonId, boolean][] = [];
  const consumer = (databases?: Databases) =>
    newConsumer(databases, async (persons) => {
      for (const person of persons) {
        const listening = await world.calls.call('microblog.listening', { asker: { kind: 'person', domain: reader.domain, person, microblog: reader.microblog, scopes: ['read'] } });
        found.push([person, listening?.home.includes(log.log) === true]);
      }
    });
  await world.microblog.commands.follows.follow(reader, writer.microblog);
  await consume(consumer(failing((_, sql) => sql.startsWith('UPDATE following'))));
  expect(found).toEqual([]);
  await world.all('UPDATE parked SET next_attempt = now()');
  await consumer().repair();
  expect(found).toEqual([[reader.person, true]]);
  await world.microblog.commands.follows.unfollow(reader, writer.microblog);
  await consume(consumer());
  expect(found.at(-1)).toEqual([reader.person, false]);
});

describe('the consumer', () => {
  let expected: unknown;

  it('makes its effects from the events', async () => {
    people = await Promise.all(Array.from({ length: 4 }, (_, index) => world.signUp(`person_${index}`)));
    const [anna, ben, cleo, dora] = people;
    if (anna === undefined || ben === undefined || cleo === undefined || dora === undefined) throw new Error('nobody');
    await world.microblog.commands.microblogs.updateProfile(dora, { locked: true });
    for (const other of [ben, cleo]) await world.microblog.commands.follows.follow(other, anna.microblog);
    await world.microblog.commands.follows.follow(anna, dora.microblog);
    await world.microblog.commands.follows.authorize(dora, anna.microblog);
    await world.microblog.commands.follows.follow(ben, dora.microblog);
    await world.microblog.commands.follows.reject(dora, ben.microblog);
    await world.microblog.commands.follows.unfollow(cleo, anna.microblog);
    for (let i = 0; i < 6; i++) {
      const post = await world.entry(await world.post(anna, `post ${i}`, { mentions: [ben, cleo], audience: i % 3 === 2 ? 'followers' : 'public' }));
      const reply = await world.entry(await world.post(ben, `reply ${i}`, { replyTo: post, audience: i % 3 === 2 ? 'followers' : 'public' }));
      if (i === 4) await world.microblog.commands.entries.delete(ben, reply);
      if (i === 3) await world.microblog.commands.entries.edit(anna, post, { type: 'Note', content: 'edited', tag: [{ type: 'Mention', name: '@person_3@dmb.test', href: 'https://dmb.test/@person_3' }] });
    }
    await consume(newConsumer());
    expected = await made();
    // cleo ended the follow: of six posts the two for followers are not for her to hear of.
    expect((await world.happenings(cleo.microblog)).filter(({ what }) => what === 'mention').length).toBe(4);
    expect((await world.happenings(ben.microblog)).filter(({ what }) => what === 'mention').length).toBe(6);
    // ben's answers for his followers are not for anna, who does not follow him.
    expect((await world.happenings(anna.microblog)).filter(({ what }) => what === 'reply').length).toBe(3);
    expect((await world.happenings(dora.microblog)).filter(({ what }) => what === 'mention').length).toBe(1);
    expect(await world.all('SELECT * FROM parked')).toEqual([]);
  });

  // Effects that add instead of set, or happenings without keys, would double here.
  it.each([
    ['the same events again', (all: LogEvent[]) => all],
    ['all of them backwards', (all: LogEvent[]) => all.toReversed()],
    ['only the newest of each log', (all: LogEvent[]) => all.filter((event) => !all.some((other) => ref(other).log === ref(event).log && ref(other).number > ref(event).number))],
    ['each by itself, newest first', (all: LogEvent[]) => all.toSorted((a, b) => Number(ref(b).number - ref(a).number))],
  ])('ends in the same state with %s', async (_, order) => {
    await consume(newConsumer(), order);
    expect(await made()).toEqual(expected);
  });

  it.each([
    ['events', (consumer: EntryConsumer) => consume(consumer)],
    ['events backwards', (consumer: EntryConsumer) => consume(consumer, (all) => all.toReversed())],
    ['the sweep alone, as after a wiped event log', async (consumer: EntryConsumer) => {
      await consumer.sweep();
      await consumer.sweep();
    }],
  ])('makes everything again from the logs by %s', async (_, run) => {
    await forget();
    await run(newConsumer());
    expect(await made()).toEqual(expected);
  });

  it.each(['begin', 'commit', 'committed'])('ends in the same state when it dies at %s, again and again', async (point) => {
    await forget();
    let deaths = 0;
    const dying = newConsumer(failing((what, sql) => what === 'transaction' && sql === point && deaths++ < 12));
    // It is parked, as a crash would leave it to the next event; a new consumer repairs.
    await consume(dying);
    expect(deaths).toBeGreaterThan(0);
    dying.stop();
    await world.all(`UPDATE parked SET next_attempt = now()`);
    const next = newConsumer();
    await next.repair();
    await consume(next);
    next.stop();
    expect(await made()).toEqual(expected);
    expect(await world.all('SELECT * FROM parked')).toEqual([]);
  });

  it('ends in the same state when effects in other shards fail half way', async () => {
    await forget();
    let faults = 0;
    const dying = newConsumer(failing((what, sql) => what === 'query' && /INTO (reply|following)/.test(sql) && faults++ % 2 === 0 && faults < 12));
    await consume(dying);
    dying.stop();
    await world.all(`UPDATE parked SET next_attempt = now()`);
    const next = newConsumer();
    await next.repair();
    await consume(next);
    next.stop();
    expect(await made()).toEqual(expected);
  });

  it('sets one log aside and goes on with the others, and takes it in again when the cause is gone', async () => {
    const [anna, ben] = people;
    if (anna === undefined || ben === undefined) throw new Error('nobody');
    const logs = await world.logs(anna.microblog);
    let isBroken = true;
    const consumer = newConsumer(failing((what, sql) => isBroken && what === 'query' && sql.includes('DELETE FROM reply')));
    const parent = await world.entry(await world.post(ben, 'parent'));
    const bad = await world.entry(await world.post(anna, 'bad', { replyTo: parent }));
    await world.microblog.commands.entries.delete(anna, bad);
    await world.post(ben, 'fine');
    await consume(consumer);
    await world.post(anna, 'waits');
    await consume(consumer);
    const parked = await world.all<{ log_id: string; wanted: bigint; cause: string; attempts: number }>('SELECT log_id, wanted, cause, attempts FROM parked');
    expect(parked.map(({ log_id, attempts }) => [log_id, attempts])).toEqual([[logs.public.log, 1]]);
    // One of the databases has the log.
    const [head] = await world.all<{ number: bigint }>('SELECT max(number) AS number FROM entry WHERE log_id = $1 HAVING count(*) > 0', [logs.public.log]);
    expect(head?.number).toBeGreaterThan(0n);
    expect(parked[0]?.wanted).toBe(head?.number);
    isBroken = false;
    await world.all('UPDATE parked SET next_attempt = now()');
    await consumer.repair();
    consumer.stop();
    expect(await world.all('SELECT * FROM parked')).toEqual([]);
    const behind = await world.all('SELECT e.log_id FROM entry e LEFT JOIN cursor c USING (log_shard, log_id, epoch_no) GROUP BY 1 HAVING max(e.number) > coalesce(max(c.number), 0)');
    expect(behind).toEqual([]);
  });

  it('suspends, restores and closes the microblog of a person', async () => {
    const someone = await world.signUp('someone');
    const consumer = newConsumer();
    await world.post(someone, 'text');
    const tell = (what: 'suspended' | 'restored' | 'removed'): Promise<void> =>
      consumer.handle([{ topic: 'identity.person.v1', key: '', payload: { shard: 0, person: someone.person, what, microblog: null }, headers: {}, producedAt: 0 } as LogEvent<'identity.person.v1'> as unknown as LogEvent]);
    const state = async (): Promise<string | undefined> => (await world.microblog.stores.microblogs.byId(someone.microblog))?.state;
    for (let i = 0; i < 2; i++) await tell('suspended');
    expect(await state()).toBe('suspended');
    expect(await world.microblog.stores.microblogs.role(someone.person, someone.microblog)).toBeUndefined();
    await tell('restored');
    expect(await state()).toBe('active');
    for (let i = 0; i < 2; i++) await tell('removed');
    expect(await state()).toBe('closed');
    expect(await world.all('SELECT e.kind FROM entry e JOIN log l USING (log_shard, log_id) WHERE l.microblog_id = $1 AND e.body IS NOT NULL', [someone.microblog])).toEqual([{ kind: 7 }]);
  });
});
