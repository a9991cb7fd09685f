export { createTimelineModule } from './app.module.ts';
export { timelineConfig } from './config.ts';
export type { TimelineConfig } from './config.ts';
export type { TimelineContext } from './context.ts';
export { homeLimits, streamLimits } from './limits.ts';
export { timelineMigrations } from './migrations.ts';
export { Streams } from './streams/streams.ts';
export { StreamUpgrades } from './streams/upgrades.ts';
