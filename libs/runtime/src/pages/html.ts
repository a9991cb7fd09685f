/**
 * HTML that escapes by itself.
 *
 * html`<p>${text}</p>` escapes every value that is not itself made by `html` (or vouched for by
 * `trustedHtml`), so forgetting to escape is impossible and escaping twice too. A template is
 * plain TypeScript: the compiler checks what a page is given, nothing is compiled or read from
 * disk when it is shown. Attribute values must stand in double quotes; everything that could end
 * them is escaped. Values never belong into `<script>`, `<style>` or an unquoted attribute: our
 * pages have none of these (style and script are refused by their content security policy).
 */

/** Markup that is safe to put into a page as it is. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
}

/** What may stand in a template: text is escaped, null, undefined and booleans are nothing, lists are joined. */
export type HtmlValue = Html | string | number | bigint | boolean | null | undefined | readonly HtmlValue[];

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;', '`': '&#96;' };

/** Text with everything escaped that means something in HTML text or in a quoted attribute. NUL, which HTML forbids, is dropped. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"'`\0]/g, (character) => entities[character] ?? '');
}

function render(value: HtmlValue): string {
  if (value instanceof Html) return value.text;
  if (typeof value === 'string') return escapeHtml(value);
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return (value as readonly HtmlValue[]).map(render).join('');
  return '';
}

/** A template tag: the literal parts stay, the values are escaped. */
export function html(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let text = parts[0] ?? '';
  for (let at = 0; at < values.length; at++) text += render(values[at]) + (parts[at + 1] ?? '');
  return new Html(text);
}

/** Vouches for markup that was made safe elsewhere (sanitized post content). Never for anything typed by somebody. */
export function trustedHtml(markup: string): Html {
  return new Html(markup);
}
