/**
 * Redirect URIs: which may be registered, and how an answer is put onto one.
 *
 * A URI is compared and sent as the bytes it was registered with; it is never parsed and printed
 * again, because that changes it (Elk's has a percent-encoded address inside its path). Refused are
 * fragments, user info, control and other characters that no URI has, schemes that run or show
 * something inside the browser, and http to anywhere but this very machine.
 */
import { textLimits } from '../limits.ts';

/** "Show me the code": RFC 8252's predecessor, which terminal clients use. */
export const outOfBand = 'urn:ietf:wg:oauth:2.0:oob';

const ALLOWED_CHARACTERS = /^[A-Za-z0-9\-._~:/?[\]@!$&'()*+,;=%]+$/;
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]*):/;
const REFUSED_SCHEMES = new Set(['javascript', 'data', 'vbscript', 'file', 'blob', 'about', 'filesystem', 'view-source', 'ws', 'wss', 'ftp', 'mailto', 'tel', 'sms', 'feed']);
/** Schemes that some browsers look through (`x:javascript:…`). */
const RUNS_INSIDE = /(?:javascript|data|vbscript):/i;

/** Whether a client may be sent to this URI. */
export function isRedirectUri(uri: string): boolean {
  if (uri === outOfBand) return true;
  if (uri.length > textLimits.redirectUriLengthMax || !ALLOWED_CHARACTERS.test(uri)) return false;
  const scheme = SCHEME.exec(uri)?.[1]?.toLowerCase();
  if (scheme === undefined || REFUSED_SCHEMES.has(scheme)) return false;
  const rest = uri.slice(scheme.length + 1);
  const authority = rest.startsWith('//') ? (/^\/\/([^/?]*)/.exec(rest)?.[1] ?? '') : undefined;
  if (authority?.includes('@')) return false;
  if (scheme !== 'http' && scheme !== 'https') return rest.length > 0 && !RUNS_INSIDE.test(uri);
  if (authority === undefined || authority === '' || !URL.canParse(uri)) return false;
  return scheme === 'https' || isLoopback(new URL(uri).hostname);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** Redirect URIs as clients send them: one, several separated by white space, or an array of such; undefined if one is not allowed. */
export function parseRedirectUris(value: unknown): readonly string[] | undefined {
  const texts = Array.isArray(value) ? (value as readonly unknown[]) : [value];
  if (!texts.every((text) => typeof text === 'string')) return undefined;
  const uris = [...new Set(texts.flatMap((text) => text.split(/[\s]+/)).filter((uri) => uri !== ''))];
  if (uris.length === 0 || uris.length > textLimits.redirectUrisMax) return undefined;
  return uris.every(isRedirectUri) ? uris : undefined;
}

/** The URI with parameters added to its query, otherwise byte for byte as it was. */
export function redirectTo(uri: string, parameters: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.append(name, value);
  const joint = !uri.includes('?') ? '?' : uri.endsWith('?') || uri.endsWith('&') ? '' : '&';
  return `${uri}${joint}${query.toString()}`;
}

/** Where an answer goes, in words: the host, or the kind of address that an app of the device opens. */
export function describeRedirect(uri: string): string {
  if (uri === outOfBand) return 'a page that shows a code for you to copy';
  const scheme = SCHEME.exec(uri)?.[1]?.toLowerCase() ?? '';
  if (scheme === 'http' || scheme === 'https') return new URL(uri).host;
  return `an app on this device that opens “${scheme}:” addresses`;
}
