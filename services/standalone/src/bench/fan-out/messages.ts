/** What the benchmark and its fan-out processes tell each other. */
import type { PostId } from '@dmb/protocol';

export type ToProcess =
  | { readonly type: 'start'; readonly databaseUrls: readonly string[]; readonly brokers: readonly string[]; readonly prefix: string; readonly redisUrls: readonly string[]; readonly jobLeaseMs?: number }
  | { readonly type: 'answer'; readonly number: number; readonly answer: unknown }
  | { readonly type: 'usage' }
  | { readonly type: 'stop' };

export type FromProcess =
  | { readonly type: 'ready' }
  | { readonly type: 'ask'; readonly number: number; readonly name: string; readonly request: unknown }
  /** Redis has acknowledged pushes, the first and the last at these Unix milliseconds. */
  | { readonly type: 'pushed'; readonly arrivals: readonly { readonly id: PostId; readonly readers: number; readonly firstAt: number; readonly at: number }[] }
  | { readonly type: 'usage'; readonly cpuMicroseconds: number; readonly rssMegabytes: number; readonly rssMegabytesMax: number };
