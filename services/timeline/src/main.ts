import { runService } from '@dmb/cluster';
import { processEnvironment } from '@dmb/runtime';
import { createTimelineModule, TimelineLifecycle } from './app.module.ts';
import { timelineConfig } from './config.ts';
import { timelineMigrations } from './migrations.ts';
import { Streams } from './streams/streams.ts';
import { StreamUpgrades } from './streams/upgrades.ts';

await runService({
  name: 'timeline',
  config: timelineConfig,
  migrations: timelineMigrations,
  module: (parts, config) => createTimelineModule({ ...parts, config }),
  asks: ['identity', 'microblog'],
  checks: (provider) => ({ events: () => provider(TimelineLifecycle).isHealthy() }),
  upgrades: StreamUpgrades,
  endStreams: (provider) => provider(Streams).stop(),
}, process.argv.slice(2), processEnvironment);
