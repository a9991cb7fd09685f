/**
 * Accepting entries at the append port, on an embedded Postgres that really waits for its disk.
 *
 * A commit costs a flush, and how long that takes differs between disks by a factor of a hundred. So a
 * rate says nothing by itself; there are two bases, both on the same server in the same minute:
 *
 *   bulk        the same rows by one `INSERT … SELECT unnest` into a table with the same columns and
 *               indexes: what Postgres takes to store them at all, whatever the disk. Its parameters are
 *               made before the clock starts; ours are made while it runs
 *   autocommit  16 connections that each insert one such row after the other, a commit each: what a
 *               service without batches reaches. It rises and falls with the disk
 *
 * Logs are fresh for every measurement, the tables empty, and a checkpoint has just been made, so
 * that both sides write the same pages. A log's head is known to the lane, as it is in a running
 * server. All appends are posts of 140 characters, made before the clock starts.
 */
import { randomUUID } from 'node:crypto';
import { createEntry, domainIdOf, ENTRY_KINDS, IdSource, newEpochId, newLogId, newMicroblogId, newObjectId, newPersonId, shardOf, type Domain } from '@dmb/protocol';
import { microblogMigrations } from '@dmb/microblog';
import { Appender } from '@dmb/microblog/append';
import { migrate, openDatabases, openInstallation, startEmbeddedPostgres, statement, type Database, type Databases, type DedicatedConnection } from '@dmb/postgres';
import type { Tell } from './bench.ts';
import { flushMs, withFolder } from './disk.ts';
import type { Quantity } from './quantities.ts';
import { inTurns, median, rangeOf, ratio } from './rounds.ts';

const sizes = { rounds: 5, rows: 20_000, outstanding: 4_096, logs: 2_000, lanes: 2, batchers: 4, singleConnections: 16, singleRows: 6_000 } as const;

type Request = Parameters<Appender['append']>[0];
type Appended = Awaited<ReturnType<Appender['append']>>;

export async function benchAppend(tell: Tell): Promise<Quantity[]> {
  return await withFolder(async (folder) => {
    const postgres = await startEmbeddedPostgres({ dataDir: `${folder}/postgres` });
    try {
      const domain = 'bench.example' as Domain;
      await openInstallation({ urls: [postgres.url], domain });
      await migrate({ urls: [postgres.url], service: 'microblog', migrations: await microblogMigrations() });
      const databases = await openDatabases({ urls: [postgres.url], service: 'microblog', connectionsMax: 4, applicationName: 'dmb bench' });
      try {
        return await measure(databases, folder, tell);
      } finally {
        await databases.close();
      }
    } finally {
      await postgres.stop();
    }
  });
}

interface Scenario {
  readonly name: string;
  readonly of: string;
  readonly logs: number;
  readonly batchers: number;
}

const scenarios: readonly Scenario[] = [
  { name: 'one-log', of: 'one hot log', logs: 1, batchers: 1 },
  { name: 'many-logs', of: `${sizes.logs} logs`, logs: sizes.logs, batchers: 1 },
  { name: 'four-batchers', of: `${sizes.batchers} batchers on one log`, logs: 1, batchers: sizes.batchers },
];

async function measure(databases: Databases, folder: string, tell: Tell): Promise<Quantity[]> {
  const [database] = databases.all;
  if (database === undefined) throw new Error('no database');
  await database.execute('CREATE TABLE base_entry (LIKE entry INCLUDING ALL)');
  await database.execute('CREATE TABLE base_append_key (LIKE append_key INCLUDING ALL)');
  const flushes = [await flushMs(folder)];
  const found: Quantity[] = [];
  for (const scenario of scenarios) {
    for (const keys of [false, true]) {
      tell(`${scenario.of}${keys ? ', with keys' : ''}`);
      const name = `append.${scenario.name}${keys ? '-keys' : ''}`;
      const of = `accepting, ${scenario.of}${keys ? ', with idempotency keys' : ''}`;
      const rounds = await inTurns(sizes.rounds, {
        bulk: () => bulkRate(databases, scenario, keys),
        ours: () => oursRate(databases, scenario, keys),
        single: () => singleRate(databases, scenario, keys),
      });
      flushes.push(await flushMs(folder));
      const bulk = ratio(rounds.ours, rounds.bulk);
      const single = ratio(rounds.ours, rounds.single);
      found.push(
        { name: `${name}.bulk`, ...bulk, unit: 'ratio', goal: { atLeast: 0.6 }, base: { value: median(rounds.bulk), unit: 'rows/s', of: keys ? 'one bulk INSERT … SELECT unnest of the same rows and keys' : 'one bulk INSERT … SELECT unnest of the same rows' }, of },
        { name: `${name}.autocommit`, ...single, unit: 'ratio', goal: { atLeast: keys ? 6 : 8 }, base: { value: median(rounds.single), unit: 'rows/s', of: '16 connections of one-row autocommit' }, of },
      );
    }
  }
  const flush = median(flushes);
  // The goal against autocommit is for disks that take their time: on others a commit costs little, and so does not sharing it.
  const told = flush >= 1 ? found : found.map(({ goal, ...quantity }): Quantity => (goal === undefined || quantity.name.endsWith('.autocommit') ? quantity : { ...quantity, goal }));
  return [...told, { name: 'append.flush', value: flush, range: rangeOf(flushes), unit: 'ms', of: 'writing 8 KiB and fdatasync in the folder of the database' }];
}

