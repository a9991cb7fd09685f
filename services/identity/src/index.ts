/** Identity: persons, how they prove who they are, and what they let act for them. */
export { createIdentityModule, operatorLink } from './app.module.ts';
export { identityConfig, type IdentityConfig } from './config.ts';
export { type IdentityContext } from './context.ts';
export { identityMigrations } from './migrations.ts';
export { loadPersons, type LoadedApp, type LoadedPerson, type LoadPersonsOptions } from './loader.ts';
