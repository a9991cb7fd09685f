export { createTestDatabases, startTestPostgres } from './engines.ts';
export type { TestDatabases, TestDatabasesOptions } from './engines.ts';
