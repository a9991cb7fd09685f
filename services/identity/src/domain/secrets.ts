/**
 * Secrets that find their own row: tokens, codes, cookies and one-time links.
 *
 * A secret is base64url(2 bytes of shard ‖ 32 random bytes), 46 characters. The shard says in which
 * part of the data its row lives, so that no directory is needed and nothing is told but one of
 * 1,024. What is stored is SHA-256 of the 34 bytes: with 256 random bits there is nothing to guess,
 * so a slow hash would buy nothing, and a stolen table opens no door.
 */
import { createHash, randomBytes } from 'node:crypto';
import { SHARD_COUNT } from '@dmb/protocol';

/** Where a secret's row is and what it is found by. */
export interface SecretKey {
  readonly shard: number;
  /** 32 bytes. */
  readonly hash: Buffer;
}

const SECRET = /^[A-Za-z0-9_-]{46}$/;

/** A new secret for a row of `shard`. */
export function newSecret(shard: number): { readonly secret: string } & SecretKey {
  const bytes = Buffer.alloc(34);
  bytes.writeUInt16BE(shard, 0);
  randomBytes(32).copy(bytes, 2);
  return { secret: bytes.toString('base64url'), shard, hash: createHash('sha256').update(bytes).digest() };
}

/** Where to look for a secret that somebody sent; undefined for what can be none of ours. */
export function secretKey(text: string | undefined): SecretKey | undefined {
  if (text === undefined || !SECRET.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  // 46 characters have 4 bits to spare: only the spelling that we gave counts.
  if (bytes.toString('base64url') !== text) return undefined;
  const shard = bytes.readUInt16BE(0);
  return shard < SHARD_COUNT ? { shard, hash: createHash('sha256').update(bytes).digest() } : undefined;
}
