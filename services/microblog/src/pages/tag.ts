/** The page of a hashtag: public posts of this server that have it; pure. */
import { html, renderPage } from '@dmb/runtime';
import type { Status } from '@dmb/events';
import { siteNav, type PageContext } from './front.ts';
import { pager, posts } from './views.ts';

export interface TagPage extends PageContext {
  /** Folded, without #. */
  readonly tag: string;
  readonly url: string;
  readonly statuses: readonly Status[];
  readonly newer: string | undefined;
  readonly older: string | undefined;
  /** Not the first page: nothing for a search engine to keep. */
  readonly isPaged: boolean;
}

export function tagPage({ site, registration, now, tag, url, statuses, newer, older, isPaged }: TagPage): string {
  const description = `Public posts with #${tag} on ${site.domain}.`;
  return renderPage({
    title: `#${tag}`,
    site: site.title,
    nav: siteNav(registration),
    description,
    hidden: isPaged,
    head: html`<link rel="canonical" href="${url}">
<meta property="og:type" content="website">
<meta property="og:site_name" content="${site.title}">
<meta property="og:title" content="#${tag}">
<meta property="og:url" content="${url}">
<meta property="og:description" content="${description}">
`,
    main: html`<section class="stack" aria-labelledby="tag">
<h1 id="tag">#${tag}</h1>
<p class="hint">${description}</p>
${posts(statuses, now, 'There are no more posts here.')}
${pager(newer, older)}
</section>`,
  });
}
