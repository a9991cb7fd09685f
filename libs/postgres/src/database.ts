/**
 * One database of the list: a pool of connections that act as one service, and connections that
 * somebody owns for long (a lane of the batcher, a relay).
 *
 * The role and the search path of the service are set when the connection starts (`options`), so
 * there is no moment at which SQL runs as anybody else. Every wait is bounded: for a connection
 * and for login, for a statement (by the server), for an answer at all (by us), for the next
 * statement of a transaction. A server that dies breaks connections at any moment; none of their
 * `error` events is ever without a listener, and a broken connection never returns to the pool.
 */
import pg from 'pg';
import { DatabaseError, endsConnection, toDatabaseError } from './errors.ts';
import { databaseLimits } from './limits.ts';
import { runTransaction, Session, type Queryable, type Statement, type Transaction, type TransactionOptions } from './session.ts';
import { typeParsers } from './values.ts';

/** One connection with one owner. */
export interface DedicatedConnection extends Queryable {
  readonly index: number;
  /** Set once the connection is gone; every statement then fails with it. */
  readonly lost: DatabaseError | undefined;
  transaction<T>(work: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Lets go; `onLost` is not called. */
  close(): Promise<void>;
}

/** One database of the list. */
export interface Database extends Queryable {
  /** Position in the list, from 0. */
  readonly index: number;
  /** Runs `work` in a transaction on one connection; commits when it resolves, rolls back when it rejects. */
  transaction<T>(work: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** A connection of its own, beside the pool. `onLost` is called once if it breaks; the owner then asks for another one. */
  dedicated(onLost: (error: DatabaseError) => void): Promise<DedicatedConnection>;
  /**
   * Calls `heard` for each notification to a channel, on a connection of its own. Nothing is heard after `onLost`: the owner then
   * listens again, and looks for what was told meanwhile.
   */
  listen(channel: string, heard: () => void, onLost: (error: DatabaseError) => void): Promise<{ close(): Promise<void> }>;
  /** The clock of the database server. */
  now(): Promise<Date>;
  /** Connections of the pool, for telemetry. */
  statistics(): { readonly open: number; readonly idle: number; readonly waiting: number; readonly dedicated: number };
}

/** Who connects, and as what. */
export interface ConnectOptions {
  readonly url: string;
  readonly applicationName: string;
  /** Settings of the session, as of its first moment. */
  readonly settings?: Readonly<Record<string, string | number>>;
  readonly statementTimeoutMs?: number;
  readonly answerTimeoutMs?: number;
}

/** What pg needs to connect. Options that the URL itself has stay in force unless they are ours. */
export function clientConfig({ url, applicationName, settings = {}, statementTimeoutMs, answerTimeoutMs }: ConnectOptions): pg.ClientConfig {
  const all = {
    timezone: 'UTC',
    // Our statements are short: compiling them costs more than it saves.
    jit: 'off',
    statement_timeout: statementTimeoutMs ?? databaseLimits.statementTimeoutMs,
    idle_in_transaction_session_timeout: databaseLimits.idleInTransactionTimeoutMs,
    ...settings,
  };
  const ours = Object.entries(all).map(([name, value]) => `-c ${name}=${String(value).replace(/([\\ ])/g, '\\$1')}`);
  const [address = '', query = ''] = url.split('?', 2);
  const parameters = new URLSearchParams(query);
  const options = [parameters.get('options'), ...ours].filter((part) => part !== null).join(' ');
  // pg lets the URL win over its other settings.
  parameters.delete('options');
  parameters.delete('application_name');
  return {
    connectionString: parameters.size === 0 ? address : `${address}?${parameters.toString()}`,
    application_name: applicationName,
    options,
    types: typeParsers,
    connectionTimeoutMillis: databaseLimits.connectTimeoutMs,
    query_timeout: answerTimeoutMs ?? databaseLimits.answerTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: databaseLimits.keepAliveDelayMs,
  };
}

/** A connection for setup work, as the login user itself. */
export type SetupSession = Pick<DedicatedConnection, 'query' | 'execute' | 'transaction'>;

/**
 * A connection for a while, closed when `work` has ended.
 * @throws {DatabaseError}
 */
export async function withConnection<T>(options: ConnectOptions, work: (session: SetupSession) => Promise<T>): Promise<T> {
  const connection = await Dedicated.open(clientConfig(options), 0, () => undefined);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

class Dedicated implements DedicatedConnection {
  readonly index: number;
  readonly #client: pg.Client;
  readonly #session: Session;
  readonly #onGone: (error: DatabaseError, byUs: boolean) => void;
  #last: Promise<unknown> = Promise.resolve();
  lost: DatabaseError | undefined;

  private constructor(client: pg.Client, index: number, onGone: (error: DatabaseError, byUs: boolean) => void) {
    this.#client = client;
    this.#session = new Session(client);
    this.index = index;
    this.#onGone = onGone;
    client.on('error', (error) => this.#lose(toDatabaseError(error)));
    client.on('end', () => this.#lose(new DatabaseError('connection-lost', 'the server closed the connection')));
  }

  static async open(config: pg.ClientConfig, index: number, onGone: (error: DatabaseError, byUs: boolean) => void): Promise<Dedicated> {
    const client = new pg.Client(config);
    // Until it is connected, errors come by the promise as well.
    const ignore = () => undefined;
    client.on('error', ignore);
    try {
      await client.connect();
    } catch (error) {
      void client.end().catch(ignore);
      throw toDatabaseError(error, true);
    }
    return new Dedicated(client, index, onGone);
  }

  async query<R extends object = Record<string, unknown>>(sql: string | Statement, params?: readonly unknown[]): Promise<R[]> {
    return await this.#use(() => this.#session.query<R>(sql, params));
  }

  async execute(sql: string | Statement, params?: readonly unknown[]): Promise<number> {
    return await this.#use(() => this.#session.execute(sql, params));
  }

  async transaction<T>(work: (tx: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    return await this.#use(() => runTransaction(this.#client, this.index, work, options, () => undefined));
  }

  async listen(channel: string, heard: () => void): Promise<void> {
    this.#client.on('notification', (notification) => {
      if (notification.channel === channel) heard();
    });
    await this.execute(`LISTEN ${pg.escapeIdentifier(channel)}`);
  }

  async close(): Promise<void> {
    this.#lose(new DatabaseError('connection-lost', 'the connection was closed'), true);
    await this.#client.end().catch(() => undefined);
  }

  /** One use after the other: a statement must not slip into a transaction. */
  #use<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(async () => {
      if (this.lost !== undefined) throw this.lost;
      try {
        return await work();
      } catch (error) {
        if (error instanceof DatabaseError && endsConnection(error)) this.#lose(error);
        throw error;
      }
    });
    this.#last = result.catch(() => undefined);
    return result;
  }

