/** What timeline is given by whoever runs it. */
import type { EventLog } from '@dmb/event-log';
import type { Databases } from '@dmb/postgres';
import type { Domain } from '@dmb/protocol';
import type { Calls, Logger } from '@dmb/runtime';
import type { Limits, LiveEvents, Timelines } from '@dmb/timelines';
import type { TimelineConfig } from './config.ts';

export interface TimelineContext {
  readonly config: TimelineConfig;
  /** Opened as the service `timeline`. */
  readonly databases: Databases;
  /** Timeline asks `microblog.*` and `identity.token`; it answers none. */
  readonly calls: Pick<Calls, 'call'>;
  readonly eventLog: Pick<EventLog, 'subscribe'>;
  readonly timelines: Timelines;
  readonly live: LiveEvents;
  readonly limits: Pick<Limits, 'take'>;
  readonly logger: Logger;
  readonly domain: Domain;
  /** Scheme and authority, without a slash at the end. */
  readonly baseUrl: string;
  /** Addresses and networks whose X-Forwarded-For counts, for upgrades. */
  readonly trustedProxies?: readonly string[];
  /** Unix milliseconds; the clock of the process if left out. */
  readonly now?: () => number;
}
