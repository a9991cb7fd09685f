/**
 * Domains, handles, and the addresses made of them.
 *
 * A domain is a party: handles, grants, keys and policies belong to one. Its name is compared, hashed and
 * signed byte by byte, so there is one spelling of it: A-labels (UTS #46 as browsers apply it,
 * non-transitional), lower case, no trailing dot, and a port only where it is not the usual one. Everything
 * that comes from a person, a configuration or another server goes through `normaliseDomain` before it is
 * used; after that, equal names are equal strings.
 *
 * `domainToASCII` of Node is a part of its URL parser and therefore forgiving: it decodes percent signs,
 * drops tabs, cuts at a slash, reads `0x7f.1` as 127.0.0.1 and lets false A-labels pass. What it could
 * misread is refused before, and what it lets pass after.
 *
 * Names of one label are refused, but for `localhost`: nobody can get a certificate for one. Names with a
 * port, and those below `.localhost`, are well-formed here; whether a server speaks with them is its policy.
 */
import { hash } from 'node:crypto';
import { domainToASCII, domainToUnicode } from 'node:url';
import { type DomainId, type ObjectId, bytesToUuid, formatObjectId, parseObjectId } from './ids.ts';

declare const domainBrand: unique symbol;

/** A domain's name in its one spelling: A-labels, lower case, `:port` only if it is not the usual one. */
export type Domain = string & { readonly [domainBrand]: true };

/** The longest name, without its port (RFC 1035 §2.3.4, as text). */
export const DOMAIN_CHARS_MAX = 253;

/** The longest text that is looked at. U-labels may be longer than the A-labels they become. */
const DOMAIN_INPUT_CHARS_MAX = 1024;

/** What the URL parser would drop, decode or take for a delimiter, and the brackets of IPv6. */
const NOT_OF_A_NAME = /[\u0000-\u0020\u007f%/\\?#@:<>[\]^|]/;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const PORT = /^[1-9][0-9]{0,4}$/;
const HANDLE_NAME = /^[a-z0-9_]{1,30}$/;

/** The one spelling of a domain; undefined for what is none: bad labels, a single label, an IP address, a bad port. */
export function normaliseDomain(text: string): Domain | undefined {
  if (text.length > DOMAIN_INPUT_CHARS_MAX) return undefined;
  const colon = text.indexOf(':');
  const name = normaliseName(colon < 0 ? text : text.slice(0, colon));
  if (name === undefined) return undefined;
  if (colon < 0) return name as Domain;
  const port = text.slice(colon + 1);
  if (!PORT.test(port) || Number(port) > 65_535) return undefined;
  const usual = isLocalhost(name as Domain) ? '80' : '443';
  return (port === usual ? name : `${name}:${port}`) as Domain;
}

function normaliseName(text: string): string | undefined {
  if (NOT_OF_A_NAME.test(text)) return undefined;
  const ascii = domainToASCII(text);
  const name = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  if (name.length > DOMAIN_CHARS_MAX) return undefined;
  const labels = name.split('.');
  if (!labels.every((label) => LABEL.test(label))) return undefined;
  const last = labels.at(-1) ?? '';
  // A URL parser takes a name whose last label is a number (also 0x…) for an IPv4 address; no top-level
  // domain begins with a digit.
  if (/^[0-9]/.test(last) || (labels.length === 1 && last !== 'localhost')) return undefined;
  return hasFalseALabel(name) ? undefined : name;
}

/** Whether a label begins with `xn--` without being what UTS #46 makes of some U-label. */
function hasFalseALabel(name: string): boolean {
  if (!name.includes('xn--')) return false;
  const unicode = domainToUnicode(name);
  return unicode.split('.').some((label) => label.startsWith('xn--')) || domainToASCII(unicode) !== name;
}

/** Whether the domain is `localhost` or below it: no TLS, and only for servers that are there themselves. */
export function isLocalhost(domain: Domain): boolean {
  const name = domain.split(':', 1)[0] ?? '';
  return name === 'localhost' || name.endsWith('.localhost');
}

/** The id of a domain: the first 16 bytes of SHA-256('DMB/1 domain' ‖ 0x00 ‖ name, with its port if it has one). */
export function domainIdOf(domain: Domain): DomainId {
  return bytesToUuid(hash('sha256', `DMB/1 domain\0${domain}`, 'buffer').subarray(0, 16)) as DomainId;
}

/** Where the domain is reached, without a slash at the end: https, but http for localhost and below it. */
export function baseUrl(domain: Domain): string {
  return `${isLocalhost(domain) ? 'http' : 'https'}://${domain}`;
}

/** The address of an object at the domain of its log, `https://<domain>/objects/<32 digits>`: its name for ever. */
export function objectUri(domain: Domain, id: ObjectId): string {
  return `${baseUrl(domain)}/objects/${formatObjectId(id)}`;
}

/** Takes an object's address apart; undefined unless it is spelt exactly as `objectUri` spells it. */
export function parseObjectUri(uri: string): { readonly domain: Domain; readonly objectId: ObjectId } | undefined {
  const [, host, digits] = /^https?:\/\/([^/]+)\/objects\/([0-9a-f]{32})$/.exec(uri) ?? [];
  if (host === undefined || digits === undefined) return undefined;
  const domain = normaliseDomain(host);
  const objectId = parseObjectId(digits);
  if (domain === undefined || objectId === undefined || objectUri(domain, objectId) !== uri) return undefined;
  return { domain, objectId };
}

/** A microblog's name at its domain. `domain` is undefined where none was written: the reader's own is meant. */
export interface Handle {
  readonly name: string;
  readonly domain: Domain | undefined;
}

/** Whether the text can be the local part of a handle: 1 to 30 of a–z, 0–9 and _. */
export function isHandle(name: string): boolean {
  return HANDLE_NAME.test(name);
}

/** Reads `@News@Example.org`, `news@example.org`, `@news` or `news`, in any case; undefined for anything else. */
export function parseHandle(text: string): Handle | undefined {
  // ASCII before lower case: the Kelvin sign, for one, would become a k.
  const [, written, host] = /^@?([A-Za-z0-9_]{1,30})(?:@([^@]+))?$/.exec(text) ?? [];
  if (written === undefined) return undefined;
  const name = written.toLowerCase();
  if (host === undefined) return { name, domain: undefined };
  const domain = normaliseDomain(host);
  return domain === undefined ? undefined : { name, domain };
}

/** The one spelling of a handle: `news@example.org`, without a leading @. */
export function formatHandle(name: string, domain: Domain): string {
  return `${name}@${domain}`;
}
