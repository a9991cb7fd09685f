/** What microblog is given by whoever runs it. */
import type { EventLog } from '@dmb/event-log';
import type { Databases } from '@dmb/postgres';
import type { Domain } from '@dmb/protocol';
import type { Calls, Logger } from '@dmb/runtime';
import type { Limits, LiveEvents } from '@dmb/timelines';
import type { MicroblogConfig } from './config.ts';

export interface MicroblogContext {
  readonly config: MicroblogConfig;
  /** Opened as the service `microblog`. */
  readonly databases: Databases;
  /** Microblog binds `microblog.*` here and asks `identity.*`. */
  readonly calls: Calls;
  readonly eventLog: Pick<EventLog, 'subscribe' | 'committed'>;
  /** Without it nothing is limited. */
  readonly limits?: Pick<Limits, 'take'>;
  /** Tells of revoked tokens at once; without it they are good for 5 s more. Is told of what persons follow. */
  readonly live?: Pick<LiveEvents, 'listen' | 'publish'>;
  /** True while no other process writes to these databases: then answers are kept until something is written here. */
  readonly isAlone?: () => boolean;
  readonly logger: Logger;
  readonly domain: Domain;
  /** Unix milliseconds; the clock of the process if left out. */
  readonly now?: () => number;
}
