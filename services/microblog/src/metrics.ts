/** What this service counts: one function per thing that happens. */
import { meter } from '@dmb/runtime';
import type { Audience } from '@dmb/events';

const consumer = 'microblog' as const;

/** What a lane tells. */
export interface AppendMetrics {
  /** One batch that was committed. */
  batch(rows: number): void;
  /** One entry of it, and how long its caller waited. */
  accepted(log: Audience, waitedMs: number): void;
  /** Entries that have to be tried again: a number, an id or a key was taken. */
  again(rows: number): void;
  /** How far our clock is ahead; the function returned ends it. */
  observe(read: { readonly waiting: () => number; readonly clockAheadMs: () => number }): () => void;
}

export const appendMetrics: AppendMetrics = {
  batch: (rows) => meter('appendBatchSize').record(rows),
  accepted(log, waitedMs) {
    meter('accepted').add(1, { log });
    meter('appendDuration').record(waitedMs / 1_000);
  },
  again: (rows) => meter('appendConflicts').add(rows),
  observe({ waiting, clockAheadMs }) {
    const ends = [meter('appendWaiting').observe(waiting), meter('clockAhead').observe(() => clockAheadMs() / 1_000)];
    return () => {
      for (const end of ends) end();
    };
  },
};

export const consumerMetrics = {
  applied: (entries: number): void => meter('consumed').add(entries, { consumer, outcome: 'applied' }),
  dropped: (events: number): void => meter('consumed').add(events, { consumer, outcome: 'known' }),
  parked: (): void => meter('consumed').add(1, { consumer, outcome: 'parked' }),
  gapsFound: (logs: number): void => meter('gapsFound').add(logs, { consumer }),
};
