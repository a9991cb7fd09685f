import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { IdSource, makePostId, newId, newObjectId, postIdShard, type PostId } from '@dmb/protocol';
import type { Database, DedicatedConnection, Databases, Statement } from '@dmb/postgres';
import { AppError } from '@dmb/runtime';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { Appender, deleteExpiredKeys, type AppenderOptions } from '../src/append/appender.ts';
import type { Appended, AppendRequest } from '../src/domain/model.ts';
import { appendLimits } from '../src/limits.ts';
import { microblogMigrations } from '../src/migrations.ts';
import { faults, makeLogs, postFor, storedEntries, type TestLog } from './logs.ts';

let test: TestDatabases;
let databases: Databases;
const open: Appender[] = [];

beforeAll(async () => {
  test = await createTestDatabases();
  databases = await test.openMigrated('microblog', await microblogMigrations());
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((appender) => appender.close()));
  for (const database of databases.all) await database.execute('TRUNCATE log, epoch, entry, append_key, outbox');
});
afterAll(async () => test.drop());

/** An appender that takes no turns, so that numbers alone decide, unless told otherwise. */
function newAppender(options: Partial<AppenderOptions> = {}): Appender {
  const appender = new Appender({ databases, ids: new IdSource(), lanes: 2, committed: () => undefined, contendedMs: 0, ...options });
  open.push(appender);
  return appender;
}

/** A generator of 32 bits that repeats itself for a seed. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function nothing(): never {
  throw new Error('nothing to pick from');
}

interface Load {
  readonly appenders: readonly Appender[];
  readonly logs: readonly TestLog[];
  readonly count: number;
  readonly outstanding: number;
  readonly seed: number;
  readonly during?: (done: number) => Promise<void> | void;
}

/** Appends with 10 % repeated keys, many at once; what each was answered. */
async function load({ appenders, logs, count, outstanding, seed, during }: Load): Promise<{ request: AppendRequest; appended: Appended | undefined }[]> {
  const random = mulberry(seed);
  const scope = newId();
  const plan: { appender: Appender; request: AppendRequest }[] = [];
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] ?? nothing();
  for (let index = 0; index < count; index++) {
    const again = index > 0 && random() < 0.1 ? pick(plan).request : undefined;
    const log = pick(again === undefined ? logs : logs.filter(({ shard }) => shard === again.log.shard));
    const key = again?.key ?? { scope, key: `k${index}`, expires: 'token' as const };
    plan.push({ appender: pick(appenders), request: { ...postFor(log, `${index}`), key } });
  }
  const done: { request: AppendRequest; appended: Appended | undefined }[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let step = plan[next++]; step !== undefined; step = plan[next++]) {
      const { appender, request } = step;
      const appended = await appender.append(request).catch((error: unknown) => {
        if (error instanceof AppError && error.kind === 'unavailable') return undefined;
        throw error;
      });
      done.push({ request, appended });
      await during?.(done.length);
    }
  };
  await Promise.all(Array.from({ length: outstanding }, work));
  return done;
}

/** Every acknowledged append is there, and one key has one answer. */
async function checkAnswers(done: readonly { request: AppendRequest; appended: Appended | undefined }[]): Promise<void> {
  const stored = new Map((await storedEntries(databases)).map((entry) => [`${entry.log_id}/${entry.number}`, entry]));
  const answers = new Map<string, string>();
  for (const { request, appended } of done) {
    if (appended === undefined) continue;
    const place = `${appended.log}/${appended.number}`;
    const entry = stored.get(place);
    expect(entry?.id).toBe(appended.id);
    if (appended.how === 'appended') expect(entry?.object_id).toBe(request.objectId);
    if (request.key === undefined) continue;
    const key = `${request.log.shard} ${request.key.scope} ${request.key.key}`;
    expect(answers.get(key) ?? place).toBe(place);
    answers.set(key, place);
  }
}

