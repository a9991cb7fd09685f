/**
 * Every bound of identity, with its unit in its name. Figures that protect against strangers are
 * starting values; the relations between them are asserted at start.
 */
import { assertLimits, httpLimits } from '@dmb/runtime';
import { type Limit } from '@dmb/timelines';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Bounds of what people type. Lengths are in characters (code points) unless the name says otherwise. */
export const textLimits = {
  handleLengthMax: 30,
  passwordLengthMin: 8,
  passwordLengthMax: 1_024,
  titleLengthMax: 100,
  emailLengthMax: 254,
  reasonLengthMax: 500,
  localeLengthMax: 35,
  appNameLengthMax: 120,
  websiteLengthMax: 300,
  stateBytesMax: 2_048,
  scopesLengthMax: 400,
  redirectUrisMax: 20,
  redirectUriLengthMax: 600,
  /** client_id and client_secret together: apps keep both, and send both in headers. */
  clientCredentialsLengthMax: 1_500,
  /** The browser's own description of itself, kept with a session. */
  userAgentLengthMax: 300,
  nextLengthMax: 4_096,
} as const;

/** How long things live. */
export const ages = {
  reservationMs: 10 * minuteMs,
  codeMs: 10 * minuteMs,
  /** A session ends this long after it was last used (by day). */
  sessionMs: 60 * dayMs,
  sessionCookieMs: 60 * dayMs,
  /** A client_credentials token that nobody used for this long. Tokens of persons live until revoked: no client refreshes one. */
  appTokenUnusedMs: 90 * dayMs,
  operatorLinkMs: 7 * dayMs,
  /** `identity.registration` counts persons at most this often. */
  registrationCacheMs: 30_000,
  housekeepingMs: hourMs,
  /** After the start, so that starting is not slowed down. */
  housekeepingFirstMs: minuteMs,
} as const;

/**
 * Work with passwords: each hashing takes `memoryKiB` while it runs, so few run at once and few wait.
 * Of the pairs of memory and passes that are recommended as equal, this is the one above 32 MiB: the
 * allocator gives such blocks back at once, while smaller ones stayed with each thread that had hashed (80 MB more for good).
 */
export const passwordWork = {
  memoryKiB: 47_104,
  passes: 1,
  parallelism: 1,
  saltBytes: 16,
  hashBytes: 32,
  concurrencyMax: 2,
  waitingMax: 64,
} as const;

/** Bounds of lists. */
export const listLimits = {
  sessionsPerPersonMax: 50,
  tokensPerPersonAndAppMax: 50,
  /** Tokens that another service asks for in one call. */
  tokensAskedMax: 1_000,
  connectedAppsMax: 100,
  registrationsShownMax: 50,
  housekeepingRowsMax: 1_000,
} as const;

const limit = (name: string, capacity: number, periodMs: number): Limit => ({ name: `identity.${name}`, capacity, periodMs });

/** Rate limits; address buckets are single IPv4 addresses and IPv6 /64s. */
export const rateLimits = {
  logInByAddress: limit('log-in-address', 30, 15 * minuteMs),
  /** Per handle over all addresses: slows guessing from many places; a person who is being guessed at waits, too. */
  logInByHandle: limit('log-in-handle', 50, 15 * minuteMs),
  signUpByAddress: limit('sign-up-address', 10, 30 * minuteMs),
  appsByAddress: limit('apps-address', 30, 10 * minuteMs),
  tokensByAddress: limit('tokens-address', 120, 10 * minuteMs),
  passwordChangeByPerson: limit('password-person', 10, hourMs),
  operatorLinkByAddress: limit('operator-link-address', 20, 10 * minuteMs),
} as const;

assertLimits('identity', {
  'passwordLengthMin < passwordLengthMax': textLimits.passwordLengthMin < textLimits.passwordLengthMax,
  'codeMs ≤ 10 minutes': ages.codeMs <= 10 * minuteMs,
  'memory of concurrent password work ≤ 96 MiB': passwordWork.memoryKiB * passwordWork.concurrencyMax <= 96 * 1024,
  'memory of one hashing > 32 MiB': passwordWork.memoryKiB > 32 * 1024,
  'redirectUriLengthMax < clientCredentialsLengthMax': textLimits.redirectUriLengthMax < textLimits.clientCredentialsLengthMax,
  'a form of the longest texts fits a request': 8 * textLimits.nextLengthMax < httpLimits.bodyBytesMax,
});
