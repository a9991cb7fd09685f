import { runService } from '@dmb/cluster';
import { processEnvironment } from '@dmb/runtime';
import { createIdentityModule, operatorLink } from './app.module.ts';
import { identityConfig } from './config.ts';
import { identityMigrations } from './migrations.ts';

await runService({
  name: 'identity',
  config: identityConfig,
  migrations: identityMigrations,
  module: (parts, config) => createIdentityModule({ ...parts, config }),
  asks: ['microblog'],
  tasks: {
    'operator-link': {
      describe: 'Prints a one-time link that makes its opener the operator; nothing once there is one. It ends the link before.',
      run: async (parts) => (await operatorLink(parts)) ?? '',
    },
  },
}, process.argv.slice(2), processEnvironment);