describe('appending', () => {
  // Numbers given before duplicates are dropped, ON CONFLICT on every row, or heads kept over a lost race would each leave holes here.
  for (const { name, logs: logCount, turns, seed, count = 2_500, outstanding = 400 } of [
    { name: 'two batchers on one hot log', logs: 1, turns: [0, 0], seed: 1 },
    { name: 'four batchers on one hot log', logs: 1, turns: [0, 0, 0, 0], seed: 2 },
    { name: 'four batchers on 3 logs', logs: 3, turns: [0, 0, 0, 0], seed: 3 },
    { name: 'three batchers on 100 logs', logs: 100, turns: [0, 0, 0], seed: 4 },
    { name: 'four batchers that take turns at one hot log', logs: 1, turns: [1_000, 1_000, 1_000, 1_000], seed: 8 },
    { name: 'two that take turns for moments and two that take none, on 20 logs', logs: 20, turns: [10, 10, 0, 0], seed: 9 },
    // Full batches wait here, and are made ready on a guess that repeated keys and the other batcher make wrong again and again.
    { name: 'two batchers with full batches on 3 logs', logs: 3, turns: [0, 0], seed: 10, count: 9_000, outstanding: 5_000 },
    { name: 'one batcher with full batches on one hot log', logs: 1, turns: [0], seed: 11, count: 9_000, outstanding: 5_000 },
  ] as readonly { name: string; logs: number; turns: readonly number[]; seed: number; count?: number; outstanding?: number }[]) {
    it(`leaves no hole, no double key and rising ids: ${name}, seed ${seed}`, async () => {
      const logs = await makeLogs(databases, logCount);
      const done = await load({ appenders: turns.map((contendedMs) => newAppender({ contendedMs })), logs, count, outstanding, seed });
      expect(done.every(({ appended }) => appended !== undefined)).toBe(true);
      expect(await faults(databases)).toEqual([]);
      await checkAnswers(done);
      expect(done.filter(({ appended }) => appended?.how === 'known').length).toBeGreaterThan(100);
    });
  }

  it('answers one key with one entry, in whichever log of the shard it is', async () => {
    const [first] = await makeLogs(databases, 1);
    const others = await makeLogs(databases, 3, first?.shard);
    const done = await load({ appenders: [newAppender(), newAppender()], logs: [...(first === undefined ? [] : [first]), ...others], count: 2_000, outstanding: 200, seed: 5 });
    expect(await faults(databases)).toEqual([]);
    await checkAnswers(done);
  });

  it('loses nothing that it acknowledged when backends are killed in the middle of batches', async () => {
    const logs = await makeLogs(databases, 5);
    let kills = 0;
    const kill = async (done: number): Promise<void> => {
      if (done % 100 !== 0) return;
      for (const database of databases.all) {
        const killed = await database.transaction(async (tx) => {
          await tx.execute('SET LOCAL ROLE NONE');
          return await tx.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%WITH incoming AS%' AND query NOT LIKE '%terminate%'`);
        });
        kills += killed.length;
      }
    };
    const done = await load({ appenders: [newAppender(), newAppender()], logs, count: 3_000, outstanding: 200, seed: 6, during: kill });
    expect(kills).toBeGreaterThan(10);
    expect(await faults(databases)).toEqual([]);
    await checkAnswers(done);
    expect(done.filter(({ appended }) => appended === undefined).length).toBe(0);
  });

  it('finds the seeded fault: a batcher whose every row takes the conflict', async () => {
    const logs = await makeLogs(databases, 1);
    // Waiting between reading the head and writing makes the race certain.
    const broken = (sql: string): string =>
      sql
        .replace('WHERE nth = 1 AND', 'WHERE')
        .replace(/EXISTS \(SELECT FROM entry e WHERE[^)]*\) = \([^)]*\)\)/, 'true')
        .replace('SELECT s.* FROM survivor s JOIN lock USING (log_shard, log_id, epoch_no)', 'SELECT s.* FROM survivor s JOIN lock USING (log_shard, log_id, epoch_no, number)')
        .replace('RETURNING log_shard, log_id, epoch_no\n', 'RETURNING log_shard, log_id, epoch_no, number\n')
        .replace('FROM won WHERE nth > 1', 'FROM won WHERE false');
    const rewritten = rewriting(databases, broken);
    await load({ appenders: Array.from({ length: 4 }, () => newAppender({ databases: rewritten })), logs, count: 3_000, outstanding: 400, seed: 7 });
    expect((await faults(databases)).length).toBeGreaterThan(0);
  });

  it('writes nothing above a head that is not there any more', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const appender = newAppender();
    for (let i = 0; i < 3; i++) await appender.append(postFor(log));
    // A failover that lost the last two commits.
    await databases.at(log.shard).execute('DELETE FROM entry WHERE number > 1');
    await databases.at(log.shard).execute(`UPDATE outbox SET refs = '[]' WHERE refs->0->>3 <> '1'`);
    const appended = await appender.append(postFor(log));
    expect(appended.number).toBe(2n);
  });

  it('gives the error to the guilty row alone', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const appender = newAppender();
    await databases.at(log.shard).execute(`ALTER TABLE entry ADD CONSTRAINT not_this CHECK (what IS DISTINCT FROM 'guilty')`);
    const requests = Array.from({ length: 50 }, (_, index) => ({ ...postFor(log), what: index === 17 ? 'guilty' : 'fine' }));
    const results = await Promise.allSettled(requests.map((request) => appender.append(request)));
    await databases.at(log.shard).execute('ALTER TABLE entry DROP CONSTRAINT not_this');
    expect(results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([17]);
    expect(await faults(databases)).toEqual([]);
  });

  it('refuses at once what would wait too long, and takes again when there is room', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const appender = newAppender();
    const request = postFor(log);
    const many = await Promise.allSettled(Array.from({ length: appendLimits.queueRowsMax + 10 }, () => appender.append({ ...request, objectId: newObjectId(log.shard) })));
    const refused = many.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBe(10);
    await expect(appender.append(postFor(log))).resolves.toMatchObject({ how: 'appended' });
  });

  it('says not found for a log that is not there and gone for one that is closed', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const appender = newAppender();
    await expect(appender.append(postFor({ ...log, epochNo: 2 }))).rejects.toMatchObject({ kind: 'not-found' });
    await databases.at(log.shard).execute(`UPDATE log SET state = 'closed'`);
    await expect(appender.append(postFor(log))).rejects.toMatchObject({ kind: 'gone' });
  });

  it('goes on after the fork in a new epoch, with ids above the old ones', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const before = await newAppender().append(postFor(log));
    await newAppender().append(postFor(log));
    await databases.at(log.shard).execute('INSERT INTO epoch (log_shard, log_id, epoch_no, epoch, fork) VALUES ($1, $2, 2, $3, 1)', [log.shard, log.log, newId()]);
    await databases.at(log.shard).execute('UPDATE log SET epoch_no = 2');
    await expect(newAppender().append(postFor(log))).rejects.toMatchObject({ kind: 'conflict' });
    const after = await newAppender().append(postFor({ ...log, epochNo: 2 }));
    expect(after).toMatchObject({ number: 2n, epochNo: 2 });
    expect(after.id).toBeGreaterThan(before.id);
  });

  it('draws again when another process took the id', async () => {
    const [log] = await makeLogs(databases, 1);
    const [other] = await makeLogs(databases, 1, log?.shard);
    if (log === undefined || other === undefined) throw new Error('no log');
    const now = Date.now();
    const first = await newAppender({ ids: new IdSource(() => 0), now: () => now }).append(postFor(log));
    const second = await newAppender({ ids: new IdSource(() => 0), now: () => now }).append(postFor(other));
    expect(first.id).toBe(makePostId(now, log.shard, 0));
    expect(second.id).not.toBe(first.id);
    expect(postIdShard(second.id)).toBe(log.shard);
  });

  it('draws no ids while its clock is more than 5 s ahead, and says why', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    let ahead = 60_000;
    const appender = newAppender({ now: () => Date.now() + ahead });
    await expect(appender.append(postFor(log))).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await appender.unready()).toMatch(/ahead/);
    ahead = 0;
    expect(await appender.unready()).toBeUndefined();
    await expect(appender.append(postFor(log))).resolves.toMatchObject({ number: 1n });
  });

  it('deletes keys that have expired and no others', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const appender = newAppender();
    const scope = newId();
    for (const [key, expires] of [['a', 'token'], ['b', 'never'], ['c', 'token']] as const) await appender.append({ ...postFor(log), key: { scope, key, expires } });
    await databases.at(log.shard).execute(`UPDATE append_key SET expires = now() - interval '1 s' WHERE key = 'a'`);
    for (const database of databases.all) await deleteExpiredKeys(database);
    const left = await databases.at(log.shard).query<{ key: string }>('SELECT key FROM append_key ORDER BY key');
    expect(left.map(({ key }) => key)).toEqual(['b', 'c']);
  });
});

