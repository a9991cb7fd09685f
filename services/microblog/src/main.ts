import { runService } from '@dmb/cluster';
import { processEnvironment } from '@dmb/runtime';
import { createMicroblogModule } from './app.module.ts';
import { microblogConfig } from './config.ts';
import { Microblog } from './microblog.ts';
import { microblogMigrations } from './migrations.ts';

await runService({
  name: 'microblog',
  config: microblogConfig,
  migrations: microblogMigrations,
  module: (parts, config) => createMicroblogModule({ ...parts, config }),
  asks: ['identity'],
  checks: (provider) => ({
    accepting: async () => (await provider(Microblog).unready()) === undefined,
    events: () => provider(Microblog).isHealthy(),
  }),
}, process.argv.slice(2), processEnvironment);
