/**
 * The database under the one process: ours in the data folder, or the operator's by DATABASE_URL.
 *
 * Whichever it is, it is set up in the same order: the installation (whose data, how many
 * databases, which shards where) is made or compared, then each service's migrations run under that
 * service's own role. Opening comes after: a service never sees another's tables.
 */
import { fanOutMigrations } from '@dmb/fan-out';
import { identityMigrations } from '@dmb/identity';
import { microblogMigrations } from '@dmb/microblog';
import type { ServiceName } from '@dmb/events';
import { migrate, openDatabases, openInstallation, startEmbeddedPostgres, type Databases, type EmbeddedPostgres, type Migration } from '@dmb/postgres';
import { AppError, type Lifecycle, type Logger } from '@dmb/runtime';
import { timelineMigrations } from '@dmb/timeline';
import type { Settings } from './config.ts';
import { openDataFolder } from './data-folder.ts';
import { connectionsMax } from './limits.ts';

const migrationsOf: Readonly<Record<ServiceName, () => Promise<readonly Migration[]>>> = {
  identity: identityMigrations,
  microblog: microblogMigrations,
  'fan-out': fanOutMigrations,
  timeline: timelineMigrations,
};

/** Databases by service, there once the part `database` has started. */
export class Engines {
  private embedded: EmbeddedPostgres | undefined;
  private readonly opened = new Map<ServiceName, Databases>();

  /** @throws {AppError} bug, before the start */
  of(service: ServiceName): Databases {
    const databases = this.opened.get(service);
    if (databases === undefined) throw new AppError('bug', undefined, { detail: `the databases of ${service} are not open` });
    return databases;
  }

  /** Adds what starts and stops the database to a process. */
  addTo(lifecycle: Lifecycle, settings: Settings, logger: Logger): void {
    let urls = settings.databaseUrls ?? [];
    let describe = async (): Promise<void> => undefined;
    if (settings.databaseUrls === undefined) {
      lifecycle.add({
        name: 'postgres',
        start: async () => {
          const folder = await openDataFolder(settings.data, settings.domain);
          this.embedded = await startEmbeddedPostgres({ dataDir: folder.postgres, logger: logger.child('postgres') });
          urls = [this.embedded.url];
          ({ describe } = folder);
        },
        stop: () => this.embedded?.stop(),
      });
    }
    lifecycle.add({
      name: 'databases',
      start: async () => {
        await openInstallation({ urls, domain: settings.domain });
        const services = Object.keys(migrationsOf) as ServiceName[];
        await Promise.all(services.map(async (service) => migrate({ urls, service, migrations: await migrationsOf[service]() })));
        await Promise.all(
          services.map(async (service) => {
            this.opened.set(service, await openDatabases({ urls, service, connectionsMax: connectionsMax[service], applicationName: `dmb ${service}` }));
          }),
        );
        await describe();
      },
      stop: async () => void (await Promise.all([...this.opened.values()].map((databases) => databases.close()))),
    });
    lifecycle.check('database', async () => {
      await Promise.all(this.of('microblog').all.map((database) => database.query('SELECT 1 AS one')));
      return true;
    });
  }
}
