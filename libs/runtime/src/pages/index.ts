export { errorPageOf } from './error-page.ts';
export { escapeHtml, html, Html, trustedHtml } from './html.ts';
export type { HtmlValue } from './html.ts';
export { renderPage, stylesheetHref } from './layout.ts';
export type { NavLink, Page } from './layout.ts';
export { stylesheet, stylesheetHash } from './stylesheet.ts';
