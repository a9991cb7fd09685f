/** The page of a microblog; pure. */
import { html, renderPage, trustedHtml, type Html } from '@dmb/runtime';
import type { Account, Status } from '@dmb/events';
import { siteNav, type PageContext } from './front.ts';
import { avatar, count, day, excerpt, pager, posts } from './views.ts';

export interface ProfilePage extends PageContext {
  readonly account: Account;
  readonly statuses: readonly Status[];
  /** What an anonymous reader may see besides. */
  readonly shows: { readonly counts: boolean; readonly history: boolean; readonly feed: boolean };
  readonly newer: string | undefined;
  readonly older: string | undefined;
  /** Whether this is not the first page. */
  readonly isPaged: boolean;
}

export function profilePage({ site, registration, now, account, statuses, shows, newer, older, isPaged }: ProfilePage): string {
  const acct = `@${account.username}@${site.domain}`;
  const about = excerpt(account.note, 200);
  const description = about === '' ? `Posts by ${account.display_name} (${acct})` : about;
  return renderPage({
    title: `${account.display_name} (${acct})`,
    site: site.title,
    nav: siteNav(registration),
    description,
    hidden: account.noindex === true || isPaged,
    head: html`<link rel="canonical" href="${account.url}">
${shows.feed ? html`<link rel="alternate" type="application/atom+xml" title="Posts by ${account.display_name}" href="${account.url}/feed.atom">\n` : ''}<meta property="og:type" content="profile">
<meta property="og:site_name" content="${site.title}">
<meta property="og:title" content="${account.display_name} (${acct})">
<meta property="og:url" content="${account.url}">
<meta property="og:description" content="${description}">
<meta property="og:image" content="${account.avatar}">
<meta property="profile:username" content="${acct.slice(1)}">
`,
    main: html`<section class="profile" aria-labelledby="name">
<img class="profile-banner" src="${account.header}" alt="" width="960" height="320">
<div class="profile-head">${avatar(account, true)}<div><h1 id="name">${account.display_name}</h1><p class="profile-acct">${acct}${badges(account)}</p></div></div>
${account.note === '' ? '' : html`<div class="profile-note">${trustedHtml(account.note)}</div>`}
${fieldsOf(account)}
<ul class="counts">${
      shows.counts
        ? html`<li>${count(account.statuses_count, 'post')}</li><li>${count(account.followers_count, 'follower')}</li><li>${count(account.following_count, 'following', 'following')}</li>`
        : ''
    }<li>Since <time datetime="${account.created_at}">${day(account.created_at)}</time></li></ul>
<details><summary>Follow</summary><p class="hint">Search for <code>${acct}</code> in your client${shows.feed ? html`, or subscribe to the <a href="${account.url}/feed.atom">feed</a>` : ''}.</p></details>
</section>
<section class="stack" aria-labelledby="posts">
<h2 id="posts">Posts</h2>
${shows.history ? posts(statuses, now, isPaged ? 'There are no more posts here.' : 'No public posts yet.') : html`<p class="empty">This microblog does not show its posts to everybody.</p>`}
${pager(newer, older)}
</section>`,
  });
}

function badges(account: Account): Html[] {
  return [...(account.group ? [html` <span class="badge accent">Group</span>`] : []), ...(account.locked ? [html` <span class="badge">Approves followers</span>`] : [])];
}

function fieldsOf({ fields }: Account): Html | string {
  if (fields.length === 0) return '';
  return html`<dl class="facts">${fields.map(({ name, value }) => html`<dt>${name}</dt><dd>${trustedHtml(value)}</dd>`)}</dl>`;
}
