/**
 * What an installation is, written into its databases, so that nobody starts DMB on the wrong ones.
 *
 * Each database of the list has one row `dmb.installation` (whose installation, for which domain,
 * which number in the list of how many); the first one also has `dmb.shard_map`: which of the
 * 1,024 shards lie where. The map is written once, as ranges of equal size, and then read: moving
 * shards to another database later changes the table and no program.
 *
 * **A crash while installing.** The databases are written from the last to the first. A row in the
 * first one therefore says that all have theirs; if it is missing while others have one, and no
 * service has made a schema in any of them, the work is finished with the id found. With schemas
 * there, the first database has been replaced, and that is told instead of papered over.
 */
import { randomUUID } from 'node:crypto';
import { StartError } from '@dmb/runtime';
import { serviceNames } from '@dmb/events';
import { withConnection, type SetupSession } from './database.ts';
import { DatabaseError } from './errors.ts';
import { migrationLimits } from './limits.ts';
import { describeUrl, schemaOf } from './services.ts';
import { type Queryable } from './session.ts';

/** Number of shards, for ever. */
export const shardCount = 1_024;

/** The oldest server that is tested. */
const serverVersionMin = 150_000;

/** Whose data this is. */
export interface Installation {
  readonly id: string;
  readonly domain: string;
  readonly databases: number;
}

/** Shards `from` to `to`, both included, lie in database `database`. */
export interface ShardRange {
  readonly from: number;
  readonly to: number;
  readonly database: number;
}

interface InstallationRow {
  readonly id: string;
  readonly domain: string;
  readonly index: number;
  readonly count: number;
}

/** Equal contiguous ranges of the shards over `count` databases. */
export function planShards(count: number): ShardRange[] {
  return Array.from({ length: count }, (_, database) => ({
    from: Math.ceil((database * shardCount) / count),
    to: Math.ceil(((database + 1) * shardCount) / count) - 1,
    database,
  }));
}

/**
 * The installation in these databases; made if all of them are new, as `id` where it has had one elsewhere.
 * @throws {StartError} one sentence: another domain, another order or number of databases, a foreign or unreachable one
 */
export async function openInstallation({ urls, domain, id: known }: { readonly urls: readonly string[]; readonly domain: string; readonly id?: string }): Promise<Installation> {
  if (urls.length === 0) throw new StartError('DATABASE_URL names no database.');
  return await withAll(urls, randomUUID(), [], async (sessions) => {
    // One process at a time; the others wait here and then find it done.
    await sessions[0]?.execute(`SELECT pg_advisory_lock(hashtextextended('dmb installation', 0))`);
    const found: Found[] = [];
    for (const [index, session] of sessions.entries()) found.push(await look(session, index, urls[index] ?? ''));
    const id = found.find(({ row }) => row !== undefined)?.row?.id ?? known ?? randomUUID();
    for (const { index, url, row } of found) checkRow({ index, url, row, id, domain, count: urls.length });
    if (found[0]?.row === undefined) {
      checkUnused(found);
      for (const { index, session, row } of found.toReversed()) {
        if (row === undefined) await install(session, { id, domain, index, count: urls.length });
      }
    } else {
      const empty = found.find(({ row }) => row === undefined);
      if (empty !== undefined) throw replaced(empty);
    }
    return { id, domain, databases: urls.length };
  });
}

/** Sessions on all databases at once. A lock of this `opening` that each takes in its own database finds one that is listed twice. */
async function withAll<T>(urls: readonly string[], opening: string, sessions: readonly SetupSession[], work: (sessions: readonly SetupSession[]) => Promise<T>): Promise<T> {
  const url = urls[sessions.length];
  if (url === undefined) return await work(sessions);
  return await asStart(url, () =>
    connect(url, async (session) => {
      const [lock] = await session.query<{ got: boolean }>(`SELECT pg_try_advisory_lock(hashtextextended('dmb list ' || $1, 0)) AS got`, [opening]);
      if (lock?.got !== true) throw new StartError(`DATABASE_URL lists the database ${describeUrl(url)} twice.`);
      return await withAll(urls, opening, [...sessions, session], work);
    }),
  );
}

const replaced = ({ index, url }: Found): StartError =>
  new StartError(`Database ${index + 1} (${describeUrl(url)}) is empty, although it was in use: it has been replaced. Restore it from a backup.`);

/** @throws {StartError} if the first database has no row although somebody uses one of them */
function checkUnused(found: readonly Found[]): void {
  const used = found.find(({ schemas }) => schemas.length > 0);
  if (used === undefined) return;
  const [first] = found;
  if (used.row !== undefined && first !== undefined) throw replaced(first);
  throw new StartError(`Database ${used.index + 1} (${describeUrl(used.url)}) is not DMB's: it has a schema "${used.schemas[0]}" already.`);
}

interface Found {
  readonly index: number;
  readonly url: string;
  readonly session: SetupSession;
  readonly row: InstallationRow | undefined;
  /** Schemas with names of ours. */
  readonly schemas: readonly string[];
}

