/** The front page: what this server is, how to begin, and what was posted last; pure. */
import { html, renderPage, type NavLink } from '@dmb/runtime';
import type { Status } from '@dmb/events';
import type { Site } from '../present/facts.ts';
import { count, posts } from './views.ts';

/** What every public page is made with. */
export interface PageContext {
  readonly site: Site;
  readonly registration: 'open' | 'approval' | 'closed';
  /** Unix milliseconds. */
  readonly now: number;
}

export interface FrontPage extends PageContext {
  readonly microblogs: number;
  readonly postsCount: number;
  readonly latest: readonly Status[];
}

/** Links in the header of public pages. They are the same for everybody, so that caches may keep them: `/settings` sends strangers to the log-in. */
export function siteNav(registration: PageContext['registration']): readonly NavLink[] {
  return [{ href: '/settings', text: 'Your account' }, ...(registration === 'closed' ? [] : [{ href: '/sign-up', text: 'Sign up' }])];
}

/** Those that need no certificate of the server come without `needsHttps`: the others are web pages on https, or apps that speak nothing else. */
const clients = [
  { name: 'Phanpy', href: 'https://phanpy.social', on: 'in the browser', needsHttps: true },
  { name: 'Elk', href: 'https://elk.zone', on: 'in the browser', needsHttps: true },
  { name: 'Tusky', href: 'https://tusky.app', on: 'on Android', needsHttps: true },
  { name: 'Ivory', href: 'https://tapbots.com/ivory/', on: 'on iPhone and Mac', needsHttps: true },
  { name: 'toot', href: 'https://toot.bezdomni.net', on: 'in the terminal', needsHttps: false },
];

const joining: Readonly<Record<FrontPage['registration'], string>> = {
  open: 'Everybody may sign up here.',
  approval: 'You may ask for an account here; the people who run this server look at each request.',
  closed: 'This server takes no new people at the moment. You can read everything that is public.',
};

export function frontPage({ site, registration, now, microblogs, postsCount, latest }: FrontPage): string {
  const isHttps = site.origin.startsWith('https:');
  const usable = clients.filter(({ needsHttps }) => isHttps || !needsHttps);
  return renderPage({
    title: site.title,
    site: site.title,
    nav: siteNav(registration),
    width: 'wide',
    description: `Microblogs on ${site.domain}: follow them from anywhere, and write your own.`,
    head: html`<link rel="canonical" href="${site.origin}/">
<meta property="og:type" content="website">
<meta property="og:site_name" content="${site.title}">
<meta property="og:title" content="${site.title}">
<meta property="og:url" content="${site.origin}/">
<meta property="og:description" content="Microblogs on ${site.domain}: follow them from anywhere, and write your own.">
`,
    main: html`<section class="hero">
<h1>Short posts, from people who run their own place</h1>
<p class="lead">${site.domain} is a server for microblogs. Write on yours, follow others, and use whichever Mastodon client you like. Nobody sits in the middle, and nothing chooses for you what you read.</p>
<div class="buttons">${registration === 'closed' ? '' : html`<a class="button" href="/sign-up">${registration === 'open' ? 'Sign up' : 'Ask for an account'}</a>`}<a class="button${registration === 'closed' ? '' : ' secondary'}" href="/log-in">Log in</a></div>
${microblogs === 0 ? '' : html`<ul class="counts"><li>${count(microblogs, 'microblog')}</li><li>${count(postsCount, 'public post')}</li></ul>`}
</section>
<div class="columns">
<section class="stack" aria-labelledby="latest">
<h2 id="latest">Latest posts</h2>
${posts(latest, now, 'Nobody has posted anything for everybody yet. The first post could be yours.')}
</section>
<aside class="stack" aria-label="How to begin">
<section class="feature"><h2>Use any client</h2><p>Where a client asks for your server, type</p>
<p><code class="code">${site.domain}</code></p>
<ul class="ticks">${usable.map(({ name, href, on }) => html`<li><a href="${href}" rel="noopener">${name}</a> ${on}</li>`)}</ul>${isHttps ? '' : html`<p class="hint">Others, such as ${clients.filter(({ needsHttps }) => needsHttps).map(({ name }) => name).join(', ')}, need a server that has a domain with https.</p>`}</section>
<section class="feature"><h2>Join</h2><p>${joining[registration]}</p></section>
<section class="feature"><h2>Read without an account</h2><p>Every microblog has a page and an Atom feed. Add <code>/feed.atom</code> to the address of its page.</p></section>
</aside>
</div>`,
  });
}
