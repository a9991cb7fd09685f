/**
 * The envelope: the part of an entry that stays for ever.
 *
 * An entry is an envelope and a body. The body says everything and can be erased; the envelope says only
 * what a log needs to stay whole after that, and names nobody: no person, handle, address or target.
 *
 *   { 1: kind, 2: object id (16 bytes), 3: claimed time, 4: SHA-256(body bytes),
 *     ? 5: [+ critical flag], * int => any }
 *
 * Deterministic CBOR (cbor.ts), at most 1,024 bytes; as DMB/1 writes it, 66. The bytes as they came are
 * stored and hashed; nobody encodes an envelope again. The claimed time is the origin's word, in
 * milliseconds since 2000-01-01; a reader clamps it before showing it.
 *
 * How it can grow, without a server in the middle to tell all others:
 *
 *   a field more   keys other than 1 … 5 are kept, passed on and have no effect here
 *   a kind more    the entry is stored and counted and has no effect here: the log goes on
 *   a flag more    whoever does not know a critical flag may not go past the entry: it stops there and
 *                  says so. Flag 1, `erase`, is the only one so far: every entry of kind erase carries it, no
 *                  other does, so that nobody replicates a log and overlooks what is to be erased.
 *
 * So reading has four outcomes, and `malformed` is only the fourth: bytes that no version of the protocol
 * could mean.
 */
import { hash } from 'node:crypto';
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from './cbor.ts';
import { type ObjectId, bytesToUuid, uuidToBytes } from './ids.ts';
import { EPOCH_2000_MS } from './post-ids.ts';

/** The kinds of entries and their numbers: in envelopes, in the database, for ever. */
export const ENTRY_KINDS = {
  post: 1,
  edit: 2,
  delete: 3,
  boost: 4,
  unboost: 5,
  profile: 6,
  closed: 7,
  moved: 8,
  happening: 9,
  erase: 10,
} as const;

export type EntryKind = keyof typeof ENTRY_KINDS;

/** What a reader must understand to go past an entry. */
export const CRITICAL_FLAGS = { erase: 1 } as const;

/** The largest envelope that is read or written. */
export const ENVELOPE_BYTES_MAX = 1024;

/** The largest kind and critical flag that can be. */
const CODE_MAX = 0xffff;

/** Critical flags in one envelope. */
const FLAGS_MAX = 16;

/** Claimed times are below this many milliseconds since 2000: they fit every language's integers and dates. */
const CLAIMED_LIMIT_MS = 2 ** 48;

/** Keys of fields that are not of DMB/1 fit 32 bits. */
const KEY_MIN = -(2 ** 31);
const KEY_MAX = 2 ** 31 - 1;

/** What an envelope says. Times are Unix milliseconds, not the wire's. */
export interface Envelope {
  readonly kind: EntryKind;
  readonly objectId: ObjectId;
  /** When the origin says that it was made: Unix milliseconds, from 2000-01-01 on. Unverified. */
  readonly claimedMs: number;
  /** SHA-256 of the body's bytes. */
  readonly bodyHash: Uint8Array;
  /** Strictly rising. */
  readonly criticalFlags: readonly number[];
  /** Fields of other versions, by key. */
  readonly extensions: ReadonlyMap<number, CborValue>;
}

/** An envelope whose kind is not of DMB/1: stored and counted, without effect. */
export type ForeignEnvelope = Omit<Envelope, 'kind'> & { readonly kindNumber: number };

/** What reading an envelope came to. */
export type DecodedEnvelope =
  | { readonly result: 'envelope'; readonly envelope: Envelope }
  | { readonly result: 'unknown-kind'; readonly envelope: ForeignEnvelope }
  /** It demands what this version does not know; the log cannot go past it. */
  | { readonly result: 'critical'; readonly unknownFlags: readonly number[] }
  | { readonly result: 'malformed'; readonly detail: string };

/** What an envelope is written from. Critical flags of DMB/1 follow from the kind. */
export interface NewEnvelope {
  readonly kind: EntryKind;
  readonly objectId: ObjectId;
  /** Unix milliseconds, from 2000-01-01 on. */
  readonly claimedMs: number;
  readonly bodyHash: Uint8Array;
}

const KEY = { kind: 1, objectId: 2, claimed: 3, bodyHash: 4, flags: 5 } as const;
const OWN_KEYS: ReadonlySet<unknown> = new Set(Object.values(KEY));
const KIND_BY_NUMBER: ReadonlyMap<number, EntryKind> = new Map(
  Object.entries(ENTRY_KINDS).map(([kind, number]) => [number, kind as EntryKind]),
);
const KNOWN_FLAGS: ReadonlySet<number> = new Set(Object.values(CRITICAL_FLAGS));

