/** The front page: what this server is, how to begin, and what was posted last; pure. */
import { html, renderPage, type NavLink } from '@dmb/runtime';
import type { Status } from '@dmb/events';
import type { Site } from '../present/facts.ts';
import { count, posts } from './views.ts';

export interface FrontPage {
  readonly site: Site;
  readonly registration: 'open' | 'approval' | 'closed';
  readonly microblogs: number;
  readonly postsCount: number;
  readonly latest: readonly Status[];
}

/** Links in the header of public pages. */
export function siteNav(registration: FrontPage['registration'] = 'open'): readonly NavLink[] {
  return [{ href: '/log-in', text: 'Log in' }, ...(registration === 'closed' ? [] : [{ href: '/sign-up', text: 'Sign up' }])];
}

const clients = [
  { name: 'Phanpy', href: 'https://phanpy.social', on: 'in the browser' },
  { name: 'Elk', href: 'https://elk.zone', on: 'in the browser' },
  { name: 'Tusky', href: 'https://tusky.app', on: 'on Android' },
  { name: 'Ivory', href: 'https://tapbots.com/ivory/', on: 'on iPhone and Mac' },
  { name: 'toot', href: 'https://toot.bezdomni.net', on: 'in the terminal' },
];

const joining: Readonly<Record<FrontPage['registration'], string>> = {
  open: 'Everybody may sign up here.',
  approval: 'You may ask for an account here; the people who run this server look at each request.',
  closed: 'This server takes no new people at the moment. You can read everything that is public.',
};

export function frontPage({ site, registration, microblogs, postsCount, latest }: FrontPage): string {
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
${posts(latest, 'Nobody has posted anything for everybody yet. The first post could be yours.')}
</section>
<aside class="stack" aria-label="How to begin">
<section class="feature"><h2>Use any client</h2><p>Where a client asks for your server, type</p>
<p><code class="code">${site.domain}</code></p>
<ul class="ticks">${clients.map(({ name, href, on }) => html`<li><a href="${href}" rel="noopener">${name}</a> ${on}</li>`)}</ul></section>
<section class="feature"><h2>Join</h2><p>${joining[registration]}</p></section>
<section class="feature"><h2>Read without an account</h2><p>Every microblog has a page and an Atom feed. Add <code>/feed.atom</code> to the address of its page.</p></section>
</aside>
</div>`,
  });
}
