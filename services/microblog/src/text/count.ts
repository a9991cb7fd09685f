/**
 * How long a post is, as Mastodon counts: what a reader sees as one character is one, a link is
 * always 23, and of a mention only the part before the domain counts. The content warning counts too.
 */
import { parseSegments, type Segment } from './segments.ts';

/** Limits of what can be written. */
export const textLimits = {
  charactersMax: 500,
  charactersPerLink: 23,
  /** Of text and content warning together: one visible character may be of any length. */
  bytesMax: 16_384,
} as const;

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

function countGraphemes(text: string): number {
   
  if (/^[\x00-\x0c\x0e-\x7f]*$/.test(text)) return text.length;
  let count = 0;
  for (const _ of graphemes.segment(text)) count++;
  return count;
}

/** Characters of a text with its content warning, as the limit counts them. */
export function countCharacters(text: string, spoilerText = ''): number {
  return countSegments(parseSegments(text)) + countGraphemes(spoilerText);
}

/** Characters of a text that was divided already. */
export function countSegments(segments: readonly Segment[]): number {
  const countable = segments.map((segment) => {
    switch (segment.kind) {
      case 'link':
        return 'x'.repeat(textLimits.charactersPerLink);
      case 'mention':
        return `@${segment.name}`;
      case 'text':
      case 'hashtag':
        return segment.text;
    }
  });
  return countGraphemes(countable.join(''));
}
