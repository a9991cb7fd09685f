import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PersonId } from '@dmb/protocol';
import { Calls } from './calls.ts';
import { AppError } from './errors.ts';

const person = '00000000-0000-0000-0000-000000000001' as PersonId;

describe('a call', () => {
  afterEach(() => vi.useRealTimers());

  it('gets the answer of the function bound to it', async () => {
    const calls = new Calls();
    calls.bind('microblog.contributions', (request) => {
      expect(request).toEqual({ person });
      return Promise.resolve({ contributions: [] });
    });
    expect(await calls.call('microblog.contributions', { person })).toEqual({ contributions: [] });
  });

  it('throws AppErrors only, with the kind of the callee', async () => {
    const calls = new Calls();
    calls.bind('microblog.contributions', () => Promise.reject(new AppError('forbidden', 'no')));
    calls.bind('microblog.role', () => {
      throw new TypeError('inside');
    });
    await expect(calls.call('microblog.contributions', { person })).rejects.toMatchObject({ kind: 'forbidden', message: 'no' });
    await expect(calls.call('microblog.role', { person, microblog: person as never })).rejects.toMatchObject({ name: 'AppError', kind: 'bug', detail: 'inside' });
  });

  it('is given up at its time limit, and the callee is told', async () => {
    vi.useFakeTimers();
    const calls = new Calls();
    let seen: AbortSignal | undefined;
    calls.bind('microblog.contributions', (_, signal) => {
      seen = signal;
      return new Promise(() => undefined);
    });
    const answer = expect(calls.call('microblog.contributions', { person })).rejects.toMatchObject({ kind: 'unavailable', retryable: true });
    await vi.advanceTimersByTimeAsync(3_000);
    await answer;
    expect(seen?.aborted).toBe(true);
  });

  it('in checked mode shares no object and refuses what HTTP could not carry', async () => {
    const calls = new Calls({ checked: true });
    const kept = { contributions: [] as never[] };
    calls.bind('microblog.contributions', () => Promise.resolve(kept));
    expect((await calls.call('microblog.contributions', { person })).contributions).not.toBe(kept.contributions);
    for (const bad of [new Date(), Buffer.from('x'), undefined, Number.NaN, new Map(), () => undefined]) {
      await expect(calls.call('microblog.contributions', { person: bad as never })).rejects.toMatchObject({ kind: 'bug', detail: expect.stringContaining('microblog.contributions.person') as string });
    }
  });

  it('to a service elsewhere goes by its transport, to nobody is a bug', async () => {
    const calls = new Calls({ transports: { identity: { call: (name, request, { timeoutMs }) => Promise.resolve({ name, request, timeoutMs }) } } });
    expect(await calls.call('identity.token', { token: 'x' })).toEqual({ name: 'identity.token', request: { token: 'x' }, timeoutMs: 2_000 });
    await expect(calls.call('microblog.contributions', { person })).rejects.toMatchObject({ kind: 'bug' });
  });

  it('is bound once, and what is not bound is known', () => {
    const calls = new Calls();
    calls.bind('identity.token', () => Promise.resolve(null));
    expect(() => calls.bind('identity.token', () => Promise.resolve(null))).toThrow(AppError);
    expect(calls.unbound(['identity'])).not.toContain('identity.token');
    expect(calls.unbound(['microblog'])).toContain('microblog.present');
  });
});
