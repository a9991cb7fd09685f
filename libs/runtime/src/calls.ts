/**
 * Calls between our own services: where an answer is needed now.
 *
 * `@dmb/events` declares each call once (callee, time limit, idempotent or not, types). This is
 * the port: the callee binds a function to a name, the caller asks by name and knows nothing of
 * where the function runs. In one process {@link Calls} is its own adapter; in a cluster a call
 * whose callee is elsewhere goes through a {@link CallTransport} given for that service, and the
 * receiving process answers it with {@link Calls.serve}.
 *
 * Both sides may rely on exactly this, on either adapter:
 *  - an answer comes within the declared `timeoutMs`, or an `unavailable` is thrown; the callee's
 *    signal is aborted then, but what it did may have happened (retry only what is `idempotent`);
 *  - what is thrown is an AppError. One that the callee threw keeps its kind and public text;
 *  - requests and answers are plain data: null, booleans, numbers, bigint, strings, arrays and
 *    plain objects. `checked` asserts this at every call and hands over copies, so that a test in
 *    one process fails where only a cluster would have.
 */
import { calls, type AnswerOf, type Call, type CallName, type RequestOf, type ServiceName } from '@dmb/events';
import { AppError, toAppError } from './errors.ts';

/** Carries calls to a service that runs elsewhere. It keeps to the time limit and throws AppErrors only. */
export interface CallTransport {
  call(name: CallName, request: unknown, options: { readonly timeoutMs: number }): Promise<unknown>;
}

/** What answers a call. `signal` is aborted when nobody waits for the answer any more. */
export type CallHandler<Name extends CallName> = (request: RequestOf<Name>, signal: AbortSignal) => Promise<AnswerOf<Name>>;

export interface CallsOptions {
  /** Assert plain data and hand over copies: for tests and development. */
  readonly checked?: boolean;
  /** Where the services live that are not in this process. */
  readonly transports?: Partial<Readonly<Record<ServiceName, CallTransport>>>;
}

type Handler = (request: unknown, signal: AbortSignal) => Promise<unknown>;

export class Calls {
  private readonly handlers = new Map<CallName, Handler>();
  private readonly checked: boolean;
  private readonly transports: Partial<Readonly<Record<ServiceName, CallTransport>>>;

  constructor(options: CallsOptions = {}) {
    this.checked = options.checked ?? false;
    this.transports = options.transports ?? {};
  }

  /** Answers `name` in this process with `handler`. A second handler for one name is a bug of ours. */
  bind<Name extends CallName>(name: Name, handler: CallHandler<Name>): void {
    if (this.handlers.has(name)) throw new AppError('bug', undefined, { detail: `the call ${name} is bound twice` });
    this.handlers.set(name, handler as unknown as Handler);
  }

  /**
   * Asks and waits for the answer.
   * @throws {AppError} what the callee threw; `unavailable` past the time limit
   */
  async call<Name extends CallName>(name: Name, request: RequestOf<Name>): Promise<AnswerOf<Name>> {
    const { callee, timeoutMs } = declarationOf(name);
    const sent = this.checked ? plainCopy(request, name) : request;
    if (this.handlers.has(name)) {
      const answer = await this.serve(name, sent);
      return (this.checked ? plainCopy(answer, name) : answer) as AnswerOf<Name>;
    }
    const transport = this.transports[callee];
    if (transport === undefined) throw new AppError('bug', undefined, { detail: `nobody answers the call ${name}: ${callee} is not in this process` });
    try {
      return (await transport.call(name, sent, { timeoutMs })) as AnswerOf<Name>;
    } catch (error) {
      throw toAppError(error);
    }
  }

  /**
   * Answers a call in this process within its time limit: the receiving end of a transport.
   * `timeoutMs` is what is left of the caller's time, `signal` its hanging up.
   */
  async serve(name: CallName, request: unknown, options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {}): Promise<unknown> {
    const handler = this.handlers.get(name);
    if (handler === undefined) throw new AppError('not-found', undefined, { detail: `the call ${name} is not answered here` });
    const timeoutMs = Math.min(declarationOf(name).timeoutMs, options.timeoutMs ?? Number.POSITIVE_INFINITY);
    const stop = new AbortController();
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new AppError('unavailable', undefined, { detail: `the call ${name} took longer than ${timeoutMs} ms` });
        stop.abort(error);
        reject(error);
      }, timeoutMs);
    });
    try {
      return await Promise.race([handler(request, signal), late]);
    } catch (error) {
      throw toAppError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Calls of the table that `services` should answer and do not: for a check at start. */
  unbound(services: readonly ServiceName[]): CallName[] {
    return (Object.keys(calls) as CallName[]).filter((name) => services.includes(declarationOf(name).callee) && !this.handlers.has(name));
  }
}

const declarationOf = (name: CallName): Call<unknown, unknown> => calls[name] as Call<unknown, unknown>;

/** A deep copy, or a bug that names the first place holding something that HTTP could not carry. */
function plainCopy(value: unknown, path: string): unknown {
  switch (typeof value) {
    case 'string':
    case 'bigint':
    case 'boolean':
      return value;
    case 'number':
      if (Number.isFinite(value)) return value;
      break;
    case 'object': {
      if (value === null) return null;
      if (Array.isArray(value)) return value.map((member, index) => plainCopy(member, `${path}[${index}]`));
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype === Object.prototype || prototype === null) {
        return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plainCopy(member, `${path}.${key}`)]));
      }
      break;
    }
    default:
      break;
  }
  throw new AppError('bug', undefined, { detail: `${path} is no plain data: ${value === undefined ? 'undefined (write null)' : Object.prototype.toString.call(value)}` });
}
