/**
 * Every key and channel in Redis, spelled here and nowhere else.
 *
 * A key carries the hash tag of its shard, `{s0000}` … `{s1023}`. Redis Cluster hashes only what stands in the
 * braces, so that all keys of a shard are on one node there, and a table of 1,024 places says on which. Independent
 * nodes ignore the tag. The keys are the same, so a list can be copied from one kind of installation to the other.
 */
import { createHash } from 'node:crypto';
import { SHARD_COUNT } from '@dmb/protocol';

const tags = Array.from({ length: SHARD_COUNT }, (_, shard) => `{s${String(shard).padStart(4, '0')}}`);

/** The hash tag of a shard, in braces. */
export const tagOf = (shard: number): string => tags[shard] ?? `{s${shard}}`;

/** The ids of one timeline, a Redis list. */
export const listKey = (shard: number, person: string): string => `tl:${tagOf(shard)}:${person}`;

/** Held by whoever rebuilds a timeline. */
export const lockKey = (shard: number, person: string): string => `tl-lock:${tagOf(shard)}:${person}`;

/** What the key of every list begins with. */
export const listPrefix = 'tl:{s';

/** The marks of one of several independent nodes. */
export const marksKey = 'dmb:applied';

/** The marks of a node of a cluster, named after a shard that it has. */
export const marksKeyOf = (shard: number): string => `${marksKey}:${tagOf(shard)}`;

/** A bucket of a rate limit, on the shard that its name falls on. */
export function limitKey(name: string, key: string): { readonly shard: number; readonly key: string } {
  // Keys of limits come from outside (addresses, handles): hashed, they are short and cannot carry a hash tag.
  const hash = createHash('sha256').update(`${name}\0${key}`).digest();
  const shard = hash.readUInt16BE(0) >>> 6;
  return { shard, key: `limit:${tagOf(shard)}:${name}:${hash.toString('base64url', 0, 18)}` };
}

/** Live events of this many shards share a channel. */
export const shardsPerChannel = 16;

/** First shard of the range that a shard's channel stands for. */
export const channelShardOf = (shard: number): number => shard - (shard % shardsPerChannel);

/** The channel on which events of a range of shards are published. */
export const channelOf = (channelShard: number): string => `live:${tagOf(channelShard)}`;

/** All channels, by the first shard of their range. */
export const channelShards: readonly number[] = Array.from({ length: SHARD_COUNT / shardsPerChannel }, (_, index) => index * shardsPerChannel);

/** The hash slot of Redis Cluster: CRC-16/XMODEM of what stands in the braces, modulo 16,384. */
export function slotOf(shard: number): number {
  let crc = 0;
  for (const byte of Buffer.from(tagOf(shard).slice(1, -1), 'latin1')) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc % 16_384;
}
