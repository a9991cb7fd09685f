/**
 * Faults at named points of the real program, from outside.
 *
 * Production code has no test switches. A test loads this file before the program
 * (`node --import`); it wraps what every way of the program leads through, `pg`'s query and Node's
 * HTTP answers, and waits for a message of the test. Armed with a {@link Fault}, the process kills
 * itself with SIGKILL when it comes to that point, in the middle of the statement before or after
 * it: as hard as a power failure for everything in memory, at a moment that random kills hit once
 * in a thousand.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** Where the process is to die. */
export type Fault =
  /** When the head of a successful answer to `method` `path` (a prefix) would be written. */
  | { readonly at: 'answer'; readonly method: string; readonly path: string; readonly nth?: number }
  /** Before a statement is sent, or when its answer has come. `sql` is a regular expression; `application` is a part of the connection's name or settings. */
  | { readonly at: 'before-sql' | 'after-sql'; readonly sql: string; readonly application?: string; readonly nth?: number };

let armed: Fault | undefined;
let seen = 0;

process.on('message', (fault: Fault) => {
  armed = fault;
  seen = 0;
  process.send?.({ armed: true });
});
// The way to the test must not keep the program alive.
process.channel?.unref();

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal is not always the very next thing that happens.
  for (;;);
}

function reach(fault: Fault): void {
  if (++seen >= (fault.nth ?? 1)) die();
}

const { writeHead } = ServerResponse.prototype;
ServerResponse.prototype.writeHead = function (this: ServerResponse & { req: IncomingMessage & ClientRequest }, ...args: unknown[]) {
  const status = Number(args[0]);
  if (armed?.at === 'answer' && status < 300 && this.req.method === armed.method && (this.req.url ?? '').startsWith(armed.path)) reach(armed);
  return (writeHead as (...all: unknown[]) => ServerResponse).apply(this, args);
} as typeof writeHead;

interface Connection {
  readonly connectionParameters?: { readonly application_name?: string; readonly options?: string };
}
type Query = (this: Connection, config: string | { readonly text?: string }, ...rest: unknown[]) => unknown;

// The package belongs to libs/postgres, and this is the copy that it has.
const { Client } = createRequire(join(import.meta.dirname, '../../postgres/package.json'))('pg') as { readonly Client: { readonly prototype: { query: Query } } };
const { query } = Client.prototype;
Client.prototype.query = function (config, ...rest) {
  const fault = armed;
  if (fault === undefined || fault.at === 'answer') return query.call(this, config, ...rest);
  const text = typeof config === 'string' ? config : (config.text ?? '');
  const { application_name: name = '', options = '' } = this.connectionParameters ?? {};
  if (!new RegExp(fault.sql, 'is').test(text) || !`${name} ${options}`.includes(fault.application ?? '')) return query.call(this, config, ...rest);
  if (fault.at === 'before-sql') reach(fault);
  const answer = query.call(this, config, ...rest);
  if (fault.at === 'after-sql') void (answer as Promise<unknown>).then(() => reach(fault), () => undefined);
  return answer;
};
