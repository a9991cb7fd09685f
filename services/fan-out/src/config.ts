/** Every variable of fan-out: there is none. What it needs is shared and declared by whoever composes the services. */
import type { ConfigOf } from '@dmb/runtime';

export const fanOutConfig = {} as const;

export type FanOutConfig = ConfigOf<typeof fanOutConfig>;
