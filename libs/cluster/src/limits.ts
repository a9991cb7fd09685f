/** Every bound of a process of a cluster, with its unit in its name. What it is made of has bounds of its own. */
import { assertLimits, callLimits, httpLimits } from '@dmb/runtime';

export const clusterLimits = {
  /** Characters of the secret of calls. */
  secretLengthMin: 32,
  /** Waiting for Redis when the process starts; it starts without. */
  redisOpenMs: 5_000,
  /** One part, to drain, and again to stop. Longer than calls and requests in progress are waited for. */
  partTimeoutMs: 32_000,
  /** From the signal to the end; orchestrators must allow more (Kubernetes: terminationGracePeriodSeconds). */
  stopTimeoutMs: 55_000,
} as const;

assertLimits('libs/cluster', {
  'drainTimeoutMs of calls and requests < partTimeoutMs < stopTimeoutMs':
    Math.max(callLimits.drainTimeoutMs, httpLimits.drainTimeoutMs) < clusterLimits.partTimeoutMs && clusterLimits.partTimeoutMs < clusterLimits.stopTimeoutMs,
});
