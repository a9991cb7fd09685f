/** The page of one post, in its thread; pure. */
import { html, renderPage } from '@dmb/runtime';
import type { Context, Status } from '@dmb/events';
import { siteNav, type PageContext } from './front.ts';
import { excerpt, post } from './views.ts';

export interface PermalinkPage extends PageContext {
  readonly status: Status;
  readonly context: Context;
  readonly hasFeed: boolean;
}

export function permalinkPage({ site, registration, now, status, context, hasFeed }: PermalinkPage): string {
  const { account } = status;
  const byId = new Map(context.descendants.map((below) => [below.id, below]));
  const acct = `@${account.username}@${site.domain}`;
  const url = status.url ?? status.uri;
  const text = status.spoiler_text === '' ? status.content : '';
  // What a content warning hides stays hidden in previews too.
  const preview = status.spoiler_text === '' ? excerpt(text, 300) : `Content warning: ${status.spoiler_text}`;
  return renderPage({
    title: `${account.display_name}: “${status.spoiler_text === '' ? excerpt(text, 60) : status.spoiler_text}”`,
    site: site.title,
    nav: siteNav(registration),
    description: preview,
    hidden: status.visibility !== 'public' || account.noindex === true,
    head: html`<link rel="canonical" href="${url}">
<link rel="alternate" type="application/json" href="${status.uri}">
${hasFeed ? html`<link rel="alternate" type="application/atom+xml" title="Posts by ${account.display_name}" href="${account.url}/feed.atom">\n` : ''}<meta property="og:type" content="article">
<meta property="og:site_name" content="${site.title}">
<meta property="og:title" content="${account.display_name} (${acct})">
<meta property="og:url" content="${url}">
<meta property="og:description" content="${preview}">
<meta property="og:image" content="${account.avatar}">
<meta property="article:published_time" content="${status.created_at}">
${status.edited_at === null ? '' : html`<meta property="article:modified_time" content="${status.edited_at}">\n`}<meta property="profile:username" content="${acct.slice(1)}">
<meta name="twitter:card" content="summary">
`,
    main: html`<h1 class="visually-hidden">Post by ${account.display_name}</h1>
<ol class="thread">
${context.ancestors.map((above, index) => html`<li>${post(above, { now, inThread: index > 0 })}</li>\n`)}<li>${post(status, { now, focus: true, inThread: context.ancestors.length > 0 })}</li>
${context.descendants.map((below) => html`<li>${post(below, { now, inThread: true, answered: below.in_reply_to_id === status.id ? undefined : byId.get(below.in_reply_to_id ?? '') })}</li>\n`)}</ol>
<nav class="pager" aria-label="More"><a class="button secondary" href="${account.url}">All posts by ${account.display_name}</a></nav>`,
  });
}
