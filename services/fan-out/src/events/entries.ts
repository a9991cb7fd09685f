/** The way in: entries that microblog tells of, handed to the applier. */
import type { EventLog, LogEvent, Subscription } from '@dmb/event-log';
import type { EntryRef } from '@dmb/events';
import type { Logger } from '@dmb/runtime';

export interface EntryEventsParts {
  readonly eventLog: Pick<EventLog, 'subscribe'>;
  readonly logger: Logger;
  /** Resolves when the entries have had their effect. */
  readonly take: (entries: readonly EntryRef[]) => Promise<void>;
  /** Earlier events may be gone. */
  readonly onLost: () => void;
}

/** Subscribes as the group `fan-out`. */
export async function subscribeToEntries({ eventLog, logger, take, onLost }: EntryEventsParts): Promise<Subscription> {
  return await eventLog.subscribe({
    group: 'fan-out',
    topics: ['microblog.entry.v1'],
    handle: (events) => take((events as readonly LogEvent<'microblog.entry.v1'>[]).map(({ payload }) => payload)),
    onLost: () => {
      onLost();
      return Promise.resolve();
    },
    // An event that cannot be read names no log, so no row can be written for it: the sweep finds what it was about.
    onPoison: ({ topic, cause }) => {
      logger.error('an event could not be read; a sweep will find its entry', { topic, error: cause });
      onLost();
      return Promise.resolve();
    },
  });
}
