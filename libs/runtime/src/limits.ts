/**
 * Every bound of the HTTP rim, with its unit in its name, and the check that bounds agree.
 *
 * A stranger who sends nothing, slowly, too much or too often meets one of these figures and
 * nothing else. Services declare their own in a `limits.ts` of theirs and assert the relations
 * between them at start with {@link assertLimits}: a limit that contradicts another is a mistake
 * of ours which no test of one value finds.
 */
import { StartError } from './errors.ts';

/** Bounds of the HTTP rim. */
export const httpLimits = {
  /** Of a request body; a route that takes files raises it for itself. */
  bodyBytesMax: 1_048_576,
  /** Of a body that is too large: read and thrown away up to here, so that its sender gets to see the 413. */
  refusedBodyBytesMax: 33_554_432,
  /** Request line and headers together. */
  headersBytesMax: 8_192,
  headersCountMax: 100,
  /** From the opening of the connection, or the first byte of a further request, to the end of its headers. */
  headersTimeoutMs: 10_000,
  /** From the same moment to the end of the body. */
  requestTimeoutMs: 30_000,
  /** How often the two above are looked at; they are late by at most this. */
  connectionsCheckMs: 1_000,
  /** An idle connection is kept for a further request; longer than the usual 60 s of a proxy, which must be the one to close. */
  keepAliveTimeoutMs: 65_000,
  requestsPerConnectionMax: 10_000,
  connectionsMax: 10_000,
  /** From one address (IPv6: /64); trusted proxies do not count. */
  connectionsPerAddressMax: 2_000,
  /** One segment of a path that a parameter stands for. */
  pathParameterLengthMax: 500,
  /** Names and values in a form or a query string. */
  parametersMax: 1_000,
  parameterNameLengthMax: 256,
  /** Brackets in one parameter name. */
  parameterDepthMax: 8,
  /** Objects and arrays inside one another in a JSON body. */
  jsonDepthMax: 32,
  /** Values in a JSON body. */
  jsonValuesMax: 20_000,
  forwardedHopsMax: 32,
  /** Waiting for requests in progress when the process stops. */
  drainTimeoutMs: 10_000,
  /** The whole start of a readiness check. */
  readinessCheckTimeoutMs: 2_000,
} as const;

/** Bounds of calls between our own processes. */
export const callLimits = {
  requestBytesMax: 4_194_304,
  /** A thousand entries with the largest bodies, and what JSON adds. */
  answerBytesMax: 67_108_864,
  /** Connections to one address. */
  connectionsMax: 64,
  connectTimeoutMs: 1_000,
  /** An idle connection is closed by the caller after this, and by the callee after the next: never by both at once. */
  keptIdleMs: 10_000,
  idleTimeoutMs: 65_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  /** Attempts at one call, where the earlier ones never left. */
  attemptsMax: 4,
  /** Before an address is tried again in one call. */
  retryPauseMs: 50,
  /** An address without an answer is passed over for this long, while there is another. */
  restMs: 1_000,
  /** Waiting for calls in progress when the process stops. */
  drainTimeoutMs: 10_000,
} as const;

/**
 * Asserts relations between limits at start. The key of each is the relation as it should read.
 * @throws {StartError} naming every relation that does not hold
 */
export function assertLimits(owner: string, relations: Readonly<Record<string, boolean>>): void {
  const broken = Object.entries(relations).filter(([, holds]) => !holds);
  if (broken.length > 0) throw new StartError(broken.map(([relation]) => `The limits of ${owner} contradict each other: ${relation} does not hold.`));
}

assertLimits('the HTTP rim', {
  'headersTimeoutMs < requestTimeoutMs': httpLimits.headersTimeoutMs < httpLimits.requestTimeoutMs,
  'connectionsCheckMs < headersTimeoutMs': httpLimits.connectionsCheckMs < httpLimits.headersTimeoutMs,
  'connectionsPerAddressMax < connectionsMax': httpLimits.connectionsPerAddressMax < httpLimits.connectionsMax,
  'parameterNameLengthMax < headersBytesMax < bodyBytesMax':
    httpLimits.parameterNameLengthMax < httpLimits.headersBytesMax && httpLimits.headersBytesMax < httpLimits.bodyBytesMax,
});

assertLimits('calls', {
  'keptIdleMs < idleTimeoutMs': callLimits.keptIdleMs < callLimits.idleTimeoutMs,
  'headersTimeoutMs < requestTimeoutMs': callLimits.headersTimeoutMs < callLimits.requestTimeoutMs,
  'retryPauseMs < restMs': callLimits.retryPauseMs < callLimits.restMs,
});
