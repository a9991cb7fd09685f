/**
 * The frame of every page: head, header with navigation, main, footer. One look for the pages of
 * identity (sign-up, log-in, authorize, settings) and the public ones of microblog.
 *
 * A page works without script and without any other origin: one stylesheet, inline SVG only as a
 * mark. The HTTP host sends every page with the policy that holds it to that.
 */
import { html, type Html } from './html.ts';
import { stylesheetHash } from './stylesheet.ts';

/** A link of the header. */
export interface NavLink {
  readonly href: string;
  readonly text: string;
  /** The page that is being shown. */
  readonly current?: boolean;
}

/** What a page consists of. */
export interface Page {
  /** Shown in the tab before the name of the site. */
  readonly title: string;
  /** Name of the site: its domain, or what its operator calls it. */
  readonly site: string;
  readonly main: Html;
  /** BCP 47; `en` when absent. */
  readonly lang?: string;
  /** One or two sentences for search engines and previews. */
  readonly description?: string;
  /** Further elements of `<head>`: OpenGraph, `alternate` and `canonical` links. */
  readonly head?: Html;
  readonly nav?: readonly NavLink[];
  /** What stands at the end of the navigation, such as the log-out form. */
  readonly navEnd?: Html;
  /** `narrow`: forms (26rem) · `column`: reading (40rem, the default) · `wide`: tables, landing (64rem). */
  readonly width?: 'narrow' | 'column' | 'wide';
  /** Added before the standard line of the footer. */
  readonly footer?: Html;
  /** Keeps search engines away. */
  readonly hidden?: boolean;
}

/** Where pages load their stylesheet from; the query changes with its content, so it may be cached for ever. */
export const stylesheetHref = `/assets/dmb.css?v=${stylesheetHash}`;

/** The mark: a log, entry by entry, and somebody who hears of it. */
const mark = html`<svg class="mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="9" class="mark-ground" /><path class="mark-lines" d="M9 11h9M9 16h14M9 21h6" /><circle class="mark-dot" cx="22.5" cy="11" r="1.9" /></svg>`;

/** The whole document. */
export function renderPage(page: Page): string {
  const title = page.title === page.site ? page.site : `${page.title} · ${page.site}`;
  const navigation =
    (page.nav?.length ?? 0) > 0 || page.navEnd
      ? html`<nav class="site-nav" aria-label="Site">
${page.nav?.map((link) => html`<a href="${link.href}"${link.current ? html` aria-current="page"` : ''}>${link.text}</a>`)}${page.navEnd}
</nav>`
      : '';
  return html`<!doctype html>
<html lang="${page.lang ?? 'en'}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
${page.description ? html`<meta name="description" content="${page.description}">\n` : ''}${page.hidden ? html`<meta name="robots" content="noindex">\n` : ''}<link rel="stylesheet" href="${stylesheetHref}">
<link rel="icon" href="/favicon.ico" sizes="any">
${page.head}</head>
<body>
<a class="skip-link" href="#main">Skip to the content</a>
<header class="site-header"><div class="site-header-inner">
<a class="brand" href="/">${mark}<span>${page.site}</span></a>
${navigation}
</div></header>
<main id="main" class="${page.width ?? 'column'}" tabindex="-1">
${page.main}
</main>
<footer class="site-footer"><div class="site-footer-inner">
${page.footer}<p>${page.site} is run with DMB, distributed microblogging: anybody can run a server, and everybody can follow everybody.</p>
</div></footer>
</body>
</html>
`.text;
}
