/** Every variable of fan-out. What it needs besides is shared and declared by whoever composes the services. */
import { variable, type ConfigOf } from '@dmb/runtime';

export const fanOutConfig = {
  mergeReaders: variable({
    name: 'DMB_MERGE_READERS',
    type: 'int',
    default: 2_000_000,
    min: 1,
    max: 1_000_000_000,
    unit: 'readers',
    describe: 'From so many local readers on, the posts of a microblog are not written into each timeline, but merged when one is read.',
  }),
} as const;

export type FanOutConfig = ConfigOf<typeof fanOutConfig>;
