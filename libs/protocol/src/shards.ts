/**
 * The 1,024 shards.
 *
 * A shard is a fixed bucket of ids; where a shard's rows live may change, what is in it never does. So the
 * function below is as permanent as any byte on the wire: it decides the first column of every primary key.
 *
 *   shard of an id    first 10 bits of SHA-256(the 16 bytes)
 *   shard of a key    first 10 bits of SHA-256('DMB/1 key' ‖ 0x00 ‖ UTF-8 of the key)
 *
 * Ids are hashed although most are random: domain ids and other servers' ids are not ours to trust, and
 * nobody who chooses ids should choose shards at no cost. Keys (handles, URIs, issuer and subject) have a
 * prefix of their own, so that no text can be mistaken for an id's bytes. A log's shard, `log_shard`, is the
 * shard of its microblog's id, for all logs of it; a mail log has no microblog and goes by its own id; rows
 * of a person go by the person id.
 *
 * Nothing is cached: a one-shot hash of 16 bytes costs about a microsecond.
 */
import { hash } from 'node:crypto';
import { type Uuid, uuidToBytes } from './ids.ts';

/** How many shards there are, for ever. */
export const SHARD_COUNT = 1024;

/** The shard of an id, 0 … 1023. */
export function shardOf(id: Uuid): number {
  return firstTenBits(hash('sha256', uuidToBytes(id), 'buffer'));
}

/**
 * The shard of a directory row, 0 … 1023, by the text that is unique in that directory. The text is taken
 * as it is: whoever calls has normalised it, and joins several parts in an unambiguous way.
 */
export function shardOfKey(key: string): number {
  return firstTenBits(hash('sha256', `DMB/1 key\0${key}`, 'buffer'));
}

function firstTenBits(digest: Buffer): number {
  return digest.readUInt16BE(0) >>> 6;
}
