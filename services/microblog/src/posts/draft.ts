/**
 * What somebody wants to post, checked and made into a body; pure.
 *
 * A body holds the text as it was written, and beside it whom it mentions and which hashtags it
 * has, as they were understood when it was written: a handle that nobody has then stays text for
 * ever, whoever takes it later.
 */
import { formatHandle, type Domain, type EditBody, type MicroblogRef, type NewBody, type Tag } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import type { Microblog, Visibility } from '../domain/model.ts';
import { profileUrl, tagUrl } from '../present/posts.ts';
import type { Site } from '../present/facts.ts';
import { countSegments, countCharacters, textLimits } from '../text/count.ts';
import { trim } from '../text/html.ts';
import { mentionsOf, parseSegments, type Segment } from '../text/segments.ts';

/** Bounds of one post beside its characters. */
export const draftLimits = {
  /** Distinct microblogs that one post mentions. */
  mentionsMax: 40,
  /** Distinct mentions and hashtags: what fits a body. */
  tagsMax: 100,
} as const;

/** A text that may be posted. */
export interface Draft {
  readonly text: string;
  readonly spoilerText: string;
  readonly segments: readonly Segment[];
  readonly mentions: readonly { readonly name: string; readonly domain: Domain | undefined }[];
}

/** Checks a text and its content warning. @throws {AppError} 422 in Mastodon's words */
export function parseDraft(text: string, spoilerText: string): Draft {
  // A warning without a text is the text.
  const [content, warning] = trim(text) === '' && trim(spoilerText) !== '' ? [spoilerText, ''] : [text, spoilerText];
  if (trim(content) === '') throw new AppError('invalid', "Validation failed: Text can't be blank");
  if (Buffer.byteLength(content) + Buffer.byteLength(warning) > textLimits.bytesMax) throw tooLong();
  const segments = parseSegments(trim(content));
  if (countSegments(segments) + countCharacters(trim(warning)) > textLimits.charactersMax) throw tooLong();
  const mentions = mentionsOf(segments);
  if (mentions.length > draftLimits.mentionsMax) throw new AppError('invalid', `Validation failed: A post can mention at most ${draftLimits.mentionsMax} microblogs`);
  return { text: content, spoilerText: trim(warning), segments, mentions };
}

const tooLong = (): AppError => new AppError('invalid', `Validation failed: Text character limit of ${textLimits.charactersMax} exceeded`);

/** The language of a post: a BCP 47 tag as given, or the default where it is none. */
export function parseLanguage(given: string | null | undefined, otherwise: string | null): string | null {
  return given != null && /^[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3}$/.test(given) ? given : otherwise;
}

/** The part of a body that a post and its edits have in common. */
export function textBody(
  draft: Draft,
  site: Site,
  options: { readonly mentioned: readonly Microblog[]; readonly sensitive: boolean; readonly language: string | null },
): Omit<NewBody<EditBody>, 'about'> {
  const tag = tagsOf(draft, site, options.mentioned);
  return {
    type: 'Note',
    content: draft.text,
    ...(draft.spoilerText === '' ? {} : { summary: draft.spoilerText }),
    ...(options.sensitive ? { sensitive: true } : {}),
    ...(options.language === null ? {} : { language: options.language }),
    ...(tag.length === 0 ? {} : { tag }),
  };
}

function tagsOf(draft: Draft, site: Site, mentioned: readonly Microblog[]): Tag[] {
  const mentions = mentioned.map((microblog): Tag => ({ type: 'Mention', name: `@${handleOf(microblog)}`, href: profileUrl(site, microblog.handle, microblog.domain) }));
  const hashtags = new Map<string, Tag>();
  for (const segment of draft.segments) {
    if (segment.kind === 'hashtag' && !hashtags.has(segment.name)) hashtags.set(segment.name, { type: 'Hashtag', name: segment.text, href: tagUrl(site, segment.name) });
  }
  return [...mentions, ...hashtags.values()].slice(0, draftLimits.tagsMax);
}

const handleOf = ({ handle, domain }: Pick<Microblog, 'handle' | 'domain'>): string => formatHandle(handle, domain as Domain);

/** A microblog as the recipient of a direct post. */
export function recipientOf(microblog: Microblog): MicroblogRef {
  return { id: microblog.id, handle: handleOf(microblog) };
}

const width: Readonly<Record<Visibility, number>> = { public: 2, unlisted: 2, private: 1, direct: 0 };

/** Whether a reply reaches more than what it answers: then it would tell others of it. */
export function isWider(reply: Visibility, parent: Visibility): boolean {
  return width[reply] > width[parent];
}
