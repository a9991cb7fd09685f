/** What identity tells of persons: whoever is gone leaves nothing here. */
import type { EventLog, LogEvent, Subscription } from '@dmb/event-log';
import type { PersonEvent } from '@dmb/events';
import type { Logger } from '@dmb/runtime';
import type { LiveEvents, Timelines } from '@dmb/timelines';
import type { MarkerStore } from '../store/markers.ts';

export interface PersonEventsParts {
  readonly eventLog: Pick<EventLog, 'subscribe'>;
  readonly timelines: Timelines;
  readonly markers: MarkerStore;
  readonly live: LiveEvents;
  readonly logger: Logger;
}

/** Subscribes as the group `timeline`. Every effect may be repeated; a lost position loses nothing that the next look at a token does not find. */
export async function subscribeToPersons(parts: PersonEventsParts): Promise<Subscription> {
  return await parts.eventLog.subscribe({
    group: 'timeline',
    topics: ['identity.person.v1'],
    handle: async (events) => {
      for (const { payload } of events as readonly LogEvent<'identity.person.v1'>[]) await apply(parts, payload);
    },
    onLost: () => Promise.resolve(),
    onPoison: ({ topic, cause }) => {
      parts.logger.error('an event could not be read', { topic, error: cause });
      return Promise.resolve();
    },
  });
}

async function apply({ timelines, markers, live }: PersonEventsParts, event: PersonEvent): Promise<void> {
  switch (event.what) {
    case 'removed':
      await timelines.remove([event]);
      await markers.removePerson(event.person);
      await live.publish([{ type: 'person', event }]);
      return;
    case 'suspended':
    case 'tokens-revoked':
      // Identity told open streams already; this one arrives even if that did not.
      await live.publish([{ type: 'person', event }]);
      return;
    case 'created':
    case 'restored':
  }
}
