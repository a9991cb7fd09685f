import { describe, expect, it } from 'vitest';
import { fromHex, readVectors, toHex } from '../test/vectors.ts';
import { ENTRY_NUMBER_MAX, firstHeadHash, nextHeadHash } from './head-hash.ts';
import { type EpochId, type LogId } from './ids.ts';

interface Link {
  readonly number: string;
  readonly envelope: string;
  readonly head: string;
}

const { log, epoch, first, chain, fork, large } = readVectors<{
  readonly log: LogId;
  readonly epoch: EpochId;
  readonly first: string;
  readonly chain: readonly Link[];
  readonly fork: { readonly epoch: EpochId; readonly at: string; readonly first: string; readonly chain: readonly Link[] };
  readonly large: Link & { readonly previous: string };
}>('head-hashes');

function follow(from: Uint8Array, links: readonly Link[]): string[] {
  let head = from;
  return links.map(({ number, envelope }) => toHex((head = nextHeadHash(head, BigInt(number), fromHex(envelope)))));
}

describe('head hashes', () => {
  it('begins an epoch', () => {
    expect(toHex(firstHeadHash(log, epoch))).toBe(first);
  });

  it('goes on from entry to entry', () => {
    expect(follow(firstHeadHash(log, epoch), chain)).toEqual(chain.map(({ head }) => head));
  });

  it('begins anew where an epoch forks', () => {
    expect(toHex(firstHeadHash(log, fork.epoch))).toBe(fork.first);
    expect(follow(fromHex(fork.first), fork.chain)).toEqual(fork.chain.map(({ head }) => head));
    expect(fork.chain[0]?.number).toBe(String(Number(fork.at) + 1));
  });

  it('writes the number in eight bytes', () => {
    expect(follow(fromHex(large.previous), [large])).toEqual([large.head]);
    expect(BigInt(large.number)).toBe(ENTRY_NUMBER_MAX);
  });

  it('depends on the log, the epoch, the number and the envelope', () => {
    const envelope = fromHex(chain[0]?.envelope ?? '');
    const zero = firstHeadHash(log, epoch);
    const all = [
      firstHeadHash(log, log as unknown as EpochId),
      firstHeadHash(epoch as unknown as LogId, epoch),
      nextHeadHash(zero, 1n, envelope),
      nextHeadHash(zero, 2n, envelope),
      nextHeadHash(zero, 1n, envelope.subarray(1)),
      zero,
    ];
    expect(new Set(all.map(toHex)).size).toBe(all.length);
  });

  it('refuses what is no hash and no number', () => {
    const zero = firstHeadHash(log, epoch);
    expect(() => nextHeadHash(zero.subarray(1), 1n, zero)).toThrow(RangeError);
    expect(() => nextHeadHash(zero, 0n, zero)).toThrow(RangeError);
    expect(() => nextHeadHash(zero, ENTRY_NUMBER_MAX + 1n, zero)).toThrow(RangeError);
  });
});
