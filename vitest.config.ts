import { defineConfig } from 'vitest/config';

/** Workspaces are tested from their sources, so that no build stands between an edit and a test. */
const conditions = ['source'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    reporters: ['default', './tools/closing-line.mjs'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['{libs,services}/*/src/**/*.test.ts'],
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'int',
          include: ['{libs,services}/*/test/**/*.int.test.ts'],
          pool: 'forks',
          isolate: true,
          maxWorkers: 2,
          // Projects with different maxWorkers cannot run at the same time: after the unit tests.
          sequence: { groupOrder: 1 },
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
