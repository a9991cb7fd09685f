/** Parts of pages: a post, a list of posts, links to older and newer ones; pure. */
import { html, trustedHtml, type Html } from '@dmb/runtime';
import type { Account, Status } from '@dmb/events';

const timeFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' });
const dateFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeZone: 'UTC' });
const timeOfDayFormat = new Intl.DateTimeFormat('en-GB', { timeStyle: 'short', timeZone: 'UTC' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' });
const numberFormat = new Intl.NumberFormat('en-GB');

export const day = (iso: string): string => dayFormat.format(new Date(iso));
export const number = (value: number): string => numberFormat.format(value);

/** `1 post`, `2 posts`. */
export function count(value: number, one: string, many: string = `${one}s`): Html {
  return html`<strong>${number(value)}</strong> ${value === 1 ? one : many}`;
}

export interface PostOptions {
  /** When the page is made; Unix milliseconds. */
  readonly now: number;
  /** The post that the page is about. */
  readonly focus?: boolean;
  /** It stands in a thread with what it answers: right below it, or below another answer to it and then with a link to it. */
  readonly inThread?: boolean;
  /** What it answers, where that stands on the page and not right above. */
  readonly answered?: Pick<Status, 'id' | 'account'> | undefined;
}

/** The picture of an account; it says nothing that its name beside it does not say. */
export function avatar(account: Pick<Account, 'avatar'>, large = false): Html {
  const size = large ? 80 : 44;
  return html`<img class="avatar${large ? ' large' : ''}" src="${account.avatar}" alt="" width="${size}" height="${size}"${large ? '' : trustedHtml(' loading="lazy"')}>`;
}

/** One post. A content warning hides the text until it is opened, without any script. */
export function post(status: Status, options: PostOptions): Html {
  const { focus = false, now } = options;
  const { account } = status;
  const text = html`<div class="post-body"${status.language == null ? '' : html` lang="${status.language}"`}>${trustedHtml(status.content)}</div>`;
  const url = status.url ?? status.uri;
  return html`<article class="post${focus ? ' focus' : ''}" id="post-${status.id}" aria-label="Post by ${account.display_name}">
<header class="post-head">${avatar(account)}<div class="post-who"><a class="post-name" href="${account.url}">${account.display_name}</a><span class="post-acct">@${account.acct}</span></div>
<a class="post-time" href="${url}">${when(status.created_at, focus ? 'exactly' : now)}</a></header>
${status.spoiler_text === '' ? text : html`<details><summary>${status.spoiler_text}</summary>${text}</details>`}
${footOf(status, options)}
</article>`;
}

const dayMs = 86_400_000;

/** The day, and seen from `now` the time of the last 24 hours; on the page of a post, and for who points at it, both. Times are UTC and say so. */
function when(iso: string, from: number | 'exactly'): Html {
  const time = new Date(iso);
  const exact = `${timeFormat.format(time)} UTC`;
  return html`<time datetime="${iso}" title="${exact}">${from === 'exactly' ? exact : shortTime(time, exact, from)}</time>`;
}

function shortTime(time: Date, exact: string, now: number): string {
  if (now - time.getTime() >= dayMs) return dateFormat.format(time);
  // What was posted before midnight names its day.
  return dateFormat.format(time) === dateFormat.format(now) ? `${timeOfDayFormat.format(time)} UTC` : exact;
}

function footOf(status: Status, { inThread = false, answered, now }: PostOptions): Html | string {
  const parts = [
    // The id alone leads there, whoever wrote it.
    ...(status.in_reply_to_id == null || inThread ? [] : [html`<a href="${status.account.url}/${status.in_reply_to_id}">In reply to an earlier post</a>`]),
    ...(answered === undefined ? [] : [html`<a href="#post-${answered.id}">In reply to @${answered.account.acct}</a>`]),
    ...(status.replies_count === 0 ? [] : [html`<a href="${status.url ?? status.uri}">${count(status.replies_count, 'reply', 'replies')}</a>`]),
    ...(status.edited_at === null ? [] : [html`<span>Edited ${when(status.edited_at, now)}</span>`]),
  ];
  return parts.length === 0 ? '' : html`<footer class="post-foot">${parts}</footer>`;
}

/** Posts as a list; a sentence where there are none. */
export function posts(statuses: readonly Status[], now: number, empty: string): Html {
  if (statuses.length === 0) return html`<p class="empty">${empty}</p>`;
  return html`<ol class="posts">${statuses.map((status) => html`<li>${post(status, { now })}</li>\n`)}</ol>`;
}

/** Links to the pages beside this one. */
export function pager(newer: string | undefined, older: string | undefined): Html | string {
  if (newer === undefined && older === undefined) return '';
  return html`<nav class="pager" aria-label="Pages">${newer === undefined ? html`<span></span>` : html`<a class="button secondary" rel="prev" href="${newer}">Newer posts</a>`}
${older === undefined ? '' : html`<a class="button secondary" rel="next" href="${older}">Older posts</a>`}</nav>`;
}

/** The text of HTML of ours, shortened: for previews and titles. */
export function excerpt(content: string, charactersMax: number): string {
  const text = content
    .replace(/<\/p><p>|<br \/>/g, ' ')
    .replace(/<[^>]*>/g, '')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&quot;/g, '"')
    .replace(/&amp;/g, '&');
  const characters = [...text];
  return characters.length <= charactersMax ? text : `${characters.slice(0, charactersMax - 1).join('').trimEnd()}…`;
}
