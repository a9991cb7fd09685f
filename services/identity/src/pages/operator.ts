/** Becoming the operator, and what operators decide. */
import { type Html, type HtmlValue, html } from '@dmb/runtime';
import type { Person } from '../store/persons.ts';
import { avatar, dayOf } from './parts.ts';

export interface LinkPage {
  readonly formToken: HtmlValue;
  readonly link: string;
  readonly person: Person | undefined;
  readonly site: string;
}

export function linkMain({ formToken, link, person, site }: LinkPage): Html {
  const self = `/operator/${link}`;
  return html`<div class="card stack">
<div><p class="badge accent">One-time link</p></div>
<h1>Run ${site}</h1>
<p class="muted">Whoever uses this link becomes the operator of this server: decides who may join, and answers for what happens here. It works once.</p>
${
  person
    ? html`<form class="stack" method="post" action="${self}">${formToken}
<div class="choice">${avatar(person.title, person.microblog)}<span class="choice-text"><strong><bdi>${person.title}</bdi></strong><span>@${person.login}@${site}</span></span></div>
<button class="button full" type="submit">Become the operator</button></form>
<p class="small muted">Not you? <a href="/log-in?switch=1&amp;next=${encodeURIComponent(self)}">Log in as somebody else</a>.</p>`
    : html`<p class="buttons even"><a class="button" href="/sign-up?link=${encodeURIComponent(link)}&amp;next=${encodeURIComponent(self)}">Sign up</a><a class="button secondary" href="/log-in?next=${encodeURIComponent(self)}">Log in</a></p>
<p class="small muted">Sign up for a microblog of your own first, or log in if you have one.</p>`
}
</div>`;
}

/** The link has been used, replaced or is too old. */
export function deadLinkMain(): Html {
  return html`<div class="card stack"><h1>This link does not work any more</h1>
<p class="muted">It works once, and only until the next one is printed. While there is no operator, each start of the server prints a new one.</p>
<p><a class="button secondary" href="/">To the front page</a></p></div>`;
}

export interface OperatorPage {
  readonly formToken: HtmlValue;
  readonly site: string;
  readonly mode: 'open' | 'approval' | 'closed';
  readonly active: number;
  readonly waiting: number;
  readonly registrations: readonly Person[];
  readonly done: keyof typeof decisionTexts | undefined;
}

export const decisionTexts = {
  operator: 'You run this server now. Log in with any Mastodon app to post, follow and read.',
  approved: 'Approved: they can log in and post now.',
  rejected: 'Rejected: nothing of that sign-up was kept.',
  gone: 'Somebody has decided about that already.',
  taken: 'That handle was taken in the meantime. Reject this sign-up; they can ask again with another one.',
} as const;

const modes = { open: 'Everybody may sign up', approval: 'You approve every sign-up', closed: 'Nobody may sign up' } as const;

export function operatorMain({ formToken, site, mode, active, waiting, registrations, done }: OperatorPage): Html {
  return html`<div class="stack loose">
<div class="stack"><div class="page-head"><h1>Run ${site}</h1></div>
${done ? html`<p class="notice ${done === 'gone' || done === 'taken' ? 'warning' : 'success'}" role="status">${decisionTexts[done]}</p>` : ''}
<div class="card"><dl class="facts"><dt>Persons</dt><dd>${active.toLocaleString('en')}</dd><dt>Waiting</dt><dd>${waiting.toLocaleString('en')}</dd><dt>Registration</dt><dd>${modes[mode]} <span class="muted small">(<code>DMB_REGISTRATION=${mode}</code>)</span></dd></dl></div></div>
<section class="card" aria-labelledby="waiting-title"><div class="page-head"><h2 id="waiting-title">Sign-ups to decide on</h2></div>
${
  registrations.length === 0
    ? html`<p class="empty">Nobody is waiting.</p>`
    : html`<ul class="rows">${registrations.map(
        (person) => html`<li class="row">${avatar(person.title, person.microblog)}<div class="row-main"><strong><bdi>${person.title}</bdi></strong>
<p>@${person.login}${person.email ? html` · ${person.email}` : ''} · ${dayOf(person.created)}</p>${person.reason ? html`<blockquote>${person.reason}</blockquote>` : ''}</div>
<form class="row-end" method="post" action="/operator/registrations">${formToken}<input type="hidden" name="person" value="${person.id}"><button class="button small" type="submit" name="decision" value="approve">Approve<span class="visually-hidden"> @${person.login}</span></button><button class="button small danger" type="submit" name="decision" value="reject">Reject<span class="visually-hidden"> @${person.login}</span></button></form></li>`,
      )}</ul>`
}
${waiting > registrations.length ? html`<p class="muted small">The oldest ${registrations.length} of ${waiting}.</p>` : ''}
</section></div>`;
}
