/** What fan-out is given by whoever runs it. */
import type { EventLog } from '@dmb/event-log';
import type { Databases } from '@dmb/postgres';
import type { Calls, Logger } from '@dmb/runtime';
import type { LiveEvents, Timelines } from '@dmb/timelines';
import type { FanOutConfig } from './config.ts';

export interface FanOutContext {
  readonly config: FanOutConfig;
  /** Opened as the service `fan-out`. */
  readonly databases: Databases;
  /** Fan-out asks microblog; it answers none. */
  readonly calls: Pick<Calls, 'call'>;
  readonly eventLog: Pick<EventLog, 'subscribe'>;
  readonly timelines: Timelines;
  readonly live: LiveEvents;
  readonly logger: Logger;
  /** In place of ours, for tests. */
  readonly jobLeaseMs?: number;
  /** Unix milliseconds; the clock of the process if left out. */
  readonly now?: () => number;
}
