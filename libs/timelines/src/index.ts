export { MemoryLimits, MemoryLiveEvents, MemoryTimelines } from './memory.ts';
export type { MemoryTimelinesOptions } from './memory.ts';
export { RedisLimits } from './redis/limits.ts';
export { RedisLiveEvents } from './redis/live-events.ts';
export { RedisNodes } from './redis/nodes.ts';
export type { RedisMode, RedisNodesOptions } from './redis/nodes.ts';
export { RedisTimelines } from './redis/timelines.ts';
export type { RedisTimelinesOptions } from './redis/timelines.ts';
export { redisLimits, timelineLimits } from './limits.ts';
export type { TimelineLimits } from './limits.ts';
export type {
  Limit,
  LimitAnswer,
  Limits,
  LiveEvent,
  LiveEvents,
  LossAnswer,
  Push,
  PushOptions,
  Reader,
  StoreLoss,
  TimelineRead,
  Timelines,
  TimelineSnapshot,
} from './ports.ts';
