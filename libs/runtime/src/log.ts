/**
 * The log: one line of JSON per happening, or one readable line on a terminal.
 *
 * Log lines go to standard error. Standard output belongs to the person (or script) that started
 * the program: {@link notice} writes there, and only there may a one-time link appear. So
 * `npm start > ready.txt` holds sentences, and a log collector never sees a secret link.
 *
 * Each line carries the ids of the active trace, so that a line is found from its trace and the
 * other way round. Fields are bounded (depth, members, length), and a field whose *name* speaks of
 * a secret is written as `[hidden]`; tokens in query strings and passwords in URLs are cut out of
 * texts. That is a net under careless code, not a licence: do not log what a person wrote.
 *
 * Errors are told with kind, private detail and causes. Where to look in the code is said only of what may be
 * a mistake in it: a database that is away or a full disk is one line, and its stack is written at level `debug` alone.
 *
 * A line is handed to the stream at once and never kept here. Level `debug` is off by default.
 */
import { trace } from '@opentelemetry/api';
import type { LoggerService } from '@nestjs/common';
import { AppError } from './errors.ts';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  /** `fields.error` is written with its kind, private detail, causes and stack. */
  error(message: string, fields?: LogFields): void;
  /** The same log under a longer name, with fields that go on every line. */
  child(name: string, fields?: LogFields): Logger;
}

export interface LoggerOptions {
  readonly name: string;
  readonly level?: LogLevel;
  /** `auto` is human on a terminal and json elsewhere. */
  readonly form?: 'json' | 'human' | 'auto';
  readonly stream?: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly now?: () => Date;
}

const bounds = { depthMax: 6, membersMax: 50, textLengthMax: 4_096 } as const;
const secretName = /^(authorization|proxy-authorization|cookie|set-cookie|x-csrf-token)$|pass(word|wd|phrase)|secret|token|credential|private_?key|api_?key/i;
const colours: Readonly<Record<LogLevel, string>> = { debug: '\u001B[2m', info: '\u001B[36m', warn: '\u001B[33m', error: '\u001B[31m' };

/** Where lines go besides the stream, as already tidied values. */
export type LogSink = (time: Date, level: LogLevel, name: string, message: string, fields: Readonly<Record<string, unknown>>) => void;
let sink: LogSink | undefined;

/** Sends every line to `next` as well: telemetry, while it is on. */
export function setLogSink(next: LogSink | undefined): void {
  sink = next;
}

/** A log that writes lines of at least `level` to `stream` (standard error). */
export function createLogger(options: LoggerOptions): Logger {
  const { level = 'info', form = 'auto', stream = process.stderr, now = () => new Date() } = options;
  const least = logLevels.indexOf(level);
  const human = form === 'human' || (form === 'auto' && stream.isTTY === true);
  const format = human ? humanLine : jsonLine;
  const make = (name: string, always: LogFields): Logger => {
    const at = (lineLevel: LogLevel) => {
      if (logLevels.indexOf(lineLevel) < least) return () => undefined;
      return (message: string, fields?: LogFields): void => {
        const time = now();
        const all = withoutStacks({ ...always, ...fields }, lineLevel, least === 0);
        stream.write(format(time, lineLevel, name, message, all));
        sink?.(time, lineLevel, name, tidyText(message), tidy(all, 0) as Record<string, unknown>);
      };
    };
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: (childName, fields) => make(`${name}/${childName}`, { ...always, ...fields }),
    };
  };
  return make(options.name, {});
}

/** A log that writes nothing. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};

/** Writes sentences for the human who started the program to standard output, one a line. */
export function notice(...sentences: readonly string[]): void {
  process.stdout.write(`${sentences.join('\n')}\n`);
}

/** Nest's own messages on our log: its chatter about modules and routes is `debug`. */
export function nestLogger(logger: Logger): LoggerService {
  const write = (level: LogLevel) => (message: unknown, ...rest: readonly unknown[]) => {
    const context = rest.findLast((part) => typeof part === 'string');
    const error = message instanceof Error ? { error: message } : {};
    logger[level](message instanceof Error ? message.message : String(message), { ...(context === undefined ? {} : { context }), ...error });
  };
  return { log: write('debug'), debug: write('debug'), verbose: write('debug'), warn: write('warn'), error: write('error'), fatal: write('error') };
}

/** An error without its stack. */
class Told {
  readonly error: Error;
  constructor(error: Error) {
    this.error = error;
  }
}

