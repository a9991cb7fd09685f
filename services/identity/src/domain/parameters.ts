/// <reference lib="es2024.string" />
/**
 * Parameters, however a client sends them: JSON, a form, multipart or the query come as one plain
 * object. Clients send more than they should (junk, and junk twice), so what nobody asks for is not
 * looked at; what is asked for must be there once and be text that can be stored.
 */
import { AppError } from '@dmb/runtime';

/** A parsed body or query. */
export type Parameters = Readonly<Record<string, unknown>>;

/** Whatever a body parser made of a request, as parameters; anything but an object has none. */
export function toParameters(...sources: readonly unknown[]): Parameters {
  const all: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const source of sources) {
    if (typeof source === 'object' && source !== null && !Array.isArray(source)) Object.assign(all, source);
  }
  return all;
}

/**
 * One text; undefined when it is absent, null or not a text at all. Numbers and booleans count as
 * their text.
 * @throws {AppError} `invalid` (code `invalid_request`) if it was sent several times, or is no well-formed text
 */
export function textOf(parameters: Parameters, name: string): string | undefined {
  let value = parameters[name];
  if (Array.isArray(value)) {
    const different = new Set(value as readonly unknown[]);
    if (different.size > 1) throw invalidRequest(`The parameter ${name} was sent more than once`);
    value = (value as readonly unknown[])[0];
  }
  if (typeof value === 'number' || typeof value === 'boolean') value = String(value);
  if (typeof value !== 'string') return undefined;
  if (!value.isWellFormed() || value.includes('\0')) throw invalidRequest(`The parameter ${name} is not well-formed text`);
  return value;
}

/** A text that is there and not empty. */
export function requiredText(parameters: Parameters, name: string): string {
  const text = textOf(parameters, name);
  if (text === undefined || text === '') throw invalidRequest(`The parameter ${name} is missing`);
  return text;
}

/** A text, or undefined where it is empty or says that it is none: Mastodon.py sends `state=None`. */
export function optionalText(parameters: Parameters, name: string): string | undefined {
  const text = textOf(parameters, name);
  return text === undefined || text === '' ? undefined : text;
}

/** A flag; `False`, `false`, `0`, `no`, `None` and nothing are false. */
export function flagOf(parameters: Parameters, name: string): boolean {
  return /^(1|true|yes|on|t)$/i.test(textOf(parameters, name) ?? '');
}

/** A 400 in the form of OAuth. */
export function invalidRequest(description: string): AppError {
  return oauthError('invalid_request', description);
}

/** An error in the form of OAuth: `{"error": code, "error_description": …}` with status 400 (401 for the client itself). */
export function oauthError(code: string, description: string): AppError {
  return code === 'invalid_client'
    ? new AppError('unauthenticated', description, { code })
    : new AppError('invalid', description, { code, status: 400 });
}
