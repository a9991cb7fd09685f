/**
 * What can go wrong with a database: a small closed set, told from SQLSTATE and from the ways in
 * which a connection ends. A {@link DatabaseError} is an `AppError`: what passes by itself (no
 * connection, no room, too slow) is `unavailable`, so an unhandled one becomes a clear 503; all
 * else is a `bug` unless somebody who knows better catches it by one of the predicates.
 *
 * SQL and parameters never appear in the public message. What Postgres says about a row
 * (`Key (handle)=(…) already exists`) stays in `detail`, for our log.
 */
import pg from 'pg';
import { AppError, type AppErrorKind } from '@dmb/runtime';

/** Why a statement failed. */
export type DatabaseFault =
  /** The connection ended. If that was during COMMIT, nobody knows whether it happened. */
  | 'connection-lost'
  /** No connection could be made, or the server takes none now (starting, stopping, standby). */
  | 'unreachable'
  /** Disk full, out of memory, too many connections. */
  | 'no-room'
  /** A time limit of ours or the server's; for a statement in a transaction, it was rolled back. */
  | 'timeout'
  | 'serialization'
  | 'deadlock'
  | 'unique'
  /** Check, not-null, foreign key or exclusion constraint. */
  | 'constraint'
  /** A value that the type cannot hold: NUL in a text, a number out of range. */
  | 'value'
  | 'permission'
  | 'other';

const kinds: Readonly<Record<DatabaseFault, AppErrorKind>> = {
  'connection-lost': 'unavailable',
  unreachable: 'unavailable',
  'no-room': 'unavailable',
  timeout: 'unavailable',
  serialization: 'unavailable',
  deadlock: 'unavailable',
  unique: 'bug',
  constraint: 'bug',
  value: 'bug',
  permission: 'bug',
  other: 'bug',
};

/** A statement or connection that failed. */
export class DatabaseError extends AppError {
  readonly fault: DatabaseFault;
  /** Five characters, when Postgres itself answered. */
  readonly sqlState: string | undefined;
  /** Name of the constraint that was violated. */
  readonly constraint: string | undefined;

  constructor(fault: DatabaseFault, detail: string, options: { readonly cause?: unknown; readonly sqlState?: string | undefined; readonly constraint?: string | undefined } = {}) {
    super(kinds[fault], undefined, { detail, cause: options.cause });
    this.fault = fault;
    this.sqlState = options.sqlState;
    this.constraint = options.constraint;
  }
}

/** Whether a unique or primary key was violated, of that name if one is given. */
export function isUniqueViolation(error: unknown, constraint?: string): boolean {
  return isFault(error, 'unique') && (constraint === undefined || error.constraint === constraint);
}

/** Whether a check, not-null, foreign key or exclusion constraint was violated, of that name if one is given. */
export function isConstraintViolation(error: unknown, constraint?: string): boolean {
  return isFault(error, 'constraint') && (constraint === undefined || error.constraint === constraint);
}

/** Whether the connection is gone or could not be made. After a lost one a COMMIT is indeterminate: ask again. */
export function isConnectionLost(error: unknown): boolean {
  return isFault(error, 'connection-lost') || isFault(error, 'unreachable');
}

/** Whether the server has no room: disk full, out of memory, too many connections. */
export function isDiskFull(error: unknown): boolean {
  return isFault(error, 'no-room');
}

/** Whether the same transaction may succeed when it is run again from its start. */
export function isTransactionConflict(error: unknown): boolean {
  return isFault(error, 'serialization') || isFault(error, 'deadlock');
}

/** Whether a time limit ended it. */
export function isTimeout(error: unknown): boolean {
  return isFault(error, 'timeout');
}

function isFault(error: unknown, fault: DatabaseFault): error is DatabaseError {
  return error instanceof DatabaseError && error.fault === fault;
}

/** What pg and the sockets below it throw, as a {@link DatabaseError}. `connecting` tells that no statement was sent yet. */
export function toDatabaseError(error: unknown, connecting = false): DatabaseError {
  if (error instanceof DatabaseError) return error;
  if (error instanceof pg.DatabaseError && error.code !== undefined) {
    // A migration changed the type of a prepared statement's rows: this connection prepares nothing any more, the next one does.
    const fault = /cached plan must not change result type/.test(error.message) ? 'connection-lost' : faultOf(error.code);
    const detail = [`${error.code} ${error.message}`, error.detail, error.where].filter((part) => part !== undefined).join('; ');
    return new DatabaseError(fault, detail, { cause: error, sqlState: error.code, constraint: error.constraint });
  }
  const message = error instanceof Error ? error.message : String(error);
  if (/timeout exceeded when trying to connect/.test(message)) return new DatabaseError('timeout', `no free connection: ${message}`, { cause: error });
  if (/read timeout/.test(message)) return new DatabaseError('connection-lost', `no answer: ${message}`, { cause: error });
  if (connecting) return new DatabaseError('unreachable', message, { cause: error });
  if (isOfSocket(error) || /terminated|not queryable|client was closed|end on the pool/i.test(message)) {
    return new DatabaseError('connection-lost', message, { cause: error });
  }
  return new DatabaseError('other', message, { cause: error });
}

const isOfSocket = (error: unknown): boolean => error instanceof Error && 'syscall' in error;

/** @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
function faultOf(sqlState: string): DatabaseFault {
  switch (sqlState) {
    case '57P01': // admin_shutdown
    case '57P02': // crash_shutdown
    case '57P05': // idle_session_timeout
    case '25P03': // idle_in_transaction_session_timeout
    case '25P04': // transaction_timeout
      return 'connection-lost';
    case '57P03': // cannot_connect_now
    case '25006': // read_only_sql_transaction: a standby after a failover
      return 'unreachable';
    case '57014': // query_canceled
    case '55P03': // lock_not_available
      return 'timeout';
    case '40001':
      return 'serialization';
    case '40P01':
      return 'deadlock';
    case '23505':
      return 'unique';
    case '42501':
      return 'permission';
    case '58030': // io_error
      return 'no-room';
  }
  if (sqlState.startsWith('08')) return 'connection-lost';
  if (sqlState.startsWith('53')) return 'no-room';
  if (sqlState.startsWith('23')) return 'constraint';
  if (sqlState.startsWith('22')) return 'value';
  if (sqlState.startsWith('28')) return 'permission';
  return 'other';
}

/** Whether the connection can be used after this error. */
export function endsConnection(error: DatabaseError): boolean {
  return error.fault === 'connection-lost' || error.fault === 'unreachable' || (error.sqlState ?? '').startsWith('57P');
}
