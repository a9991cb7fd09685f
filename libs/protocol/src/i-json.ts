/**
 * Strict reading of JSON objects, as RFC 7493 (I-JSON) asks.
 *
 * `JSON.parse` lets pass what two readers may understand in two ways: of a name that stands twice it takes
 * the last one, others take the first; a half surrogate survives here and is replaced elsewhere. The bytes
 * are hashed and two servers must see the same in them, so such texts are refused.
 *
 * A doubled name leaves no trace in the parsed value, but it can be counted: outside of strings, JSON has
 * one colon for each member. More colons than members mean that a name stood twice.
 */

/** An object as JSON has it. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** What reading came to. */
export type ParsedJson =
  | { readonly result: 'object'; readonly value: JsonObject }
  | { readonly result: 'malformed'; readonly detail: string };

/** How many arrays and objects may be inside one another. */
export const JSON_DEPTH_MAX = 16;

/** Keeps a byte order mark, so that JSON.parse refuses it. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/** Reads one JSON object that fills `bytes`, at most `bytesMax` of them. Never throws. */
export function parseJsonObject(bytes: Uint8Array, bytesMax: number): ParsedJson {
  if (bytes.length > bytesMax) return malformed(`has more than ${bytesMax} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(bytes));
  } catch {
    return malformed('is no JSON in UTF-8');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return malformed('is no object');
  const walk: Walk = { members: 0, fault: undefined };
  visit(value, 1, walk);
  if (walk.fault !== undefined) return malformed(walk.fault);
  if (countColons(bytes) !== walk.members) return malformed('has a name twice');
  return { result: 'object', value: value as JsonObject };
}

function malformed(detail: string): ParsedJson {
  return { result: 'malformed', detail };
}

interface Walk {
  members: number;
  fault: string | undefined;
}

function visit(value: unknown, depth: number, walk: Walk): void {
  if (typeof value === 'string') {
    if (/[\0\p{Surrogate}]/u.test(value)) walk.fault = 'has U+0000 or half a surrogate pair';
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) walk.fault = 'has a number out of range';
  } else if (typeof value === 'object' && value !== null) {
    if (depth > JSON_DEPTH_MAX) {
      walk.fault = `has more than ${JSON_DEPTH_MAX} levels`;
    } else if (Array.isArray(value)) {
      for (const element of value) visit(element, depth + 1, walk);
    } else {
      for (const [name, member] of Object.entries(value)) {
        walk.members += 1;
        visit(name, depth + 1, walk);
        visit(member, depth + 1, walk);
      }
    }
  }
}

/** Colons outside of strings, in bytes that are known to be JSON. */
function countColons(bytes: Uint8Array): number {
  let colons = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    if (inString && byte === BACKSLASH) i += 1;
    else if (byte === QUOTE) inString = !inString;
    else if (byte === COLON && !inString) colons += 1;
  }
  return colons;
}
