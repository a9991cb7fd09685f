/** Every bound of this library, with its unit in its name; the relations between them are asserted when it is loaded. */
import { assertLimits } from '@dmb/runtime';

/** Bounds of connections and statements. */
export const databaseLimits = {
  /** Reaching the server and logging in, or waiting for a free connection of the pool. */
  connectTimeoutMs: 10_000,
  /** The server ends a statement that takes longer. */
  statementTimeoutMs: 15_000,
  /** We give up on a connection that has not answered for this long: the server or the way to it is gone. */
  answerTimeoutMs: 20_000,
  /** The server ends a transaction that has not sent anything for this long. */
  idleInTransactionTimeoutMs: 30_000,
  /** Who finds this many others waiting for a connection is refused at once. */
  waitersMax: 2_000,
  /** An unused connection of the pool is closed after this. */
  idleConnectionMs: 60_000,
  /** TCP keep-alive starts after this much silence. */
  keepAliveDelayMs: 10_000,
  /** Closing waits this long for running statements, then cuts them off. */
  closeTimeoutMs: 10_000,
} as const;

/** Bounds of COPY. */
export const copyLimits = {
  /** Rows are sent in blocks of about this size. */
  blockBytes: 65_536,
} as const;

/** Bounds of installing and migrating. */
export const migrationLimits = {
  /** Waiting for another process that installs or migrates the same database. */
  turnTimeoutMs: 120_000,
  /** A migration waits at most this long for a lock on a table; whoever stands behind it in the queue waits too. */
  lockTimeoutMs: 5_000,
  /** One migration. */
  statementTimeoutMs: 600_000,
  /** Trying again when two databases of one server make the same role at the same moment. */
  roleAttemptsMax: 20,
  roleRetryDelayMs: 50,
} as const;

/** Bounds of the embedded server. */
export const embeddedLimits = {
  connectionsMax: 120,
  sharedBuffersMegabytes: 64,
  /** Length of a Unix socket's path that every system takes (Linux 108, macOS 104, with the closing zero byte). */
  socketPathBytesMax: 103,
  /** Making a new data folder. */
  initTimeoutMs: 120_000,
  /** From start to ready. Recovery after a crash reads the whole log since the last checkpoint. */
  readyTimeoutMs: 600_000,
  /** A start that takes longer than this is told of. */
  tellAfterMs: 5_000,
  /** How often the start is looked at. */
  readyPollMs: 20,
  /** Between SIGINT (end transactions, write a checkpoint) and SIGQUIT (leave at once, recover at the next start). */
  stopTimeoutMs: 30_000,
  /** Between SIGQUIT and SIGKILL. */
  quitTimeoutMs: 5_000,
  /** First pause before Postgres is started again after it died by itself; doubles up to the next. */
  restartDelayMs: 200,
  restartDelayMsMax: 10_000,
  /** A server that ran for this long has recovered: the pause begins anew. */
  restartForgetMs: 60_000,
  /** Last lines of the server's own log that are kept for error messages. */
  logLinesMax: 50,
  logLineLengthMax: 1_000,
} as const;

/** Bounds of the outbox. */
export const outboxLimits = {
  /** References in one row: the size of a batch of the batcher. */
  refsPerRowMax: 1_000,
} as const;

assertLimits('libs/postgres', {
  'statementTimeoutMs < answerTimeoutMs': databaseLimits.statementTimeoutMs < databaseLimits.answerTimeoutMs,
  'answerTimeoutMs < idleInTransactionTimeoutMs': databaseLimits.answerTimeoutMs < databaseLimits.idleInTransactionTimeoutMs,
  'lockTimeoutMs < statementTimeoutMs of a migration': migrationLimits.lockTimeoutMs < migrationLimits.statementTimeoutMs,
  'restartDelayMs < restartDelayMsMax < restartForgetMs':
    embeddedLimits.restartDelayMs < embeddedLimits.restartDelayMsMax && embeddedLimits.restartDelayMsMax < embeddedLimits.restartForgetMs,
});
