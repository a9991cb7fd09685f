/**
 * Moving shards to another database of the list.
 *
 * The table `dmb.shard_map` says where each of the 1,024 shards lies; programs read it when they open their databases and know
 * nothing else. To move shards is to carry their rows by COPY and to change that table:
 *
 *   1 nobody works on the installation: the lock that every process shares (database-use.ts) is taken exclusively, or it is refused
 *   2 `dmb.unfinished_remap` in the first database: nobody opens the databases while it is there
 *   3 for each service: rows of these shards that an earlier attempt left in the target go, and those of where
 *     the shards lie are carried over and counted, in one transaction of the target
 *   4 the map is changed: from here on the shards lie in the target
 *   5 the rows that nobody looks at any more are deleted where they were, and the mark of 2 goes
 *
 * A crash at any step leaves the mark; the same call again goes through all of it: before 4 it copies anew, after 4 there is
 * nothing to copy and 5 is done.
 *
 * **Writers are kept out, not let in.** Copying beside writers would need either a log of what they change or a lock on each shard in
 * every statement; moving a shard is rare, and a database is copied at a million rows in some seconds. Whoever needs a move
 * without a pause replicates the database by Postgres itself, which needs nothing from us.
 *
 * **Outbox rows stay where they are.** They are carried to whoever hears of them from there, and what they refer to is found by its shard.
 */
import { serviceNames, type ServiceName } from '@dmb/events';
import { StartError } from '@dmb/runtime';
import type { SetupSession } from './database.ts';
import { asStart, checkPlace, connect, readInstallation, readShardMap, shardCount, type ShardRange } from './installation.ts';
import { become } from './migrations.ts';
import { carry, tablesOf } from './move.ts';
import { describeUrl, schemaOf } from './services.ts';
import type { Transaction } from './session.ts';

export interface MoveShardsOptions {
  /** As DATABASE_URL lists them. */
  readonly urls: readonly string[];
  /** First and last of the shards. */
  readonly from: number;
  readonly to: number;
  /** Where they are to lie: a place in the list, from 0. */
  readonly database: number;
}

/** Rows that were carried. */
export type MovedShards = readonly { readonly service: ServiceName; readonly table: string; readonly rows: number }[];

/** @throws {StartError} one sentence: in use, unreachable, not these databases, no such shards */
export async function moveShards({ urls, from, to, database }: MoveShardsOptions): Promise<MovedShards> {
  if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to < shardCount)) throw new StartError(`Shards are numbered from 0 to ${shardCount - 1}.`);
  const [firstUrl] = urls;
  const target = urls[database];
  if (firstUrl === undefined || target === undefined) throw new StartError(`DATABASE_URL lists ${urls.length} databases; there is no number ${database + 1}.`);
  return await onDatabase(firstUrl, async (first) => {
    await check(first, urls);
    const [lock] = await first.query<{ got: boolean }>(`SELECT pg_try_advisory_lock(hashtextextended('dmb standalone', 0)) AS got`);
    if (lock?.got !== true) throw new StartError('A DMB uses these databases: stop every process of it first.');
    await first.execute('CREATE TABLE IF NOT EXISTS dmb.unfinished_remap (since timestamptz NOT NULL DEFAULT now())');
    const map = await readShardMap(first);
    const moved: { service: ServiceName; table: string; rows: number }[] = [];
    for (const range of map) {
      const part = { from: Math.max(from, range.from), to: Math.min(to, range.to), database: range.database };
      if (part.from > part.to || part.database === database) continue;
      moved.push(...(await copy(urls[part.database] ?? '', target, part)));
    }
    await first.transaction((tx) => write(tx, changed(map, { from, to, database })));
    for (const [index, url] of urls.entries()) if (index !== database) await onDatabase(url, (session) => session.transaction((tx) => removeAll(tx, from, to)));
    await first.execute('DROP TABLE dmb.unfinished_remap');
    return moved;
  });
}

const onDatabase = <T>(url: string, work: (session: SetupSession) => Promise<T>): Promise<T> => asStart(url, () => connect(url, work));

/** @throws {StartError} unless these are all databases of one installation, in their order */
async function check(first: SetupSession, urls: readonly string[]): Promise<void> {
  const installation = await readInstallation(first);
  for (const [index, url] of urls.entries()) {
    const row = index === 0 ? installation : await onDatabase(url, (session) => readInstallation(session));
    if (row === undefined) throw new StartError(`The database ${describeUrl(url)} has not been set up for DMB.`);
    checkPlace({ index, url, row, id: installation?.id ?? '', count: urls.length });
  }
}

/** Step 3 for shards that lie in one database. */
async function copy(source: string, target: string, range: ShardRange): Promise<MovedShards> {
  return await onDatabase(source, (from) =>
    onDatabase(target, async (to) => {
      const moved: { service: ServiceName; table: string; rows: number }[] = [];
      for (const service of await servicesIn(from)) {
        const tables = await tablesOf(from, service);
        await to.transaction(async (tx) => {
          await become(tx, service);
          for (const table of tables) {
            await tx.execute(`DELETE FROM ${table.name} WHERE ${table.shard} BETWEEN $1 AND $2`, [range.from, range.to]);
            const rows = await carry(from, tx, service, table, range);
            const [there] = await from.query<{ rows: bigint }>(`SELECT count(*) AS rows FROM ${schemaOf(service)}.${table.name} WHERE ${table.shard} BETWEEN $1 AND $2`, [range.from, range.to]);
            if (there?.rows !== BigInt(rows)) throw new Error(`${service} has ${there?.rows} rows of these shards in ${table.name}, and ${rows} were carried`);
            moved.push({ service, table: table.name, rows });
          }
        });
      }
      return moved;
    }),
  );
}

/** Services that have a schema there. */
async function servicesIn(session: Pick<SetupSession, 'query'>): Promise<ServiceName[]> {
  const schemas = await session.query<{ name: string }>('SELECT nspname::text AS name FROM pg_namespace');
  const names = new Set(schemas.map(({ name }) => name));
  return serviceNames.filter((service) => names.has(schemaOf(service)));
}

/** The map with a range of shards elsewhere, neighbours in one database put together. */
function changed(map: readonly ShardRange[], range: ShardRange): ShardRange[] {
  const kept = map.flatMap(({ from, to, database }) => [
    { from, to: Math.min(to, range.from - 1), database },
    { from: Math.max(from, range.to + 1), to, database },
  ]);
  const ranges: ShardRange[] = [];
  for (const each of [...kept.filter(({ from, to }) => from <= to), range].toSorted((left, right) => left.from - right.from)) {
    const last = ranges.at(-1);
    if (last?.database === each.database) ranges[ranges.length - 1] = { ...last, to: each.to };
    else ranges.push(each);
  }
  return ranges;
}

async function write(tx: Transaction, ranges: readonly ShardRange[]): Promise<void> {
  await tx.execute('DELETE FROM dmb.shard_map');
  for (const { from, to, database } of ranges) await tx.execute('INSERT INTO dmb.shard_map (shard_from, shard_to, database) VALUES ($1, $2, $3)', [from, to, database]);
}

/** Step 5 for one database. */
async function removeAll(tx: Transaction, from: number, to: number): Promise<void> {
  for (const service of await servicesIn(tx)) {
    for (const { name, shard } of await tablesOf(tx, service)) await tx.execute(`DELETE FROM ${schemaOf(service)}.${name} WHERE ${shard} BETWEEN $1 AND $2`, [from, to]);
  }
}
