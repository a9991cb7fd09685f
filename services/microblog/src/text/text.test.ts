import fc from 'fast-check';
import sanitizeHtml from 'sanitize-html';
import { describe, expect, test } from 'vitest';
import { countCharacters } from './count.ts';
import { escapeText, renderLine, renderText, trim, type HtmlOptions } from './html.ts';
import { cleanName } from './names.ts';
import { hashtagsOf, mentionsOf, parseSegments } from './segments.ts';

const known = new Map([
  ['news@', { url: 'https://example.org/@news', username: 'news' }],
  ['bob@other.example', { url: 'https://other.example/@bob', username: 'bob' }],
]);
const options: HtmlOptions = {
  resolveMention: (name, domain) => known.get(`${name}@${domain ?? ''}`),
  tagUrl: (name) => `https://example.org/tags/${encodeURIComponent(name)}`,
};
const html = (text: string): string => renderText(text, options);

describe('segments', () => {
  const kinds = (text: string): string[] => parseSegments(text).map((segment) => `${segment.kind}:${segment.text}`);

  test('join to the text again, whatever it is', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        expect(
          parseSegments(text)
            .map((segment) => segment.text)
            .join(''),
        ).toBe(text);
      }),
    );
  });

  test.each([
    ['@news hi', ['mention:@news', 'text: hi']],
    ['(@news)', ['text:(', 'mention:@news', 'text:)']],
    ['@News.Great', ['mention:@News', 'text:.Great']],
    ['me@example.org', ['text:me@example.org']],
    ['@bob@other.example.', ['mention:@bob@other.example', 'text:.']],
    ['@bob@Other.Example:8080 x', ['mention:@bob@Other.Example', 'text::8080 x']],
    ['@bob@localhost:8080 x', ['mention:@bob@localhost:8080', 'text: x']],
    ['@bob@singlelabel', ['text:@bob@singlelabel']],
    ['@' + 'a'.repeat(31), ['text:@' + 'a'.repeat(31)]],
    ['https://x.example/@news', ['link:https://x.example/@news']],
    ['see https://x.example/a_(b), ok', ['text:see ', 'link:https://x.example/a_(b)', 'text:, ok']],
    ['https://x.example/#top #tag', ['link:https://x.example/#top', 'text: ', 'hashtag:#tag']],
    ['example.org and mail@example.org', ['text:example.org and mail@example.org']],
    ['javascript:alert(1) data:text/html,x ftp://x.example', ['text:javascript:alert(1) data:text/html,x ftp://x.example']],
    ['https://bank.example@evil.example/', ['text:https://bank.example@evil.example/']],
    ['https://x.example/\u202egpj.exe', ['text:https://x.example/\u202egpj.exe']],
    ['#1 #a1 #größe x#no /#no &#39;', ['text:#1 ', 'hashtag:#a1', 'text: ', 'hashtag:#größe', "text: x#no /#no &#39;"]],
    ['@\u212aate', ['text:@\u212aate']],
  ])('%j', (text, expected) => {
    expect(kinds(text)).toEqual(expected);
  });

  test('mentions and hashtags are told once, folded', () => {
    const segments = parseSegments('@News @news @news@Other.example #Tag #tag #ＴＡＧ');
    expect(mentionsOf(segments)).toEqual([
      { name: 'news', domain: undefined },
      { name: 'news', domain: 'other.example' },
    ]);
    expect(hashtagsOf(segments)).toEqual(['tag']);
  });
});

describe('counting', () => {
  test.each([
    ['', 0],
    ['hello', 5],
    ['a\r\nb', 3],
    ['👩‍👩‍👧‍👦🇩🇪é', 3],
    ['https://example.org/' + 'x'.repeat(300), 23],
    ['http://a.example', 23],
    ['@bob@other.example hi', 7],
    ['@news hi', 8],
    ['z\u0300\u0301\u0302\u0303', 1],
  ])('%j is %i', (text, expected) => {
    expect(countCharacters(trim(text))).toBe(expected);
  });

  test('the content warning counts too', () => {
    expect(countCharacters('abc', 'de')).toBe(5);
  });
});

