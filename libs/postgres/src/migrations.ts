/**
 * Bringing the schema of one service up to what this program needs, in every database.
 *
 * Forward only: a migration is a file that never changes again, recorded with its SHA-256. Each
 * runs in a transaction of its own as the role of the service, so it can touch nothing else, and
 * together with its record; a crash leaves all of it or none. One process at a time does this in a
 * database (advisory lock), the others wait and then find nothing to do. A migration waits only
 * `lockTimeoutMs` for a table: everybody who wants the table queues behind it meanwhile.
 *
 * Roles belong to the server, not to a database, and `CREATE ROLE` and `GRANT` of the same role
 * from two databases at once fail in several ways, all of which mean "again".
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartError } from '@dmb/runtime';
import type { ServiceName } from '@dmb/events';
import type { SetupSession } from './database.ts';
import { DatabaseError } from './errors.ts';
import { asStart, connect, readInstallation } from './installation.ts';
import { migrationLimits } from './limits.ts';
import { describeUrl, roleOf, schemaOf } from './services.ts';
import type { Queryable, Transaction } from './session.ts';

/** One step. Its name orders nothing: the list does. */
export interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** Where and what to migrate. */
export interface MigrateOptions {
  readonly urls: readonly string[];
  readonly service: ServiceName;
  /** In order, oldest first. */
  readonly migrations: readonly Migration[];
}

const fileName = /^(\d{4})_[a-z0-9_-]+\.sql$/;

/**
 * The files `0001_….sql`, `0002_….sql` … of a folder, in order.
 * @throws {Error} if a number is missing or twice there, or a file is named otherwise
 */
export async function loadMigrations(folder: URL): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  return await Promise.all(
    files.map(async (file, index) => {
      if (Number(fileName.exec(file)?.[1]) !== index + 1) throw new Error(`${file}: a migration is named ${String(index + 1).padStart(4, '0')}_name.sql here`);
      return { name: file.slice(0, -'.sql'.length), sql: await readFile(new URL(file, folder), 'utf8') };
    }),
  );
}

/**
 * Makes role and schema of a service if they are missing and runs the migrations that have not run, in every database.
 * Running it again, or in several processes at once, is the same as once.
 * @throws {StartError} one sentence: unreachable, not set up, made by a newer version, a changed migration
 * @returns the names of what ran, by database
 */
export async function migrate({ urls, service, migrations }: MigrateOptions): Promise<string[][]> {
  const all: string[][] = [];
  for (const url of urls) all.push(await asStart(url, () => connect(url, (session) => migrateOne(session, url, service, migrations))));
  return all;
}

async function migrateOne(session: SetupSession, url: string, service: ServiceName, migrations: readonly Migration[]): Promise<string[]> {
  if ((await readInstallation(session)) === undefined) throw new StartError(`The database ${describeUrl(url)} has not been set up for DMB.`);
  // Ends with the connection.
  await session.execute(`SELECT pg_advisory_lock(hashtextextended('dmb migration', 0))`);
  await makeRole(session, service);
  await makeSchema(session, url, service);
  const open = await pending(session, url, service, migrations);
  for (const migration of open) await session.transaction((tx) => apply(tx, service, migration));
  return open.map(({ name }) => name);
}

async function makeRole(session: Queryable, service: ServiceName): Promise<void> {
  const role = roleOf(service);
  for (let attempt = 1; ; attempt++) {
    try {
      await session.execute(`
        DO $$ BEGIN
          IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${role}') THEN CREATE ROLE ${role} NOLOGIN; END IF;
          IF NOT pg_has_role(session_user, '${role}', CASE WHEN current_setting('server_version_num')::int4 >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
            EXECUTE format('GRANT ${role} TO %I', session_user);
          END IF;
        END $$`);
      return;
    } catch (error) {
      // duplicate_object, unique_violation, undefined_object, "tuple concurrently updated"
      const again = error instanceof DatabaseError && ['42710', '23505', '42704', 'XX000'].includes(error.sqlState ?? '');
      if (!again || attempt >= migrationLimits.roleAttemptsMax) throw error;
      await sleep(migrationLimits.roleRetryDelayMs * Math.random());
    }
  }
}

async function makeSchema(session: Queryable, url: string, service: ServiceName): Promise<void> {
  const [schema, role] = [schemaOf(service), roleOf(service)];
  const [there] = await session.query<{ owner: string }>('SELECT pg_get_userbyid(nspowner)::text AS owner FROM pg_namespace WHERE nspname = $1', [schema]);
  if (there !== undefined && there.owner !== role) throw new StartError(`The schema "${schema}" of the database ${describeUrl(url)} is not DMB's: it belongs to ${there.owner}.`);
  await session.execute(`
    CREATE SCHEMA IF NOT EXISTS ${schema} AUTHORIZATION ${role};
    GRANT USAGE ON SCHEMA dmb TO ${role};
    GRANT SELECT ON dmb.installation, dmb.shard_map TO ${role};`);
}

/** What has not run, after checking what has. */
async function pending(session: SetupSession, url: string, service: ServiceName, migrations: readonly Migration[]): Promise<Migration[]> {
  const done = await session.transaction(async (tx) => {
    await become(tx, service);
    await tx.execute('CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())');
    return new Map((await tx.query<{ name: string; sha256: Buffer }>('SELECT name, sha256 FROM migration')).map(({ name, sha256 }) => [name, sha256]));
  });
  const known = new Set(migrations.map(({ name }) => name));
  if (known.size !== migrations.length) throw new Error(`two migrations of ${service} have one name`);
  const unknown = [...done.keys()].find((name) => !known.has(name));
  if (unknown !== undefined) throw new StartError(`The database ${describeUrl(url)} was made by a newer version of DMB (${service} has the migration ${unknown}); start that version, or a newer one.`);
  for (const { name, sql } of migrations) {
    if (done.get(name)?.equals(hash(sql)) === false) throw new StartError(`The migration ${name} of ${service} is not the one that made the database ${describeUrl(url)}: a migration never changes.`);
  }
  return migrations.filter(({ name }) => !done.has(name));
}

async function apply(tx: Transaction, service: ServiceName, { name, sql }: Migration): Promise<void> {
  await become(tx, service);
  await tx.execute(`SET LOCAL lock_timeout = ${migrationLimits.lockTimeoutMs}`);
  await tx.execute(sql);
  await tx.execute('INSERT INTO migration (name, sha256) VALUES ($1, $2)', [name, hash(sql)]);
}

/** Goes on as the role of a service, in its schema, until the transaction ends. */
export async function become(tx: Transaction, service: ServiceName): Promise<void> {
  await tx.execute(`SET LOCAL ROLE ${roleOf(service)}; SET LOCAL search_path = ${schemaOf(service)}`);
}

const hash = (sql: string): Buffer => createHash('sha256').update(sql).digest();
