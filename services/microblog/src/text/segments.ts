/**
 * What a plain text consists of: links, mentions, hashtags, and the text between them.
 *
 * A post is stored as it was written. Everything that is read out of it (how long it is, whom it
 * mentions, its HTML) begins with the same division into segments, so that what is counted as a
 * link is shown as one. The division is a pure function of the text and linear in its length:
 *
 *   links      linkifyjs, but only what is written with http:// or https://; an address with user
 *              information is none (it says one host and leads to another)
 *   mentions   `@name` and `@name@domain`, not inside a link or a word
 *   hashtags   `#` and a word that is not only digits
 *
 * Where two overlap, a link wins, then whatever begins first.
 */
import * as linkify from 'linkifyjs';
import { isHandle, isLocalhost, normaliseDomain, type Domain } from '@dmb/protocol';

/** A piece of a text; the `text`s of all segments, joined, are the text. */
export type Segment =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'link'; readonly text: string; readonly href: string }
  /** `domain` is undefined where none was written: the reader's own is meant. */
  | { readonly kind: 'mention'; readonly text: string; readonly name: string; readonly domain: Domain | undefined }
  /** `name` is folded: two tags are the same if their names are equal. */
  | { readonly kind: 'hashtag'; readonly text: string; readonly name: string };

/** A link longer than this is text. */
const hrefCharsMax = 2_048;
const hashtagCharsMax = 100;

const mentionPattern =
  /(?<![=/\p{L}\p{M}\p{N}\p{Pc}])@([A-Za-z0-9_]+)((?:[.-]+[A-Za-z0-9_]+)*)(?:@([\p{L}\p{M}\p{N}-]+(?:\.[\p{L}\p{M}\p{N}-]+)*)(:[0-9]{1,5}(?![0-9]))?)?/gu;
const hashtagPattern = /(?<![\p{L}\p{M}\p{N}\p{Pc}/)#&])#([\p{L}\p{M}\p{N}\p{Pc}·・\u200c]+)/gu;

interface Found {
  readonly start: number;
  readonly end: number;
  readonly segment: Segment;
}

/** Divides a text; deterministic, O(length). */
export function parseSegments(text: string): readonly Segment[] {
  const links = findLinks(text);
  const others = [...findMentions(text), ...findHashtags(text)].sort((a, b) => a.start - b.start);
  const segments: Segment[] = [];
  let at = 0;
  for (const found of merge(links, others)) {
    if (found.start < at) continue;
    if (found.start > at) segments.push({ kind: 'text', text: text.slice(at, found.start) });
    segments.push(found.segment);
    at = found.end;
  }
  if (at < text.length) segments.push({ kind: 'text', text: text.slice(at) });
  return segments;
}

/** Both lists in order, without the members of `others` that touch a link. */
function merge(links: readonly Found[], others: readonly Found[]): Found[] {
  const kept: Found[] = [...links];
  let next = 0;
  for (const other of others) {
    while ((links[next]?.end ?? Infinity) <= other.start) next++;
    const link = links[next];
    if (link === undefined || link.start >= other.end) kept.push(other);
  }
  return kept.sort((a, b) => a.start - b.start);
}

function findLinks(text: string): Found[] {
  if (!/https?:\/\//i.test(text)) return [];
  return linkify.find(text, 'url').flatMap(({ value, start, end }): Found[] => {
    if (!/^https?:\/\//i.test(value) || value.length > hrefCharsMax || !URL.canParse(value)) return [];
    const url = new URL(value);
    if (url.username !== '' || url.password !== '' || hasInvisible(value)) return [];
    return [{ start, end, segment: { kind: 'link', text: value, href: value } }];
  });
}

/** Characters that make an address read as another one. */
const hasInvisible = (text: string): boolean => /[\p{Cc}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/u.test(text);

function findMentions(text: string): Found[] {
  const found: Found[] = [];
  for (const match of text.matchAll(mentionPattern)) {
    const [, first = '', rest = '', host, port = ''] = match;
    if (host === undefined) {
      // Without a domain a name ends where handles end: "@news.Great" mentions @news.
      if (isHandle(first.toLowerCase())) found.push(mention(match.index, `@${first}`, first, undefined));
      continue;
    }
    const withPort = normaliseDomain(host + port);
    const local = withPort !== undefined && isLocalhost(withPort);
    const domain = local ? withPort : normaliseDomain(host);
    if (domain === undefined) continue;
    found.push(mention(match.index, local || port === '' ? match[0] : match[0].slice(0, -port.length), first + rest, domain));
  }
  return found;
}

function mention(start: number, text: string, name: string, domain: Domain | undefined): Found {
  return { start, end: start + text.length, segment: { kind: 'mention', text, name: name.toLowerCase(), domain } };
}

function findHashtags(text: string): Found[] {
  const found: Found[] = [];
  for (const match of text.matchAll(hashtagPattern)) {
    const written = match[1] ?? '';
    const name = foldHashtag(written);
    if (!/[\p{L}\p{Pc}]/u.test(written) || name.length > hashtagCharsMax) continue;
    found.push({ start: match.index, end: match.index + match[0].length, segment: { kind: 'hashtag', text: match[0], name } });
  }
  return found;
}

/** The one spelling of a hashtag, without `#`. */
export function foldHashtag(written: string): string {
  return written.normalize('NFKC').toLowerCase().normalize('NFC');
}

/** The distinct mentions of a text, in the order of their first appearance. */
export function mentionsOf(segments: readonly Segment[]): { readonly name: string; readonly domain: Domain | undefined }[] {
  const seen = new Map<string, { readonly name: string; readonly domain: Domain | undefined }>();
  for (const segment of segments) {
    if (segment.kind !== 'mention') continue;
    const key = `${segment.name}@${segment.domain ?? ''}`;
    if (!seen.has(key)) seen.set(key, { name: segment.name, domain: segment.domain });
  }
  return [...seen.values()];
}

/** The distinct hashtags of a text, folded, in the order of their first appearance. */
export function hashtagsOf(segments: readonly Segment[]): string[] {
  return [...new Set(segments.flatMap((segment) => (segment.kind === 'hashtag' ? [segment.name] : [])))];
}
