/** The migrations of this service, oldest first. */
import { loadMigrations, type Migration } from '@dmb/postgres';

/** What `migrate` of libs/postgres runs for timeline. It publishes nothing, so it has no outbox. */
export async function timelineMigrations(): Promise<Migration[]> {
  return await loadMigrations(new URL('../migrations/', import.meta.url));
}
