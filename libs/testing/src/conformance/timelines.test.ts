import { describe, expect, it } from 'vitest';
import { MemoryTimelines } from '@dmb/timelines';
import { timelinesConformance } from './timelines.ts';

const adapters = { memory: () => Promise.resolve(new MemoryTimelines()) };

for (const [name, create] of Object.entries(adapters)) timelinesConformance(name, create);

describe('the suite itself', () => {
  it('has an adapter to run against', () => expect(Object.keys(adapters).length).toBeGreaterThan(0));
});
