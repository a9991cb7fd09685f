/** A microblog as an `account` of the client API; pure. */
import type { Account, CredentialAccount, Role } from '@dmb/events';
import { formatHandle, formatPostId, type Domain, type Facet } from '@dmb/protocol';
import { avatarPath, headerPath } from '../pages/pictures.ts';
import { renderLine, renderText, type HtmlOptions } from '../text/html.ts';
import type { MicroblogFacts, Site } from './facts.ts';
import { profileUrl } from './posts.ts';

/** `news` for ours, `news@example.org` for others: what `acct` holds. */
export function acctOf(site: Site, name: string, domain: string): string {
  return domain === site.domain ? name : formatHandle(name, domain as Domain);
}

/** Nobody may feature or quote by default; there is no such thing here yet. */
const denied = { automatic: [], manual: [], current_user: 'denied' as const };

/** The account, with those facets left empty that the viewer may not see. `exists` has been asked before. */
export function toAccount(facts: MicroblogFacts, site: Site, sees: (facet: Facet) => boolean, html: HtmlOptions): Account {
  const { microblog, statistics, followingCount } = facts;
  const profile = sees('profile');
  const counts = sees('counts');
  const acct = acctOf(site, microblog.handle, microblog.domain);
  const url = profileUrl(site, microblog.handle, microblog.domain);
  const lastPostAt = sees('last-activity') ? statistics.lastPostAt : null;
  const avatar = `${site.origin}${avatarPath(microblog.handle, microblog.domain)}`;
  const header = `${site.origin}${headerPath(microblog.handle, microblog.domain)}`;
  const account: Account & { readonly uri: string } = {
    id: formatPostId(microblog.accountId),
    username: microblog.handle,
    acct,
    display_name: profile && microblog.title !== '' ? microblog.title : microblog.handle,
    locked: microblog.locked,
    bot: false,
    group: microblog.kind === 'group',
    discoverable: microblog.discoverable,
    noindex: !microblog.discoverable,
    created_at: midnight(microblog.created),
    note: profile ? renderText(microblog.summary, html) : '',
    url,
    uri: url,
    avatar,
    avatar_static: avatar,
    header,
    header_static: header,
    followers_count: counts ? Number(statistics.followers) : 0,
    following_count: counts ? Number(followingCount) : 0,
    statuses_count: counts ? Number(statistics.posts) : 0,
    // The library declares a text; Mastodon and every client know null.
    last_status_at: (lastPostAt === null ? null : lastPostAt.toISOString().slice(0, 10)) as string,
    emojis: [],
    fields: profile ? microblog.fields.map(({ name, value }) => ({ name, value: renderLine(value, html), verified_at: null })) : [],
    roles: [],
    feature_approval: denied,
  };
  return account;
}

/** The account as its own contributor sees it. */
export function toCredentialAccount(account: Account, facts: MicroblogFacts, followRequests: bigint, role: Role): CredentialAccount {
  const { microblog } = facts;
  const credentials: Omit<CredentialAccount, 'source' | 'role'> & { readonly source: Omit<CredentialAccount['source'], 'role'>; readonly role: CredentialRole } = {
    ...account,
    source: {
      attribution_domains: [],
      privacy: microblog.defaultVisibility,
      sensitive: microblog.defaultSensitive,
      language: microblog.defaultLanguage,
      note: microblog.summary,
      fields: microblog.fields.map(({ name, value }) => ({ name, value, verified_at: null })),
      follow_requests_count: Number(followRequests),
      hide_collections: facts.facets.get('followers') !== 'everybody',
      discoverable: microblog.discoverable,
      indexable: microblog.discoverable,
      quote_policy: 'nobody',
    },
    role: { id: noServerRole, name: role, color: '', position: 0, permissions: '0', highlighted: false, created_at: account.created_at, updated_at: account.created_at, collection_limit: 0 },
  };
  // The library declares numbers where Mastodon answers texts, and a role in `source` where it has none.
  return credentials as unknown as CredentialAccount;
}

/** A role as Mastodon sends it: ids and sets of bits are texts. */
type CredentialRole = Omit<CredentialAccount['role'], 'id' | 'permissions'> & { readonly id: string; readonly permissions: string };

/** What Mastodon has for everybody who runs nothing: our roles are in a microblog, and allow nothing over the server. */
const noServerRole = '-99';

/** The day on which it was made: the hour is nobody's business. */
function midnight(date: Date): string {
  return `${date.toISOString().slice(0, 10)}T00:00:00.000Z`;
}
