export { MemoryLimits, MemoryLiveEvents, MemoryTimelines } from './memory.ts';
export type { MemoryTimelinesOptions } from './memory.ts';
export { timelineLimits } from './limits.ts';
export type { TimelineLimits } from './limits.ts';
export type {
  Limit,
  LimitAnswer,
  Limits,
  LiveEvent,
  LiveEvents,
  Push,
  Reader,
  TimelineRead,
  Timelines,
  TimelineSnapshot,
} from './ports.ts';
