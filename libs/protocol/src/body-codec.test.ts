import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex, readVectors, seed, toHex } from '../test/vectors.ts';
import { type BodyOf, type NewBody, BODY_BYTES_MAX, ERASE_ENTRIES_MAX, HAPPENINGS } from './body.ts';
import { encodeBody, newSalt, parseBody } from './body-codec.ts';
import { type EntryKind, ENTRY_KINDS, bodyHash } from './envelope.ts';
import { type EpochId } from './ids.ts';

interface Vector {
  readonly name: string;
  readonly kind: EntryKind;
  readonly json: string;
  readonly sha256: string;
}

const vectors = readVectors<{
  readonly accepted: readonly Vector[];
  readonly refused: readonly { readonly name: string; readonly kind: EntryKind; readonly json?: string; readonly hex?: string }[];
}>('bodies');

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const isCompact = ({ json }: Vector): boolean => JSON.stringify(JSON.parse(json)) === json;

describe('bodies', () => {
  it('has vectors of every kind and every happening', () => {
    expect(new Set(vectors.accepted.map(({ kind }) => kind))).toEqual(new Set(Object.keys(ENTRY_KINDS)));
    const whats = vectors.accepted.filter(({ kind }) => kind === 'happening').map(({ json }) => (JSON.parse(json) as BodyOf<'happening'>).what);
    expect(new Set(whats)).toEqual(new Set(HAPPENINGS));
  });

  it.each(vectors.accepted)('reads $name, and has its hash', ({ kind, json, sha256 }) => {
    expect(parseBody(kind, utf8(json))).toEqual({ result: 'body', body: JSON.parse(json) as unknown });
    expect(toHex(bodyHash(utf8(json)))).toBe(sha256);
  });

  it.each(vectors.accepted.filter(isCompact))('writes $name', ({ kind, json }) => {
    expect(textOf(encodeBody(kind, JSON.parse(json) as never))).toBe(json);
  });

  it.each(vectors.refused)('refuses, as $kind: $name', ({ kind, json, hex }) => {
    expect(parseBody(kind, hex === undefined ? utf8(json ?? '') : fromHex(hex)).result).toBe('malformed');
  });

  it('brings a new salt of 128 bits each time, last', () => {
    const texts = [1, 2].map(() => textOf(encodeBody('post', { type: 'Note', content: 'x' })));
    for (const text of texts) expect(text).toMatch(/^\{"type":"Note","content":"x","salt":"[A-Za-z0-9_-]{21}[AQgw]"\}$/);
    expect(texts[0]).not.toBe(texts[1]);
    expect(Buffer.from(newSalt(), 'base64url')).toHaveLength(16);
  });

  it('keeps properties of other versions', () => {
    const body = { type: 'Note', content: 'x', published: 'later', 'x:y': { z: [null] } } as const;
    expect(parseBody('post', encodeBody('post', body))).toMatchObject({ result: 'body', body });
  });

  it('is at most 32 KiB, and an erase of the most entries fits', () => {
    const salt = newSalt();
    const empty = encodeBody('post', { type: 'Note', content: '', salt }).length;
    const fits = encodeBody('post', { type: 'Note', content: 'x'.repeat(BODY_BYTES_MAX - empty), salt });
    expect(fits).toHaveLength(BODY_BYTES_MAX);
    expect(() => encodeBody('post', { type: 'Note', content: 'x'.repeat(BODY_BYTES_MAX - empty + 1), salt })).toThrow(RangeError);
    const entry = ['ffffffff-ffff-ffff-ffff-ffffffffffff' as EpochId, Number.MAX_SAFE_INTEGER] as const;
    encodeBody('erase', { entries: Array.from({ length: ERASE_ENTRIES_MAX }, () => entry) });
  });

  it.each<[string, NewBody<BodyOf<'post'>>]>([
    ['half a surrogate pair', { type: 'Note', content: '\ud83d' }],
    ['U+0000', { type: 'Note', content: '\0' }],
    ['a wrong salt', { type: 'Note', content: '', salt: 'salt' }],
  ])('does not write %s', (_, body) => {
    expect(() => encodeBody('post', body)).toThrow(RangeError);
  });

  it('reads any text as it was written', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (content, summary) => {
        fc.pre(!content.includes('\0') && !summary.includes('\0'));
        expect(parseBody('post', encodeBody('post', { type: 'Note', content, summary }))).toMatchObject({ body: { content, summary } });
      }),
      { seed },
    );
  });

  it('never throws', () => {
    const kinds = fc.constantFrom(...(Object.keys(ENTRY_KINDS) as EntryKind[]));
    fc.assert(
      fc.property(kinds, fc.json({ maxDepth: 5 }), (kind, json) => {
        expect(parseBody(kind, utf8(json)).result).toBe('malformed');
      }),
      { seed },
    );
    fc.assert(
      fc.property(kinds, fc.constantFrom(...vectors.accepted), fc.jsonValue(), fc.nat(), (kind, { json }, value, at) => {
        const body = JSON.parse(json) as Record<string, unknown>;
        const names = Object.keys(body);
        body[names[at % names.length] ?? ''] = value;
        expect(['body', 'malformed']).toContain(parseBody(kind, utf8(JSON.stringify(body))).result);
      }),
      { seed, numRuns: 1000 },
    );
    expect(parseBody('post', utf8('['.repeat(BODY_BYTES_MAX))).result).toBe('malformed');
    expect(parseBody('post', utf8(`{"a":${'['.repeat(16_000)}${']'.repeat(16_000)}}`)).result).toBe('malformed');
  });

  it('takes no property from a member called __proto__', () => {
    expect(parseBody('post', utf8(`{"__proto__":{"type":"Note","content":"","salt":"${newSalt()}"}}`)).result).toBe('malformed');
  });
});
