/** Every bound of the load tests, with its unit in its name. */
import { assertLimits } from '@dmb/runtime';

export const loadTestLimits = {
  /** Requests of our own that are under way at once. */
  requestsAtOnce: 32,
  requestTimeoutMs: 30_000,
  /** Posting that was answered with 503 is tried again, under the same key. */
  postAttemptsMax: 10,
  postRetryMs: 1_000,
  /** A page of home: so many posts, the newest, are looked for at every follower. */
  homePageMax: 40,
  /** Followers with a list who read home over HTTP as well. */
  sweptOverHttp: 1_000,
  /** Local addresses that streams and k6 come from, on Linux: limits are by address, and readers have different ones. */
  localAddresses: 8,
  /** How long streams may wait for an event. */
  eventTimeoutMs: 60_000,
  /** Telemetry is sent this often. */
  telemetryEveryMs: 1_000,
  /** Building k6. */
  k6BuildTimeoutMs: 900_000,
} as const;

/** What a run is made of unless it is told otherwise. */
export const usualSizes = {
  followers: 50_000,
  /** Followers who have read, in percent: the others are absent, and read for the first time in the sweep. */
  presentPercent: 80,
  /** Followers who are watched, over all posts of the run. */
  sample: 2_000,
  /** Posts of the celebrity; each is watched by another part of the sample. */
  posts: 200,
  /** A watched follower is asked this often. */
  pollEveryMs: 100,
  /** From the last watcher's answer to the next post. */
  pauseMs: 300,
  persons: 2_000,
  followsEach: 20,
  actionsPerSecond: 60,
  everydaySeconds: 60,
  streams: 2_000,
  streamPosts: 10,
  followed: 5_000,
  readers: 10,
} as const;

assertLimits('load tests', {
  'streams by address stay below what the server allows': usualSizes.streams / loadTestLimits.localAddresses < 1_024,
});
