/**
 * Moving an installation from one database into several: everything, with the same ids.
 *
 * Every key begins with its shard, so a table is cut by the first column of its primary key, and each part is
 * carried by COPY into the database where the shard lies, without looking into it. Nothing here knows a
 * table by name but those of the outbox:
 *
 *   outbox             events that nobody has taken yet. A row holds references of several shards: it becomes one row
 *                      for each database, in the order of `seq`, with the references whose shards lie there
 *   outbox_mark, outbox_consumer
 *                      who has handled which row, in one process. Left out: events come again, which
 *                      every consumer is made for
 *   outbox_lease, migration
 *                      are made where they are needed
 *
 * A table with a key that begins otherwise is an error and not left behind.
 *
 * **All or nothing.** The new databases are useless until everything is in them: a table `dmb.unfinished_move`
 * stands there from the first moment on, and nobody opens databases that have it. It goes last, after `onCopied`, in which the
 * caller makes sure that the old database is never started again: two that go on from one state would tell two stories about every log.
 *
 *   a crash at any moment      the new databases are marked: the same move empties them and begins again
 *   after onCopied             the old one is closed, the new ones are still marked: the same
 *
 * The old database is only read, but for migrations that bring it to this release. It must not be in use: whoever calls makes sure.
 */
import { StartError } from '@dmb/runtime';
import { serviceNames, type ServiceName } from '@dmb/events';
import type { SetupSession } from './database.ts';
import { asStart, connect, openInstallation, planShards, readInstallation, type Installation, type ShardRange } from './installation.ts';
import { become, migrate, type Migration } from './migrations.ts';
import { describeUrl, schemaOf } from './services.ts';
import type { Queryable, Transaction } from './session.ts';

export interface MoveOptions {
  /** The one database of the installation, which nobody uses. */
  readonly from: string;
  /** Empty databases, in the order in which DATABASE_URL will list them. */
  readonly to: readonly string[];
  readonly services: readonly { readonly service: ServiceName; readonly migrations: readonly Migration[] }[];
  /** Everything is there: from here on the old database must not be started any more. */
  readonly onCopied: () => Promise<void>;
}

/** What was carried. */
export interface Moved {
  readonly installation: Installation;
  readonly tables: readonly { readonly service: ServiceName; readonly table: string; readonly rows: bigint }[];
}

const leftOut: ReadonlySet<string> = new Set(['migration', 'outbox', 'outbox_mark', 'outbox_consumer', 'outbox_lease']);

/** @throws {StartError} one sentence: databases that are not empty, unreachable, or too new */
export async function moveInstallation({ from, to, services, onCopied }: MoveOptions): Promise<Moved> {
  if (to.length === 0) throw new StartError('The move names no database to move to.');
  return await asStart(from, () =>
    connect(from, async (source) => {
      const row = await readInstallation(source);
      if (row === undefined) throw new StartError(`The database ${describeUrl(from)} has not been set up for DMB.`);
      if (row.count !== 1) throw new StartError(`The database ${describeUrl(from)} is one of ${row.count}: only an installation with one database can be moved.`);
      for (const each of services) await migrate({ urls: [from], ...each });
      for (const [index, url] of to.entries()) await onDatabase(url, (target) => prepare(target, url, index, row.id));
      const installation = await openInstallation({ urls: to, domain: row.domain, id: row.id });
      for (const each of services) await migrate({ urls: to, ...each });
      const tables: Moved['tables'][number][] = [];
      for (const { service } of services) tables.push(...(await moveService(source, to, service)));
      await onCopied();
      for (const url of to.toReversed()) await onDatabase(url, (target) => target.execute('DROP TABLE dmb.unfinished_move'));
      return { installation, tables };
    }),
  );
}

/** @throws {StartError} if a move into this database has begun and not ended */
export async function checkNotMoving(database: Queryable, url: string): Promise<void> {
  const [row] = await database.query<{ moving: boolean }>(`SELECT to_regclass('dmb.unfinished_move') IS NOT NULL AS moving`);
  if (row?.moving === true) throw new StartError(`The move into the database ${describeUrl(url)} has not ended: run the same "npm run move" again.`);
  const [remap] = await database.query<{ remapping: boolean }>(`SELECT to_regclass('dmb.unfinished_remap') IS NOT NULL AS remapping`);
  if (remap?.remapping === true) throw new StartError(`Shards are being moved, as the database ${describeUrl(url)} has it, and that has not ended: run the same "npm run move-shards" again.`);
}

const onDatabase = <T>(url: string, work: (session: SetupSession) => Promise<T>): Promise<T> => asStart(url, () => connect(url, work));

