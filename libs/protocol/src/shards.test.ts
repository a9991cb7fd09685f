import { describe, expect, it } from 'vitest';
import { readVectors } from '../test/vectors.ts';
import { type Uuid, newId } from './ids.ts';
import { SHARD_COUNT, shardOf, shardOfKey } from './shards.ts';

const vectors = readVectors<{
  readonly ids: readonly { readonly id: string; readonly shard: number }[];
  readonly keys: readonly { readonly key: string; readonly shard: number }[];
}>('shards');

describe('shards', () => {
  it.each(vectors.ids)('puts the id $id into $shard', ({ id, shard }) => {
    expect(shardOf(id as Uuid)).toBe(shard);
  });

  it.each(vectors.keys)('puts the key $key into $shard', ({ key, shard }) => {
    expect(shardOfKey(key)).toBe(shard);
  });

  it('uses every shard and none beyond', () => {
    const used = new Set(Array.from({ length: 20_000 }, () => shardOf(newId())));
    expect(used.size).toBe(SHARD_COUNT);
    expect(Math.min(...used)).toBe(0);
    expect(Math.max(...used)).toBe(SHARD_COUNT - 1);
  });
});
