import { runService } from '@dmb/cluster';
import { processEnvironment } from '@dmb/runtime';
import { createFanOutModule } from './app.module.ts';
import { fanOutConfig } from './config.ts';
import { FanOut } from './fan-out.ts';
import { fanOutMigrations } from './migrations.ts';

await runService({
  name: 'fan-out',
  config: fanOutConfig,
  migrations: fanOutMigrations,
  module: (parts, config) => createFanOutModule({ ...parts, config }),
  asks: ['microblog'],
  checks: (provider) => ({ events: () => provider(FanOut).isHealthy() }),
}, process.argv.slice(2), processEnvironment);
