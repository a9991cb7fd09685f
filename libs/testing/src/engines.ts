/**
 * Real engines for integration tests.
 *
 * One Postgres serves a whole run (see engines-setup.ts); every test file makes databases of its own
 * on it, so that files run beside each other and leave nothing. A test that kills Postgres takes a
 * private one with {@link startTestPostgres}.
 *
 * Every integration test file runs twice: with one database and, in the project `int-2db`, with
 * two. It asks for databases without saying how many, and so finds out whether something crosses
 * shards. A file whose subject is no database of a service is named `*.once.int.test.ts`.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProvidedContext } from 'vitest';
import type { ServiceName } from '@dmb/events';
import {
  createDatabase,
  dropDatabase,
  migrate,
  openDatabases,
  openInstallation,
  startEmbeddedPostgres,
  type Databases,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  type Migration,
} from '@dmb/postgres';

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL of the Postgres of this run. */
    'dmb.postgres': string;
    /** How many databases a test gets that does not say. */
    'dmb.databases': number;
  }
}

/** Databases of one test file, set up for one installation. */
export interface TestDatabases {
  /** As DATABASE_URL lists them. */
  readonly urls: readonly string[];
  readonly domain: string;
  /** Opens them as a service; closed by {@link TestDatabases.drop} if not before. */
  open(service: ServiceName, options?: { readonly connectionsMax?: number }): Promise<Databases>;
  /** {@link migrate} and {@link TestDatabases.open}. */
  openMigrated(service: ServiceName, migrations: readonly Migration[], options?: { readonly connectionsMax?: number }): Promise<Databases>;
  /** Removes them, whoever is still connected. */
  drop(): Promise<void>;
}

/** How test databases are made. */
export interface TestDatabasesOptions {
  /** Left out: as many as the vitest project says, 1 or 2. */
  readonly count?: number;
  readonly domain?: string;
  /** The server; left out, the Postgres of this run. */
  readonly server?: string;
}

/** Fresh databases on the Postgres of this run, installed but not migrated. */
export async function createTestDatabases(options: TestDatabasesOptions = {}): Promise<TestDatabases> {
  const server = options.server ?? (await provided('dmb.postgres'));
  const count = options.count ?? (await provided('dmb.databases'));
  const { domain = 'dmb.test' } = options;
  const name = `dmb_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  const names = Array.from({ length: count }, (_, index) => `${name}_${index}`);
  const urls = await Promise.all(names.map((each) => createDatabase(server, each)));
  await openInstallation({ urls, domain });
  const opened = new Set<Databases>();
  const open: TestDatabases['open'] = async (service, { connectionsMax = 5 } = {}) => {
    const databases = await openDatabases({ urls, service, connectionsMax, applicationName: `dmb test ${service}` });
    opened.add(databases);
    return databases;
  };
  return {
    urls,
    domain,
    open,
    async openMigrated(service, migrations, openOptions) {
      await migrate({ urls, service, migrations });
      return await open(service, openOptions);
    },
    async drop() {
      await Promise.all([...opened].map((databases) => databases.close()));
      await Promise.all(names.map((each) => dropDatabase(server, each)));
    },
  };
}

/** A Postgres for one test, in a folder that goes with it. Faster than it is safe, unless `settings` say otherwise. */
export async function startTestPostgres(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
  const folder = options.dataDir ?? (await mkdtemp(join(tmpdir(), `dmb-test-${process.pid}-`)));
  const postgres = await startEmbeddedPostgres({ initWithoutSync: true, ...options, dataDir: folder, settings: { ...testSettings, ...options.settings } });
  const stop = postgres.stop.bind(postgres);
  postgres.stop = async () => {
    await stop();
    if (options.dataDir === undefined) await rm(folder, { recursive: true, force: true });
  };
  return postgres;
}

/** Nothing is kept after a test, so nothing waits for the disk. */
const testSettings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: 300 } as const;

async function provided<Key extends 'dmb.postgres' | 'dmb.databases'>(key: Key): Promise<ProvidedContext[Key]> {
  // Only there inside vitest; benchmarks use this file too.
  const { inject } = await import('vitest');
  return inject(key);
}