describe('HTML', () => {
  test.each([
    ['', ''],
    ['a\nb\n\n\nc ', '<p>a<br />b</p><p>c</p>'],
    ['a\r\nb', '<p>a<br />b</p>'],
    ['<b>"&\'</b>', '<p>&lt;b&gt;&quot;&amp;\'&lt;/b&gt;</p>'],
    ['@news', '<p><span class="h-card" translate="no"><a href="https://example.org/@news" class="u-url mention">@<span>news</span></a></span></p>'],
    ['@bob@other.example', '<p><span class="h-card" translate="no"><a href="https://other.example/@bob" class="u-url mention">@<span>bob</span></a></span></p>'],
    ['@nobody', '<p>@nobody</p>'],
    ['#Tag', '<p><a href="https://example.org/tags/tag" class="mention hashtag" rel="tag">#<span>Tag</span></a></p>'],
    [
      'https://www.example.org/a',
      '<p><a href="https://www.example.org/a" target="_blank" rel="nofollow noopener noreferrer ugc" translate="no"><span class="invisible">https://www.</span><span>example.org/a</span><span class="invisible"></span></a></p>',
    ],
    [
      'https://example.org/' + 'y'.repeat(25) + '?a=1&b="',
      '<p><a href="https://example.org/' +
        'y'.repeat(25) +
        '?a=1&amp;b=" target="_blank" rel="nofollow noopener noreferrer ugc" translate="no"><span class="invisible">https://</span><span class="ellipsis">example.org/' +
        'y'.repeat(18) +
        '</span><span class="invisible">' +
        'y'.repeat(7) +
        '?a=1&amp;b=</span></a>&quot;</p>',
    ],
    ['`code` *stays*', '<p>`code` *stays*</p>'],
  ])('of %j', (text, expected) => {
    expect(html(text)).toBe(expected);
  });

  test('a profile field is one line', () => {
    expect(renderLine('a\n\nb <i>', options)).toBe('a b &lt;i&gt;');
  });

  // A sanitizer that is not ours, told exactly what may be there: if it would change anything, we wrote something else.
  test('holds nothing outside the allow list, and shows exactly the text, whatever the text is', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const written = html(text);
        expect(sanitizeHtml(written, allowed)).toBe(asSanitizerWrites(written));
        const shown = sanitizeHtml(written.replaceAll('</p><p>', '\n\n').replaceAll('<br />', '\n'), { allowedTags: [], allowedAttributes: {} });
        const expected = escapeText(withoutRest(text)).replaceAll('&quot;', '"');
        expect(shown.replace(/\n{2,}/g, '\n\n')).toBe(expected.replace(/\n{2,}/g, '\n\n'));
      }),
      { numRuns: 2_000 },
    );
  });

  test('giant inputs take linear time', () => {
    const shapes = ['@', '#', '@a', '@a@', '@a.', '#a#', 'http://', 'https://a.example/ ', '\n', '<', '&', '@a@b.', '(', 'a\u0300', 'x-', '.'];
    const cost = (size: number): number => {
      const started = performance.now();
      for (const shape of shapes) {
        html(shape.repeat(Math.ceil(size / shape.length)));
        countCharacters(shape.repeat(Math.ceil(size / shape.length)));
      }
      return performance.now() - started;
    };
    cost(20_000);
    // 16 times the text: quadratic code would take 256 times as long.
    expect(cost(320_000) / Math.max(5, cost(20_000))).toBeLessThan(100);
  });
});

describe('names', () => {
  test.each([
    ['  Alice\n Smith ', 'Alice Smith'],
    ['a\u202eb\u200bc\u2066d\ufeff', 'abcd'],
    ['👩‍💻 dev', '👩‍💻 dev'],
    ['❤️‍🔥', '❤️‍🔥'],
    ['a\u200db\u200d', 'ab'],
    ['\u3164', ''],
    ['<script>', '<script>'],
  ])('%j is shown as %j', (text, expected) => {
    expect(cleanName(text)).toBe(expected);
  });
});

const hostileText = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.string({ maxLength: 12 }),
      fc.constantFrom(
        '<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '"', "'", '&', '&lt;', '<', '>', '" onclick="x', '@news', '@bob@other.example', '@nobody',
        '#tag', '#"><b>', 'https://example.org/', 'https://example.org/"onmouseover="x', 'https://a.example/<b>', 'javascript:alert(1)', 'data:text/html,<b>',
        'HTTPS://EXAMPLE.ORG/%22', 'https://x.example/' + 'é'.repeat(40), 'https://x.example/😀'.repeat(3), '\n', '\n\n', '\r\n', ' ', '<!--', ']]>', '</p>', '</a></span>', '\u2028', '\0',
      ),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

const allowed: sanitizeHtml.IOptions = {
  allowedTags: ['p', 'br', 'a', 'span'],
  allowedAttributes: { a: ['href', 'class', 'rel', 'target', 'translate'], span: ['class', 'translate'] },
  allowedClasses: { a: ['u-url', 'mention', 'hashtag'], span: ['h-card', 'invisible', 'ellipsis'] },
  allowedSchemes: ['https', 'http'],
  allowProtocolRelative: false,
};

/** The sanitizer does not escape quotes in text; attributes of ours hold none. */
function asSanitizerWrites(written: string): string {
  return written.replace(/>([^<]*)</g, (_, text: string) => `>${text.replaceAll('&quot;', '"')}<`);
}

/** What of a text is shown: resolved mentions lose their domain, white space at both ends goes. */
function withoutRest(text: string): string {
  return parseSegments(trim(text))
    .map((segment) => (segment.kind === 'mention' && options.resolveMention?.(segment.name, segment.domain) !== undefined ? `@${segment.name}` : segment.text))
    .join('');
}
