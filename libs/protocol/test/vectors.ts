/** Reads the published vectors for the tests. They are truth: a test that disagrees with one is wrong, or the code is. */
import { readFileSync } from 'node:fs';

/** The content of vectors/`name`.json, in the form that the caller knows it has. */
export function readVectors<Content>(name: string): Content {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as Content;
}

export function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** The seed of every property test: a failure is found again by running it again. */
export const seed = 20_000_101;
