/** Errors as pages in the look of all others: what happened, in the error's own public words, and where to go on. */
import { html } from './html.ts';
import { renderPage } from './layout.ts';

/** What went wrong, as the HTTP host tells it. */
interface ErrorPageInput {
  readonly status: number;
  readonly title: string;
  readonly message: string;
  readonly requestId: string;
}

/** The documents of error pages of a site, for the HTTP host. */
export function errorPageOf(site: string): (input: ErrorPageInput) => string {
  return ({ status, title, message, requestId }) =>
    renderPage({
      title,
      site,
      hidden: true,
      width: 'narrow',
      main: html`<div class="card stack">
<div><span class="badge">${status}</span></div>
<h1>${title}</h1>
<p>${/[.!?…]$/.test(message) ? message : `${message}.`}</p>
<p><a class="button secondary" href="/">To the front page</a></p>
${status >= 500 ? html`<p class="small muted">If it happens again, tell whoever runs this server. They will find it under <code>${requestId}</code>.</p>` : ''}
</div>`,
    });
}
