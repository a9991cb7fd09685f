/**
 * The append port: the only way in which an entry enters a log of ours.
 *
 * An append goes to a lane by its shard (lane.ts tells what happens there), so that a log has one writer
 * in this process. It resolves after the commit: that commit is the one point from which an entry
 * is durable; the event log, timelines and hashes can all be made again from it.
 *
 * Keys that have expired are deleted once an hour, a bounded number at a time; until then they
 * still answer.
 */
import type { IdSource } from '@dmb/protocol';
import type { Database, Databases } from '@dmb/postgres';
import { AppError, type Background } from '@dmb/runtime';
import { BODY_BYTES_MAX, ENVELOPE_BYTES_MAX } from '@dmb/protocol';
import type { Appended, AppendRequest } from '../domain/model.ts';
import { appendLimits } from '../limits.ts';
import { appendMetrics } from '../metrics.ts';
import { Lane } from './lane.ts';

/** What an appender needs. */
export interface AppenderOptions {
  readonly databases: Pick<Databases, 'all' | 'at'>;
  readonly ids: IdSource;
  /** Connections for appending, per database. */
  readonly lanes: number;
  /** A hint after each commit, for the event log. */
  readonly committed: (databaseIndex: number, relay: number) => void;
  /** Unix milliseconds. */
  readonly now?: () => number;
  /** How long turns are taken at a log after a lost race; 0: never, numbers alone decide. */
  readonly contendedMs?: number;
}

export class Appender {
  readonly #databases: AppenderOptions['databases'];
  readonly #lanes: ReadonlyMap<Database, readonly Lane[]>;
  readonly #stopObserving: () => void;
  #closing = false;

  constructor({ databases, ids, lanes, committed, now = Date.now, contendedMs = appendLimits.contendedMs }: AppenderOptions) {
    this.#databases = databases;
    const lanesOf = (database: Database): Lane[] =>
      Array.from({ length: lanes }, () => new Lane({ database, ids, metrics: appendMetrics, now, contendedMs, committed: (relay) => committed(database.index, relay) }));
    this.#lanes = new Map(databases.all.map((database) => [database, lanesOf(database)]));
    const all = [...this.#lanes.values()].flat();
    this.#stopObserving = appendMetrics.observe({ waiting: () => all.reduce((total, { waiting }) => total + waiting, 0), clockAheadMs: () => this.#clockAheadMs });
  }

  /**
   * Appends an entry; resolves after its commit.
   * @throws AppError what the effect's check threw; `unavailable` on back-pressure, a full disk, a database away
   */
  async append(request: AppendRequest): Promise<Appended> {
    if (this.#closing) throw new AppError('unavailable', undefined, { detail: 'appending has stopped' });
    checkRequest(request);
    const lanes = this.#lanes.get(this.#databases.at(request.log.shard)) ?? [];
    const lane = lanes[request.log.shard % lanes.length];
    if (lane === undefined) throw new AppError('bug', undefined, { detail: 'no lane' });
    return await lane.append(request);
  }

  /** Why no ids are drawn now, for readiness; undefined when they are. Asks the database only while the clock was found to be ahead. */
  async unready(): Promise<string | undefined> {
    const lanes = [...this.#lanes.values()].flat();
    await Promise.all(lanes.map((lane) => (lane.clockAheadMs > appendLimits.clockAheadMsMax ? lane.compareClocks() : undefined)));
    if (lanes.some(({ isRefused }) => isRefused)) return 'the database took no entries a moment ago';
    const aheadMs = this.#clockAheadMs;
    return aheadMs > appendLimits.clockAheadMsMax ? `the clock of this process is ${aheadMs} ms ahead of the database's` : undefined;
  }

  get #clockAheadMs(): number {
    return Math.max(0, ...[...this.#lanes.values()].flat().map(({ clockAheadMs }) => clockAheadMs));
  }

  /** Deletes expired keys once an hour. */
  startCleaning(background: Background): void {
    background.every('deleting expired idempotency keys', { intervalMs: appendLimits.expiredKeysIntervalMs }, async (signal) => {
      for (const database of this.#databases.all) {
        while (!signal.aborted && (await deleteExpiredKeys(database)) === appendLimits.expiredKeysMax);
      }
    });
  }

  /** Takes nothing more, commits what was taken in, lets go. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopObserving();
    await Promise.all([...this.#lanes.values()].flat().map((lane) => lane.close()));
  }
}

/** Deletes a bounded number of expired keys of one database; how many. */
export async function deleteExpiredKeys(database: Database): Promise<number> {
  return await database.execute('DELETE FROM append_key WHERE ctid = ANY (ARRAY(SELECT ctid FROM append_key WHERE expires < now() ORDER BY expires LIMIT $1))', [appendLimits.expiredKeysMax]);
}

function checkRequest({ envelope, body, key }: AppendRequest): void {
  if (envelope.length > ENVELOPE_BYTES_MAX || body.length > BODY_BYTES_MAX) throw new AppError('invalid', 'This is too long', { detail: `${envelope.length} + ${body.length} bytes` });
  if (key !== undefined && (key.key.length > appendLimits.keyCharsMax || key.key.includes('\0') || !key.key.isWellFormed())) {
    throw new AppError('invalid', 'The Idempotency-Key is not valid');
  }
}
