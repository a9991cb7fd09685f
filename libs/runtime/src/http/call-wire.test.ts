import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../errors.ts';
import { callText, callValue } from './call-wire.ts';

describe('values on the wire', () => {
  it('come back as they were, whatever they look like', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }).filter((each) => each.isWellFormed()), fc.constantFrom('~', '~~', '~42', '~~42', '42', '42n'));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, fc.constant(null), fc.boolean(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }).map((each) => each + 0), fc.bigInt(), text, fc.array(tie('value')), fc.dictionary(text.filter((name) => name !== '__proto__'), tie('value'), { noNullPrototype: true })),
    }));
    fc.assert(fc.property(value, (given) => {
      expect(callValue(callText(given, 'x'))).toEqual(given);
    }), { numRuns: 500 });
  });

  it('leaves what was given as it is', () => {
    const given = { list: [1n, { deep: '~x' }], plain: { a: 'b' } };
    callText(given, 'x');
    expect(given).toEqual({ list: [1n, { deep: '~x' }], plain: { a: 'b' } });
  });

  it.each([[{ a: undefined }], [{ a: [new Date()] }], [Number.NaN], [new Map()], [() => 1], [Buffer.from('x')]])('are refused where they are no plain data: %s', (given) => {
    expect(() => callText(given, 'the answer')).toThrow(AppError);
  });

  it.each(['', '{', '"~x"', '{"a":"~1.5"}'])('are refused where they are none of ours: %s', (text) => {
    expect(() => callValue(text)).toThrow(AppError);
  });
});
