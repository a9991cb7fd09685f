/** Every variable of timeline. The domain, its address and the databases are shared and declared by whoever composes the services. */
import { variable, type ConfigOf } from '@dmb/runtime';

export const timelineConfig = {
  streamsPerToken: variable({
    name: 'DMB_STREAMS_PER_TOKEN',
    type: 'int',
    default: 64,
    min: 1,
    max: 10_000,
    unit: 'streams',
    describe: 'Live streams that one access token may hold open at once.',
  }),
  streamsPerAddress: variable({
    name: 'DMB_STREAMS_PER_ADDRESS',
    type: 'int',
    default: 1_024,
    min: 1,
    max: 100_000,
    unit: 'streams',
    describe: 'Live streams that one client address (IPv6: one /64) may hold open at once.',
  }),
} as const;

export type TimelineConfig = ConfigOf<typeof timelineConfig>;
