export { createFanOutModule } from './app.module.ts';
export { fanOutConfig } from './config.ts';
export type { FanOutConfig } from './config.ts';
export type { FanOutContext } from './context.ts';
export { FanOut } from './fan-out.ts';
export { fanOutLimits } from './limits.ts';
export { loadFollowers, type FollowersToLoad } from './loader.ts';
export { fanOutMigrations } from './migrations.ts';
export type { Ledger } from './work/sweep.ts';
