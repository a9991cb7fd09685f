/**
 * Requests and answers of calls as text: JSON, in which a bigint is a string that begins with `~`.
 *
 *     42n      "~42"           "42"    "42"
 *     "~42"    "~~42"          "a~b"   "a~b"
 *
 * So every string that begins with `~` has one more in front, and nothing that is written by a person can turn
 * into a number. Names of members are left as they are. What is not plain data is refused by whoever
 * sends it, as in one process under `checked`: JSON would drop some of it silently.
 */
import { AppError } from '../errors.ts';

const mark = '~';

/** A value as text. @throws {AppError} bug, naming the first place that holds something which is no plain data */
export function callText(value: unknown, name: string): string {
  return JSON.stringify(written(value, name));
}

/** What {@link callText} was given. @throws {AppError} bug, for anything that it has not made */
export function callValue(text: string): unknown {
  try {
    return restored(JSON.parse(text));
  } catch (error) {
    throw new AppError('bug', undefined, { detail: 'another service sent what is no call or answer of ours', cause: error });
  }
}

/** The value with its bigints written; the value itself where there is nothing to change. */
function written(value: unknown, path: string): unknown {
  switch (typeof value) {
    case 'string':
      return value.startsWith(mark) ? mark + value : value;
    case 'boolean':
      return value;
    case 'bigint':
      return mark + value.toString();
    case 'number':
      if (Number.isFinite(value)) return value;
      break;
    case 'object': {
      if (value === null) return null;
      if (Array.isArray(value)) return writtenList(value, path);
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype === Object.prototype || prototype === null) return writtenMembers(value as Record<string, unknown>, path);
      break;
    }
    default:
      break;
  }
  throw new AppError('bug', undefined, { detail: `${path} is no plain data: ${value === undefined ? 'undefined (write null)' : Object.prototype.toString.call(value)}` });
}

function writtenList(list: readonly unknown[], path: string): readonly unknown[] {
  let changed: unknown[] | undefined;
  for (let index = 0; index < list.length; index++) {
    const member = written(list[index], path);
    if (member !== list[index]) (changed ??= [...list])[index] = member;
  }
  return changed ?? list;
}

function writtenMembers(members: Readonly<Record<string, unknown>>, path: string): unknown {
  let changed: Record<string, unknown> | undefined;
  for (const name of Object.keys(members)) {
    const member = written(members[name], `${path}.${name}`);
    if (member !== members[name]) (changed ??= { ...members })[name] = member;
  }
  return changed ?? members;
}

/** The value with its bigints read, in place: nobody else has it yet. */
function restored(value: unknown): unknown {
  if (typeof value === 'string') return value.startsWith(mark) ? unmarked(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) value[index] = restored(value[index]);
    return value;
  }
  const members = value as Record<string, unknown>;
  for (const name of Object.keys(members)) {
    const member = members[name];
    // Most members are strings without a mark, and assigning is not free.
    if (typeof member === 'object' ? member !== null : typeof member === 'string' && member.startsWith(mark)) members[name] = restored(member);
  }
  return value;
}

const unmarked = (text: string): string | bigint => (text[1] === mark ? text.slice(1) : BigInt(text.slice(1)));
