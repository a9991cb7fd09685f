/**
 * The CBOR that is used here: a subset of RFC 8949 in which every value has exactly one encoding.
 *
 *   values   integers of 64 bits, byte strings, text strings, arrays, maps, true, false, null
 *   keys     integers and text strings
 *   not      floating-point numbers, tags, undefined, other simple values
 *   form     core deterministic encoding (RFC 8949 §4.2.1): shortest heads, definite lengths, keys in
 *            bytewise order of their encodings, each once
 *   depth    at most 8 arrays and maps inside one another
 *
 * Bytes are hashed and signed, and two readers must never take different things from the same bytes. So
 * decoding ends by encoding the value again: whatever does not come out as the very bytes that went in was
 * not deterministic, for whatever reason, and is refused.
 */
import { decode, encode, rfc8949EncodeOptions } from 'cborg';

/** A value of the subset. Integers beyond ±(2^53 − 1) are bigints, all others numbers. */
export type CborValue =
  | number
  | bigint
  | string
  | boolean
  | null
  | Uint8Array
  | readonly CborValue[]
  | CborMap;

/** A map of the subset. */
export type CborMap = ReadonlyMap<number | bigint | string, CborValue>;

/** What decoding came to; `detail` says, for a log, why bytes were refused. */
export type DecodedCbor =
  | { readonly result: 'value'; readonly value: CborValue }
  | { readonly result: 'malformed'; readonly detail: string };

/** How many arrays and maps may be inside one another. */
export const CBOR_DEPTH_MAX = 8;

const DECODE_OPTIONS = {
  strict: true,
  useMaps: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowNaN: false,
  allowInfinity: false,
};

/**
 * The one encoding of a value.
 * @throws RangeError for a value outside of the subset.
 */
export function encodeCbor(value: CborValue): Uint8Array {
  const detail = whyOutside(value, 0);
  if (detail !== undefined) throw new RangeError(detail);
  return plain(encode(value, rfc8949EncodeOptions));
}

/**
 * Reads one value that fills `bytes`, at most `bytesMax` of them. Never throws. Keep `bytesMax` to a few
 * thousand: a value is decoded before its depth is known.
 */
export function decodeCbor(bytes: Uint8Array, bytesMax: number): DecodedCbor {
  if (bytes.length > bytesMax) return { result: 'malformed', detail: `more than ${bytesMax} bytes` };
  let value: unknown;
  try {
    value = decode(plain(bytes), DECODE_OPTIONS);
  } catch (error) {
    return { result: 'malformed', detail: error instanceof Error ? error.message : 'not CBOR' };
  }
  const detail = whyOutside(value, 0);
  if (detail !== undefined) return { result: 'malformed', detail };
  if (!sameBytes(encode(value, rfc8949EncodeOptions), bytes)) {
    return { result: 'malformed', detail: 'not in deterministic encoding' };
  }
  return { result: 'value', value: value as CborValue };
}

function whyOutside(value: unknown, depth: number): string | undefined {
  switch (typeof value) {
    case 'boolean':
      return undefined;
    case 'string':
      return /\p{Surrogate}/u.test(value) ? 'text with half a surrogate pair' : undefined;
    case 'number':
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? undefined : 'a number that is no integer';
    case 'bigint':
      return value >= -(2n ** 64n) && value < 2n ** 64n ? undefined : 'an integer of more than 64 bits';
    case 'object':
      break;
    default:
      return `a value of type ${typeof value}`;
  }
  if (value === null || value instanceof Uint8Array) return undefined;
  if (depth === CBOR_DEPTH_MAX) return `more than ${CBOR_DEPTH_MAX} levels`;
  if (Array.isArray(value)) return firstOutside(value, depth);
  if (!(value instanceof Map)) return 'an object that is no map';
  for (const key of value.keys()) {
    if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'bigint') return 'a key that is neither integer nor text';
  }
  return firstOutside(value.keys(), depth) ?? firstOutside(value.values(), depth);
}

function firstOutside(values: Iterable<unknown>, depth: number): string | undefined {
  for (const value of values) {
    const detail = whyOutside(value, depth + 1);
    if (detail !== undefined) return detail;
  }
  return undefined;
}

/** Whether two byte strings are equal. Not for secrets: it takes longer the more agrees. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** A view of the same bytes that is no Buffer: the library treats the two differently, and so do comparisons in tests. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Heads of byte strings, for what is too long to be decoded as a value first. */
const BYTE_STRING = 0x40;

/** The head of a byte string of `length` bytes (below 2^16), in its shortest form. */
export function byteStringHead(length: number): Uint8Array {
  if (length < 24) return Uint8Array.of(BYTE_STRING | length);
  if (length < 0x100) return Uint8Array.of(BYTE_STRING | 24, length);
  if (length < 0x1_0000) return Uint8Array.of(BYTE_STRING | 25, length >> 8, length & 0xff);
  throw new RangeError(`a byte string of ${length} bytes`);
}

/** The byte string that begins at `at` (a view, not a copy) and where it ends; undefined if there is none in shortest form. */
export function readByteString(bytes: Uint8Array, at: number): { readonly bytes: Uint8Array; readonly end: number } | undefined {
  const head = bytes[at];
  if (head === undefined || head < BYTE_STRING || head > (BYTE_STRING | 25)) return undefined;
  const lengthBytes = Math.max(0, (head & 0x1f) - 23);
  const start = at + 1 + lengthBytes;
  let length = head & 0x1f;
  if (lengthBytes > 0) {
    const [high = NaN, low = NaN] = lengthBytes === 1 ? [0, bytes[at + 1]] : [bytes[at + 1], bytes[at + 2]];
    length = high * 0x100 + low;
    if (!(length >= (lengthBytes === 1 ? 24 : 0x100))) return undefined;
  }
  const end = start + length;
  return end > bytes.length ? undefined : { bytes: bytes.subarray(start, end), end };
}
