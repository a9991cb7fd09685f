/// <reference lib="es2024.string" />
/**
 * What a client sends, as one plain object, whichever way it was written.
 *
 * Clients write the same parameters as JSON, as a form, as multipart or in the query, with the
 * names that Rails understands: `id[]=1&id[]=2` is a list, `source[privacy]` a member of an
 * object, `fields_attributes[0][name]` a member of an object in a list (numbered keys become a
 * list in the order of their numbers), `poll[options][]` a list in an object, and `a[][x]=1&a[][y]=2`
 * one object in a list until a member repeats. Of a name sent twice the last value counts, and a
 * name that contradicts an earlier one (`a=1&a[b]=2`) replaces it: some clients send junk that
 * nobody asked for, and only what a schema knows is ever looked at.
 *
 * Everything is bounded (limits.ts): bytes, number of parameters, length and depth of a name,
 * depth and number of values in JSON. No text holds NUL or half a surrogate pair: Postgres stores
 * neither, and no screen shows them; such a request is refused as 422. `__proto__` is dropped.
 *
 * Values of forms are texts. A schema that wants a number, a boolean or a list of what came as one
 * text says so with the `loose…` schemas below, which take the JSON types as well.
 */
import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { httpLimits } from '../limits.ts';

export type Parameters = Record<string, unknown>;

const malformed = (detail: string): AppError => new AppError('invalid', 'The request is malformed', { status: 400, detail });
const notAllowed = (what: string): AppError => new AppError('invalid', `Validation failed: ${what}`);

/** @throws {AppError} 422 for text that is no text or too much of it */
export function parseUrlEncoded(text: string): Parameters {
  const pairs: [string, string][] = [];
  for (const part of text.split('&', httpLimits.parametersMax + 1)) {
    if (part === '') continue;
    const mark = part.indexOf('=');
    pairs.push(mark < 0 ? [decode(part), ''] : [decode(part.slice(0, mark)), decode(part.slice(mark + 1))]);
  }
  return fromPairs(pairs);
}

/** A body of a form. @throws {AppError} as {@link parseUrlEncoded} */
export function parseFormBody(body: Buffer): Parameters {
  if (!isUtf8(body)) throw malformed('the form is not UTF-8');
  return parseUrlEncoded(body.toString('utf8'));
}

/** A multipart body that fits in memory; files come as `File`. @throws {AppError} 400, 422 */
export async function parseMultipart(body: Buffer, contentType: string): Promise<Parameters> {
  if (body.length === 0) return {};
  let form: FormData;
  try {
    form = await new Response(new Uint8Array(body), { headers: { 'content-type': contentType } }).formData();
  } catch (error) {
    throw new AppError('invalid', 'The request is malformed', { status: 400, detail: 'multipart', cause: error });
  }
  return fromPairs([...form]);
}

/** A JSON body; an empty one is `{}`, since many clients name the type and send nothing. @throws {AppError} 400, 422 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) return {};
  if (!isUtf8(body)) throw malformed('the JSON is not UTF-8');
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new AppError('invalid', 'The request is not valid JSON', { status: 400, cause: error });
  }
  checkJson(value, { values: 0 }, 0);
  return value;
}

/** Rails names and their values as one object. @throws {AppError} 422 */
export function fromPairs(pairs: readonly (readonly [string, unknown])[]): Parameters {
  if (pairs.length > httpLimits.parametersMax) throw notAllowed(`more than ${httpLimits.parametersMax} parameters`);
  const root: Parameters = {};
  let numbered = false;
  for (const [name, value] of pairs) {
    checkText(name);
    if (typeof value === 'string') checkText(value);
    if (name.length > httpLimits.parameterNameLengthMax) throw notAllowed('a parameter name is too long');
    const path = splitName(name);
    if (path.length > httpLimits.parameterDepthMax) throw notAllowed('a parameter name is too deep');
    if (path.includes('__proto__')) continue;
    numbered ||= path.some((key, index) => index > 0 && /^\d+$/.test(key));
    assign(root, path, value);
  }
  return numbered ? (listsOf(root) as Parameters) : root;
}

