/** Microblog: what is followed, the numbered logs in which it is written, and who may read them. */
export { createMicroblogModule } from './app.module.ts';
export { microblogConfig, type MicroblogConfig } from './config.ts';
export { type MicroblogContext } from './context.ts';
export { MicroblogLoader, type FollowToLoad, type LoadedMicroblog, type LoadedOwnLog, type LoaderOptions, type MicroblogToLoad } from './loader.ts';
export { Microblog } from './microblog.ts';
export { microblogMigrations } from './migrations.ts';
