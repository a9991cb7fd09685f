/**
 * Environment variables, each declared once.
 *
 * A service writes one object of {@link variable}s: name, type, default, range, unit and a
 * sentence. From it come the typed values ({@link readConfig}), the text of `--help`
 * ({@link helpText}) and the table of its README. Every wrong value is one sentence; all of them
 * are reported together, so that nobody starts the program five times to find five mistakes. The
 * value of a secret appears nowhere: not in a sentence, not in `--help`, not in a log.
 *
 * An empty variable counts as not set: `DMB_DOMAIN= npm start` is how scripts unset things.
 * This file is the only one that reads `process.env`; tests pass an object.
 */
import { resolve } from 'node:path';
import ipaddr from 'ipaddr.js';
import { StartError } from './errors.ts';

interface Common<Name extends string> {
  readonly name: Name;
  /** One sentence, for `--help`. */
  readonly describe: string;
  /** Unit of a number, for `--help` and sentences: `ms`, `bytes`, `connections`. */
  readonly unit?: string;
  /** What happens without it, where that is no constant: `the port in DMB_DOMAIN, else 8080`. The value is then undefined. */
  readonly defaultText?: string;
  /** The program cannot do without. */
  readonly required?: true;
  /** Never printed. */
  readonly secret?: true;
  /** One sentence about what is wrong with a well-formed value (without the name), or undefined. */
  readonly check?: (value: never) => string | undefined;
}

/** How a variable is declared. Lists are written with commas or white space between their members. */
export type VariableSpec =
  | (Common<string> & { readonly type: 'port'; readonly default?: number })
  | (Common<string> & { readonly type: 'int'; readonly default?: number; readonly min?: number; readonly max?: number })
  | (Common<string> & { readonly type: 'string'; readonly default?: string; readonly pattern?: RegExp; readonly form?: string })
  | (Common<string> & { readonly type: 'boolean'; readonly default?: boolean })
  | (Common<string> & { readonly type: 'path'; readonly default?: string })
  | (Common<string> & { readonly type: 'url-list'; readonly protocols: readonly string[]; readonly default?: readonly string[] })
  | (Common<string> & { readonly type: 'network-list'; readonly default?: readonly string[] })
  /** `host:port` each. */
  | (Common<string> & { readonly type: 'address-list'; readonly default?: readonly string[] })
  | (Common<string> & { readonly type: 'enum'; readonly values: readonly string[]; readonly default?: string });

type TypeOf<Spec> = Spec extends { type: 'port' | 'int' }
  ? number
  : Spec extends { type: 'boolean' }
    ? boolean
    : Spec extends { type: 'url-list' | 'network-list' | 'address-list' }
      ? readonly string[]
      : Spec extends { type: 'enum'; values: readonly (infer Value)[] }
        ? Value
        : string;

/** The value of a variable: undefined is possible only where no `default` is declared, and it is not `required`. */
export type ValueOf<Spec> = Spec extends { default: unknown } | { required: true } ? TypeOf<Spec> : TypeOf<Spec> | undefined;

export type Declaration = Readonly<Record<string, VariableSpec>>;
export type ConfigOf<D extends Declaration> = { readonly [Key in keyof D]: ValueOf<D[Key]> };
export type Environment = Readonly<Record<string, string | undefined>>;

/** Declares one variable. A port or path is as its type says; paths come out absolute. */
export function variable<const Spec extends VariableSpec>(spec: Spec): Spec {
  return spec;
}

/** The environment of this process, for those who pass it on. */
export const processEnvironment: Environment = process.env;

/**
 * Typed values of every declared variable.
 * @throws {StartError} one sentence per wrong value, all of them together
 */
export function readConfig<const D extends Declaration>(declaration: D, environment: Environment = processEnvironment): ConfigOf<D> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(declaration)) {
    const text = environment[spec.name]?.trim();
    if (text === undefined || text === '') {
      if (spec.required) problems.push(`${spec.name} must be set: ${typeText(spec)}.`);
      values[key] = spec.type === 'path' && spec.default !== undefined ? resolve(spec.default) : spec.default;
      continue;
    }
    const parsed = parse(spec, text);
    const wrong = parsed.wrong ?? (spec.check as ((value: unknown) => string | undefined) | undefined)?.(parsed.value);
    if (wrong === undefined) values[key] = parsed.value;
    else problems.push(spec.secret ? `${spec.name} ${wrong}.` : `${spec.name} ${wrong}, not "${clip(text)}".`);
  }
  if (problems.length > 0) throw new StartError(problems);
  return values as ConfigOf<D>;
}

/**
 * One sentence per variable that begins with `prefix` and that nobody declared: a misspelled name
 * would otherwise be a setting that silently has no effect.
 */
