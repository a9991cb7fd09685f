/** What the benchmark and its fan-out processes tell each other. */
import type { PostId } from '@dmb/protocol';

export type ToProcess =
  | { readonly type: 'start'; readonly databaseUrls: readonly string[]; readonly brokers: readonly string[]; readonly prefix: string; readonly redisUrls: readonly string[] }
  | { readonly type: 'answer'; readonly number: number; readonly answer: unknown }
  | { readonly type: 'usage' }
  | { readonly type: 'stop' };

export type FromProcess =
  | { readonly type: 'ready' }
  | { readonly type: 'ask'; readonly number: number; readonly name: string; readonly request: unknown }
  /** Redis has acknowledged a push; `at` is Unix milliseconds. */
  | { readonly type: 'pushed'; readonly at: number; readonly pushes: readonly { readonly ids: readonly PostId[]; readonly readers: number }[] }
  | { readonly type: 'usage'; readonly cpuMicroseconds: number; readonly rssMegabytes: number; readonly rssMegabytesMax: number };