/** `a[b][][c]` → a, b, '', c. What does not have this form is one name as it stands. */
function splitName(name: string): string[] {
  const open = name.indexOf('[');
  if (open <= 0 || !/^(\[[^[\]]*\])+$/.test(name.slice(open))) return [name];
  return [name.slice(0, open), ...name.slice(open + 1, -1).split('][')];
}

function assign(root: Parameters, path: readonly string[], value: unknown): void {
  let at: Parameters | unknown[] = root;
  for (const [index, key] of path.entries()) {
    const following = path[index + 1];
    const fresh = (): Parameters | unknown[] => (following === '' ? [] : {});
    if (Array.isArray(at)) {
      if (following === undefined) {
        at.push(value);
        return;
      }
      const last: unknown = at.at(-1);
      // One object gathers members until one repeats; then the next begins.
      const open = isGroup(last) && !Array.isArray(last) && following !== '' && !(path.length === index + 2 && Object.hasOwn(last, following));
      const member: Parameters | unknown[] = open ? last : fresh();
      if (!open) at.push(member);
      at = member;
    } else {
      if (following === undefined) {
        at[key] = value;
        return;
      }
      const there: unknown = Object.hasOwn(at, key) ? at[key] : undefined;
      const fits = isGroup(there) && Array.isArray(there) === (following === '');
      const member: Parameters | unknown[] = fits ? there : fresh();
      at[key] = member;
      at = member;
    }
  }
}

const isGroup = (value: unknown): value is Parameters | unknown[] => typeof value === 'object' && value !== null && !(value instanceof Blob);

/** Objects whose keys are all numbers, as lists in the order of the numbers. */
function listsOf(value: unknown): unknown {
  if (!isGroup(value)) return value;
  if (Array.isArray(value)) return value.map(listsOf);
  const entries = Object.entries(value);
  // Integer-like keys of an object are already enumerated in the order of their numbers.
  if (entries.length > 0 && entries.every(([key]) => /^\d{1,9}$/.test(key))) return entries.map(([, member]) => listsOf(member));
  return Object.fromEntries(entries.map(([key, member]) => [key, listsOf(member)]));
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.includes('+') ? text.replaceAll('+', ' ') : text);
  } catch {
    throw notAllowed('a text is not valid Unicode');
  }
}

/** @throws {AppError} 422 where a text holds NUL or half a surrogate pair */
export function checkText(text: string): void {
  if (text.includes('\0')) throw notAllowed('a text contains a NUL character');
  if (!text.isWellFormed()) throw notAllowed('a text is not valid Unicode');
}

function checkJson(value: unknown, seen: { values: number }, depth: number): void {
  if (++seen.values > httpLimits.jsonValuesMax) throw notAllowed('too many values');
  if (typeof value === 'string') {
    checkText(value);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  if (depth >= httpLimits.jsonDepthMax) throw notAllowed('too deeply nested');
  if (Array.isArray(value)) {
    for (const member of value) checkJson(member, seen, depth + 1);
    return;
  }
  if (Object.hasOwn(value, '__proto__')) delete (value as Parameters)['__proto__'];
  for (const [key, member] of Object.entries(value)) {
    checkText(key);
    checkJson(member, seen, depth + 1);
  }
}

const truths: Readonly<Record<string, boolean>> = {
  true: true, t: true, '1': true, on: true, yes: true,
  false: false, f: false, '0': false, off: false, no: false, none: false, null: false, '': false,
};

/** true, "true", "True", 1, "1", "on" … and their opposites. */
export const looseBoolean = z.preprocess((value) => {
  const text = typeof value === 'string' || typeof value === 'number' ? String(value).trim().toLowerCase() : undefined;
  return text === undefined || !Object.hasOwn(truths, text) ? value : truths[text];
}, z.boolean());

/** 5 and "5". */
export const looseInteger = z.preprocess(
  (value) => (typeof value === 'string' && /^\s*[+-]?\d{1,15}\s*$/.test(value) ? Number(value) : value),
  z.int(),
);

/** A list, also of one value that came alone (`id=1` for `id[]=1`); an empty text is an empty list. */
export function looseList<Item extends z.ZodType>(item: Item, itemsMax: number) {
  return z.preprocess((value) => (value === undefined || Array.isArray(value) ? value : value === '' || value === null ? [] : [value]), z.array(item).max(itemsMax));
}
