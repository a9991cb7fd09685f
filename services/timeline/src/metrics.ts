/** What this service counts: one function per thing that happens. */
import { meter } from '@dmb/runtime';
import type { Timelines } from '@dmb/timelines';

export type CutReason = 'slow' | 'revoked' | 'stopping' | 'failed';

export const timelineMetrics = {
  rebuilt: (outcome: 'done' | 'repeated' | 'failed', seconds: number): void => {
    meter('rebuilds').add(1, { outcome });
    meter('rebuildDuration').record(seconds);
  },
  storeFailed: (): void => meter('timelineStoreFailures').add(1),
  presented: (context: 'home' | 'stream' | 'notification', seconds: number): void => meter('presentDuration').record(seconds, { context }),
  streamOpened: (kind: 'sse' | 'websocket'): void => meter('streamsOpen').add(1, { kind }),
  streamClosed: (kind: 'sse' | 'websocket'): void => meter('streamsOpen').add(-1, { kind }),
  streamCut: (reason: CutReason): void => meter('streamsCut').add(1, { reason }),
  told: (events: number): void => meter('liveEvents').add(events),
};

/** Timelines present, read when metrics are collected. */
export function observeTimelines(timelines: Timelines): () => void {
  return meter('timelinesPresent').observe(async () => (await timelines.statistics()).present);
}
