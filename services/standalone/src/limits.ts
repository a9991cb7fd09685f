/** Bounds of the one process. */
import type { ServiceName } from '@dmb/events';

/** Connections of each service's pool, in each database; lanes of the batcher come on top. */
export const connectionsMax: Readonly<Record<ServiceName, number>> = { identity: 4, microblog: 10, 'fan-out': 6, timeline: 3 };
