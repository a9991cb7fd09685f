import { describe, expect, it } from 'vitest';
import { MemoryLiveEvents } from '@dmb/timelines';
import { liveEventsConformance } from './live-events.ts';

liveEventsConformance('memory', () => {
  const live = new MemoryLiveEvents();
  return Promise.resolve({ here: live, there: live });
});

describe('live events in memory', () => {
  it('refuses more handlers than a process can need', async () => {
    const live = new MemoryLiveEvents();
    for (let count = 0; count < 64; count++) await live.listen(() => undefined);
    await expect(live.listen(() => undefined)).rejects.toMatchObject({ kind: 'bug' });
  });

  it('reports what a handler throws', async () => {
    const errors: unknown[] = [];
    const live = new MemoryLiveEvents((error) => errors.push(error));
    await live.listen(() => {
      throw new Error('broken');
    });
    await live.publish([{ type: 'person', event: { shard: 1, person: 'p' as never, what: 'following-changed' } }]);
    expect(errors).toHaveLength(1);
  });
});