/** Rows per second that the appender accepts. */
async function oursRate(databases: Databases, scenario: Scenario, keys: boolean): Promise<number> {
  const logs = await prepare(databases, scenario.logs);
  const appenders = Array.from({ length: scenario.batchers }, () => new Appender({ databases, ids: new IdSource(), lanes: sizes.lanes, committed: () => undefined }));
  try {
    // Every batcher learns the heads.
    for (const appender of appenders) await Promise.all(logs.map((log) => appender.append(makeRequest(log, false))));
    const requests = makeRequests(logs, keys, sizes.rows);
    const begun = performance.now();
    await appendAll(appenders, requests);
    return rate(requests.length, begun);
  } finally {
    await Promise.all(appenders.map((appender) => appender.close()));
  }
}

/** Appends everything with a constant number outstanding. */
async function appendAll(appenders: readonly Appender[], requests: readonly Request[]): Promise<Appended[]> {
  const answers: Appended[] = [];
  let next = 0;
  const worker = async (appender: Appender): Promise<void> => {
    for (let request = requests[next++]; request !== undefined; request = requests[next++]) answers.push(await appender.append(request));
  };
  await Promise.all(appenders.flatMap((appender) => Array.from({ length: Math.ceil(sizes.outstanding / appenders.length) }, () => worker(appender))));
  return answers;
}

const entryColumns = 'log_shard, log_id, epoch_no, number, id, kind, object_id, envelope, body, about, what, listed, reply_to, reply_to_microblog, person_id';
const entryTypes = ['int2', 'uuid', 'int4', 'int8', 'int8', 'int2', 'uuid', 'bytea', 'bytea', 'int8', 'text', 'bool', 'int8', 'uuid', 'uuid'] as const;
const keyColumns = 'log_shard, scope, key, log_id, epoch_no, number, id, expires';

type Row = readonly (string | number | bigint | boolean | Uint8Array | null)[];

/** Rows per second of one bulk insert. */
async function bulkRate(databases: Databases, scenario: Scenario, keys: boolean): Promise<number> {
  const logs = await prepare(databases, scenario.logs);
  const requests = makeRequests(logs, keys, sizes.rows);
  const rows = toRows(requests);
  const parameters = [...entryTypes.map((_, column) => arrayLiteral(rows, column)), ...(keys ? [16, 17].map((column) => arrayLiteral(rows, column - 1)) : [])];
  const unnest = [...entryTypes, ...(keys ? ['uuid', 'text'] : [])].map((type, column) => `$${column + 1}::${type}[]`).join(', ');
  const names = `${entryColumns}${keys ? ', scope, key' : ''}`;
  const insert = `INSERT INTO base_entry (${entryColumns}) SELECT ${entryColumns} FROM`;
  const sql = keys
    ? `WITH incoming AS MATERIALIZED (SELECT * FROM unnest(${unnest}) AS t(${names})), keyed AS (INSERT INTO base_append_key (${keyColumns})
         SELECT log_shard, scope, key, log_id, epoch_no, number, id, now() + interval '48 h' FROM incoming) ${insert} incoming`
    : `${insert} unnest(${unnest}) AS t(${names})`;
  const database = databases.at(logs[0]?.shard ?? 0);
  const begun = performance.now();
  await database.execute(sql, parameters);
  return rate(rows.length, begun);
}

