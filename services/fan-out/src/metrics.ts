/** What this service counts: one function per thing that happens. */
import { meter } from '@dmb/runtime';
import { postIdMs, type PostId } from '@dmb/protocol';

const consumer = 'fan-out' as const;

export const fanOutMetrics = {
  applied: (entries: number): void => meter('consumed').add(entries, { consumer, outcome: 'applied' }),
  fetched: (entries: number): void => meter('consumed').add(entries, { consumer, outcome: 'fetched' }),
  dropped: (events: number): void => meter('consumed').add(events, { consumer, outcome: 'known' }),
  parked: (logs: number): void => meter('consumed').add(logs, { consumer, outcome: 'parked' }),
  gapsFound: (logs: number): void => meter('gapsFound').add(logs, { consumer }),
  /** Ids times readers, absent ones included: the store does not say who was there. */
  delivered: (rows: number): void => meter('deliveries').add(rows),
  /** An id's time is when its entry was taken in, some milliseconds before its commit. */
  readable: (id: PostId, now: number): void => meter('commitToReadable').record(Math.max(0, now - postIdMs(id)) / 1_000),
};

/** Gauges that are read from what the last sweep found; asking the databases for them would disturb an idle server. */
export function observeLedger(read: () => { readonly unaccounted: number; readonly parkedLogs: number; readonly jobs: number; readonly oldestGapSeconds: number }): () => void {
  const ends = [
    meter('unaccounted').observe(() => read().unaccounted),
    meter('parkedLogs').observe(() => read().parkedLogs, { consumer }),
    meter('deliveryJobs').observe(() => read().jobs),
    meter('oldestGap').observe(() => read().oldestGapSeconds),
  ];
  return () => {
    for (const end of ends) end();
  };
}
