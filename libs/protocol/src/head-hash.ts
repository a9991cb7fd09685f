/**
 * The head hash: one value that stands for a log's whole history.
 *
 *   H₀ = SHA-256('DMB/1 log' ‖ the origin's log id, 16 bytes ‖ epoch, 16 bytes)
 *   Hₙ = SHA-256(Hₙ₋₁ ‖ n, 8 bytes big-endian ‖ SHA-256(envelope of entry n))
 *
 * It covers envelopes and, by the hash in each, bodies; so it stays computable when bodies are erased. It is
 * not inside the entries, because numbers are given while the database commits and two writers may race
 * for one; whoever sees the entries in order computes it. A server signs (log, epoch, n, Hₙ) as a
 * checkpoint; two signed checkpoints of one (log, epoch, n) that differ prove that it told two stories.
 *
 * An epoch that forks from another at number n begins with the number n + 1 and with a chain of its own:
 * the value before its first entry is H₀ of *its* id. What ties it to the epoch before is the signed
 * descriptor, which holds the older epoch's Hₙ.
 */
import { hash } from 'node:crypto';
import { envelopeHash } from './envelope.ts';
import { type EpochId, type LogId, uuidToBytes } from './ids.ts';

/** The largest number of an entry: bodies write numbers in JSON, where larger ones would be rounded. */
export const ENTRY_NUMBER_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** H₀ of an epoch: the value before its first entry. `originLog` is the origin's id of the log, never an alias. */
export function firstHeadHash(originLog: LogId, epoch: EpochId): Uint8Array {
  return new Uint8Array(hash('sha256', Buffer.concat([Buffer.from('DMB/1 log'), uuidToBytes(originLog), uuidToBytes(epoch)]), 'buffer'));
}

/**
 * Hₙ from Hₙ₋₁, the number n and the bytes of the envelope of entry n.
 * @throws RangeError if `previous` is no hash or `number` is not in 1 … ENTRY_NUMBER_MAX.
 */
export function nextHeadHash(previous: Uint8Array, number: bigint, envelope: Uint8Array): Uint8Array {
  if (previous.length !== 32) throw new RangeError('a head hash has 32 bytes');
  if (number < 1n || number > ENTRY_NUMBER_MAX) throw new RangeError(`no number of an entry: ${number}`);
  const numberBytes = Buffer.alloc(8);
  numberBytes.writeBigUInt64BE(number);
  return new Uint8Array(hash('sha256', Buffer.concat([previous, numberBytes, envelopeHash(envelope)]), 'buffer'));
}
