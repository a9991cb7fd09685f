import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { PooledDatabase } from '../src/database.ts';
import {
  databaseLimits,
  DatabaseError,
  isConnectionLost,
  isConstraintViolation,
  isTimeout,
  isTransactionConflict,
  isUniqueViolation,
  json,
  openDatabases,
  planShards,
  statement,
  type Databases,
} from '../src/index.ts';

const migrations = [
  {
    name: '0001_things',
    sql: `CREATE TABLE thing (shard int2 NOT NULL, id int8 NOT NULL, name text, PRIMARY KEY (shard, id), CONSTRAINT thing_name UNIQUE (shard, name), CONSTRAINT thing_id CHECK (id > 0));`,
  },
];

let test: TestDatabases;
let databases: Databases;

beforeAll(async () => {
  test = await createTestDatabases();
  databases = await test.openMigrated('microblog', migrations);
});
afterAll(() => test.drop());

const first = () => databases.at(0);

async function asSuperuser<T>(work: (client: pg.Client) => Promise<T>, url = test.urls[0]): Promise<T> {
  const client = new pg.Client({ connectionString: url ?? '' });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

describe('values', () => {
  it('come exactly as they are, or not at all', async () => {
    const [row] = await first().query(
      `SELECT 9223372036854775807::int8 AS big, (-5)::int8 AS negative, 7::int2 AS small, 8::int4 AS medium, $1::bytea AS bytes, $2::jsonb AS value,
         '00112233-4455-6677-8899-aabbccddeeff'::uuid AS id, timestamptz '2000-01-01T00:00:00.123Z' AS at, ARRAY[1, NULL, -3]::int8[] AS bigs,
         ARRAY[[1,2],[3,4]]::int8[] AS nested, ARRAY[]::int8[] AS none, NULL::int8 AS nothing, ARRAY['\\x00ff']::bytea[] AS parts, true AS yes, count(*) AS count`,
      [Buffer.from([0, 255]), json({ a: [1n, 'x'] })],
    );
    expect(row).toEqual({
      big: 9223372036854775807n,
      negative: -5n,
      small: 7,
      medium: 8,
      bytes: Buffer.from([0, 255]),
      value: { a: ['1', 'x'] },
      id: '00112233-4455-6677-8899-aabbccddeeff',
      at: new Date('2000-01-01T00:00:00.123Z'),
      bigs: [1n, null, -3n],
      nested: [[1n, 2n], [3n, 4n]],
      none: [],
      nothing: null,
      parts: [Buffer.from([0, 255])],
      yes: true,
      count: 1n,
    });
  });

  it('go as arrays of bigint, Buffer, text and null', async () => {
    const [row] = await first().query('SELECT $1::int8[] AS a, $2::bytea[] AS b, $3::text[] AS c', [[1n, null], [Buffer.from('x'), null], ['a"b', '{}', 'NULL', null, '']]);
    expect(row).toEqual({ a: [1n, null], b: [Buffer.from('x'), null], c: ['a"b', '{}', 'NULL', null, ''] });
  });

  it('refuses undefined instead of writing NULL', async () => {
    await expect(first().query('SELECT $1::text', [undefined])).rejects.toThrow('$1 is undefined');
  });

  it('tells a value that a type cannot hold', async () => {
    await expect(first().query('SELECT $1::text', ['a\0b'])).rejects.toMatchObject({ fault: 'value' });
    await expect(first().query('SELECT $1::int2', [70_000])).rejects.toMatchObject({ fault: 'value' });
  });
});

describe('a transaction', () => {
  it('is all or nothing', async () => {
    await expect(
      first().transaction(async (tx) => {
        await tx.execute('INSERT INTO thing VALUES (0, 1)');
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(await first().query('SELECT * FROM thing WHERE id = 1')).toEqual([]);
  });

  // An aborted transaction answers COMMIT with ROLLBACK and no error: without the check this resolves.
  it('does not pass for committed when the error of a statement was swallowed', async () => {
    await expect(
      first().transaction(async (tx) => {
        await tx.execute('INSERT INTO thing VALUES (0, 2)');
        await tx.execute('SELECT 1 / 0').catch(() => undefined);
      }),
    ).rejects.toThrow(DatabaseError);
    expect(await first().query('SELECT * FROM thing WHERE id = 2')).toEqual([]);
  });

  it('goes on after a savepoint that failed', async () => {
    await first().transaction(async (tx) => {
      await tx.execute('INSERT INTO thing VALUES (0, 3)');
      await expect(tx.savepoint(() => tx.execute('INSERT INTO thing VALUES (0, 3)'))).rejects.toSatisfy((error) => isUniqueViolation(error, 'thing_pkey'));
      await tx.execute('INSERT INTO thing VALUES (0, 4)');
    });
    expect(await first().query('SELECT id FROM thing WHERE id IN (3, 4) ORDER BY id')).toEqual([{ id: 3n }, { id: 4n }]);
  });

  // Without the guard the late statement runs inside whatever the connection does next.
  it('refuses a statement that comes after its end', async () => {
    const late = await first().transaction(async (tx) => () => tx.execute('INSERT INTO thing VALUES (0, 5)'));
    await expect(late()).rejects.toThrow(DatabaseError);
    expect(await first().query('SELECT * FROM thing WHERE id = 5')).toEqual([]);
  });

  it('runs concurrent statements one after the other', async () => {
    const counts = await first().transaction((tx) => Promise.all([1, 2, 3].map(async (n) => (await tx.query<{ n: number }>('SELECT $1::int4 AS n, pg_sleep(0.01)', [n]))[0]?.n)));
    expect(counts).toEqual([1, 2, 3]);
  });

  it('sees one moment when it is repeatable read, and writes nothing when read only', async () => {
    await first().transaction(
      async (tx) => {
        const before = await tx.query('SELECT count(*) AS n FROM thing');
        await first().execute('INSERT INTO thing VALUES (0, 6)');
        expect(await tx.query('SELECT count(*) AS n FROM thing')).toEqual(before);
      },
      { isolation: 'repeatable read', readOnly: true },
    );
    await expect(first().transaction((tx) => tx.execute('DELETE FROM thing'), { readOnly: true })).rejects.toBeInstanceOf(DatabaseError);
  });
});

describe('errors', () => {
  it('are told apart by what they mean', async () => {
    await first().execute(`INSERT INTO thing VALUES (0, 10, 'a')`);
    const clash = await first().execute(`INSERT INTO thing VALUES (0, 11, 'a')`).catch((error: unknown) => error);
    expect(isUniqueViolation(clash)).toBe(true);
    expect(isUniqueViolation(clash, 'thing_name')).toBe(true);
    expect(isUniqueViolation(clash, 'thing_pkey')).toBe(false);
    expect(clash).toMatchObject({ kind: 'bug', detail: expect.stringContaining('(0, a)') as string });
    expect((clash as Error).message).not.toContain('thing_name');
    const check = await first().execute('INSERT INTO thing VALUES (0, -1)').catch((error: unknown) => error);
    expect(isConstraintViolation(check, 'thing_id')).toBe(true);
  });

  it('ends a statement that takes too long', async () => {
    const slow = await first().transaction(async (tx) => {
      await tx.execute('SET LOCAL statement_timeout = 20');
      await tx.execute('SELECT pg_sleep(5)');
    }).catch((error: unknown) => error);
    expect(isTimeout(slow)).toBe(true);
    expect(slow).toMatchObject({ kind: 'unavailable' });
  });

  it('breaks a deadlock and says that it can be run again', async () => {
    await first().execute('INSERT INTO thing VALUES (0, 20), (0, 21)');
    const lockBoth = (a: number, b: number) =>
      first().transaction(async (tx) => {
        await tx.execute('SELECT FROM thing WHERE id = $1 FOR UPDATE', [a]);
        await tx.execute('SELECT pg_sleep(0.1)');
        await tx.execute('SELECT FROM thing WHERE id = $1 FOR UPDATE', [b]);
      });
    const results = await Promise.allSettled([lockBoth(20, 21), lockBoth(21, 20)]);
    const failed = results.filter((result) => result.status === 'rejected');
    expect(failed).toHaveLength(1);
    expect(isTransactionConflict(failed[0]?.reason)).toBe(true);
  });

  it('refuses who would be one too many in the queue for a connection', async () => {
    const narrow = await test.open('microblog', { connectionsMax: 1 });
    const database = narrow.at(0);
    const holding = database.query('SELECT pg_sleep(0.3)');
    const crowd = Array.from({ length: databaseLimits.waitersMax + 2 }, () => database.query('SELECT 1'));
    const results = await Promise.allSettled(crowd);
    await holding;
    expect(results.at(-1)).toMatchObject({ status: 'rejected', reason: { fault: 'no-room', kind: 'unavailable' } });
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(databaseLimits.waitersMax - 10);
    await narrow.close();
  });
});

describe('a connection that breaks', () => {
  it('fails its transaction, and the next one gets another', async () => {
    const failure = await first()
      .transaction(async (tx) => {
        const [me] = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        await tx.execute('INSERT INTO thing VALUES (0, 30)');
        await kill(me?.pid ?? 0);
        await tx.execute('INSERT INTO thing VALUES (0, 31)');
      })
      .catch((error: unknown) => error);
    expect(isConnectionLost(failure)).toBe(true);
    expect(failure).toMatchObject({ kind: 'unavailable' });
    expect(await first().query('SELECT * FROM thing WHERE id IN (30, 31)')).toEqual([]);
  });

  it('is left by the pool while it is idle, with nobody noticing', async () => {
    await Promise.all([1, 2, 3].map(() => first().query('SELECT pg_sleep(0.02)')));
    await asSuperuser((client) => client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dmb test microblog'`));
    await new Promise((done) => setTimeout(done, 50));
    expect(await first().query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('tells the owner of a dedicated one, once, and serves it no more', async () => {
    const told: DatabaseError[] = [];
    const connection = await first().dedicated((error) => told.push(error));
    const [me] = await connection.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await kill(me?.pid ?? 0);
    await expect(connection.query('SELECT 1')).rejects.toSatisfy(isConnectionLost);
    await expect(connection.transaction((tx) => tx.query('SELECT 1'))).rejects.toSatisfy(isConnectionLost);
    expect(told).toHaveLength(1);
    expect(connection.lost).toBe(told[0]);
    expect(first().statistics().dedicated).toBe(0);
    await connection.close();
    const next = await first().dedicated((error) => told.push(error));
    expect(await next.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await next.close();
    expect(told).toHaveLength(1);
  });

  // Given back to the pool, it would answer the next one with what this one asked for, or not at all.
  it('is not used again when its answer does not come', async () => {
    const impatient = new PooledDatabase(0, { url: test.urls[0] ?? '', applicationName: 'impatient', answerTimeoutMs: 60 }, 1);
    const unanswered = await impatient.query('SELECT pg_sleep(1)').catch((error: unknown) => error);
    expect(isConnectionLost(unanswered)).toBe(true);
    expect(await impatient.query('SELECT 2 AS two')).toEqual([{ two: 2 }]);
    const inTransaction = await impatient.transaction((tx) => tx.query('SELECT pg_sleep(1)')).catch((error: unknown) => error);
    expect(isConnectionLost(inTransaction)).toBe(true);
    expect(await impatient.query('SELECT 3 AS three')).toEqual([{ three: 3 }]);
    await impatient.close();
  });

  it('of a dedicated owner keeps its transactions apart', async () => {
    const connection = await first().dedicated(() => undefined);
    const [, inside] = await Promise.all([
      connection.transaction(async (tx) => {
        await tx.execute('INSERT INTO thing VALUES (0, 40)');
        await tx.execute('SELECT pg_sleep(0.02)');
      }),
      connection.query<{ id: bigint }>('SELECT id FROM thing WHERE id = 40'),
    ]);
    expect(inside).toEqual([{ id: 40n }]);
    await connection.close();
  });

  const kill = async (pid: number): Promise<void> => {
    await asSuperuser((client) => client.query('SELECT pg_terminate_backend($1)', [pid]));
  };
});

describe('shards', () => {
  it('lie in equal contiguous ranges, every shard in one database', () => {
    for (const count of [1, 2, 3, 7]) {
      const owners = planShards(count).flatMap(({ from, to, database }) => Array.from({ length: to - from + 1 }, () => database));
      expect(owners).toHaveLength(1_024);
      expect(owners).toEqual([...owners].sort((a, b) => a - b));
      const sizes = planShards(count).map(({ from, to }) => to - from + 1);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }
  });

  it('find their database, and nothing else does', () => {
    expect(new Set(Array.from({ length: 1_024 }, (_, shard) => databases.at(shard)))).toEqual(new Set(databases.all));
    for (const wrong of [-1, 1_024, 0.5, Number.NaN]) expect(() => databases.at(wrong)).toThrow(RangeError);
  });

  it('group items in their order', () => {
    const groups = databases.group([1023, 0, 1022, 1], (shard) => shard);
    expect([...groups.values()].flat().sort((a, b) => a - b)).toEqual([0, 1, 1022, 1023]);
    expect(groups.get(databases.at(0))).toEqual(databases.all.length === 1 ? [1023, 0, 1022, 1] : [0, 1]);
    expect(groups.size).toBe(databases.all.length);
  });

  // A map kept in the program would move rows to another database with the next release.
  it('are where the table in the first database says', async () => {
    const moved = await createTestDatabases({ count: 2 });
    const before = await moved.openMigrated('microblog', migrations);
    const change = (sql: string) => asSuperuser((client) => client.query(sql), moved.urls[0]);
    await change('UPDATE dmb.shard_map SET shard_from = 100 WHERE database = 1; UPDATE dmb.shard_map SET shard_to = 99 WHERE database = 0');
    const after = await moved.open('microblog');
    expect([before.at(300).index, after.at(300).index, after.at(99).index, after.at(100).index]).toEqual([0, 1, 0, 1]);
    await change('UPDATE dmb.shard_map SET shard_to = 90 WHERE database = 0');
    await expect(moved.open('microblog')).rejects.toThrow('dmb.shard_map of the first database has a hole');
    await moved.drop();
  });
});

it('runs a named statement on many connections', async () => {
  const sum = statement('SELECT $1::int4 + $2::int4 AS sum');
  const sums = await Promise.all(Array.from({ length: 20 }, (_, n) => first().query(sum, [n, 1])));
  expect(sums).toEqual(Array.from({ length: 20 }, (_, n) => [{ sum: n + 1 }]));
});

it('acts as the role of the service, in its schema, in UTC', async () => {
  for (const database of databases.all) {
    expect(await database.query(`SELECT current_user::text AS role, current_schema()::text AS schema, current_setting('timezone') AS zone`)).toEqual([
      { role: 'dmb_microblog', schema: 'microblog', zone: 'UTC' },
    ]);
    expect(Math.abs((await database.now()).getTime() - Date.now())).toBeLessThan(60_000);
  }
});

it('closes while a statement runs, and refuses what comes then', async () => {
  const closing = await openDatabases({ urls: test.urls, service: 'microblog', connectionsMax: 2, applicationName: 'closing' });
  const running = closing.at(0).query('SELECT pg_sleep(0.1), 1 AS one');
  await new Promise((done) => setTimeout(done, 30));
  await Promise.all([running, closing.close()]);
  await expect(closing.at(0).query('SELECT 1')).rejects.toSatisfy(isConnectionLost);
});

describe('copy', () => {
  const table = `CREATE TABLE copied (shard int2 NOT NULL, id int8 PRIMARY KEY, name text, bytes bytea, at timestamptz, yes bool, value jsonb, ids int8[], names text[])`;
  const columns = ['shard', 'id', 'name', 'bytes', 'at', 'yes', 'value', 'ids', 'names'];
  const texts = ['', '\\N', 'a\tb\nc\rd\\e', 'ünï – 🙂', '{"x"}', '\\x00', 'NULL', '\\.'];
  const rowOf = (text: string, index: number) =>
    [index, BigInt(index) + 9_000_000_000_000_000_000n, text, Buffer.from([0, 92, 255, index]), new Date(index), index % 2 === 0, json({ text }), [1n, null, -3n], [text, null]] as const;

  beforeAll(() => first().execute(table));
  afterAll(() => first().execute('DROP TABLE copied'));

  it('writes and reads exactly what it was given', async () => {
    const rows = texts.map(rowOf);
    expect(await first().transaction((tx) => tx.copyIn({ table: 'copied', columns, rows }))).toBe(texts.length);
    const found = await first().query<Record<string, unknown>>(`SELECT ${columns.join(', ')} FROM copied ORDER BY id`);
    expect(found.map((row) => columns.map((column) => row[column]))).toEqual(rows.map((row) => row.with(6, JSON.parse(String(row[6])))));
    expect(await first().transaction((tx) => tx.copyIn({ table: 'copied', columns, rows: [[1, 1n, null, null, null, null, null, null, null]] }))).toBe(1);
    expect(await first().query('SELECT name, bytes, at, yes, value, ids, names FROM copied WHERE id = 1')).toEqual([{ name: null, bytes: null, at: null, yes: null, value: null, ids: null, names: null }]);
  });

  it('carries a table from one transaction to another without looking into it', async () => {
    await first().execute('CREATE TABLE copied_again (LIKE copied INCLUDING ALL)');
    try {
      const count = await first().transaction((from) =>
        from.copyOut('COPY copied TO STDOUT', (blocks) => first().transaction((into) => into.copyBlocks('COPY copied_again FROM STDIN', blocks))),
      );
      expect(count).toBe(texts.length + 1);
      expect(await first().query('SELECT * FROM copied EXCEPT SELECT * FROM copied_again')).toEqual([]);
    } finally {
      await first().execute('DROP TABLE copied_again');
    }
  });

  it('writes nothing if one row cannot be written, and the connection goes on', async () => {
    const rows = [[1, 50n, 'a', null, null, null, null, null, null], [1, 50n, 'b', null, null, null, null, null, null]] as const;
    const failed = await first().transaction((tx) => tx.copyIn({ table: 'copied', columns, rows })).catch((error: unknown) => error);
    expect(isUniqueViolation(failed, 'copied_pkey')).toBe(true);
    await expect(first().transaction((tx) => tx.copyIn({ table: 'copied', columns, rows: [[1, 51n]] }))).rejects.toMatchObject({ detail: 'a row for copied has 2 columns, not 9' });
    expect(await first().query('SELECT id FROM copied WHERE id IN (50, 51)')).toEqual([]);
  });

  it('takes many rows in bounded blocks', async () => {
    const count = 100_000;
    const rows = function* () {
      for (let index = 0; index < count; index++) yield [1, index + 1_000, 'name', null, null, null, null, null, null] as const;
    };
    expect(await first().transaction((tx) => tx.copyIn({ table: 'copied', columns, rows: rows() }))).toBe(count);
    expect(await first().query('SELECT count(*) AS count, count(DISTINCT id) AS ids FROM copied WHERE id BETWEEN 1000 AND 200000')).toEqual([{ count: BigInt(count), ids: BigInt(count) }]);
  });

  it('does not reuse a connection on which a COPY was not read to its end', async () => {
    const database = new PooledDatabase(0, { url: test.urls[0] ?? '', applicationName: 'dmb test', settings: { search_path: 'microblog', role: 'dmb_microblog' } }, 1);
    try {
      await expect(database.transaction((tx) => tx.copyOut('COPY copied TO STDOUT', () => Promise.reject(new Error('enough'))))).rejects.toThrow();
      expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    } finally {
      await database.close();
    }
  });
});
