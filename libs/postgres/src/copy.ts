/**
 * COPY: many rows at once, in and out.
 *
 * A row by COPY costs a fraction of a row by INSERT, because nothing is parsed, planned or answered
 * per row. Rows travel in the text form, which is the same in every version of Postgres: NULL is `\N`,
 * columns end with a tab, rows with a newline, and those three and the backslash are escaped. Rows are
 * encoded while they are asked for, in blocks of {@link copyLimits}.blockBytes, and the next block is not
 * made before the connection has taken the one before it: memory stays small however many rows there are.
 *
 * A COPY is one statement: it writes all of its rows or none, and it is bound to the statement timeout
 * of its session. Who has very many rows makes several.
 */
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { copyLimits } from './limits.ts';

/** What a column may hold. Bytes are bytea; an array is an array of Postgres; for jsonb pass `json(value)`. */
export type CopyValue = string | number | bigint | boolean | Date | Uint8Array | null | readonly (string | number | bigint | null)[];

/** Rows for one table, in the order of the columns. */
export interface CopyRows {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: Iterable<readonly CopyValue[]>;
}

/** The statement that takes these rows in. Names are constants of the program. */
export function copyInSql({ table, columns }: Pick<CopyRows, 'table' | 'columns'>): string {
  return `COPY ${table} (${columns.join(', ')}) FROM STDIN`;
}

/** Rows as blocks of COPY's text form. @throws {TypeError} for a row with a missing or undefined column */
export function* encodeRows({ table, columns, rows }: CopyRows): Generator<Buffer> {
  let block = '';
  for (const row of rows) {
    if (row.length !== columns.length) throw new TypeError(`a row for ${table} has ${row.length} columns, not ${columns.length}`);
    for (let index = 0; index < row.length; index++) block += (index === 0 ? '' : '\t') + encodeValue(row[index], columns[index]);
    block += '\n';
    if (block.length >= copyLimits.blockBytes) {
      yield Buffer.from(block);
      block = '';
    }
  }
  if (block !== '') yield Buffer.from(block);
}

/** Sends blocks into a COPY that was begun; resolves when the server has taken them all. */
export async function sendBlocks(blocks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, into: Writable): Promise<void> {
  await pipeline(Readable.from(blocks, { objectMode: true }), into);
}

function encodeValue(value: CopyValue | undefined, column: string | undefined): string {
  switch (typeof value) {
    case 'string':
      return escape(value);
    case 'number':
    case 'bigint':
      return String(value);
    case 'boolean':
      return value ? 't' : 'f';
    case 'object':
      if (value === null) return '\\N';
      if (value instanceof Date) return value.toISOString();
      if (value instanceof Uint8Array) return `\\\\x${Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex')}`;
      return escape(arrayText(value));
    default:
      throw new TypeError(`the column ${column ?? ''} is undefined; give null where NULL is meant`);
  }
}

const special = /[\\\t\n\r]/;
const specials = /[\\\t\n\r]/g;
const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

function escape(text: string): string {
  // Most texts have nothing to escape, and asking is cheaper than replacing.
  return special.test(text) ? text.replace(specials, (character) => escapes[character] ?? character) : text;
}

function arrayText(values: readonly (string | number | bigint | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : typeof value === 'string' ? `"${value.replace(/["\\]/g, '\\$&')}"` : String(value))).join(',')}}`;
}
