/**
 * The 128-bit ids.
 *
 * Everything that is named across shards, processes or servers has an id of 16 bytes, drawn at random by
 * whoever makes the thing; nobody has to be asked and no two collide. An id has three forms:
 *
 *   bytes   16 bytes: in CBOR and in hashes
 *   text    lower-case hyphenated UUID text: in our code, in Postgres (`uuid`) and in JSON bodies
 *   URL     32 lower-case hexadecimal digits, object ids only: `https://<domain>/objects/<32 digits>`
 *
 * All 128 bits are random: there is no UUID version or variant in them, and a reader looks for none. Two
 * ids are not random:
 *
 *   object id   118 random bits, then the 10 bits of the log_shard where its origin keeps the log. The
 *               origin finds the shard of one of its own URIs without a directory; to everybody else the
 *               last bits mean nothing.
 *   domain id   the head of a hash of the domain's name (domains.ts), so that nobody looks it up.
 *
 * In TypeScript an id is a branded string: a PersonId cannot be passed where a LogId is meant, and the
 * brand costs nothing at run time. What comes from outside goes through `parseUuid`; what comes from a
 * `uuid` column is already in this form and is cast.
 */
import { randomBytes } from 'node:crypto';

declare const uuidKind: unique symbol;

/** 128 bits as lower-case hyphenated UUID text (36 characters), branded with what they name. */
export type Uuid<Kind extends string = string> = string & { readonly [uuidKind]: Kind };

/** Somebody who can log in. Never leaves its server. */
export type PersonId = Uuid<'person'>;

/** A microblog. For one of another domain, inside a server: our alias of it; on the wire: its home's id. */
export type MicroblogId = Uuid<'microblog'>;

/** One of a microblog's four logs, or a mail log. For a replica, inside a server: our alias; on the wire: the origin's id. */
export type LogId = Uuid<'log'>;

/** An unbroken telling of a log; a restore from a backup begins a new one. Drawn by the origin, the same everywhere. */
export type EpochId = Uuid<'epoch'>;

/** A domain; made from its name by `domainIdOf`. */
export type DomainId = Uuid<'domain'>;

/** What an entry made (a post, a boost, a happening): 118 random bits and the origin's log_shard. Valid only within its log. */
export type ObjectId = Uuid<'object'>;

const UUID_TEXT = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const OBJECT_ID_URL = /^[0-9a-f]{32}$/;
/** The 10 bits of an object id that are its origin's log_shard; also the highest shard. */
const OBJECT_SHARD_MASK = 0x3ff;

/** Reads an id from text of unknown origin; undefined unless it is exactly the lower-case hyphenated form. */
export function parseUuid(text: string): Uuid | undefined {
  return UUID_TEXT.test(text) ? (text as Uuid) : undefined;
}

/** The 16 bytes of an id, in a new array. */
export function uuidToBytes(id: Uuid): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let i = 0, at = 0; i < 16; i += 1, at += 2) {
    if (at === 8 || at === 13 || at === 18 || at === 23) at += 1;
    bytes[i] = Number.parseInt(id.slice(at, at + 2), 16);
  }
  return bytes;
}

/**
 * The text form of 16 bytes.
 * @throws RangeError unless there are exactly 16.
 */
export function bytesToUuid(bytes: Uint8Array): Uuid {
  if (bytes.length !== 16) throw new RangeError(`an id has 16 bytes, not ${bytes.length}`);
  return hexToUuid(Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex'));
}

function hexToUuid(hex: string): Uuid {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}` as Uuid;
}

/** A new id of 128 random bits; the functions below say what it names. */
export function newId(): Uuid {
  return bytesToUuid(randomBytes(16));
}

export function newPersonId(): PersonId {
  return newId() as PersonId;
}

export function newMicroblogId(): MicroblogId {
  return newId() as MicroblogId;
}

export function newLogId(): LogId {
  return newId() as LogId;
}

export function newEpochId(): EpochId {
  return newId() as EpochId;
}

/**
 * A new object id for an entry of a log that lives in `logShard` (0 … 1023).
 * @throws RangeError for a shard that does not exist.
 */
export function newObjectId(logShard: number): ObjectId {
  if (!Number.isInteger(logShard) || logShard < 0 || logShard > OBJECT_SHARD_MASK) {
    throw new RangeError(`no such shard: ${logShard}`);
  }
  const bytes = randomBytes(16);
  bytes.writeUInt16BE((bytes.readUInt16BE(14) & ~OBJECT_SHARD_MASK) | logShard, 14);
  return bytesToUuid(bytes) as ObjectId;
}

/** The last 10 bits. The shard of the log, if the object is of this server; otherwise without meaning here. */
export function objectIdShard(id: ObjectId): number {
  return Number.parseInt(id.slice(-3), 16) & OBJECT_SHARD_MASK;
}

/** The URL form: 32 lower-case hexadecimal digits. */
export function formatObjectId(id: ObjectId): string {
  return id.replaceAll('-', '');
}

/** Reads the URL form; undefined for anything else, upper case and hyphens included. */
export function parseObjectId(text: string): ObjectId | undefined {
  return OBJECT_ID_URL.test(text) ? (hexToUuid(text) as ObjectId) : undefined;
}
