import { defineConfig } from 'vitest/config';

/** Workspaces are tested from their sources, so that no build stands between an edit and a test. */
const conditions = ['source'];

/** Real engines, one Postgres for all; see libs/testing/src/engines.ts. */
const integration = {
  include: ['{libs,services}/*/test/**/*.int.test.ts', 'load-tests/test/**/*.int.test.ts'],
  globalSetup: ['libs/testing/src/engines-setup.ts'],
  pool: 'forks' as const,
  isolate: true,
  maxWorkers: 2,
  // Projects with different maxWorkers cannot run at the same time: after the unit tests.
  sequence: { groupOrder: 1 },
  testTimeout: 120_000,
  // A busy machine makes clients and processes wait; what fails twice fails. The report tells what was tried again.
  retry: process.env['CI'] === 'true' ? 1 : 0,
  hookTimeout: 120_000,
};

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  // Where vitest runs global setups.
  environments: { __vitest__: { resolve: { conditions } } },
  test: {
    reporters: ['default', './tools/closing-line.mjs'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['{libs,services}/*/src/**/*.test.ts'],
          isolate: false,
          // The first that asks the linter waits for all the types of the repository.
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { ...integration, name: 'int' },
      },
      {
        // The same files with two databases: what crosses shards by accident fails here.
        extends: true,
        test: { ...integration, name: 'int-2db', exclude: ['**/node_modules/**', '**/*.once.int.test.ts'] },
      },
    ],
  },
});
