/** The page on which a person lets an app in, and the one that shows a code to copy. */
import { type Html, type HtmlValue, html } from '@dmb/runtime';
import type { Contribution } from '@dmb/events';
import type { AuthorizationRequest } from '../domain/authorization.ts';
import { describeRedirect } from '../domain/redirect-uris.ts';
import { describeScopes } from '../domain/scopes.ts';
import { avatar } from './parts.ts';

export interface AuthorizePage {
  readonly formToken: HtmlValue;
  readonly request: AuthorizationRequest;
  /** Parameters of the request, to be sent again with the answer. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly login: string;
  readonly contributions: readonly Contribution[];
  /** Address of this page, for coming back to it as somebody else. */
  readonly self: string;
}

const roles = { owner: 'Owner', editor: 'Editor', author: 'Author' } as const;

export function authorizeMain({ formToken, request, parameters, login, contributions, self }: AuthorizePage): Html {
  const { app, redirectUri, scopes, forceLogin } = request;
  const [first] = contributions;
  const switchTo = `/log-in?switch=1&next=${encodeURIComponent(self)}`;
  return html`<div class="card">
<div class="page-head"><h1>Let <bdi>${app.name}</bdi> in?</h1>
<p class="muted">This app asks to act for you on this server. Its name is its own claim; nobody has checked it.</p></div>
<form class="stack" method="post" action="/oauth/authorize">
${formToken}${Object.entries(parameters).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}
${
  contributions.length === 1 && first !== undefined
    ? html`<div class="stack tight"><h2 class="small">It acts as</h2><div class="choice">${person(first)}</div><input type="hidden" name="microblog" value="${first.microblog}"></div>`
    : html`<fieldset><legend>It acts as</legend><div class="choices">
${contributions.map(
  (contribution, index) => html`<label class="choice"><input type="radio" name="microblog" value="${contribution.microblog}" required${index === 0 ? html` checked` : ''}>${person(contribution)}</label>`,
)}
</div></fieldset>`
}
<div class="stack tight"><h2 class="small">It may</h2>
<ul class="ticks">${describeScopes(scopes).map((sentence) => html`<li>${sentence}</li>`)}</ul></div>
<dl class="facts small"><dt>Logged in as</dt><dd>${login} · <a href="${switchTo}">${forceLogin ? 'log in as somebody else' : 'not you?'}</a></dd>
<dt>Answer goes to</dt><dd><strong>${describeRedirect(redirectUri)}</strong></dd>
${app.website ? html`<dt>Website</dt><dd><a href="${app.website}" rel="nofollow noopener noreferrer" target="_blank">${app.website}</a></dd>` : ''}</dl>
<div class="buttons even"><button class="button" type="submit" name="decision" value="allow">Let it in</button><button class="button secondary" type="submit" name="decision" value="deny" formnovalidate>No</button></div>
</form>
</div>
<p class="below">You can take this back at any time in the <a href="/settings">settings</a>.</p>`;
}

function person({ title, handle, domain, role, personal, microblog }: Contribution): Html {
  return html`${avatar(title || handle, microblog)}<span class="choice-text"><strong><bdi>${title || handle}</bdi>${personal ? '' : html` <span class="badge">${roles[role]}</span>`}</strong><span>@${handle}@${domain}</span></span>`;
}

/** What is wrong with a request, where nobody may be sent back to. */
export function refusedMain(message: string): Html {
  return html`<div class="card stack"><h1>This does not work</h1><p>${message}</p><p><a class="button secondary" href="/">To the front page</a></p></div>`;
}

/** Somebody whose sign-up nobody has decided on yet. */
export function waitingMain(): Html {
  return html`<div class="card stack"><h1>Nearly there</h1>
<p>Your sign-up is waiting for approval by whoever runs this server. You can let apps in as soon as it is approved.</p>
<p><a class="button secondary" href="/settings">Settings</a></p></div>`;
}

/** The code of a client that cannot be sent an answer. */
export function codeMain(code: string | undefined): Html {
  if (code === undefined) return refusedMain('There is no code in this address. Begin again in the app.');
  return html`<div class="card stack"><h1>Your code</h1>
<p class="muted">Copy it into the app that asked for it. It works once, for ten minutes. Give it to nobody else: with it they could act for you.</p>
<code class="code" tabindex="0" aria-label="Authorization code">${code}</code>
<p class="small muted">You may close this page then.</p></div>`;
}
