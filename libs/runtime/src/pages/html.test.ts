import { describe, expect, it } from 'vitest';
import { html, trustedHtml } from './html.ts';
import { renderPage } from './layout.ts';

describe('html', () => {
  it('escapes text, also where it would end an attribute', () => {
    const text = `"><script>alert('x')</script>&`;
    expect(html`<a title="${text}">${text}</a>`.text).toBe(
      `<a title="&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;">&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;</a>`,
    );
  });
  it('escapes once however deep templates are nested, and joins lists', () => {
    expect(html`<ul>${['<a>', '<b>'].map((item) => html`<li>${item}</li>`)}</ul>`.text).toBe('<ul><li>&lt;a&gt;</li><li>&lt;b&gt;</li></ul>');
  });
  it('shows nothing for what is absent, and a zero as a zero', () => {
    expect(html`[${null}${undefined}${false}${true}${0}${5n}]`.text).toBe('[05]');
  });
  it('escapes what merely looks like markup of ours', () => {
    const forged = { text: '<script>' } as unknown as string;
    expect(html`${forged}`.text).toBe('');
  });
  it('lets vouched markup through and drops NUL', () => {
    expect(html`${trustedHtml('<b>x</b>')}${'a\0b'}`.text).toBe('<b>x</b>ab');
  });
});

describe('renderPage', () => {
  it('escapes title, site, links and description', () => {
    const page = renderPage({ title: '</title><script>', site: '<x>', description: '"><script>', nav: [{ href: '/"><script>', text: '<script>' }], main: html`<p>ok</p>` });
    expect(page).not.toContain('<script');
    expect(page).toContain('<p>ok</p>');
  });
});
