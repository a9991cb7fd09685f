/**
 * HTML of posts and profiles, made from plain text.
 *
 * The text is stored, the HTML is a cache: `sanitizerVersion` rises with every change here that
 * changes an output, and belongs into the key of whatever keeps one. Only `p`, `br`, `a` and `span`
 * are ever written, with the attributes below; everything else in a text is escaped. Nothing that
 * somebody typed becomes markup, so there is nothing to sanitize afterwards.
 */
import { parseSegments, type Segment } from './segments.ts';

/** Version of what this file makes. */
export const sanitizerVersion = 1;

/** Where a mention leads. Undefined = nobody known by that name: it stays text. */
export type ResolveMention = (name: string, domain: string | undefined) => { readonly url: string; readonly username: string } | undefined;

export interface HtmlOptions {
  readonly resolveMention?: ResolveMention;
  /** The page of a hashtag. */
  readonly tagUrl: (name: string) => string;
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Text as HTML text or as a double-quoted attribute. */
export function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}

/** A post, or a profile's description, in paragraphs; '' for an empty text. */
export function renderText(text: string, options: HtmlOptions): string {
  return renderSegments(parseSegments(trim(text)), options);
}

/** The same for a text that was divided already (and trimmed before). */
export function renderSegments(segments: readonly Segment[], options: HtmlOptions): string {
  if (segments.length === 0) return '';
  const inner = segments.map((segment) => renderSegment(segment, options)).join('');
  return `<p>${inner}</p>`;
}

/** One line without paragraphs: the value of a profile's field. */
export function renderLine(text: string, options: HtmlOptions): string {
  return parseSegments(trim(text).replace(/\s+/g, ' '))
    .map((segment) => renderSegment(segment, options))
    .join('');
}

/** Without white space at both ends, and with LF as the only line end. */
export function trim(text: string): string {
  return text.replace(/\r\n?/g, '\n').trim();
}

function renderSegment(segment: Segment, options: HtmlOptions): string {
  switch (segment.kind) {
    case 'text':
      return escapeText(segment.text).replace(/\n{2,}/g, '</p><p>').replace(/\n/g, '<br />');
    case 'link':
      return renderLink(segment.href);
    case 'mention': {
      const target = options.resolveMention?.(segment.name, segment.domain);
      if (target === undefined) return escapeText(segment.text);
      return `<span class="h-card" translate="no"><a href="${escapeText(target.url)}" class="u-url mention">@<span>${escapeText(target.username)}</span></a></span>`;
    }
    case 'hashtag':
      return `<a href="${escapeText(options.tagUrl(segment.name))}" class="mention hashtag" rel="tag">#<span>${escapeText(segment.text.slice(1))}</span></a>`;
  }
}

/** Characters of an address that are shown; the rest is there for copying. */
const shownCharsMax = 30;

function renderLink(href: string): string {
  const prefix = /^https?:\/\/(?:www\.)?/i.exec(href)?.[0] ?? '';
  // By code points: half a character would be a broken one.
  const rest = [...href.slice(prefix.length)];
  const shown = rest.slice(0, shownCharsMax).join('');
  const hidden = rest.slice(shownCharsMax).join('');
  const visible = hidden === '' ? `<span>${escapeText(shown)}</span>` : `<span class="ellipsis">${escapeText(shown)}</span>`;
  return (
    `<a href="${escapeText(href)}" target="_blank" rel="nofollow noopener noreferrer ugc" translate="no">` +
    `<span class="invisible">${escapeText(prefix)}</span>${visible}<span class="invisible">${escapeText(hidden)}</span></a>`
  );
}