/** Rows per second of single inserts that each commit by themselves. */
async function singleRate(databases: Databases, scenario: Scenario, keys: boolean): Promise<number> {
  const logs = await prepare(databases, scenario.logs);
  const rows = toRows(makeRequests(logs, keys, sizes.singleRows));
  const values = entryTypes.map((type, column) => `$${column + 1}::${type}`).join(', ');
  const insert = `INSERT INTO base_entry (${entryColumns}) VALUES (${values})`;
  const sql = statement(
    keys
      ? `WITH keyed AS (INSERT INTO base_append_key (${keyColumns}) VALUES ($1, $16::uuid, $17::text, $2, $3, $4, $5, now() + interval '48 h')) ${insert}`
      : insert,
  );
  const database = databases.at(logs[0]?.shard ?? 0);
  const connections: DedicatedConnection[] = await Promise.all(Array.from({ length: sizes.singleConnections }, () => database.dedicated(() => undefined)));
  try {
    let next = 0;
    const worker = async (connection: DedicatedConnection): Promise<void> => {
      for (let row = rows[next++]; row !== undefined; row = rows[next++]) await connection.execute(sql, keys ? row : row.slice(0, entryTypes.length));
    };
    const begun = performance.now();
    await Promise.all(connections.map(worker));
    return rate(rows.length, begun);
  } finally {
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

interface BenchLog {
  readonly shard: number;
  readonly log: ReturnType<typeof newLogId>;
  readonly epochNo: number;
  readonly scope: string;
}

/** Empties the tables, makes logs that the appender takes entries for, and lets Postgres write down what it still has to. */
async function prepare(databases: Databases, count: number): Promise<BenchLog[]> {
  const logs = Array.from({ length: count }, () => {
    const microblog = newMicroblogId();
    return { shard: shardOf(microblog), log: newLogId(), epochNo: 1, scope: randomUUID(), microblog };
  });
  for (const database of databases.all) {
    await database.execute('TRUNCATE log, epoch, entry, append_key, outbox, base_entry, base_append_key');
    const at = logs.filter(({ shard }) => databases.at(shard) === database);
    await database.execute(
      `INSERT INTO log (log_shard, log_id, origin_log_id, domain_id, microblog_id, audience)
       SELECT s, l, l, $4::uuid, m, 'public' FROM unnest($1::int2[], $2::uuid[], $3::uuid[]) AS t(s, l, m)`,
      [at.map(({ shard }) => shard), at.map(({ log }) => log), at.map(({ microblog }) => microblog), domainIdOf('bench.example' as Domain)],
    );
    await database.execute('INSERT INTO epoch (log_shard, log_id, epoch_no, epoch) SELECT s, l, 1, $3::uuid FROM unnest($1::int2[], $2::uuid[]) AS t(s, l)', [
      at.map(({ shard }) => shard),
      at.map(({ log }) => log),
      newEpochId(),
    ]);
    await checkpoint(database);
  }
  return logs;
}

/** Only a superuser may ask for one, which the login user of an embedded Postgres is. */
async function checkpoint(database: Database): Promise<void> {
  const connection = await database.dedicated(() => undefined);
  await connection.execute('RESET ROLE');
  await connection.execute('SET ROLE NONE');
  await connection.execute('CHECKPOINT');
  await connection.close();
}

const person = newPersonId();

function makeRequest({ shard, log, epochNo, scope }: BenchLog, withKey: boolean): Request {
  const objectId = newObjectId(shard);
  const { envelope, body } = createEntry('post', objectId, Date.now(), { type: 'Note', content: 'x'.repeat(140) });
  return { log: { shard, log, epochNo }, kind: 'post', envelope, body, objectId, listed: true, person, ...(withKey ? { key: { scope, key: randomUUID(), expires: 'token' as const } } : {}) };
}

/** Posts for all logs, in turns. */
function makeRequests(logs: readonly BenchLog[], withKeys: boolean, count: number): Request[] {
  return Array.from({ length: count }, (_, index) => {
    const log = logs[index % logs.length];
    if (log === undefined) throw new Error('no log');
    return makeRequest(log, withKeys);
  });
}

/** The rows that the appender would store, scope and key behind them. */
function toRows(requests: readonly Request[]): Row[] {
  const ids = new IdSource();
  const heads = new Map<string, { number: bigint; id: ReturnType<IdSource['draw']> }>();
  let now = Date.now();
  return requests.map((request) => {
    const { log, kind, objectId, envelope, body, key } = request;
    const head = heads.get(log.log);
    const last = head?.id.outcome === 'drawn' ? head.id.id : undefined;
    let id = ids.draw(log.shard, last, now);
    while (id.outcome === 'ahead') id = ids.draw(log.shard, last, (now += 1_000));
    const number = (head?.number ?? 0n) + 1n;
    heads.set(log.log, { number, id });
    return [log.shard, log.log, log.epochNo, number, id.id, ENTRY_KINDS[kind], objectId, envelope, body, null, null, true, null, null, person, key?.scope ?? null, key?.key ?? null];
  });
}

function arrayLiteral(rows: readonly Row[], column: number): string {
  const element = (value: Row[number] | undefined): string => {
    if (value === null || value === undefined) return 'NULL';
    return value instanceof Uint8Array ? `"\\\\x${Buffer.from(value).toString('hex')}"` : String(value);
  };
  return `{${rows.map((row) => element(row[column])).join(',')}}`;
}

const rate = (rows: number, begun: number): number => (rows * 1_000) / (performance.now() - begun);