/** Fields of a line, stacks left out where they say nothing: what passes by itself, and what is only a warning. */
function withoutStacks(fields: LogFields, level: LogLevel, isDebugging: boolean): LogFields {
  const { error } = fields;
  if (isDebugging || !(error instanceof Error)) return fields;
  return level === 'warn' || (error instanceof AppError && error.kind === 'unavailable') ? { ...fields, error: new Told(error) } : fields;
}

function jsonLine(time: Date, level: LogLevel, name: string, message: string, fields: LogFields): string {
  const span = trace.getActiveSpan()?.spanContext();
  return `${JSON.stringify({
    time: time.toISOString(),
    level,
    name,
    message: tidyText(message),
    ...(span === undefined ? {} : { trace_id: span.traceId, span_id: span.spanId }),
    ...(tidy(fields, 0) as object),
  })}\n`;
}

function humanLine(time: Date, level: LogLevel, name: string, message: string, fields: LogFields): string {
  const { error, ...others } = fields;
  const rest = Object.entries(tidy(others, 0) as object)
    .map(([key, value]) => ` ${key}=${typeof value === 'string' && !/\s/.test(value) ? value : JSON.stringify(value)}`)
    .join('');
  const head = `${time.toISOString().slice(11, 23)} ${colours[level]}${level.padEnd(5)}\u001B[0m ${name}: ${printable(tidyText(message))}\u001B[2m${rest}\u001B[0m\n`;
  if (error instanceof Told) return `${head.slice(0, -1)}: ${causesOf(error.error)}\n`;
  return error === undefined ? head : `${head}${errorLines(error)}`;
}

/** What an error and its causes say, on one line. */
function causesOf(error: unknown): string {
  const texts: string[] = [];
  for (let at: unknown = error, depth = 0; at !== undefined && at !== null && depth < bounds.depthMax; depth++) {
    const text = at instanceof AppError && at.detail !== undefined ? at.detail : at instanceof Error ? at.message : String(at);
    if (!texts.includes(text)) texts.push(text);
    at = at instanceof Error ? at.cause : undefined;
  }
  return printable(tidyText(texts.join(': ').replace(/\s+/g, ' ')));
}

function errorLines(error: unknown): string {
  const lines: string[] = [];
  for (let at: unknown = error, depth = 0; at !== undefined && at !== null && depth < bounds.depthMax; depth++) {
    const detail = at instanceof AppError && at.detail !== undefined ? ` (${at.detail})` : '';
    lines.push(`      ${depth === 0 ? '' : 'caused by '}${printable(tidyText(at instanceof Error ? (at.stack ?? at.message) : String(at)))}${detail}`);
    at = at instanceof Error ? at.cause : undefined;
  }
  return `${lines.join('\n')}\n`;
}

/** Any value as bounded plain data without secrets. */
function tidy(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return tidyText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= bounds.depthMax) return '[deep]';
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Told) return tidyError(value.error, depth, false);
  if (value instanceof Error) return tidyError(value, depth, true);
  if (Array.isArray(value)) return value.slice(0, bounds.membersMax).map((member) => tidy(member, depth + 1));
  const entries = value instanceof Map ? [...value.entries()].map(([key, member]) => [String(key), member] as const) : Object.entries(value);
  return Object.fromEntries(
    entries.slice(0, bounds.membersMax).map(([key, member]) => [key, secretName.test(key) ? '[hidden]' : tidy(member, depth + 1)]),
  );
}

function tidyError(error: Error, depth: number, hasStack: boolean): unknown {
  const code = (error as { code?: unknown }).code;
  return {
    name: error.name,
    message: tidyText(error.message),
    ...(error instanceof AppError ? { kind: error.kind } : {}),
    ...(error instanceof AppError && error.detail !== undefined ? { detail: tidyText(error.detail) } : {}),
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined || !hasStack ? {} : { stack: tidyText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: tidy(!hasStack && error.cause instanceof Error ? new Told(error.cause) : error.cause, depth + 1) }),
  };
}

function tidyText(text: string): string {
  const cut = text.length > bounds.textLengthMax ? `${text.slice(0, bounds.textLengthMax)}…` : text;
  return cut
    .replace(/([?&]code=|\b(?:access_token|token|client_secret|code_verifier|password)=)[^&#\s"]*/gi, '$1[hidden]')
    .replace(/\b([a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@"]*):[^\s/@"]+@/gi, '$1:[hidden]@')
    .replace(/\b(Bearer) [\w.~+/-]+=*/g, '$1 [hidden]');
}

/** A terminal obeys control characters: a stranger's text must not be able to write them there. */
const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/g, '�');
