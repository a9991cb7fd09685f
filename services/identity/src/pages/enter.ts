/** Signing up and logging in. */
import { type Html, type HtmlValue, html } from '@dmb/runtime';
import { textLimits } from '../limits.ts';
import { type PageError, errorSummary, fieldOf } from './parts.ts';

const hidden = (name: string, value: string | undefined): HtmlValue => (value ? html`<input type="hidden" name="${name}" value="${value}">` : '');
const withNext = (path: string, next: string | undefined): string => (next ? `${path}?next=${encodeURIComponent(next)}` : path);

export interface LogInPage {
  readonly formToken: HtmlValue;
  readonly next: string | undefined;
  readonly name: string;
  readonly errors: readonly PageError[];
  /** Somebody is logged in already and wants to be somebody else. */
  readonly current: string | undefined;
  readonly canSignUp: boolean;
  readonly site: string;
}

export function logInMain({ formToken, next, name, errors, current, canSignUp, site }: LogInPage): Html {
  return html`<div class="card">
<div class="page-head"><h1>Log in</h1>
<p class="muted">${current ? html`You are logged in as <strong>${current}</strong>. Log in here to be somebody else.` : html`Welcome back to ${site}.`}</p></div>
<form class="stack" method="post" action="/log-in">
${errorSummary(errors)}${formToken}${hidden('next', next)}
${fieldOf({ name: 'username', label: 'Handle or e-mail address', value: name, autocomplete: 'username', maxLength: textLimits.emailLengthMax, exact: true, autofocus: name === '' }, errors)}
${fieldOf({ name: 'password', label: 'Password', type: 'password', autocomplete: 'current-password', autofocus: name !== '' }, errors)}
<button class="button full" type="submit">Log in</button>
</form>
</div>
${canSignUp ? html`<p class="below">New here? <a href="${withNext('/sign-up', next)}">Sign up</a></p>` : ''}`;
}

export interface SignUpPage {
  readonly formToken: HtmlValue;
  readonly next: string | undefined;
  /** The one-time link that makes the operator, where this is about them. */
  readonly link: string | undefined;
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly errors: readonly PageError[];
  readonly needsApproval: boolean;
  readonly site: string;
}

export function signUpMain({ formToken, next, link, values, errors, needsApproval, site }: SignUpPage): Html {
  return html`<div class="card">
<div class="page-head"><h1>Sign up</h1>
<p class="muted">${
    link
      ? html`You are about to run ${site}. First, a microblog of your own.`
      : needsApproval
        ? html`Whoever runs ${site} reads every sign-up before it becomes active.`
        : html`You get a microblog of your own. Anybody on any server can follow it.`
  }</p></div>
<form class="stack" method="post" action="/sign-up">
${errorSummary(errors)}${formToken}${hidden('next', next)}${hidden('link', link)}
${fieldOf(
  {
    name: 'username',
    label: 'Handle',
    value: values['username'],
    hint: html`How others find you. Small letters a–z, digits and underscores, at most ${textLimits.handleLengthMax}. It cannot be changed later.`,
    autocomplete: 'username',
    maxLength: textLimits.handleLengthMax,
    before: '@',
    after: `@${site}`,
    exact: true,
    autofocus: errors.length === 0,
  },
  errors,
)}
${fieldOf({ name: 'display_name', label: 'Name', value: values['display_name'], hint: 'As shown above your posts.', autocomplete: 'name', maxLength: textLimits.titleLengthMax, optional: true }, errors)}
${fieldOf({ name: 'password', label: 'Password', type: 'password', hint: `At least ${textLimits.passwordLengthMin} characters. A few words in a row are easy to keep in mind and hard to guess.`, autocomplete: 'new-password', minLength: textLimits.passwordLengthMin, maxLength: textLimits.passwordLengthMax }, errors)}
${fieldOf({ name: 'email', label: 'E-mail address', type: 'email', value: values['email'], hint: 'Never shown to anybody. You can log in with it, too.', autocomplete: 'email', maxLength: textLimits.emailLengthMax, optional: true }, errors)}
${needsApproval ? fieldOf({ name: 'reason', label: 'Why would you like to join?', type: 'textarea', value: values['reason'], hint: 'A sentence or two for whoever decides.', maxLength: textLimits.reasonLengthMax }, errors) : ''}
<button class="button full" type="submit">${needsApproval ? 'Ask to join' : 'Sign up'}</button>
</form>
</div>
<p class="below">Here already? <a href="${withNext('/log-in', next)}">Log in</a></p>`;
}

/** No registrations at all. */
export function closedMain(site: string): Html {
  return html`<div class="card stack"><h1>Sign-up is closed</h1>
<p class="muted">${site} takes no new registrations at the moment. Microblogs here can be followed from any other server.</p>
<p class="buttons"><a class="button secondary" href="/">What is here</a><a class="button quiet" href="/log-in">Log in</a></p></div>`;
}
