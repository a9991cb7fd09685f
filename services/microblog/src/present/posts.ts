/**
 * What a post says: its body, read once.
 *
 * A body never changes (an edit is another body), and everything here follows from the body and our
 * own address alone. So it is kept by the hash of the body in one bounded cache, HTML included. Who may
 * see it is not looked at here.
 */
import { LRUCache } from 'lru-cache';
import { hash } from 'node:crypto';
import { formatHandle, parseBody, parseHandle, type Domain, type MicroblogId, type PostBody } from '@dmb/protocol';
import type { EntryRow } from '../domain/model.ts';
import { renderSegments, sanitizerVersion, trim, type HtmlOptions, type ResolveMention } from '../text/html.ts';
import { foldHashtag, parseSegments } from '../text/segments.ts';
import type { Site } from './facts.ts';
import { presentLimits } from './limits.ts';

/** A microblog that a text mentions. */
export interface Mention {
  readonly name: string;
  readonly domain: Domain;
}

/** A post as its newest body says it. */
export interface PostFacts {
  /** As written. */
  readonly text: string;
  readonly spoilerText: string;
  readonly sensitive: boolean;
  readonly language: string | null;
  readonly mentions: readonly Mention[];
  readonly hashtags: readonly string[];
  /** Recipients of a direct post. */
  readonly recipients: readonly MicroblogId[];
  /** HTML in which the mentions of `linked` (as `name@domain`) lead to their pages; the others are text. */
  html(linked: ReadonlySet<string>): string;
}

/** The page of a microblog. */
export function profileUrl(site: Site, name: string, domain: string): string {
  return domain === site.domain ? `${site.origin}/@${name}` : `${site.origin}/@${name}@${domain}`;
}

/** The page of a hashtag. */
export function tagUrl(site: Site, name: string): string {
  return `${site.origin}/tags/${encodeURIComponent(name)}`;
}

export class PostReader {
  private readonly site: Site;
  private readonly facts = new LRUCache<string, PostFacts>({ max: presentLimits.postsCachedMax });

  constructor(site: Site) {
    this.site = site;
  }

  /** Undefined for what is no post, is deleted, or says nothing that can be read. */
  read(row: EntryRow, home: string | undefined): PostFacts | undefined {
    return row.kind === 'post' && row.body !== null ? this.readBody(row.body, home) : undefined;
  }

  /** The same for the bytes of a version. `home` is the domain that a mention without one means: the author's. */
  readBody(bytes: Uint8Array, home: string = this.site.domain): PostFacts | undefined {
    const key = `${this.site.domainId}/${home}/${sanitizerVersion}/${hash('sha256', bytes, 'base64url')}`;
    const known = this.facts.get(key);
    if (known !== undefined) return known;
    // An edit has every property of a post's text beside its own.
    const post = parseBody('post', bytes);
    if (post.result === 'malformed') return undefined;
    const facts = factsOf(post.body, this.site, home);
    this.facts.set(key, facts);
    return facts;
  }

  /** HTML of a profile's description. */
  get htmlOptions(): HtmlOptions {
    return { tagUrl: (name) => tagUrl(this.site, name) };
  }
}

function factsOf(body: PostBody, site: Site, home: string): PostFacts {
  const text = trim(body.content);
  const segments = parseSegments(text);
  const tags = body.tag ?? [];
  const rendered = new Map<string, string>();
  return {
    text: body.content,
    spoilerText: body.summary ?? '',
    sensitive: body.sensitive === true || (body.summary ?? '') !== '',
    language: body.language ?? null,
    mentions: tags.flatMap((tag) => (tag.type === 'Mention' ? mentionOf(tag.name) : [])),
    hashtags: [...new Set(tags.flatMap((tag) => (tag.type === 'Hashtag' ? [foldHashtag(tag.name.slice(1))] : [])))],
    recipients: (body.to ?? []).map(({ id }) => id),
    html: (linked) => {
      const key = [...linked].sort().join(' ');
      const known = rendered.get(key);
      if (known !== undefined) return known;
      const html = renderSegments(segments, { tagUrl: (name) => tagUrl(site, name), resolveMention: resolver(linked, site, home) });
      // Almost always everybody sees the same mentions; a second form is made when asked for.
      if (rendered.size < 2) rendered.set(key, html);
      return html;
    },
  };
}

function mentionOf(written: string): Mention[] {
  const handle = parseHandle(written);
  return handle?.domain === undefined ? [] : [{ name: handle.name, domain: handle.domain }];
}

function resolver(linked: ReadonlySet<string>, site: Site, home: string): ResolveMention {
  return (name, domain) => {
    const full = domain ?? home;
    return linked.has(formatHandle(name, full as Domain)) ? { url: profileUrl(site, name, full), username: name } : undefined;
  };
}
