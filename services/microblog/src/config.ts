/** Every variable of microblog. The domain, its address and the databases are shared and declared by whoever composes the services. */
import { type ConfigOf, variable } from '@dmb/runtime';

export const microblogConfig = {
  appendLanes: variable({
    name: 'DMB_APPEND_LANES',
    type: 'int',
    min: 1,
    max: 16,
    default: 2,
    unit: 'connections',
    describe: 'Connections per database that append entries; entries of one log always go through the same one.',
  }),
} as const;

export type MicroblogConfig = ConfigOf<typeof microblogConfig>;
