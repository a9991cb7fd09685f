/**
 * Paging as Mastodon clients do it: `max_id`, `since_id`, `min_id`, `limit` in, a Link header out.
 *
 * Clients page by ids, never by offsets. `next` leads to older entries by `max_id`, `prev` to
 * newer ones by `min_id`. Their parsers are narrow, and each of these rules keeps one working:
 * `next` comes first; `; ` has one space; the address is absolute and holds no comma; the other
 * parameters of the request stay; an empty page has no header at all, or a client that trusts it
 * never stops. The token of a request that brought it in the query string is never repeated.
 *
 * Ids that clients make up are no error: an unknown id is a bound like any other, one that is too
 * large lies above everything, and what is no number is as if it had not been sent.
 */

/** The largest id there is: ids are 63 bits. */
export const idMax = 2n ** 63n - 1n;

/** What a client asks of a list. At most one of `minId` and `sinceId` is meant; `minId` goes first. */
export interface Paging {
  /** Older than this. */
  readonly maxId: bigint | undefined;
  /** Newer than this, the newest of them. */
  readonly sinceId: bigint | undefined;
  /** Newer than this, the page immediately above it; still newest first. */
  readonly minId: bigint | undefined;
  readonly limit: number;
}

export interface PagingLimits {
  readonly limitDefault: number;
  readonly limitMax: number;
}

/** Defaults of lists of posts; lists of accounts allow 80. */
export const statusPaging: PagingLimits = { limitDefault: 20, limitMax: 40 };
export const accountPaging: PagingLimits = { limitDefault: 40, limitMax: 80 };

/** Reads the paging parameters of a query; never fails. */
export function parsePaging(query: Readonly<Record<string, unknown>>, limits: PagingLimits = statusPaging): Paging {
  return {
    maxId: parseBound(query['max_id']),
    sinceId: parseBound(query['since_id']),
    minId: parseBound(query['min_id']),
    limit: parseLimit(query['limit'], limits),
  };
}

/** A number of things asked for, clamped to 1 … `limitMax`; the default where it is none. */
export function parseLimit(value: unknown, { limitDefault, limitMax }: PagingLimits): number {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !/^[+-]?\d{1,20}(\.\d*)?$/.test(text)) return limitDefault;
  return Math.min(limitMax, Math.max(1, Math.trunc(Number(text))));
}

/** An id out of a path or a body: undefined = no such thing can exist, which is a 404 like any unknown id. */
export function parseId(value: unknown): bigint | undefined {
  if (typeof value !== 'string' || !/^\d{1,19}$/.test(value)) return undefined;
  const id = BigInt(value);
  return id > 0n && id <= idMax ? id : undefined;
}

/** A bound may be any number: it is clamped to what ids can be. */
function parseBound(value: unknown): bigint | undefined {
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== 'string' || !/^-?\d{1,40}$/.test(text)) return undefined;
  const bound = BigInt(text);
  if (bound < 0n) return 0n;
  return bound > idMax ? idMax : bound;
}

export interface LinkOptions {
  /** Scheme and authority of the domain asked: `https://example.org`. */
  readonly origin: string;
  /** Path and query of the request as they came. */
  readonly target: string;
  /** `max_id` of the older page; left out where this page is known to be the last. */
  readonly next?: bigint | string | undefined;
  /** `min_id` of the newer page. */
  readonly prev?: bigint | string | undefined;
}

const replaced = new Set(['max_id', 'since_id', 'min_id', 'access_token']);

/** The value of the Link header of a page, or undefined where there must be none. */
export function linkHeader({ origin, target, next, prev }: LinkOptions): string | undefined {
  const mark = target.indexOf('?');
  const path = encodePath(mark < 0 ? target : target.slice(0, mark));
  const kept = mark < 0 ? [] : keptParameters(target.slice(mark + 1));
  const link = (name: string, value: bigint | string, rel: string): string =>
    `<${origin}${path}?${[...kept, `${name}=${encodeURIComponent(String(value))}`].join('&')}>; rel="${rel}"`;
  const links = [
    ...(next === undefined ? [] : [link('max_id', next, 'next')]),
    ...(prev === undefined ? [] : [link('min_id', prev, 'prev')]),
  ];
  return links.length === 0 ? undefined : links.join(', ');
}

/** Name and value of each kept parameter, decoded and encoded again: a comma, `>` or quote of a stranger never reaches the header. */
function keptParameters(query: string): string[] {
  return [...new URLSearchParams(query)]
    .filter(([name]) => !replaced.has(name))
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
}

const encodePath = (path: string): string => path.replace(/[^A-Za-z0-9\-._~!$&'()*+;=:@/%]/g, (character) => encodeURIComponent(character));
