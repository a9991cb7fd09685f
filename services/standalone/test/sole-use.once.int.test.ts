/** Two programs on one database would each miss what the other took; the second one must say so and end. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DatabaseUse, type Databases, type DatabaseUseMode } from '@dmb/postgres';
import { identityMigrations } from '@dmb/identity';
import { silentLogger } from '@dmb/runtime';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';

let made: TestDatabases;
let databases: Databases;
let regained = 0;
const sole = (mode: DatabaseUseMode = 'alone'): DatabaseUse =>
  new DatabaseUse({
    mode,
    database: () => databases.all[0]!,
    logger: silentLogger,
    onRegained: async () => {
      regained += 1;
    },
  });

beforeAll(async () => {
  made = await createTestDatabases({ count: 1 });
  databases = await made.openMigrated('identity', await identityMigrations());
});
afterAll(async () => {
  await made.drop();
});

it('is refused while another has it, and free once that one lets go', async () => {
  const [first, second] = [sole(), sole()];
  await first.take();
  await expect(second.take()).rejects.toThrow('Another DMB uses this database');
  expect([first.isHeld, second.isHeld]).toEqual([true, false]);
  await first.release();
  const third = sole();
  await third.take();
  await third.release();
});

it('is refused while others share, and sharing while another has it alone', async () => {
  const [first, second, alone] = [sole('shared'), sole('shared'), sole()];
  await Promise.all([first.take(), second.take()]);
  await expect(alone.take()).rejects.toThrow('Another DMB uses this database');
  await Promise.all([first.release(), second.release()]);
  const [only, late] = [sole(), sole('shared')];
  await only.take();
  await expect(late.take()).rejects.toThrow('A DMB that runs as one process uses this database');
  await only.release();
});

it('is taken again when the connection breaks, and what is in memory forgotten', async () => {
  const only = sole();
  await only.take();
  await databases.all[0]!.transaction(async (tx) => {
    await tx.execute('SET LOCAL ROLE NONE');
    await tx.query(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`);
  });
  await expect.poll(() => [only.isHeld, regained], { timeout: 20_000 }).toEqual([true, 1]);
  await only.release();
});
