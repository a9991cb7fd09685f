/**
 * All databases of an installation as one service sees them, and the only way from a shard to a
 * database. There is no statement over several databases: who means all of them says `all`, who
 * has rows of several shards says `group`.
 */
import { StartError } from '@dmb/runtime';
import type { ServiceName } from '@dmb/events';
import { PooledDatabase, type Database } from './database.ts';
import { asStart, checkPlace, readInstallation, readShardMap, shardCount, type Installation } from './installation.ts';
import { checkNotMoving } from './move.ts';
import { describeUrl, roleOf, schemaOf } from './services.ts';

/** The databases of an installation, acting as one service. */
export class Databases {
  readonly all: readonly Database[];
  readonly installation: Installation;
  readonly #byShard: readonly Database[];
  readonly #close: () => Promise<void>;

  constructor(all: readonly Database[], byShard: readonly Database[], installation: Installation, close: () => Promise<void>) {
    if (byShard.length !== shardCount) throw new Error(`a shard map has ${shardCount} entries, not ${byShard.length}`);
    this.all = all;
    this.#byShard = byShard;
    this.installation = installation;
    this.#close = close;
  }

  /** The database of a shard, 0 to 1023. */
  at(shard: number): Database {
    const database = this.#byShard[shard];
    if (database === undefined) throw new RangeError(`${shard} is no shard`);
    return database;
  }

  /** Items by the database of their shard, in the order given. */
  group<T>(items: readonly T[], shardOf: (item: T) => number): Map<Database, T[]> {
    const groups = new Map<Database, T[]>();
    for (const item of items) {
      const database = this.at(shardOf(item));
      const group = groups.get(database);
      if (group === undefined) groups.set(database, [item]);
      else group.push(item);
    }
    return groups;
  }

  /** Waits (bounded) for running statements and closes all connections. */
  async close(): Promise<void> {
    await this.#close();
  }
}

/** How a service opens its databases. */
export interface OpenDatabasesOptions {
  /** In the order of the installation. */
  readonly urls: readonly string[];
  readonly service: ServiceName;
  /** Of the pool of each database; dedicated connections come on top. */
  readonly connectionsMax: number;
  /** Shown by `pg_stat_activity`. */
  readonly applicationName: string;
}

/**
 * Opens the databases of an installation as one service.
 * @throws {StartError} one sentence: unreachable, not set up, another order or number
 */
export async function openDatabases({ urls, service, connectionsMax, applicationName }: OpenDatabasesOptions): Promise<Databases> {
  const settings = { role: roleOf(service), search_path: schemaOf(service) };
  const all = urls.map((url, index) => new PooledDatabase(index, { url, applicationName, settings }, connectionsMax));
  const close = async (): Promise<void> => void (await Promise.all(all.map((database) => database.close())));
  try {
    const rows = await Promise.all(all.map((database, index) => asStart(urls[index] ?? '', () => readInstallation(database))));
    const [first] = rows;
    const [firstDatabase] = all;
    for (const [index, row] of rows.entries()) {
      const url = urls[index] ?? '';
      if (row === undefined) throw new StartError(`Database ${index + 1} (${describeUrl(url)}) has not been set up for DMB.`);
      checkPlace({ index, url, row, id: first?.id ?? '', count: urls.length });
    }
    if (first === undefined || firstDatabase === undefined) throw new StartError('DATABASE_URL names no database.');
    for (const [index, database] of all.entries()) await checkNotMoving(database, urls[index] ?? '');
    const byShard = (await readShardMap(firstDatabase)).flatMap(({ from, to, database }) => {
      const target = all[database];
      if (target === undefined) throw new StartError(`The table dmb.shard_map names database ${database + 1}, but DATABASE_URL lists ${urls.length}.`);
      return Array.from({ length: to - from + 1 }, () => target);
    });
    return new Databases(all, byShard, { id: first.id, domain: first.domain, databases: urls.length }, close);
  } catch (error) {
    await close();
    throw error;
  }
}
