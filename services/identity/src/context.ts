/** What identity is given by whoever runs it. */
import type { EventLog } from '@dmb/event-log';
import type { Databases } from '@dmb/postgres';
import type { Domain } from '@dmb/protocol';
import type { Calls, Logger } from '@dmb/runtime';
import type { Limits, LiveEvents } from '@dmb/timelines';
import type { IdentityConfig } from './config.ts';

export interface IdentityContext {
  readonly config: IdentityConfig;
  /** Opened as the service `identity`. */
  readonly databases: Databases;
  /** Identity binds `identity.*` here and asks `microblog.*`. */
  readonly calls: Calls;
  readonly eventLog: Pick<EventLog, 'committed'>;
  readonly limits: Pick<Limits, 'take'>;
  /** Told of revoked tokens at once, and listened to for those of other processes; without it, they are good for 5 s more. */
  readonly live?: Pick<LiveEvents, 'publish' | 'listen'>;
  readonly logger: Logger;
  readonly domain: Domain;
  /** Without a slash at the end. */
  readonly baseUrl: string;
}