  #lose(error: DatabaseError, byUs = false): void {
    if (this.lost !== undefined) return;
    this.lost = error;
    this.#session.broken = error;
    void this.#client.end().catch(() => undefined);
    this.#onGone(error, byUs);
  }
}

/** A pool of connections to one database. */
export class PooledDatabase implements Database {
  readonly index: number;
  readonly #config: pg.ClientConfig;
  readonly #pool: pg.Pool;
  readonly #clients = new Set<pg.PoolClient>();
  readonly #dedicated = new Set<DedicatedConnection>();
  #closed: Promise<void> | undefined;

  constructor(index: number, connect: ConnectOptions, connectionsMax: number) {
    this.index = index;
    this.#config = clientConfig(connect);
    this.#pool = new pg.Pool({ ...this.#config, max: connectionsMax, idleTimeoutMillis: databaseLimits.idleConnectionMs });
    // An idle connection that breaks has left the pool already; there is nobody to tell.
    this.#pool.on('error', () => undefined);
    this.#pool.on('connect', (client) => {
      this.#clients.add(client);
      // The pool listens while a connection is idle only.
      client.on('error', () => undefined);
    });
    this.#pool.on('remove', (client) => this.#clients.delete(client));
  }

  async query<R extends object = Record<string, unknown>>(sql: string | Statement, params?: readonly unknown[]): Promise<R[]> {
    return await this.#withSession((session) => session.query<R>(sql, params));
  }

  async execute(sql: string | Statement, params?: readonly unknown[]): Promise<number> {
    return await this.#withSession((session) => session.execute(sql, params));
  }

  async transaction<T>(work: (tx: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const client = await this.#connect();
    let broken: DatabaseError | undefined;
    try {
      return await runTransaction(client, this.index, work, options, (error) => {
        broken = error;
      });
    } finally {
      client.release(broken);
    }
  }

  async dedicated(onLost: (error: DatabaseError) => void): Promise<DedicatedConnection> {
    return await this.#own(onLost);
  }

  async #own(onLost: (error: DatabaseError) => void): Promise<Dedicated> {
    const connection: Dedicated = await Dedicated.open(this.#config, this.index, (error, byUs) => {
      this.#dedicated.delete(connection);
      if (!byUs) onLost(error);
    });
    this.#dedicated.add(connection);
    return connection;
  }

  async listen(channel: string, heard: () => void, onLost: (error: DatabaseError) => void): Promise<{ close(): Promise<void> }> {
    const connection = await this.#own(onLost);
    await connection.listen(channel, heard);
    return connection;
  }

  async now(): Promise<Date> {
    const [row] = await this.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    if (row === undefined) throw new DatabaseError('other', 'no clock');
    return row.now;
  }

  statistics(): ReturnType<Database['statistics']> {
    const { totalCount, idleCount, waitingCount } = this.#pool;
    return { open: totalCount, idle: idleCount, waiting: waitingCount, dedicated: this.#dedicated.size };
  }

  /** Waits for running statements, not for ever, then closes every connection. Again is the same. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#dedicated].map((connection) => connection.close()));
    const cut = setTimeout(() => {
      for (const client of this.#clients) void (client as pg.PoolClient & pg.Client).end().catch(() => undefined);
    }, databaseLimits.closeTimeoutMs);
    try {
      await this.#pool.end();
    } finally {
      clearTimeout(cut);
    }
  }

  async #withSession<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    const session = new Session(client);
    try {
      return await work(session);
    } finally {
      session.end();
      client.release(session.broken);
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    if (this.#pool.waitingCount >= databaseLimits.waitersMax) throw new DatabaseError('no-room', `${databaseLimits.waitersMax} others wait for a connection`);
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw toDatabaseError(error, true);
    }
  }
}
