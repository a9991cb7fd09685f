/** The Atom feed (RFC 4287) of a microblog: its newest public posts; pure. */
import type { Account, Status } from '@dmb/events';
import type { Site } from '../present/facts.ts';
import { excerpt } from './views.ts';

export interface Feed {
  readonly site: Site;
  readonly account: Account;
  readonly statuses: readonly Status[];
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Text as XML holds it: escaped, and without the characters that XML 1.0 cannot hold at all. */
export function escapeXml(text: string): string {
   
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? '').replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '');
}

export function atomFeed({ site, account, statuses }: Feed): string {
  const updated = statuses.map(({ edited_at: edited, created_at: created }) => edited ?? created).sort().at(-1) ?? account.created_at;
  return `<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
<title>${escapeXml(account.display_name)}</title>
<subtitle>${escapeXml(excerpt(account.note, 300))}</subtitle>
<id>${escapeXml(account.url)}</id>
<link rel="self" type="application/atom+xml" href="${escapeXml(account.url)}/feed.atom"/>
<link rel="alternate" type="text/html" href="${escapeXml(account.url)}"/>
<icon>${escapeXml(account.avatar)}</icon>
<generator uri="${escapeXml(site.origin)}">DMB</generator>
<updated>${updated}</updated>
<author><name>${escapeXml(account.display_name)}</name><uri>${escapeXml(account.url)}</uri></author>
${statuses.map(entryOf).join('')}</feed>
`;
}

function entryOf(status: Status): string {
  const warned = status.spoiler_text !== '';
  const title = warned ? status.spoiler_text : excerpt(status.content, 80);
  const lang = status.language == null ? '' : ` xml:lang="${escapeXml(status.language)}"`;
  return `<entry${lang}>
<id>${escapeXml(status.uri)}</id>
<title>${escapeXml(title)}</title>
<link rel="alternate" type="text/html" href="${escapeXml(status.url ?? status.uri)}"/>
<published>${status.created_at}</published>
<updated>${status.edited_at ?? status.created_at}</updated>
${warned ? `<summary>${escapeXml(status.spoiler_text)}</summary>\n` : ''}<content type="html">${escapeXml(status.content)}</content>
${status.tags.map(({ name }) => `<category term="${escapeXml(name)}"/>\n`).join('')}</entry>
`;
}