/** Marks an empty database, or one that an earlier attempt of the same move has marked, which is emptied first. */
async function prepare(target: SetupSession, url: string, index: number, installation: string): Promise<void> {
  await target.transaction(async (tx) => {
    const names = ['dmb', ...serviceNames.map(schemaOf)];
    const schemas = await tx.query<{ name: string }>('SELECT nspname::text AS name FROM pg_namespace WHERE nspname = ANY($1::text[]) ORDER BY nspname', [names]);
    const [marked] = await tx.query<{ there: boolean }>(`SELECT to_regclass('dmb.unfinished_move') IS NOT NULL AS there`);
    const sources = marked?.there === true ? await tx.query<{ installation: string }>('SELECT installation FROM dmb.unfinished_move') : [];
    if (schemas.length > 0 && sources[0]?.installation !== installation) {
      throw new StartError(`Database ${index + 1} (${describeUrl(url)}) is not empty: it has a schema "${schemas[0]?.name}". An installation is moved into new databases only.`);
    }
    for (const { name } of schemas) await tx.execute(`DROP SCHEMA ${name} CASCADE`);
    await tx.execute('CREATE SCHEMA dmb');
    await tx.execute('CREATE TABLE dmb.unfinished_move (installation uuid NOT NULL)');
    await tx.execute('INSERT INTO dmb.unfinished_move VALUES ($1)', [installation]);
  });
}

/** A table whose rows lie where their shards lie. */
export interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  /** First column of the primary key. */
  readonly shard: string;
}

async function moveService(source: SetupSession, to: readonly string[], service: ServiceName): Promise<Moved['tables'][number][]> {
  const tables = await tablesOf(source, service);
  const moved = new Map<string, bigint>();
  const count = (table: string, rows: number): void => void moved.set(table, (moved.get(table) ?? 0n) + BigInt(rows));
  for (const range of planShards(to.length)) {
    await onDatabase(to[range.database] ?? '', (target) =>
      target.transaction(async (tx) => {
        await become(tx, service);
        for (const table of tables) count(table.name, await carry(source, tx, service, table, range));
        if (await hasOutbox(source, service)) count('outbox', await carryOutbox(source, tx, service, range));
        await tx.execute('ANALYZE');
      }),
    );
  }
  for (const { name } of tables) {
    const [there] = await source.query<{ rows: bigint }>(`SELECT count(*) AS rows FROM ${schemaOf(service)}.${name}`);
    if (there?.rows !== moved.get(name)) throw new Error(`${service} has ${there?.rows} rows in ${name}, and ${moved.get(name)} were moved`);
  }
  return [...moved].map(([table, rows]) => ({ service, table, rows }));
}

/** The tables of a service that are cut by shards. @throws if the key of one does not begin with a shard */
export async function tablesOf(source: Queryable, service: ServiceName): Promise<Table[]> {
  const rows = await source.query<{ name: string; columns: string[]; shard: string | null }>(
    `SELECT c.relname::text AS name,
       ARRAY(SELECT quote_ident(attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
       (SELECT attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] WHERE i.indrelid = c.oid AND i.indisprimary) AS shard
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname`,
    [schemaOf(service)],
  );
  return rows
    .filter(({ name }) => !leftOut.has(name))
    .map(({ name, columns, shard }) => {
      if (shard?.endsWith('_shard') !== true) throw new Error(`the key of ${service}'s table ${name} does not begin with a shard`);
      return { name, columns, shard };
    });
}

/** Carries the rows of a range of shards into a transaction that acts as the service; how many. */
export async function carry(source: SetupSession, target: Transaction, service: ServiceName, { name, columns, shard }: Table, { from, to }: ShardRange): Promise<number> {
  const list = columns.join(', ');
  const out = `COPY (SELECT ${list} FROM ${schemaOf(service)}.${name} WHERE ${shard} BETWEEN ${from} AND ${to}) TO STDOUT`;
  return await source.transaction((tx) => tx.copyOut(out, (blocks) => target.copyBlocks(`COPY ${name} (${list}) FROM STDIN`, blocks)));
}

async function hasOutbox(source: Queryable, service: ServiceName): Promise<boolean> {
  const [row] = await source.query<{ there: boolean }>(`SELECT to_regclass($1) IS NOT NULL AS there`, [`${schemaOf(service)}.outbox`]);
  return row?.there === true;
}

/** A reference's first member is its shard, in every topic. `seq` is drawn anew, in the old order. */
async function carryOutbox(source: SetupSession, target: Transaction, service: ServiceName, { from, to }: ShardRange): Promise<number> {
  const out = `COPY (
    SELECT relay, topic, jsonb_agg(ref ORDER BY place), headers, created FROM ${schemaOf(service)}.outbox, jsonb_array_elements(refs) WITH ORDINALITY AS r(ref, place)
    WHERE (ref ->> 0)::int4 BETWEEN ${from} AND ${to} GROUP BY relay, seq, topic, headers, created ORDER BY seq) TO STDOUT`;
  return await source.transaction((tx) => tx.copyOut(out, (blocks) => target.copyBlocks('COPY outbox (relay, topic, refs, headers, created) FROM STDIN', blocks)));
}
