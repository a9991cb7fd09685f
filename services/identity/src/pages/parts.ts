/** What pages of identity are made of: fields with their errors, the summary above a form, people and apps. */
import { type Html, type HtmlValue, html } from '@dmb/runtime';
import type { FieldError } from '../domain/sign-up-form.ts';

/** Errors of a form as its page shows them; `field` is the name of an input. */
export interface PageError {
  readonly field: string;
  readonly text: string;
}

/** One input with its label, hint and error. */
export interface Field {
  readonly name: string;
  readonly label: string;
  readonly type?: 'text' | 'password' | 'email' | 'textarea';
  readonly value?: string | undefined;
  readonly hint?: HtmlValue;
  readonly autocomplete?: string;
  readonly optional?: boolean;
  readonly maxLength?: number;
  readonly minLength?: number;
  /** Shown before and after what is typed: `@`, `@example.org`. */
  readonly before?: string;
  readonly after?: string;
  readonly autofocus?: boolean;
  /** A handle or password: no capital letters, no corrections. */
  readonly exact?: boolean;
}

/** An input that is announced together with its hint and its error. */
export function fieldOf(field: Field, errors: readonly PageError[]): Html {
  const { name, label, type = 'text', value = '', hint, before, after } = field;
  const error = errors.find((one) => one.field === name);
  const described = [hint ? `${name}-hint` : '', error ? `${name}-error` : ''].filter((id) => id !== '').join(' ');
  const attributes = html` id="${name}" name="${name}"${field.optional ? '' : html` required`}${field.autocomplete ? html` autocomplete="${field.autocomplete}"` : ''}${field.maxLength ? html` maxlength="${field.maxLength}"` : ''}${field.minLength ? html` minlength="${field.minLength}"` : ''}${described ? html` aria-describedby="${described}"` : ''}${error ? html` aria-invalid="true"` : ''}${field.autofocus ? html` autofocus` : ''}${field.exact ? html` autocapitalize="none" autocorrect="off" spellcheck="false"` : ''}`;
  const input = type === 'textarea' ? html`<textarea${attributes} rows="4">${value}</textarea>` : html`<input type="${type}"${attributes} value="${value}">`;
  return html`<div class="field">
<label for="${name}">${label}${field.optional ? html` <span class="optional">(optional)</span>` : ''}</label>
${hint ? html`<p class="hint" id="${name}-hint">${hint}</p>\n` : ''}${error ? html`<p class="field-error" id="${name}-error"><span class="visually-hidden">Error: </span>${error.text}</p>\n` : ''}${before || after ? html`<div class="affix">${before ? html`<span class="before" aria-hidden="true">${before}</span>` : ''}${input}${after ? html`<span class="after" aria-hidden="true">${after}</span>` : ''}</div>` : input}
</div>`;
}

/** What is wrong with a form, above it: first to be heard and seen, each error a link to its field. */
export function errorSummary(errors: readonly PageError[]): HtmlValue {
  if (errors.length === 0) return '';
  if (errors.every(({ field }) => field === '')) return html`<div class="error-summary" role="alert" id="errors">${errors.map(({ text }) => html`<p>${text}</p>`)}</div>`;
  return html`<div class="error-summary" role="alert" id="errors">
<h2>${errors.length === 1 ? 'Please correct this' : 'Please correct these'}</h2>
<ul>${errors.map(({ field, text }) => html`<li>${field === '' ? text : html`<a href="#${field}">${text}</a>`}</li>`)}</ul>
</div>`;
}

const fieldTexts: Readonly<Record<FieldError['field'], string>> = {
  username: 'The handle',
  password: 'The password',
  email: 'The e-mail address',
  display_name: 'The name',
  reason: 'The reason',
  agreement: 'The agreement',
};

/** A mistake of the sign-up form as its page tells it. */
export function pageError({ field, description }: { readonly field: string; readonly description: string }): PageError {
  const subject = fieldTexts[field as FieldError['field']] ?? field;
  return { field, text: `${subject} ${description === "can't be blank" ? 'is missing' : description}.` };
}

/** A square with an initial, in a colour that stays the same for the same name. */
export function avatar(name: string, key: string): Html {
  const [initial = '?'] = name;
  const tint = [...key].reduce((sum, character) => (sum * 31 + (character.codePointAt(0) ?? 0)) % 8_191, 7) % 8;
  return html`<span class="avatar tint-${tint}" aria-hidden="true">${initial}</span>`;
}

/** A day, as people write it. */
export function dayOf(date: Date | string): string {
  const day = typeof date === 'string' ? new Date(`${date}T00:00:00Z`) : date;
  return day.toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' });
}

/** A browser by its own description, in two words. */
export function describeUserAgent(userAgent: string): string {
  const browsers: readonly (readonly [RegExp, string])[] = [[/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'], [/(Chrome|CriOS)\//, 'Chrome'], [/Safari\//, 'Safari']];
  const systems: readonly (readonly [RegExp, string])[] = [[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS X|Macintosh/, 'macOS'], [/Linux/, 'Linux']];
  const find = (table: readonly (readonly [RegExp, string])[]): string | undefined => table.find(([pattern]) => pattern.test(userAgent))?.[1];
  const browser = find(browsers);
  const system = find(systems);
  return browser === undefined ? 'A browser' : system === undefined ? browser : `${browser} on ${system}`;
}
