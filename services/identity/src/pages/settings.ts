/** A person's settings: password, browsers that are logged in, apps that were let in. */
import { type Html, type HtmlValue, html } from '@dmb/runtime';
import type { Contribution } from '@dmb/events';
import { describeScopes } from '../domain/scopes.ts';
import { textLimits } from '../limits.ts';
import type { Person } from '../store/persons.ts';
import type { Session } from '../store/sessions.ts';
import type { ConnectedApp } from '../store/tokens.ts';
import { type PageError, avatar, dayOf, describeUserAgent, errorSummary, fieldOf } from './parts.ts';

export interface SettingsPage {
  readonly formToken: HtmlValue;
  readonly person: Person;
  readonly domain: string;
  readonly contributions: readonly Contribution[];
  readonly sessions: readonly Session[];
  readonly currentSession: string;
  readonly apps: readonly ConnectedApp[];
  readonly isOperator: boolean;
  readonly done: keyof typeof doneTexts | undefined;
  readonly errors: readonly PageError[];
}

/** What was just done, by the name that the address carries. */
export const doneTexts = {
  welcome: 'Welcome! Your microblog is ready. Log in with any Mastodon app to post, follow and read; it asks for the name of this server.',
  waiting: 'Thank you. Whoever runs this server will read your sign-up. Until then you can look at these settings and nothing else.',
  password: 'The password was changed. All other browsers and all apps were logged out.',
  sessions: 'Done: they are logged out.',
  app: 'Done: the app is logged out.',
} as const;

export function settingsMain(page: SettingsPage): Html {
  const { formToken, person, domain, contributions, sessions, currentSession, apps, isOperator, done, errors } = page;
  const names = new Map(contributions.map((contribution) => [contribution.microblog, `@${contribution.handle}`]));
  const others = sessions.filter(({ id }) => id !== currentSession);
  return html`<div class="stack loose">
<div class="stack">
<div class="page-head"><h1>Settings</h1></div>
${done ? html`<p class="notice ${done === 'waiting' ? 'warning' : 'success'}" role="status">${doneTexts[done]}</p>` : person.state === 'pending' ? html`<p class="notice warning">${doneTexts.waiting}</p>` : ''}
<section class="card" aria-labelledby="you"><h2 id="you" class="visually-hidden">You</h2>
<div class="row-main"><div class="profile-head">${avatar(person.title, person.microblog)}<div class="row-main"><strong><bdi>${person.title}</bdi></strong><p>@${person.login}@${domain}${person.email ? html` · ${person.email}` : ''}</p></div>
<div class="buttons">${person.state === 'active' ? html`<a class="button small secondary" href="/@${person.login}">Your page</a>` : ''}${isOperator ? html`<a class="button small secondary" href="/operator">Run this server</a>` : ''}</div></div></div>
</section>
</div>
<section class="card" aria-labelledby="password-title"><div class="page-head"><h2 id="password-title">Password</h2>
<p class="muted small">A new password logs out all other browsers and all apps.</p></div>
<form class="stack" method="post" action="/settings/password">
${errorSummary(errors)}${formToken}<input class="visually-hidden" type="text" name="username" value="${person.login}" autocomplete="username" tabindex="-1" aria-hidden="true" readonly>
${fieldOf({ name: 'current', label: 'Current password', type: 'password', autocomplete: 'current-password' }, errors)}
${fieldOf({ name: 'password', label: 'New password', type: 'password', autocomplete: 'new-password', hint: `At least ${textLimits.passwordLengthMin} characters.`, minLength: textLimits.passwordLengthMin, maxLength: textLimits.passwordLengthMax }, errors)}
<div><button class="button" type="submit">Change password</button></div>
</form></section>
<section class="card" aria-labelledby="apps-title"><div class="page-head"><h2 id="apps-title">Apps</h2>
<p class="muted small">Apps that you let in. Their names are their own claim.</p></div>
${
  apps.length === 0
    ? html`<p class="empty">No app yet. Any Mastodon app will do: enter <strong>${domain}</strong> as its server.</p>`
    : html`<ul class="rows">${apps.map(
        (app) => html`<li class="row"><div class="row-main"><strong><bdi>${app.name}</bdi></strong> <span class="badge">as ${app.microblogs.map((id) => names.get(id) ?? 'a microblog').join(', ')}</span>
<p>Since ${dayOf(app.since)} · last used ${dayOf(app.lastUsed)}</p>
<details class="small"><summary>What it may do</summary><ul class="ticks">${describeScopes(app.scopes).map((sentence) => html`<li>${sentence}</li>`)}</ul></details></div>
<form class="row-end" method="post" action="/settings/apps/revoke">${formToken}<input type="hidden" name="app" value="${app.id}"><button class="button small danger" type="submit">Log out<span class="visually-hidden"> ${app.name}</span></button></form></li>`,
      )}</ul>`
}
</section>
<section class="card" aria-labelledby="sessions-title"><div class="page-head"><h2 id="sessions-title">Browsers</h2>
<p class="muted small">Where you are logged in to these pages.</p></div>
<ul class="rows">${sessions.map((session) => {
    const name = describeUserAgent(session.userAgent);
    return html`<li class="row"><div class="row-main"><strong>${name}</strong>${session.id === currentSession ? html` <span class="badge accent">This browser</span>` : ''}
<p>Since ${dayOf(session.created)} · last used ${dayOf(session.lastUsed)}</p></div>
${session.id === currentSession ? '' : html`<form class="row-end" method="post" action="/settings/sessions/end">${formToken}<input type="hidden" name="session" value="${session.id}"><button class="button small danger" type="submit">Log out<span class="visually-hidden"> ${name}</span></button></form>`}</li>`;
  })}</ul>
${others.length > 1 ? html`<form class="stack" method="post" action="/settings/sessions/end">${formToken}<input type="hidden" name="session" value="others"><div><button class="button small secondary" type="submit">Log out all others</button></div></form>` : ''}
</section>
</div>`;
}
