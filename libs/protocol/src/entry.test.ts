import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, readVectors, seed, toHex } from '../test/vectors.ts';
import { BODY_BYTES_MAX } from './body.ts';
import { parseBody } from './body-codec.ts';
import { ENTRY_BYTES_MAX, createEntry, decodeEntry, encodeEntry } from './entry.ts';
import { type EntryKind, ENVELOPE_BYTES_MAX, decodeEnvelope, encodeEnvelope } from './envelope.ts';
import { newObjectId } from './ids.ts';

const vectors = readVectors<{
  readonly accepted: readonly { readonly name: string; readonly kind: EntryKind; readonly bytes: string; readonly envelope: string; readonly body: string | null }[];
  readonly refused: readonly { readonly name: string; readonly bytes: string }[];
}>('entries');
const foreign = readVectors<{ readonly foreign: readonly { readonly name: string; readonly bytes: string; readonly result: string }[] }>('envelopes').foreign;

const now = Date.UTC(2026, 10, 22);

describe('entries', () => {
  it.each(vectors.accepted)('of $name is read', ({ kind, bytes, envelope, body }) => {
    const decoded = decodeEntry(fromHex(bytes));
    const header = decodeEnvelope(fromHex(envelope));
    if (header.result !== 'envelope') throw new Error(header.result);
    expect(header.envelope.kind).toBe(kind);
    expect(decoded).toEqual({ ...header, entry: { envelope: fromHex(envelope), body: body === null ? null : fromHex(body) } });
  });

  it.each(vectors.accepted)('of $name is written', ({ kind, bytes, envelope, body }) => {
    const header = decodeEnvelope(fromHex(envelope));
    if (header.result !== 'envelope') throw new Error(header.result);
    if (body === null) {
      expect(toHex(encodeEntry({ envelope: fromHex(envelope), body }))).toBe(bytes);
      return;
    }
    const parsed = parseBody(kind, fromHex(body));
    if (parsed.result !== 'body') throw new Error(parsed.detail);
    const made = createEntry(kind, header.envelope.objectId, header.envelope.claimedMs, parsed.body);
    expect(made.objectId).toBe(header.envelope.objectId);
    expect(toHex(encodeEntry(made))).toBe(bytes);
  });

  it.each(vectors.refused)('is refused: $name', ({ bytes }) => {
    expect(decodeEntry(fromHex(bytes)).result).toBe('malformed');
  });

  it.each(foreign)('with an envelope with $name is read as: $result', ({ bytes, result }) => {
    const decoded = decodeEntry(encodeEntry({ envelope: fromHex(bytes), body: null }));
    expect(decoded).toMatchObject({ result, entry: { envelope: fromHex(bytes), body: null } });
  });

  it('of 140 ASCII characters has at most 320 bytes, with a language', () => {
    const entry = createEntry('post', newObjectId(1023), now, { type: 'Note', content: 'x'.repeat(140), language: 'en' });
    expect(entry.envelope).toHaveLength(66);
    expect(encodeEntry(entry).length).toBe(287);
  });

  it('carries a body that makes no sense, as long as its hash is right', () => {
    const nonsense = createEntry('delete', newObjectId(0), now, { about: newObjectId(0) });
    const header = decodeEnvelope(nonsense.envelope);
    if (header.result !== 'envelope') throw new Error(header.result);
    const envelope = encodeEnvelope({ ...header.envelope, kind: 'post' });
    expect(decodeEntry(encodeEntry({ envelope, body: nonsense.body })).result).toBe('envelope');
    expect(parseBody('post', nonsense.body).result).toBe('malformed');
  });

  it('is not written past the limits of its parts', () => {
    const small = new Uint8Array(1);
    const full = encodeEntry({ envelope: new Uint8Array(ENVELOPE_BYTES_MAX), body: new Uint8Array(BODY_BYTES_MAX) });
    expect(full).toHaveLength(ENTRY_BYTES_MAX);
    expect(() => encodeEntry({ envelope: new Uint8Array(ENVELOPE_BYTES_MAX + 1), body: null })).toThrow(RangeError);
    expect(() => encodeEntry({ envelope: small, body: new Uint8Array(BODY_BYTES_MAX + 1) })).toThrow(RangeError);
  });

  it('never throws, and no changed byte goes unnoticed', () => {
    const changed = fc.tuple(fc.constantFrom(...vectors.accepted), fc.nat(), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(changed, ([{ bytes }, at, by]) => {
        const after = fromHex(bytes);
        after[at % after.length] = (after[at % after.length] ?? 0) ^ by;
        expect(decodeEntry(after)).not.toEqual(decodeEntry(fromHex(bytes)));
      }),
      { seed, numRuns: 2000 },
    );
  });
});