/** The kind with that number; undefined if DMB/1 has none. */
export function entryKindOf(number: number): EntryKind | undefined {
  return KIND_BY_NUMBER.get(number);
}

/** SHA-256 of a body's bytes: field 4 of its envelope. */
export function bodyHash(body: Uint8Array): Uint8Array {
  return sha256(body);
}

/** SHA-256 of an envelope's bytes: what head hashes and boosts refer to. */
export function envelopeHash(envelope: Uint8Array): Uint8Array {
  return sha256(envelope);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', bytes, 'buffer'));
}

/**
 * The bytes of an envelope.
 * @throws RangeError for a time or a hash that no envelope can hold.
 */
export function encodeEnvelope(envelope: NewEnvelope): Uint8Array {
  const claimed = envelope.claimedMs - EPOCH_2000_MS;
  if (!isWhole(claimed, 0, CLAIMED_LIMIT_MS - 1)) throw new RangeError(`no time for an envelope: ${envelope.claimedMs}`);
  if (envelope.bodyHash.length !== 32) throw new RangeError('a body hash has 32 bytes');
  const fields = new Map<number, CborValue>([
    [KEY.kind, ENTRY_KINDS[envelope.kind]],
    [KEY.objectId, uuidToBytes(envelope.objectId)],
    [KEY.claimed, claimed],
    [KEY.bodyHash, envelope.bodyHash],
  ]);
  if (envelope.kind === 'erase') fields.set(KEY.flags, [CRITICAL_FLAGS.erase]);
  return encodeCbor(fields);
}

/** Reads an envelope. Never throws. */
export function decodeEnvelope(bytes: Uint8Array): DecodedEnvelope {
  const decoded = decodeCbor(bytes, ENVELOPE_BYTES_MAX);
  if (decoded.result === 'malformed') return decoded;
  if (!(decoded.value instanceof Map)) return malformed('not a map');
  const fields = readFields(decoded.value as CborMap);
  if (typeof fields === 'string') return malformed(fields);
  const { kindNumber, ...others } = fields;
  const unknownFlags = others.criticalFlags.filter((flag) => !KNOWN_FLAGS.has(flag));
  if (unknownFlags.length > 0) return { result: 'critical', unknownFlags };
  const kind = entryKindOf(kindNumber);
  if ((kind === 'erase') !== others.criticalFlags.includes(CRITICAL_FLAGS.erase)) {
    return malformed('the flag erase belongs to the kind erase');
  }
  return kind === undefined
    ? { result: 'unknown-kind', envelope: fields }
    : { result: 'envelope', envelope: { kind, ...others } };
}

function malformed(detail: string): { readonly result: 'malformed'; readonly detail: string } {
  return { result: 'malformed', detail };
}

/** The fields of the map, or what is wrong with it. */
function readFields(map: CborMap): ForeignEnvelope | string {
  const kindNumber = map.get(KEY.kind);
  if (!isWhole(kindNumber, 1, CODE_MAX)) return 'field 1 is no kind';
  const objectId = map.get(KEY.objectId);
  if (!(objectId instanceof Uint8Array) || objectId.length !== 16) return 'field 2 is no object id';
  const claimed = map.get(KEY.claimed);
  if (!isWhole(claimed, 0, CLAIMED_LIMIT_MS - 1)) return 'field 3 is no time';
  const hashOfBody = map.get(KEY.bodyHash);
  if (!(hashOfBody instanceof Uint8Array) || hashOfBody.length !== 32) return 'field 4 is no hash';
  const criticalFlags = map.has(KEY.flags) ? readFlags(map.get(KEY.flags)) : [];
  if (criticalFlags === undefined) return 'field 5 is no list of critical flags';
  const extensions = new Map<number, CborValue>();
  for (const [key, value] of map) {
    if (!isWhole(key, KEY_MIN, KEY_MAX)) return 'a key that is no integer of 32 bits';
    if (!OWN_KEYS.has(key)) extensions.set(key, value);
  }
  return {
    kindNumber,
    objectId: bytesToUuid(objectId) as ObjectId,
    claimedMs: claimed + EPOCH_2000_MS,
    bodyHash: hashOfBody,
    criticalFlags,
    extensions,
  };
}

/** The flags, if they are at least one and strictly rising. */
function readFlags(value: CborValue | undefined): readonly number[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > FLAGS_MAX) return undefined;
  const flags: number[] = [];
  for (const flag of value as readonly CborValue[]) {
    if (!isWhole(flag, (flags.at(-1) ?? 0) + 1, CODE_MAX)) return undefined;
    flags.push(flag);
  }
  return flags;
}

function isWhole(value: unknown, from: number, to: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= from && value <= to;
}
