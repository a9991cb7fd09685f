/**
 * Carries calls to the processes of another service by HTTP: the asking end of call-listener.ts.
 *
 * A service has a list of addresses: of its processes, or one that stands for all of them (a Kubernetes service). Each has a
 * pool of connections; calls go round. An address that could not be reached is passed over for a
 * moment, while there is another.
 *
 * A call has the time that was declared for it, all attempts together, and what is left of it is told to the callee. What may be
 * tried again, at the next address, and when:
 *   never left   no connection, or the process says that it has not begun (starting, stopping): any call, `attemptsMax` times
 *   broken off   the connection ended after the request was sent, nobody knows what happened: once, if the call is `idempotent`
 *   answered     an error of the callee is an answer, and is thrown as it is; whoever asked may try again by its kind
 *   too late     `unavailable`; the connection is closed, by which the callee hears of it
 */
import { Pool, errors } from 'undici';
import { calls as callTable, type Call, type CallName, type ServiceName } from '@dmb/events';
import type { CallTransport } from '../calls.ts';
import { sleep } from '../background.ts';
import { AppError, toAppError } from '../errors.ts';
import { callLimits } from '../limits.ts';
import { type Logger } from '../log.ts';
import { meter } from '../metrics.ts';
import { callText, callValue } from './call-wire.ts';

export interface HttpCallTransportOptions {
  /** Who answers. */
  readonly service: ServiceName;
  /** `http://host:port` of its processes. */
  readonly urls: readonly string[];
  /** Presented with each call. */
  readonly secret: string;
  readonly logger: Logger;
  readonly limits?: Partial<Readonly<Record<keyof typeof callLimits, number>>>;
}

/** One address. */
interface Place {
  readonly url: string;
  readonly pool: Pool;
  /** Passed over until then, if there is another. */
  restsUntil: number;
}

/** How an attempt ended without an answer. */
class NoAnswer extends Error {
  readonly neverLeft: boolean;
  constructor(neverLeft: boolean, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.neverLeft = neverLeft;
  }
}

export class HttpCallTransport implements CallTransport {
  private readonly options: HttpCallTransportOptions;
  private readonly limits: Readonly<Record<keyof typeof callLimits, number>>;
  private readonly places: readonly Place[];
  private turn = 0;

  constructor(options: HttpCallTransportOptions) {
    this.options = options;
    this.limits = { ...callLimits, ...options.limits };
    const { connectTimeoutMs, connectionsMax, keptIdleMs, answerBytesMax } = this.limits;
    this.places = options.urls.map((url) => ({
      url,
      // The time of a call bounds its headers and its body too.
      pool: new Pool(new URL(url).origin, {
        connections: connectionsMax,
        pipelining: 1,
        connect: { timeout: connectTimeoutMs },
        keepAliveTimeout: keptIdleMs,
        keepAliveMaxTimeout: keptIdleMs,
        headersTimeout: 0,
        bodyTimeout: 0,
        maxResponseSize: answerBytesMax,
      }),
      restsUntil: 0,
    }));
  }

  async call(name: CallName, request: unknown, { timeoutMs }: { readonly timeoutMs: number }): Promise<unknown> {
    const began = performance.now();
    let outcome: 'ok' | 'error' = 'error';
    try {
      const body = callText(request, name);
      if (Buffer.byteLength(body) > this.limits.requestBytesMax) throw new AppError('bug', undefined, { detail: `the request of ${name} is larger than ${this.limits.requestBytesMax} bytes` });
      const answer = await this.ask(name, body, began + timeoutMs);
      outcome = 'ok';
      return answer;
    } finally {
      meter('callDuration').record((performance.now() - began) / 1_000, { callee: this.options.service, outcome });
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.places.map(({ pool }) => pool.destroy()));
  }

  private async ask(name: CallName, body: string, deadline: number): Promise<unknown> {
    const { idempotent } = callTable[name] as Call<unknown, unknown>;
    const tried = new Set<Place>();
    let repeats = idempotent ? 1 : 0;
    for (let attempt = 1; ; attempt++) {
      const place = this.next(tried);
      if (tried.has(place)) {
        tried.clear();
        await sleep(Math.min(this.limits.retryPauseMs, Math.max(0, deadline - performance.now())));
      }
      tried.add(place);
      try {
        return await this.attempt(place, name, body, deadline);
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error;
        const { neverLeft, cause } = error;
        place.restsUntil = performance.now() + this.limits.restMs;
        const again = attempt < this.limits.attemptsMax && performance.now() < deadline && (neverLeft || repeats-- > 0);
        this.options.logger.debug('a call had no answer', { call: name, at: place.url, neverLeft, again, error: cause });
        if (!again) throw new AppError('unavailable', undefined, { detail: `${name} at ${place.url}: ${error.message}`, cause });
      }
    }
  }

  private async attempt(place: Place, name: CallName, body: string, deadline: number): Promise<unknown> {
    const leftMs = Math.ceil(deadline - performance.now());
    if (leftMs <= 0) throw this.late(name);
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(this.late(name)), leftMs);
    try {
      const answer = await place.pool.request({
        path: `/calls/${name}`,
        method: 'POST',
        headers: { authorization: `Bearer ${this.options.secret}`, 'content-type': 'application/json', 'dmb-timeout-ms': String(leftMs) },
        body,
        signal: limit.signal,
      });
      const text = await answer.body.text();
      if (answer.headers['dmb-not-run'] !== undefined) throw new NoAnswer(true, new Error('the process has not begun the call'));
      if (answer.statusCode === 200) return callValue(text);
      if (answer.statusCode === 401) this.options.logger.error('a call was refused: the secrets of the processes differ', { at: place.url });
      throw AppError.fromWire(callValue(text));
    } catch (error) {
      if (error instanceof AppError || error instanceof NoAnswer) throw error;
      if (error instanceof errors.ResponseExceededMaxSizeError) throw new AppError('bug', undefined, { detail: `the answer of ${name} is larger than ${this.limits.answerBytesMax} bytes`, cause: error });
      if (limit.signal.aborted) {
        // Perhaps it hangs as a whole: others are asked meanwhile.
        place.restsUntil = performance.now() + this.limits.restMs;
        throw this.late(name);
      }
      if (isPassing(error)) throw new NoAnswer(neverLeft(error), error);
      throw toAppError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next in turn that has not been tried and does not rest; else the next that has not been tried; else the next. */
  private next(tried: ReadonlySet<Place>): Place {
    const first = this.turn++;
    const round = this.places.map((_, index) => this.places[(first + index) % this.places.length]).filter((place) => place !== undefined);
    const now = performance.now();
    const place = round.find((each) => !tried.has(each) && each.restsUntil <= now) ?? round.find((each) => !tried.has(each)) ?? round[0];
    if (place === undefined) throw new AppError('bug', undefined, { detail: `${this.options.service} has no address` });
    return place;
  }

  private late(name: CallName): AppError {
    return new AppError('unavailable', undefined, { detail: `the call ${name} took longer than its time` });
  }
}

const codeOf = (error: unknown): string => (typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '');

/** Failures of getting a connection: nothing was sent. */
const beforeSending = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT']);
const neverLeft = (error: unknown): boolean => beforeSending.has(codeOf(error));
const isPassing = (error: unknown): boolean => neverLeft(error) || ['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT', 'UND_ERR_SOCKET'].includes(codeOf(error));
