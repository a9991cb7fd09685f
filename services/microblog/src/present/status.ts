/** A post as a `status` of the client API; pure. */
import type { Account, Status } from '@dmb/events';
import { formatHandle, formatPostId, objectUri, type Domain, type PostId } from '@dmb/protocol';
import type { EntryRow, Microblog, Visibility } from '../domain/model.ts';
import { acctOf } from './account.ts';
import type { Site } from './facts.ts';
import { profileUrl, tagUrl, type PostFacts } from './posts.ts';

/** What of the post's surroundings this viewer may see. */
export interface StatusParts {
  readonly row: EntryRow;
  readonly post: PostFacts;
  readonly author: Microblog;
  readonly account: Account;
  /** The mentioned microblogs that may be shown, in the order of the text. */
  readonly mentioned: readonly Microblog[];
  /** The post that it answers, if it may be shown. */
  readonly parent: { readonly id: PostId; readonly author: Microblog } | undefined;
  readonly repliesCount: bigint;
}

/** The page of a post. */
export function postUrl(site: Site, author: Pick<Microblog, 'handle' | 'domain'>, id: PostId): string {
  return `${profileUrl(site, author.handle, author.domain)}/${formatPostId(id)}`;
}

/** Which of the four words of the client API fits where an entry is. */
export function visibilityOf(row: Pick<EntryRow, 'audience' | 'listed'>): Visibility {
  if (row.audience === 'public') return row.listed ? 'public' : 'unlisted';
  return row.audience === 'followers' ? 'private' : 'direct';
}

export function toStatus(site: Site, { row, post, author, account, mentioned, parent, repliesCount }: StatusParts): Status {
  const visibility = visibilityOf(row);
  const linked = new Set(mentioned.map(({ handle, domain }) => formatHandle(handle, domain as Domain)));
  const status: Status = {
    id: formatPostId(row.id),
    uri: objectUri(author.domain as Domain, row.objectId),
    url: postUrl(site, author, row.id),
    created_at: row.createdAt.toISOString(),
    edited_at: row.editedAt?.toISOString() ?? null,
    account,
    content: post.html(linked),
    visibility,
    sensitive: post.sensitive,
    spoiler_text: post.spoilerText,
    language: post.language,
    in_reply_to_id: parent === undefined ? null : formatPostId(parent.id),
    in_reply_to_account_id: parent === undefined ? null : formatPostId(parent.author.accountId),
    reblog: null,
    media_attachments: [],
    mentions: mentioned.map((microblog) => ({
      id: formatPostId(microblog.accountId),
      username: microblog.handle,
      acct: acctOf(site, microblog.handle, microblog.domain),
      url: profileUrl(site, microblog.handle, microblog.domain),
    })),
    tags: post.hashtags.map((name) => ({ id: name, name, url: tagUrl(site, name) })),
    emojis: [],
    // Counts are of what is public, for every viewer.
    replies_count: Number(repliesCount),
    reblogs_count: 0,
    favourites_count: 0,
    quotes_count: 0,
    favourited: false,
    reblogged: false,
    bookmarked: false,
    muted: false,
    pinned: false,
    card: null,
    poll: null,
    // The library knows no null; posts of before and of other servers have no program that we know of.
    application: row.app as Status['application'],
    filtered: [],
    quote: null,
    quote_approval: { automatic: [], manual: [], current_user: 'denied' },
  };
  return status;
}
