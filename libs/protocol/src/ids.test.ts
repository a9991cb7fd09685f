import { describe, expect, it } from 'vitest';
import { readVectors, fromHex, toHex } from '../test/vectors.ts';
import {
  type ObjectId,
  bytesToUuid,
  formatObjectId,
  newEpochId,
  newId,
  newLogId,
  newMicroblogId,
  newObjectId,
  newPersonId,
  objectIdShard,
  parseObjectId,
  parseUuid,
  uuidToBytes,
} from './ids.ts';

const vectors = readVectors<{
  readonly ids: readonly { readonly id: string; readonly bytes: string }[];
  readonly refusedIds: readonly string[];
  readonly objectIds: readonly { readonly id: string; readonly url: string; readonly shard: number }[];
  readonly refusedUrls: readonly string[];
}>('ids');

describe('ids', () => {
  it.each(vectors.ids)('has the text $id for the bytes $bytes', ({ id, bytes }) => {
    const parsed = parseUuid(id);
    expect(parsed).toBe(id);
    expect(toHex(uuidToBytes(parsed ?? newId()))).toBe(bytes);
    expect(bytesToUuid(fromHex(bytes))).toBe(id);
  });

  it.each(vectors.refusedIds)('refuses %j', (text) => {
    expect(parseUuid(text)).toBeUndefined();
  });

  it('refuses bytes that are not 16', () => {
    expect(() => bytesToUuid(new Uint8Array(15))).toThrow(RangeError);
    expect(() => bytesToUuid(new Uint8Array(17))).toThrow(RangeError);
  });

  it('reads bytes in the middle of a larger buffer', () => {
    expect(bytesToUuid(fromHex('ffff000102030405060708090a0b0c0d0e0fffff').subarray(2, 18))).toBe('00010203-0405-0607-0809-0a0b0c0d0e0f');
  });

  // A library's UUID (version 4) would pass every other test and lose 6 of the bits.
  it.each([newId, newPersonId, newMicroblogId, newLogId, newEpochId])('draws all 128 bits at random ($name)', (draw) => {
    const seen = { set: new Uint8Array(16), clear: new Uint8Array(16) };
    for (let i = 0; i < 200; i += 1) {
      for (const [at, byte] of uuidToBytes(draw()).entries()) {
        seen.set[at] = (seen.set[at] ?? 0) | byte;
        seen.clear[at] = (seen.clear[at] ?? 0) | ~byte;
      }
    }
    expect([toHex(seen.set), toHex(seen.clear)]).toEqual(['ff'.repeat(16), 'ff'.repeat(16)]);
  });
});

describe('object ids', () => {
  it.each(vectors.objectIds)('has the URL form $url and the shard $shard for $id', ({ id, url, shard }) => {
    expect(formatObjectId(id as ObjectId)).toBe(url);
    expect(parseObjectId(url)).toBe(id);
    expect(objectIdShard(id as ObjectId)).toBe(shard);
  });

  it.each(vectors.refusedUrls)('refuses the URL form %j', (text) => {
    expect(parseObjectId(text)).toBeUndefined();
  });

  it('holds every shard, and 118 random bits', () => {
    const set = new Uint8Array(16);
    const clear = new Uint8Array(16);
    for (let shard = 0; shard < 1024; shard += 1) {
      const id = newObjectId(shard);
      expect(objectIdShard(id)).toBe(shard);
      for (const [at, byte] of uuidToBytes(id).entries()) {
        set[at] = (set[at] ?? 0) | byte;
        clear[at] = (clear[at] ?? 0) | ~byte;
      }
    }
    expect([toHex(set), toHex(clear)]).toEqual(['ff'.repeat(16), 'ff'.repeat(16)]);
  });

  it.each([-1, 1024, 0.5, NaN])('is not drawn for the shard %d', (shard) => {
    expect(() => newObjectId(shard)).toThrow(RangeError);
  });
});
