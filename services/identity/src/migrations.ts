import { type Migration, loadMigrations, outboxMigrations } from '@dmb/postgres';

/** The migrations of identity, oldest first; those of its outbox begin. */
export async function identityMigrations(): Promise<readonly Migration[]> {
  return [...outboxMigrations, ...(await loadMigrations(new URL('../migrations/', import.meta.url)))];
}
