/**
 * The one error of the product, and the one for whoever starts it.
 *
 * An {@link AppError} has a closed `kind`. Everything else follows from the kind and is decided
 * here once: the HTTP status, whether the same request may be tried again, and whether somebody
 * has to look at it. It carries two texts: `message` is public and is shown to the user by every
 * client as it is; `detail` and `cause` are private and only ever reach our own log.
 *
 * What is thrown by others (Fastify, Nest, Node's sockets and timers, plain bugs) becomes an
 * AppError at the rim by {@link toAppError}. Expected outcomes of pure code are discriminated
 * unions and never come through here. Adapters translate what only they understand (SQLSTATE,
 * broker codes) before it leaves them.
 *
 * A {@link StartError} is another thing: what a human must read who started the program wrongly.
 * It is printed as plain sentences, without a stack, and ends the process with code 1.
 */

/** Why something failed; there is no other reason. */
export type AppErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'gone'
  | 'limited'
  | 'unavailable'
  | 'bug';

/** Field by field, what is wrong with a form: the `details` of a sign-up that is refused with 422. */
export type ErrorDetails = Readonly<Record<string, readonly { readonly error: string; readonly description: string }[]>>;

export interface AppErrorOptions {
  /** For our log only. */
  readonly detail?: string | undefined;
  readonly cause?: unknown;
  /** Machine-readable code; `error` of an OAuth answer (`invalid_grant`). */
  readonly code?: string | undefined;
  readonly details?: ErrorDetails | undefined;
  /** Seconds; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number | undefined;
  /** A more exact HTTP status than the kind's own (413 and 415 are `invalid` too). */
  readonly status?: number | undefined;
}

interface Meaning {
  readonly status: number;
  readonly retryable: boolean;
  readonly message: string;
}

const meanings: Readonly<Record<AppErrorKind, Meaning>> = {
  invalid: { status: 422, retryable: false, message: 'The request is not valid' },
  unauthenticated: { status: 401, retryable: false, message: 'The access token is invalid' },
  forbidden: { status: 403, retryable: false, message: 'This action is not allowed' },
  'not-found': { status: 404, retryable: false, message: 'Record not found' },
  conflict: { status: 409, retryable: false, message: 'This was changed by somebody else at the same time' },
  gone: { status: 410, retryable: false, message: 'This is gone' },
  limited: { status: 429, retryable: true, message: 'Too many requests' },
  unavailable: { status: 503, retryable: true, message: 'This server cannot do that right now; please try again' },
  bug: { status: 500, retryable: false, message: 'Something went wrong on this server' },
};

/** How an AppError crosses a process boundary between our own services. */
export interface WireError {
  readonly kind: AppErrorKind;
  readonly message: string;
  readonly detail?: string;
  readonly code?: string;
  readonly details?: ErrorDetails;
  readonly retryAfterSeconds?: number;
  readonly status?: number;
}

export class AppError extends Error {
  override readonly name = 'AppError';
  readonly kind: AppErrorKind;
  readonly detail: string | undefined;
  readonly code: string | undefined;
  readonly details: ErrorDetails | undefined;
  readonly retryAfterSeconds: number | undefined;
  private readonly exactStatus: number | undefined;

  /** @param message public text; left out, the kind's own sentence is used */
  constructor(kind: AppErrorKind, message?: string, options: AppErrorOptions = {}) {
    super(message ?? meanings[kind].message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.detail = options.detail;
    this.code = options.code;
    this.details = options.details;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.exactStatus = options.status;
  }

  /** The HTTP status of this error. */
  get status(): number {
    return this.exactStatus ?? meanings[this.kind].status;
  }

  /** Whether the very same request may succeed later. */
  get retryable(): boolean {
    return meanings[this.kind].retryable;
  }

  toWire(): WireError {
    return {
      kind: this.kind,
      message: this.message,
      ...(this.detail === undefined ? {} : { detail: this.detail }),
      ...(this.code === undefined ? {} : { code: this.code }),
      ...(this.details === undefined ? {} : { details: this.details }),
      ...(this.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: this.retryAfterSeconds }),
      ...(this.exactStatus === undefined ? {} : { status: this.exactStatus }),
    };
  }

  /** The error that the other side threw; anything malformed becomes a `bug` that says so. */
  static fromWire(wire: unknown): AppError {
    if (typeof wire === 'object' && wire !== null && 'kind' in wire && typeof wire.kind === 'string' && Object.hasOwn(meanings, wire.kind)) {
      const { kind, message, ...options } = wire as WireError;
      return new AppError(kind, message, options);
    }
    return new AppError('bug', undefined, { detail: 'another service answered with something that is no error of ours' });
  }
}

/** What the person who starts the program must read: complete sentences, no stack, exit code 1. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly sentences: readonly string[];

  constructor(sentences: string | readonly string[], options: { readonly cause?: unknown } = {}) {
    const all = typeof sentences === 'string' ? [sentences] : sentences;
    super(all.join('\n'), options.cause === undefined ? undefined : { cause: options.cause });
    this.sentences = all;
  }
}

/** Whether trying again can help: for AppErrors by their kind, for anything else by what {@link toAppError} makes of it. */
export function isRetryable(error: unknown): boolean {
  return toAppError(error).retryable;
}

const kindOfStatus = (status: number): AppErrorKind => {
  switch (status) {
    case 401:
      return 'unauthenticated';
    case 403:
      return 'forbidden';
    case 404:
      return 'not-found';
    case 409:
      return 'conflict';
    case 410:
      return 'gone';
    case 429:
      return 'limited';
    case 502:
    case 503:
    case 504:
      return 'unavailable';
    default:
      return status >= 400 && status < 500 ? 'invalid' : 'bug';
  }
};

/** Public sentences for what Fastify refuses by itself; its own texts speak about its insides. */
const statusMessages: Readonly<Record<number, string>> = {
  400: 'The request is malformed',
  404: 'Not found',
  413: 'The request is too large',
  414: 'The address is too long',
  415: 'This content type is not supported',
};

/** Failures of sockets and disks that pass by themselves. */
const passing = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN',
  'ENOSPC', 'EMFILE', 'ENFILE', 'EDQUOT',
  'UND_ERR_SOCKET', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT',
]);

const fieldOf = (error: object, name: string): unknown => (error as Record<string, unknown>)[name];

/** Any thrown value as an AppError; an AppError is returned as it is, the unknown becomes a `bug`. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (!(error instanceof Error)) {
    return new AppError('bug', undefined, { detail: `something that is no Error was thrown: ${typeof error}`, cause: error });
  }
  const detail = error.message;
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return new AppError('unavailable', undefined, { detail, cause: error });
  const status = statusOf(error);
  if (status === undefined) {
    const code = fieldOf(error, 'code');
    return new AppError(typeof code === 'string' && passing.has(code) ? 'unavailable' : 'bug', undefined, { detail, cause: error });
  }
  const kind = kindOfStatus(status);
  return new AppError(kind, statusMessages[status], { detail, cause: error, status: kind === 'bug' ? 500 : status });
}

/** Status of an HttpException of Nest or an error of Fastify, both told by their form so that neither is loaded here. */
function statusOf(error: Error): number | undefined {
  const getStatus = fieldOf(error, 'getStatus');
  const status: unknown = typeof getStatus === 'function' ? (getStatus as () => unknown).call(error) : fieldOf(error, 'statusCode');
  return typeof status === 'number' && status >= 400 && status <= 599 ? status : undefined;
}
