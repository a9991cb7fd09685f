/**
 * What every way of carrying a call must do: in one process a function, in a cluster HTTP.
 *
 * The two differ exactly where a function call is kinder than a wire: values that HTTP cannot carry,
 * errors that lose what they are, callees that never answer, and answers that are shared objects.
 */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Asker, AnswerOf, CallName, RequestOf } from '@dmb/events';
import type { DomainId, LogId, MicroblogId, ObjectId, PersonId, PostId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';

/** The end that asks. */
export interface CallerEnd {
  call<Name extends CallName>(name: Name, request: RequestOf<Name>): Promise<AnswerOf<Name>>;
}
/** The end that answers. */
export interface CalleeEnd {
  bind<Name extends CallName>(name: Name, handler: (request: RequestOf<Name>, signal: AbortSignal) => Promise<AnswerOf<Name>>): void;
}

const uuid = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
const person = uuid(1) as PersonId;
const asker: Asker = { kind: 'person', domain: uuid(2) as DomainId, person, microblog: uuid(3) as MicroblogId, scopes: ['read', 'write'] };
const logRef = { shard: 7, log: uuid(4) as LogId, epochNo: 1 };

/** Runs the suite against what `create` makes; in one process both ends may be the same object. */
export function callsConformance(name: string, create: () => Promise<{ readonly caller: CallerEnd; readonly callee: CalleeEnd; close(): Promise<void> }>): void {
  const make = async (): Promise<{ readonly caller: CallerEnd; readonly callee: CalleeEnd }> => {
    const ends = await create();
    onTestFinished(() => ends.close());
    return ends;
  };
  const failure = async (asked: Promise<unknown>): Promise<AppError> => {
    try {
      await asked;
    } catch (error) {
      expect(error).toBeInstanceOf(AppError);
      return error as AppError;
    }
    throw new Error('the call succeeded');
  };

  describe(`calls port: ${name}`, () => {
    it('carries bigints of 63 bits, nulls, lists and texts both ways', async () => {
      const { caller, callee } = await make();
      const asked: unknown[] = [];
      callee.bind('microblog.snapshot', (request) => {
        asked.push(request);
        return Promise.resolve({ ids: [9_223_372_036_854_775_807n as PostId, 9_007_199_254_740_993n as PostId], exactFrom: 0n as PostId });
      });
      const request = { person, before: 9_223_372_036_854_775_806n as PostId, limit: 800 };
      expect(await caller.call('microblog.snapshot', request)).toEqual({ ids: [9_223_372_036_854_775_807n, 9_007_199_254_740_993n], exactFrom: 0n });
      await caller.call('microblog.snapshot', { ...request, before: null });
      expect(asked).toEqual([request, { ...request, before: null }]);
    });

    it('carries a body as it is: numbers, nesting, any text, and digits that are no bigint', async () => {
      const { caller, callee } = await make();
      const body = { content: '❄ "quoted" \\ \u0000 \u2028 42n', nested: { list: [1, 2.5, -3, null, true, '12345678901234567890'] }, empty: '' };
      const entry = {
        ...logRef,
        number: 3n,
        kind: 1,
        id: 12n as PostId,
        audience: 'public' as const,
        microblog: uuid(3) as MicroblogId,
        late: false,
        objectId: uuid(5) as ObjectId,
        about: null,
        body,
      };
      callee.bind('microblog.entries', () => Promise.resolve({ entries: [entry], head: 3n, floor: 0n }));
      const answer = await caller.call('microblog.entries', { ...logRef, after: 2n, limit: 10 });
      expect(answer).toEqual({ entries: [entry], head: 3n, floor: 0n });
    });

    it('answers null where null is the answer', async () => {
      const { caller, callee } = await make();
      callee.bind('identity.token', () => Promise.resolve(null));
      expect(await caller.call('identity.token', { token: 'x' })).toBeNull();
    });

    it('keeps what an error is and what it tells the user', async () => {
      const { caller, callee } = await make();
      callee.bind('microblog.listening', () =>
        Promise.reject(new AppError('limited', 'Too many of these', { code: 'slow_down', retryAfterSeconds: 7, details: { handle: [{ error: 'ERR_TAKEN', description: 'is taken' }] } })),
      );
      const error = await failure(caller.call('microblog.listening', { asker }));
      expect(error).toMatchObject({ kind: 'limited', message: 'Too many of these', code: 'slow_down', retryAfterSeconds: 7, status: 429 });
      expect(error.details).toEqual({ handle: [{ error: 'ERR_TAKEN', description: 'is taken' }] });
    });

    it('makes a bug of what is thrown and is no error of ours, and tells nothing of it', async () => {
      const { caller, callee } = await make();
      callee.bind('microblog.role', () => Promise.reject(new TypeError('secret inside')));
      const error = await failure(caller.call('microblog.role', { person, microblog: uuid(3) as MicroblogId }));
      expect(error.kind).toBe('bug');
      expect(error.message).not.toContain('secret');
    });

    it('fails when nobody answers the call', async () => {
      const { caller } = await make();
      const error = await failure(caller.call('microblog.contributions', { person }));
      expect(['bug', 'not-found', 'unavailable']).toContain(error.kind);
    });

    it('gives up after the time limit and tells the callee', async () => {
      const { caller, callee } = await make();
      let aborted = (): void => undefined;
      const told = new Promise<void>((resolve) => (aborted = resolve));
      callee.bind('microblog.role', (_request, signal) => {
        signal.addEventListener('abort', aborted);
        return new Promise(() => undefined);
      });
      const began = Date.now();
      const error = await failure(caller.call('microblog.role', { person, microblog: uuid(3) as MicroblogId }));
      expect(error.kind).toBe('unavailable');
      expect(error.retryable).toBe(true);
      expect(Date.now() - began).toBeGreaterThanOrEqual(1_900);
      await told;
    });

    it('answers many at once, each its own', async () => {
      const { caller, callee } = await make();
      callee.bind('microblog.present', async ({ ids }) => {
        await new Promise((resolve) => setTimeout(resolve, Number(ids[0]! % 5n)));
        return { statuses: [], kept: ids };
      });
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, number) => caller.call('microblog.present', { asker, ids: [BigInt(number) as PostId], context: 'home' })),
      );
      expect(answers.map(({ kept }) => kept[0])).toEqual(Array.from({ length: 200 }, (_, number) => BigInt(number)));
    });

    it('shares no object between the two ends', async () => {
      const { caller, callee } = await make();
      const kept = { contributions: [{ microblog: uuid(3) as MicroblogId, handle: 'a', domain: 'd', title: 't', role: 'owner' as const, personal: true }] };
      callee.bind('microblog.contributions', () => Promise.resolve(kept));
      const answer = await caller.call('microblog.contributions', { person });
      (answer.contributions[0] as { title: string }).title = 'changed by the caller';
      expect((await caller.call('microblog.contributions', { person })).contributions[0]!.title).toBe('t');
    });

    it('refuses an answer that is no plain data', async () => {
      const { caller, callee } = await make();
      callee.bind('microblog.role', () => Promise.resolve({ role: new Date() } as never));
      expect((await failure(caller.call('microblog.role', { person, microblog: uuid(3) as MicroblogId }))).kind).toBe('bug');
    });
  });
}
