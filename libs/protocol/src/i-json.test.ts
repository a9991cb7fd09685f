import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seed } from '../test/vectors.ts';
import { parseJsonObject } from './i-json.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('strict JSON', () => {
  // JSON.parse takes the last of two equal names without a word, others take the first.
  it('finds a name that stands twice, wherever it is, and nothing else', () => {
    const value = fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue({ maxDepth: 2 }), { minKeys: 1, maxKeys: 5 });
    fc.assert(
      fc.property(value, fc.boolean(), (object, deep) => {
        const text = JSON.stringify(object);
        fc.pre(!/\\u0000/.test(text));
        const [name = ''] = Object.keys(object);
        const twice = `{${JSON.stringify(name)}:0,${text.slice(1)}`;
        const wrap = (json: string): Uint8Array => utf8(deep ? `{"a":[{"b":${json}}]}` : json);
        expect(parseJsonObject(wrap(text), 100_000).result).toBe('object');
        expect(parseJsonObject(wrap(twice), 100_000)).toEqual({ result: 'malformed', detail: 'has a name twice' });
      }),
      { seed, numRuns: 500 },
    );
  });

  it('knows that __proto__ is a name like others', () => {
    const parsed = parseJsonObject(utf8('{"__proto__":{"type":"Note"}}'), 100);
    if (parsed.result !== 'object') throw new Error(parsed.detail);
    expect(Object.keys(parsed.value)).toEqual(['__proto__']);
    expect(parsed.value['type']).toBeUndefined();
  });
});
