/**
 * Text of one line that names something: a display name, the name of a profile's field.
 *
 * A name stands beside a handle and vouches for who speaks, so it must not be able to turn the
 * line around, to look like another name by characters that nobody sees, or to break the line.
 */

/** Directions, joiners, fillers and other characters without a look of their own. */
const invisible =
   
  /[\p{Cc}\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

/** A joiner that does not join two pictures. */
const looseJoiner = /(?<!\p{Extended_Pictographic}\ufe0f?\p{Emoji_Modifier}?)\u200d|\u200d(?!\p{Extended_Pictographic})/gu;

/** The name as it may be shown: one line, trimmed, without bidi controls and zero-width characters. */
export function cleanName(text: string): string {
  return text.replace(/[\t\n\r]/g, ' ').replace(invisible, '').replace(looseJoiner, '').replace(/\s+/gu, ' ').trim();
}
