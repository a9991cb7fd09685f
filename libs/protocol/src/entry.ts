/**
 * An entry as it travels: CBOR [envelope, body or null], both as byte strings.
 *
 * Byte strings, because exact bytes are what is hashed, stored and passed on: nothing between origin and
 * last reader decodes and encodes them again. Null stands for a body that was erased, or that the reader
 * may not have; the envelope remains, and with it the number and the head hash.
 *
 * Reading checks in this order: the frame, the envelope, the body's hash against field 4. What the body
 * says is a question of its own (body-codec.ts): a body of the right hash that makes no sense takes its number in
 * the log and has no effect, for refusing it would stop the log.
 *
 * The frame is read by hand: it is three heads, and a page of entries is read without copying a body.
 */
import { type BodyOf, type NewBody, BODY_BYTES_MAX } from './body.ts';
import { encodeBody } from './body-codec.ts';
import { byteStringHead, readByteString, sameBytes } from './cbor.ts';
import { type DecodedEnvelope, type EntryKind, ENVELOPE_BYTES_MAX, bodyHash, decodeEnvelope, encodeEnvelope } from './envelope.ts';
import { type ObjectId } from './ids.ts';

/** The exact bytes of an entry's two parts. */
export interface Entry {
  readonly envelope: Uint8Array;
  /** Null where it was erased or withheld. */
  readonly body: Uint8Array | null;
}

/** An entry that was just made. */
export interface NewEntry extends Entry {
  readonly body: Uint8Array;
  readonly objectId: ObjectId;
}

/** The largest entry on the wire: its parts and three heads. */
export const ENTRY_BYTES_MAX = 1 + 3 + ENVELOPE_BYTES_MAX + 3 + BODY_BYTES_MAX;

const ARRAY_OF_TWO = 0x82;
const NULL = 0xf6;

/** What reading an entry came to: its bytes beside what its envelope said, or why there is none. */
export type DecodedEntry =
  | (Extract<DecodedEnvelope, { readonly result: 'envelope' | 'unknown-kind' | 'critical' }> & { readonly entry: Entry })
  | { readonly result: 'malformed'; readonly detail: string };

/**
 * Makes an entry: salts and encodes the body, hashes it into an envelope. `claimedMs` is Unix milliseconds.
 * @throws RangeError if the body would be refused by `parseBody`, or the time by an envelope.
 */
export function createEntry<K extends EntryKind>(kind: K, objectId: ObjectId, claimedMs: number, body: NewBody<BodyOf<K>>): NewEntry {
  const bytes = encodeBody(kind, body);
  return { envelope: encodeEnvelope({ kind, objectId, claimedMs, bodyHash: bodyHash(bytes) }), body: bytes, objectId };
}

/**
 * The wire form of an entry.
 * @throws RangeError if a part is larger than its limit.
 */
export function encodeEntry(entry: Entry): Uint8Array {
  if (entry.envelope.length > ENVELOPE_BYTES_MAX) throw new RangeError(`an envelope of ${entry.envelope.length} bytes`);
  if (entry.body !== null && entry.body.length > BODY_BYTES_MAX) throw new RangeError(`a body of ${entry.body.length} bytes`);
  const parts = [Uint8Array.of(ARRAY_OF_TWO), byteStringHead(entry.envelope.length), entry.envelope];
  parts.push(...(entry.body === null ? [Uint8Array.of(NULL)] : [byteStringHead(entry.body.length), entry.body]));
  return new Uint8Array(Buffer.concat(parts));
}

/** Reads the wire form, all of `bytes`; the parts are views of it. Never throws. */
export function decodeEntry(bytes: Uint8Array): DecodedEntry {
  const entry = readFrame(bytes);
  if (typeof entry === 'string') return { result: 'malformed', detail: entry };
  const decoded = decodeEnvelope(entry.envelope);
  switch (decoded.result) {
    case 'malformed':
      return decoded;
    case 'critical':
      return { ...decoded, entry };
    case 'envelope':
    case 'unknown-kind':
      return entry.body === null || sameBytes(bodyHash(entry.body), decoded.envelope.bodyHash)
        ? { ...decoded, entry }
        : { result: 'malformed', detail: 'the body is not the one of the envelope' };
  }
}

/** The two parts, or what is wrong with the frame. */
function readFrame(bytes: Uint8Array): Entry | string {
  if (bytes.length > ENTRY_BYTES_MAX) return `more than ${ENTRY_BYTES_MAX} bytes`;
  if (bytes[0] !== ARRAY_OF_TWO) return 'not an array of two';
  const envelope = readByteString(bytes, 1);
  if (envelope === undefined) return 'the envelope is no byte string';
  if (bytes[envelope.end] === NULL) {
    return envelope.end + 1 === bytes.length ? { envelope: envelope.bytes, body: null } : 'bytes after the end';
  }
  const body = readByteString(bytes, envelope.end);
  if (body === undefined) return 'the body is neither a byte string nor null';
  if (body.end !== bytes.length) return 'bytes after the end';
  if (body.bytes.length > BODY_BYTES_MAX) return `a body of more than ${BODY_BYTES_MAX} bytes`;
  return { envelope: envelope.bytes, body: body.bytes };
}