async function look(session: SetupSession, index: number, url: string): Promise<Found> {
  const [server] = await session.query<{ version: number; encoding: string }>(
    `SELECT current_setting('server_version_num')::int4 AS version, current_setting('server_encoding') AS encoding`,
  );
  if (server === undefined || server.version < serverVersionMin) throw new StartError(`Database ${index + 1} (${describeUrl(url)}) runs on a Postgres older than ${serverVersionMin / 10_000}.`);
  if (server.encoding !== 'UTF8') throw new StartError(`Database ${index + 1} (${describeUrl(url)}) has the encoding ${server.encoding}; DMB needs UTF8.`);
  const schemas = await session.query<{ name: string }>('SELECT nspname::text AS name FROM pg_namespace WHERE nspname = ANY($1::text[]) ORDER BY nspname', [serviceNames.map(schemaOf)]);
  return { index, url, session, row: await readInstallation(session), schemas: schemas.map(({ name }) => name) };
}

/** The row of a database, if it has one. */
export async function readInstallation(session: Queryable): Promise<InstallationRow | undefined> {
  const [table] = await session.query<{ there: boolean }>(`SELECT to_regclass('dmb.installation') IS NOT NULL AS there`);
  if (table?.there !== true) return undefined;
  const [row] = await session.query<InstallationRow>('SELECT id, domain, index, count FROM dmb.installation');
  return row;
}

/** The shard map of the first database. */
export async function readShardMap(session: Queryable): Promise<ShardRange[]> {
  const ranges = await session.query<ShardRange>('SELECT shard_from AS "from", shard_to AS "to", database FROM dmb.shard_map ORDER BY shard_from');
  let next = 0;
  for (const { from, to } of ranges) {
    if (from !== next || to < from) throw new StartError('The table dmb.shard_map of the first database has a hole or an overlap.');
    next = to + 1;
  }
  if (next !== shardCount) throw new StartError(`The table dmb.shard_map of the first database does not cover ${shardCount} shards.`);
  return ranges;
}

interface Expected {
  readonly index: number;
  readonly url: string;
  readonly row: InstallationRow | undefined;
  readonly id: string;
  readonly domain: string;
  readonly count: number;
}

/** @throws {StartError} if the row belongs elsewhere */
function checkRow({ index, url, row, id, domain, count }: Expected): void {
  if (row === undefined) return;
  const name = `Database ${index + 1} (${describeUrl(url)})`;
  if (row.domain !== domain) throw new StartError(`${name} belongs to the domain ${row.domain}, but DMB_DOMAIN is ${domain}. A domain cannot be changed, because it is part of every address.`);
  checkPlace({ index, url, row, id, count });
}

/** @throws {StartError} if the database does not belong at this place of the list */
export function checkPlace({ index, url, row, id, count }: Omit<Expected, 'domain'>): void {
  if (row === undefined) return;
  const name = `Database ${index + 1} (${describeUrl(url)})`;
  if (row.id !== id) throw new StartError(`${name} belongs to another installation of DMB.`);
  if (row.count !== count) throw new StartError(`${name} is one of ${row.count} databases of this installation, but DATABASE_URL lists ${count}.`);
  if (row.index !== index) throw new StartError(`${name} is number ${row.index + 1} of this installation: DATABASE_URL lists the databases in another order.`);
}

async function install(session: SetupSession, row: InstallationRow): Promise<void> {
  await session.transaction(async (tx) => {
    await tx.execute(`
      CREATE SCHEMA IF NOT EXISTS dmb;
      CREATE TABLE IF NOT EXISTS dmb.installation (
        one boolean PRIMARY KEY DEFAULT true CHECK (one), id uuid NOT NULL, domain text NOT NULL,
        index int2 NOT NULL, count int2 NOT NULL, installed_at timestamptz NOT NULL DEFAULT now());
      CREATE TABLE IF NOT EXISTS dmb.shard_map (shard_from int2 PRIMARY KEY, shard_to int2 NOT NULL, database int2 NOT NULL);`);
    await tx.execute('INSERT INTO dmb.installation (id, domain, index, count) VALUES ($1, $2, $3, $4)', [row.id, row.domain, row.index, row.count]);
    if (row.index !== 0) return;
    for (const range of planShards(row.count)) {
      await tx.execute('INSERT INTO dmb.shard_map (shard_from, shard_to, database) VALUES ($1, $2, $3)', [range.from, range.to, range.database]);
    }
  });
}

/** A connection as the login user itself, with the patience of an installer. */
export function connect<T>(url: string, work: (session: SetupSession) => Promise<T>): Promise<T> {
  return withConnection(
    {
      url,
      applicationName: 'dmb setup',
      settings: { lock_timeout: migrationLimits.turnTimeoutMs, search_path: 'pg_catalog' },
      statementTimeoutMs: migrationLimits.statementTimeoutMs,
      answerTimeoutMs: migrationLimits.statementTimeoutMs + migrationLimits.lockTimeoutMs,
    },
    work,
  );
}

/** Runs setup work on a database and turns what its operator can mend into a sentence. */
export async function asStart<T>(url: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    const why = explain(error);
    if (why === undefined) throw error;
    throw new StartError(`The database ${describeUrl(url)} ${why}.`, { cause: error });
  }
}

function explain(error: DatabaseError): string | undefined {
  if (error.sqlState === '3D000') return 'does not exist';
  if (error.sqlState === '28P01' || error.sqlState === '28000') return 'refuses the user or the password';
  switch (error.fault) {
    case 'connection-lost':
    case 'unreachable':
      return `cannot be reached (${error.detail ?? ''})`;
    case 'no-room':
      return `has no room (${error.detail ?? ''})`;
    case 'timeout':
      return `does not answer in time (${error.detail ?? ''})`;
    case 'permission':
      return `does not let DMB do what it must (${error.detail ?? ''})`;
    default:
      return undefined;
  }
}