describe('an append with an effect', () => {
  const counting = (log: TestLog): NonNullable<AppendRequest['effect']> => ({
    async check(tx) {
      const [row] = await tx.query<{ posts: bigint }>('SELECT posts FROM statistics WHERE microblog_id = $1', [log.microblog]);
      if ((row?.posts ?? 0n) >= 10n) throw new AppError('conflict', 'enough');
    },
    async apply(tx) {
      await tx.execute('INSERT INTO statistics AS s (log_shard, microblog_id, posts) VALUES ($1, $2, 1) ON CONFLICT (log_shard, microblog_id) DO UPDATE SET posts = s.posts + 1', [log.shard, log.microblog]);
    },
  });

  // An effect whose precondition is looked at before the entry holds the log would be applied more than ten times.
  it('happens with its entry or not at all, its precondition checked under the log', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const appenders = [newAppender(), newAppender(), newAppender()];
    const results = await Promise.allSettled(Array.from({ length: 60 }, (_, index) => appenders[index % 3]?.append(index % 4 === 3 ? postFor(log) : { ...postFor(log), effect: counting(log) })));
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.every(({ reason }) => reason instanceof AppError && reason.kind === 'conflict')).toBe(true);
    expect(refused.length).toBe(35);
    const [row] = await databases.at(log.shard).query<{ posts: bigint }>('SELECT posts FROM statistics');
    expect(row?.posts).toBe(10n);
    expect((await storedEntries(databases)).length).toBe(25);
    expect(await faults(databases)).toEqual([]);
  });

  it('is answered by its key without happening again', async () => {
    const [log] = await makeLogs(databases, 1);
    if (log === undefined) throw new Error('no log');
    const appender = newAppender();
    const key = { scope: newId(), key: 'once', expires: 'never' as const };
    const first = await appender.append({ ...postFor(log), key, effect: counting(log) });
    const second = await appender.append({ ...postFor(log), key, effect: counting(log) });
    expect(second).toEqual({ ...first, how: 'known' });
    const [row] = await databases.at(log.shard).query<{ posts: bigint }>('SELECT posts FROM statistics WHERE microblog_id = $1', [log.microblog]);
    expect(row?.posts).toBe(1n);
  });
});

/** The databases with every statement of dedicated connections rewritten: a fault that is seeded from outside. */
function rewriting(real: Databases, rewrite: (sql: string) => string): Pick<Databases, 'all' | 'at'> {
  const wrapped = new Map<Database, Database>(
    real.all.map((database) => [
      database,
      new Proxy(database, {
        get(target, property) {
          if (property !== 'dedicated') return Reflect.get(target, property, target) as unknown;
          return async (onLost: Parameters<Database['dedicated']>[0]): Promise<DedicatedConnection> => {
            const connection = await target.dedicated(onLost);
            return new Proxy(connection, {
              get(inner, name) {
                if (name === 'query') return (sql: string | Statement, params?: readonly unknown[]) => inner.query(rewrite(typeof sql === 'string' ? sql : sql.text), params);
                const value: unknown = Reflect.get(inner, name, inner);
                return typeof value === 'function' ? (value.bind(inner) as unknown) : value;
              },
            });
          };
        },
      }),
    ]),
  );
  const of = (database: Database): Database => wrapped.get(database) ?? database;
  return { all: real.all.map(of), at: (shard) => of(real.at(shard)) };
}

export type { PostId };