export function unknownVariables(declarations: readonly Declaration[], prefix: string, environment: Environment = processEnvironment): string[] {
  const known = declarations.flatMap((declaration) => Object.values(declaration).map(({ name }) => name));
  return Object.keys(environment)
    .filter((name) => name.startsWith(prefix) && !known.includes(name))
    .map((name) => {
      const near = known.find((other) => distance(name, other) <= 2);
      return `${name} is not a variable of this program${near === undefined ? '' : `; did you mean ${near}?`}${near === undefined ? '.' : ''}`;
    });
}

/** The text of `--help`: every variable once, in the order declared. */
export function helpText(declarations: readonly Declaration[]): string {
  const seen = new Set<string>();
  const lines: string[] = [];
  for (const spec of declarations.flatMap((declaration) => Object.values(declaration))) {
    if (seen.has(spec.name)) continue;
    seen.add(spec.name);
    lines.push(`  ${spec.name}`, `      ${spec.describe}`, `      ${typeText(spec)}; default: ${defaultText(spec)}`, '');
  }
  return lines.join('\n');
}

type Parsed = { readonly value: unknown; readonly wrong?: undefined } | { readonly value?: undefined; readonly wrong: string };

function parse(spec: VariableSpec, text: string): Parsed {
  switch (spec.type) {
    case 'port':
      return integer(text, 1, 65_535, 'must be a port, a whole number from 1 to 65535');
    case 'int': {
      const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = spec;
      return integer(text, min, max, `must be a whole number${rangeText(spec)}${unitText(spec)}`);
    }
    case 'string':
      return spec.pattern === undefined || spec.pattern.test(text) ? { value: text } : { wrong: `must be ${spec.form ?? 'well formed'}` };
    case 'boolean':
      if (/^(1|true|yes|on)$/i.test(text)) return { value: true };
      if (/^(0|false|no|off)$/i.test(text)) return { value: false };
      return { wrong: 'must be true or false' };
    case 'path':
      return text.includes('\0') ? { wrong: 'must be a path' } : { value: resolve(text) };
    case 'enum':
      return spec.values.includes(text) ? { value: text } : { wrong: `must be ${oneOf(spec.values)}` };
    case 'url-list': {
      const urls = members(text);
      const good = urls.every((url) => URL.canParse(url) && spec.protocols.includes(new URL(url).protocol.slice(0, -1)));
      return good && urls.length > 0 ? { value: urls } : { wrong: `must be a list of ${oneOf(spec.protocols.map((name) => `${name}://`))} URLs` };
    }
    case 'address-list': {
      const addresses = members(text);
      return addresses.length > 0 && addresses.every(isAddress) ? { value: addresses } : { wrong: 'must be a list of addresses such as kafka-1:9092' };
    }
    case 'network-list': {
      const networks = members(text);
      return networks.every(isNetwork) ? { value: networks } : { wrong: 'must be a list of IP addresses or networks such as 10.0.0.0/8' };
    }
  }
}

function integer(text: string, min: number, max: number, wrong: string): Parsed {
  const value = /^[+-]?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) && value >= min && value <= max ? { value } : { wrong };
}

const members = (text: string): string[] => text.split(/[\s,]+/).filter((member) => member !== '');
const isAddress = (text: string): boolean => {
  const port = Number(/^(?:\[[\da-f:.]+\]|[\w.-]+):(\d{1,5})$/i.exec(text)?.[1] ?? 0);
  return port >= 1 && port <= 65_535;
};
const isNetwork = (text: string): boolean => (text.includes('/') ? ipaddr.isValidCIDR(text) : ipaddr.isValid(text));
const clip = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}…` : text);
const oneOf = (values: readonly string[]): string =>
  values.length < 2 ? values.join('') : `${values.slice(0, -1).join(', ')} or ${values.at(-1) ?? ''}`;
const unitText = (spec: VariableSpec): string => (spec.unit === undefined ? '' : ` ${spec.unit}`);

function rangeText({ min, max }: { readonly min?: number; readonly max?: number }): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? '' : ` of at most ${max}`;
}

function typeText(spec: VariableSpec): string {
  switch (spec.type) {
    case 'port':
      return 'a port, 1 to 65535';
    case 'int':
      return `a whole number${rangeText(spec)}${unitText(spec)}`;
    case 'string':
      return spec.form ?? 'a text';
    case 'boolean':
      return 'true or false';
    case 'path':
      return 'a path';
    case 'enum':
      return oneOf(spec.values);
    case 'url-list':
      return `a list of ${oneOf(spec.protocols.map((name) => `${name}://`))} URLs`;
    case 'address-list':
      return 'a list of addresses, host:port';
    case 'network-list':
      return 'a list of IP addresses or networks';
  }
}

function defaultText(spec: VariableSpec): string {
  if (spec.required) return 'none, it must be set';
  if (spec.defaultText !== undefined) return spec.defaultText;
  if (spec.default === undefined) return 'none';
  if (spec.secret) return 'a secret';
  return Array.isArray(spec.default) ? (spec.default.length === 0 ? 'none' : spec.default.join(',')) : String(spec.default);
}

/** Levenshtein distance, for "did you mean". */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
