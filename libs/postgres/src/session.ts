/**
 * One connection, used by one caller at a time: the only place where a statement meets pg.
 *
 * Statements on one session run one after the other in the order of the calls, whatever the caller
 * awaits (pg's own queueing of concurrent calls is on its way out). A session whose transaction has
 * ended refuses further statements: a forgotten `await` would otherwise run inside the transaction
 * of whoever gets the connection next.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { copyInSql, encodeRows, sendBlocks, type CopyRows } from './copy.ts';
import { DatabaseError, endsConnection, toDatabaseError } from './errors.ts';
import { toParameters } from './values.ts';

/** SQL that is parsed once per connection and then only executed. Its text must be a constant of the program. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

const statements = new Map<string, Statement>();

/** A {@link Statement}, named by its text. Cheap when asked again, so that it may stand where it is used. */
export function statement(text: string): Statement {
  const known = statements.get(text);
  if (known !== undefined) return known;
  const made = { name: `dmb_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`, text };
  statements.set(text, made);
  return made;
}

/** Something that runs SQL. int8 comes as bigint, int2 and int4 as number, bytea as Buffer, timestamptz as Date, jsonb as its value, uuid as string. */
export interface Queryable {
  /**
   * Rows of a statement.
   * @throws {DatabaseError}
   */
  query<R extends object = Record<string, unknown>>(sql: string | Statement, params?: readonly unknown[]): Promise<R[]>;
  /**
   * Number of rows that a statement changed.
   * @throws {DatabaseError}
   */
  execute(sql: string | Statement, params?: readonly unknown[]): Promise<number>;
}

/** How a transaction begins. Read committed unless told otherwise. */
export interface TransactionOptions {
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable';
  readonly readOnly?: boolean;
}

/** A running transaction on one database. It ends when the function it was given to resolves or rejects. */
export interface Transaction extends Queryable {
  /** Of the database, as in {@link Database.index}. */
  readonly index: number;
  /** Runs a part that may fail by itself: if `work` rejects, only its statements are undone. */
  savepoint<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Writes rows by COPY; how many.
   * @throws {DatabaseError} then none was written
   */
  copyIn(rows: CopyRows): Promise<number>;
  /**
   * Gives what `COPY … TO STDOUT` says, in blocks, to `take`, and waits for it; its result is the answer.
   * No statement of this transaction runs meanwhile. Blocks end anywhere, also within a row.
   */
  copyOut<T>(sql: string, take: (blocks: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T>;
  /** Takes blocks of {@link Transaction.copyOut} in: `sql` is a `COPY … FROM STDIN`. How many rows. */
  copyBlocks(sql: string, blocks: AsyncIterable<Uint8Array>): Promise<number>;
}

/** A {@link Queryable} on one pg client. */
export class Session implements Queryable {
  readonly #client: pg.ClientBase;
  #last: Promise<unknown> = Promise.resolve();
  #ended = false;
  /** Set when the connection cannot be used any more. */
  broken: DatabaseError | undefined;

  constructor(client: pg.ClientBase) {
    this.#client = client;
  }

  async query<R extends object = Record<string, unknown>>(sql: string | Statement, params: readonly unknown[] = []): Promise<R[]> {
    return (await this.run(sql, params)).rows as R[];
  }

  async execute(sql: string | Statement, params: readonly unknown[] = []): Promise<number> {
    return (await this.run(sql, params)).rowCount ?? 0;
  }

  async run(sql: string | Statement, params: readonly unknown[] = []): Promise<pg.QueryResult> {
    const values = toParameters(params);
    const config = typeof sql === 'string' ? { text: sql, values } : { name: sql.name, text: sql.text, values };
    return await this.#next(() => this.#client.query(config));
  }

  /** COPY from us into the database. */
  async copyFrom(sql: string, blocks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<number> {
    return await this.#next(async () => {
      const into = this.#client.query(copyFrom(sql));
      await sendBlocks(blocks, into);
      return into.rowCount;
    });
  }

  /** COPY from the database to us. */
  async copyTo<T>(sql: string, take: (blocks: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T> {
    return await this.#next(async () => {
      let isRead = false;
      const blocks = this.#client.query(copyTo(sql));
      try {
        blocks.once('end', () => (isRead = true));
        // Who reads hears of it; after that nobody does.
        blocks.on('error', () => undefined);
        return await take(blocks);
      } finally {
        // pg hangs the end of its time limit here; these streams never call it, and the limit would end a later statement.
        (blocks as { callback?: () => void }).callback?.();
        // What was not read would be taken for the answer to the next statement.
        if (!isRead) this.broken ??= new DatabaseError('connection-lost', 'a COPY was not read to its end');
      }
    });
  }

  async #next<T>(use: () => Promise<T>): Promise<T> {
    const result = this.#last.then(async () => {
      if (this.#ended) throw new DatabaseError('other', 'a statement came after the end of its transaction: an await is missing');
      if (this.broken !== undefined) throw this.broken;
      try {
        return await use();
      } catch (error) {
        const mapped = toDatabaseError(error);
        if (endsConnection(mapped)) this.broken = mapped;
        throw mapped;
      }
    });
    this.#last = result.catch(() => undefined);
    return await result;
  }

  /** Refuses what comes from now on. */
  end(): void {
    this.#ended = true;
  }
}

