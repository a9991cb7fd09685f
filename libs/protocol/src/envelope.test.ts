import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, readVectors, seed, toHex } from '../test/vectors.ts';
import { type EntryKind, CRITICAL_FLAGS, ENTRY_KINDS, decodeEnvelope, encodeEnvelope, entryKindOf, envelopeHash } from './envelope.ts';
import { type ObjectId } from './ids.ts';

const vectors = readVectors<{
  readonly accepted: readonly {
    readonly name: string;
    readonly kind: EntryKind;
    readonly objectId: ObjectId;
    readonly claimedMs: number;
    readonly bodyHash: string;
    readonly criticalFlags: readonly number[];
    readonly bytes: string;
    readonly sha256: string;
  }[];
  readonly foreign: readonly { readonly name: string; readonly bytes: string; readonly result: string; readonly unknownFlags?: readonly number[] }[];
  readonly refused: readonly { readonly name: string; readonly bytes: string }[];
}>('envelopes');

function foreignBytes(name: string): Uint8Array {
  return fromHex(vectors.foreign.find((vector) => vector.name === name)?.bytes ?? '');
}

describe('envelopes', () => {
  it('has vectors of every kind', () => {
    expect(new Set(vectors.accepted.map(({ kind }) => kind))).toEqual(new Set(Object.keys(ENTRY_KINDS)));
  });

  it.each(vectors.accepted)('of $name is written and read', ({ kind, objectId, claimedMs, bodyHash, criticalFlags, bytes, sha256 }) => {
    expect(toHex(encodeEnvelope({ kind, objectId, claimedMs, bodyHash: fromHex(bodyHash) }))).toBe(bytes);
    expect(decodeEnvelope(fromHex(bytes))).toEqual({
      result: 'envelope',
      envelope: { kind, objectId, claimedMs, bodyHash: fromHex(bodyHash), criticalFlags, extensions: new Map() },
    });
    expect(toHex(envelopeHash(fromHex(bytes)))).toBe(sha256);
  });

  it.each(vectors.foreign)('with $name is read as: $result', ({ bytes, result, unknownFlags }) => {
    const decoded = decodeEnvelope(fromHex(bytes));
    expect(decoded.result).toBe(result);
    if (decoded.result === 'critical') expect(decoded.unknownFlags).toEqual(unknownFlags);
  });

  it.each(vectors.refused)('is refused with $name', ({ bytes }) => {
    expect(decodeEnvelope(fromHex(bytes)).result).toBe('malformed');
  });

  it('keeps fields of other versions, by key', () => {
    const decoded = decodeEnvelope(foreignBytes('fields more'));
    if (decoded.result !== 'envelope') throw new Error(decoded.result);
    expect(decoded.envelope.extensions).toEqual(
      new Map<number, unknown>([
        [6, 'more'],
        [100, new Map<string, unknown>([['b', [null, true, 2n ** 64n - 1n]], ['aa', Uint8Array.of(1)]])],
        [-1, -5],
      ]),
    );
  });

  it('tells the number of a kind of another version', () => {
    const decoded = decodeEnvelope(foreignBytes('kind 11'));
    expect(decoded).toMatchObject({ result: 'unknown-kind', envelope: { kindNumber: 11 } });
  });

  it('reads from the middle of a Buffer', () => {
    const [first] = vectors.accepted;
    const bytes = Buffer.concat([Buffer.alloc(3), fromHex(first?.bytes ?? ''), Buffer.alloc(3)]).subarray(3, -3);
    expect(decodeEnvelope(bytes)).toEqual(decodeEnvelope(Uint8Array.from(bytes)));
  });

  it('numbers the kinds 1 to 10 and knows one flag', () => {
    expect(Object.values(ENTRY_KINDS)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(Object.entries(ENTRY_KINDS).map(([, number]) => entryKindOf(number))).toEqual(Object.keys(ENTRY_KINDS));
    expect([0, 11, 1.5].map(entryKindOf)).toEqual([undefined, undefined, undefined]);
    expect(CRITICAL_FLAGS).toEqual({ erase: 1 });
  });

  it.each([
    ['before 2000', Date.UTC(1999, 11, 31, 23, 59, 59, 999), 32],
    ['half a millisecond', Date.UTC(2026, 1, 1) + 0.5, 32],
    ['no time', NaN, 32],
    ['past the last time', Date.UTC(2000, 0, 1) + 2 ** 48, 32],
    ['a short hash', Date.UTC(2026, 1, 1), 31],
  ])('is not written with %s', (_, claimedMs, hashBytes) => {
    const objectId = vectors.accepted[0]?.objectId ?? ('' as ObjectId);
    expect(() => encodeEnvelope({ kind: 'post', objectId, claimedMs, bodyHash: new Uint8Array(hashBytes) })).toThrow(RangeError);
  });

  it('never throws, and a changed byte is never read as what it was', () => {
    const changed = fc.tuple(fc.constantFrom(...vectors.accepted), fc.nat(), fc.integer({ min: 1, max: 255 })).map(([{ bytes }, at, by]) => {
      const before = fromHex(bytes);
      const after = Uint8Array.from(before);
      after[at % after.length] = (after[at % after.length] ?? 0) ^ by;
      return [before, after] as const;
    });
    fc.assert(
      fc.property(changed, ([before, after]) => {
        expect(decodeEnvelope(after)).not.toEqual(decodeEnvelope(before));
      }),
      { seed, numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => {
        expect(decodeEnvelope(bytes).result).toBe('malformed');
      }),
      { seed },
    );
  });
});
