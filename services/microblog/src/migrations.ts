/** The migrations of this service, oldest first. */
import { loadMigrations, outboxMigrations, type Migration } from '@dmb/postgres';

/** What `migrate` of libs/postgres runs for microblog: the outbox, then the files of this service. */
export async function microblogMigrations(): Promise<Migration[]> {
  return [...outboxMigrations, ...(await loadMigrations(new URL('../migrations/', import.meta.url)))];
}
