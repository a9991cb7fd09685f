import { describe, expect, it } from 'vitest';
import { AppError, StartError, isRetryable, toAppError } from './errors.ts';

describe('AppError', () => {
  it('derives status and retrying from its kind, and lets a more exact status through', () => {
    expect(new AppError('not-found').status).toBe(404);
    expect(new AppError('invalid', 'Too large', { status: 413 }).status).toBe(413);
    expect(isRetryable(new AppError('unavailable'))).toBe(true);
    expect(isRetryable(new AppError('conflict'))).toBe(false);
  });

  it('crosses a process boundary unchanged, and what is no error of ours does not pass for one', () => {
    const error = new AppError('limited', 'Slow down', { detail: 'bucket x', retryAfterSeconds: 3, code: 'slow', details: { a: [{ error: 'E', description: 'd' }] }, status: 420 });
    const crossed = AppError.fromWire(JSON.parse(JSON.stringify(error.toWire())));
    expect(crossed.toWire()).toEqual(error.toWire());
    for (const wire of [null, 'x', {}, { kind: 'toString', message: 'x' }]) expect(AppError.fromWire(wire).kind).toBe('bug');
  });
});

describe('toAppError', () => {
  it.each([
    [Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), 'unavailable', 503],
    [Object.assign(new Error('x'), { code: 'ENOSPC' }), 'unavailable', 503],
    [new DOMException('x', 'TimeoutError'), 'unavailable', 503],
    [Object.assign(new Error('FST'), { statusCode: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE' }), 'invalid', 413],
    [Object.assign(new Error('aborted'), { statusCode: 400, code: 'ECONNRESET' }), 'invalid', 400],
    [Object.assign(new Error('x'), { getStatus: () => 403 }), 'forbidden', 403],
    [Object.assign(new Error('x'), { statusCode: 500 }), 'bug', 500],
    [new TypeError('secret'), 'bug', 500],
    ['text', 'bug', 500],
    [undefined, 'bug', 500],
  ])('makes of %s the kind %s', (thrown, kind, status) => {
    const error = toAppError(thrown);
    expect([error.kind, error.status]).toEqual([kind, status]);
    expect(error.message).not.toContain('secret');
  });

  it('keeps an AppError as it is', () => {
    const error = new AppError('gone');
    expect(toAppError(error)).toBe(error);
  });
});

it('a StartError keeps every sentence', () => {
  expect(new StartError(['One.', 'Two.']).message).toBe('One.\nTwo.');
});
