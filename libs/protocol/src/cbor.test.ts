import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seed, toHex } from '../test/vectors.ts';
import { type CborMap, type CborValue, byteStringHead, decodeCbor, encodeCbor, readByteString } from './cbor.ts';

const integer = fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }), fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) }));
const text = fc.string({ unit: 'binary', maxLength: 20 });
const { value } = fc.letrec<{ readonly value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    integer,
    fc.boolean(),
    fc.constant(null),
    text,
    fc.uint8Array({ maxLength: 30 }).map((bytes) => new Uint8Array(bytes)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(fc.oneof(integer, text), tie('value')), { maxLength: 4 }).map((pairs) => new Map(pairs)),
  ),
}));

describe('CBOR', () => {
  it('reads what it wrote', () => {
    fc.assert(
      fc.property(value, (before) => {
        expect(decodeCbor(encodeCbor(before), 100_000)).toEqual({ result: 'value', value: before });
      }),
      { seed, numRuns: 500 },
    );
  });

  it('has one encoding for each value: of any bytes it reads, it writes the same', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.tuple(value, fc.nat(), fc.nat(255)).map(([before, at, byte]) => {
        const changed = Uint8Array.from(encodeCbor(before));
        changed[at % changed.length] = byte;
        return changed;
      }),
    );
    let read = 0;
    fc.assert(
      fc.property(bytes, (before) => {
        const decoded = decodeCbor(before, 100_000);
        if (decoded.result === 'malformed') return;
        read += 1;
        expect(toHex(encodeCbor(decoded.value))).toBe(toHex(before));
      }),
      { seed, numRuns: 5000 },
    );
    expect(read).toBeGreaterThan(500);
  });

  it('orders keys by their bytes, not by their length', () => {
    const map: CborMap = new Map<number | string, CborValue>([['b', 0], [-1, 0], [100, 0], ['aa', 0], [1, 0]]);
    expect(toHex(encodeCbor(map))).toBe('a50100186400200061620062616100');
  });

  it.each<[string, unknown]>([
    ['half a number', 0.5],
    ['minus zero', -0],
    ['a number past 2^53', 2 ** 53],
    ['an integer of 65 bits', 2n ** 64n],
    ['undefined', undefined],
    ['half a surrogate pair', '\ud83d'],
    ['an object', { a: 1 }],
    ['a list as a key', new Map([[[], 1]])],
    ['nine levels', [[[[[[[[[]]]]]]]]]],
  ])('does not write %s', (_, outside) => {
    expect(() => encodeCbor(outside as CborValue)).toThrow(RangeError);
  });

  it('says so when there are more bytes than allowed', () => {
    expect(decodeCbor(Uint8Array.of(0x81, 0x01), 1)).toEqual({ result: 'malformed', detail: 'more than 1 bytes' });
    expect(decodeCbor(Uint8Array.of(0x81, 0x01), 2)).toEqual({ result: 'value', value: [1] });
  });
});

describe('byte strings by hand', () => {
  it.each([0, 1, 23, 24, 255, 256, 32_768, 65_535])('agrees with the encoder for %d bytes', (length) => {
    const encoded = encodeCbor(new Uint8Array(length));
    expect(toHex(byteStringHead(length))).toBe(toHex(encoded.subarray(0, encoded.length - length)));
    expect(readByteString(encoded, 0)).toEqual({ bytes: new Uint8Array(length), end: encoded.length });
  });

  it('reads none but definite ones in shortest form that are all there', () => {
    for (const bytes of [[], [0x3f], [0x5b, 0, 0, 0, 0, 0, 0, 0, 1, 1], [0x5a, 0, 0, 0, 1, 1], [0x5f, 0xff], [0x60], [0x41], [0x58], [0x58, 23, ...new Uint8Array(23)], [0x59, 1], [0x59, 0, 255, ...new Uint8Array(255)], [0x59, 1, 0, 0]]) {
      expect(readByteString(Uint8Array.from(bytes), 0), bytes.slice(0, 6).join(' ')).toBeUndefined();
    }
  });
});