class OpenTransaction implements Transaction {
  readonly index: number;
  readonly #session: Session;
  #savepoints = 0;

  constructor(session: Session, index: number) {
    this.#session = session;
    this.index = index;
  }

  query<R extends object = Record<string, unknown>>(sql: string | Statement, params?: readonly unknown[]): Promise<R[]> {
    return this.#session.query<R>(sql, params);
  }

  execute(sql: string | Statement, params?: readonly unknown[]): Promise<number> {
    return this.#session.execute(sql, params);
  }

  copyIn(rows: CopyRows): Promise<number> {
    return this.#session.copyFrom(copyInSql(rows), encodeRows(rows));
  }

  copyOut<T>(sql: string, take: (blocks: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T> {
    return this.#session.copyTo(sql, take);
  }

  copyBlocks(sql: string, blocks: AsyncIterable<Uint8Array>): Promise<number> {
    return this.#session.copyFrom(sql, blocks);
  }

  async savepoint<T>(work: () => Promise<T>): Promise<T> {
    const name = `part_${++this.#savepoints}`;
    await this.#session.run(`SAVEPOINT ${name}`);
    try {
      const result = await work();
      await this.#session.run(`RELEASE SAVEPOINT ${name}`);
      return result;
    } catch (error) {
      // If even that fails, COMMIT answers with ROLLBACK.
      await this.#session.run(`ROLLBACK TO SAVEPOINT ${name}`).catch(() => undefined);
      throw error;
    }
  }
}

/**
 * BEGIN, `work`, COMMIT on a connection that nobody else uses; ROLLBACK when `work` rejects.
 * @throws {DatabaseError} `connection-lost` from COMMIT means that nobody knows whether it happened
 */
export async function runTransaction<T>(client: pg.ClientBase, index: number, work: (tx: Transaction) => Promise<T>, options: TransactionOptions, broke: (error: DatabaseError) => void): Promise<T> {
  const control = new Session(client);
  const session = new Session(client);
  const { isolation = 'read committed', readOnly = false } = options;
  try {
    await control.run(`BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}${readOnly ? ' READ ONLY' : ''}`);
    const result = await work(new OpenTransaction(session, index));
    session.end();
    const commit = await control.run('COMMIT');
    // A transaction in which a statement failed answers COMMIT with ROLLBACK and no error.
    if (commit.command !== 'COMMIT') throw new DatabaseError('other', 'the transaction was rolled back: an error of one of its statements was swallowed');
    return result;
  } catch (error) {
    session.end();
    if (session.broken === undefined && control.broken === undefined) await control.run('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    const broken = control.broken ?? session.broken;
    if (broken !== undefined) broke(broken);
  }
}
