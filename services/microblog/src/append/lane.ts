/**
 * A lane of the batcher: one connection, one batch at a time.
 *
 * While a batch is being committed, appends collect; when it is done, they are the next batch. There is no
 * timer: alone, an append waits for nobody, and under load the batches grow by themselves. A full
 * batch that waits is made ready while the one before it is on its way, from the heads that will be
 * there if that one wins, so that the database does not wait for us; were they not, it is made
 * anew. The callers of a batch are told once the next one is on its way, for the same reason.
 *
 * A lane is the only writer of this process for its logs; lanes of other processes may write the same
 * logs at the same time, and then numbers decide:
 *
 *   number and id are drawn together, from the head that we believe in, anew at each attempt
 *   won      after the commit: the head moves, the caller gets number and id
 *   known    its key was used before: the caller gets what was made then
 *   lost     another writer was first: nothing of that log was written; the head is read again, and
 *            the row goes to the front of the queue
 *
 * Losing a batch of a thousand again and again would be most of the work where several processes write one
 * hot log. So whoever lost a race takes turns at that log for a second: an advisory lock, then the head, then the
 * statement, in one transaction. It is courtesy and decides nothing; numbers do, also against lanes that take no turns.
 * Turns are taken before any row is written, in one order, so that nobody waits in a circle.
 *
 * What can go wrong, and what then is true:
 *
 *   a key or an id that somebody else committed meanwhile, a deadlock
 *                        nothing was written; drawn and run again
 *   any other error of a statement
 *                        nothing was written; the batch is run in halves, until only the
 *                        guilty row is left, which gets the error
 *   no room, too slow    nothing was written; all rows of the batch get `unavailable`
 *   the connection ends  nobody knows whether the commit happened. All heads are forgotten, a new
 *                        connection is made, and the object ids are looked up: who is there is answered,
 *                        who is not is appended again. Should the old commit come through after we
 *                        looked, the unique object id refuses the second one, and we look again
 *   this process dies    callers got no answer; what was committed is in the log and in the outbox
 *
 * A row with an effect is a batch of its own: BEGIN; the statement; if it won the effect's check, then its
 * SQL; COMMIT. The entry holds the log from the statement on, so nothing that goes by the same log
 * can come between check and commit. Lost: rolled back and run again.
 *
 * Bounded: the queue by rows and bytes (one more is refused at once), a row by its patience and by
 * the number of clashes, a batch by rows and bytes, remembered heads by number.
 */
import { context, ROOT_CONTEXT, type Context } from '@opentelemetry/api';
import { LRUCache } from 'lru-cache';
import { producerHeaders } from '@dmb/event-log';
import { bytesToUuid, parseUuid, type IdSource, type LogId, type PostId } from '@dmb/protocol';
import { DatabaseError, isConnectionLost, isDiskFull, isTimeout, isTransactionConflict, isUniqueViolation, json, relayOf, statement, type Database, type DedicatedConnection, type Queryable } from '@dmb/postgres';
import { AppError, sleep } from '@dmb/runtime';
import { createHash } from 'node:crypto';
import type { Appended, AppendRequest } from '../domain/model.ts';
import { appendLimits } from '../limits.ts';
import type { AppendMetrics } from '../metrics.ts';
import { Heads, logKey, type Head, type Refusal } from './heads.ts';
import { appendSql, headersAt, toAnswers, toParameters, type AppendAnswer, type BatchRow } from './statement.ts';

/** One append that waits for its commit. */
interface Waiting {
  readonly request: AppendRequest;
  readonly scope: string | null;
  readonly bytes: number;
  readonly since: number;
  readonly trace: Context;
  clashes: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/** What a lane is made of. */
export interface LaneOptions {
  readonly database: Database;
  readonly ids: IdSource;
  readonly metrics: AppendMetrics;
  /** Right after a commit: the outbox has rows in this relay. */
  readonly committed: (relay: number) => void;
  readonly now: () => number;
  /** After a lost race, turns are taken at that log for this long. */
  readonly contendedMs: number;
}

/** Kept on the connection for small batches; larger ones are planned for their size, or joins would be guessed for a few rows. */
const keptAppend = statement(appendSql);

/** A batch that can be sent. */
interface Made {
  readonly rows: readonly Waiting[];
  readonly drawn: readonly BatchRow[];
  readonly parameters: readonly unknown[];
}

/** The rows of the statement's transaction that did not win; thrown to roll it back. */
class NotWon extends Error {
  readonly answer: AppendAnswer | undefined;
  constructor(answer: AppendAnswer | undefined) {
    super('not won');
    this.answer = answer;
  }
}

/** The newest id of a log is too far ahead of our clock to draw one above it. */
class ClockBehind extends Error {
  readonly byMs: number;
  constructor(byMs: number) {
    super('an id would be ahead of the clock');
    this.byMs = byMs;
  }
}

/** Waits for the turn at these logs, in one order for all, until the transaction ends. */
const turnSql = `SELECT pg_advisory_xact_lock(turn) FROM (SELECT DISTINCT hashtextextended('append ' || key, 0) AS turn FROM unnest($1::text[]) AS t(key) ORDER BY 1) turns`;

export class Lane {
  readonly #options: LaneOptions;
  readonly #heads = new Heads();
  /** Logs for which a race was lost, and until when we take turns at them. */
  readonly #contended = new LRUCache<string, number>({ max: appendLimits.contendedLogsMax });
  readonly #stopping = new AbortController();
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  #ready: Made | undefined;
  #running: Promise<void> | undefined;
  #connection: DedicatedConnection | undefined;
  #clockCheckedAt = Number.NEGATIVE_INFINITY;
  #clockAheadMs = 0;
  #refusedAt = Number.NEGATIVE_INFINITY;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Milliseconds by which our clock was ahead of the database's when it was compared last. */
  get clockAheadMs(): number {
    return this.#clockAheadMs;
  }

  /** Whether the database took nothing a moment ago. A while without a try counts as well again: somebody has to find out. */
  get isRefused(): boolean {
    return this.#options.now() - this.#refusedAt < appendLimits.refusedForMs;
  }

  /** Appends that wait for a commit. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Takes one in; resolves after its commit. */
  append(request: AppendRequest): Promise<Appended> {
    const bytes = request.envelope.length + request.body.length;
    if (this.#stopping.signal.aborted) return Promise.reject(new AppError('unavailable', undefined, { detail: 'the lane is closed' }));
    if (this.#queue.length >= appendLimits.queueRowsMax || this.#queuedBytes + bytes > appendLimits.queueBytesMax) {
      return Promise.reject(new AppError('unavailable', undefined, { detail: `${this.#queue.length} appends wait`, retryAfterSeconds: 1 }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ request, scope: scopeOf(request), bytes, since: this.#options.now(), trace: context.active(), clashes: 0, resolve, reject });
      this.#queuedBytes += bytes;
      this.#running ??= this.#run();
    });
  }

  /** Lets what was taken in be committed, for a while, and closes the connection. */
  async close(): Promise<void> {
    const limit = new AbortController();
    await Promise.race([this.#running, sleep(appendLimits.closeTimeoutMs, limit.signal)]);
    limit.abort();
    this.#stopping.abort();
    for (const waiting of this.#takeAll()) waiting.reject(new AppError('unavailable', undefined, { detail: 'the lane was closed' }));
    await this.#connection?.close();
  }

  async #run(): Promise<void> {
    // Collects what the same turn of the event loop brings.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#take();
      await context.with(batch[0]?.trace ?? ROOT_CONTEXT, () => this.#commit(batch));
    }
    this.#running = undefined;
  }

  #takeAll(): Waiting[] {
    const all = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    return all;
  }

  /** Takes the next batch from the queue. */
  #take(): Waiting[] {
    const { batch, rest } = this.#next();
    this.#queue = rest;
    for (const { bytes } of batch) this.#queuedBytes -= bytes;
    return batch;
  }

  /** The next batch, and what waits after it: one with an effect alone, otherwise in order up to the bounds; a second row of the same key stays for the one after. */
  #next(): { readonly batch: Waiting[]; readonly rest: Waiting[]; readonly isFull: boolean } {
    const [first] = this.#queue;
    if (first?.request.effect !== undefined) return { batch: [first], rest: this.#queue.slice(1), isFull: true };
    const batch: Waiting[] = [];
    const held: Waiting[] = [];
    const keys = new Set<string>();
    let bytes = 0;
    let looked = 0;
    let isFull = false;
    for (const waiting of this.#queue) {
      isFull = batch.length >= appendLimits.batchRowsMax || waiting.request.effect !== undefined || (batch.length > 0 && bytes + waiting.bytes > appendLimits.batchBytesMax);
      if (isFull) break;
      looked += 1;
      const key = waiting.request.key === undefined ? undefined : `${waiting.request.log.shard} ${waiting.scope} ${waiting.request.key.key}`;
      if (key !== undefined && keys.has(key)) {
        held.push(waiting);
        continue;
      }
      if (key !== undefined) keys.add(key);
      batch.push(waiting);
      bytes += waiting.bytes;
    }
    return { batch, rest: [...held, ...this.#queue.slice(looked)], isFull };
  }

  /** Brings a batch to its end: every row is answered, refused, or back at the front of the queue. */
  async #commit(batch: readonly Waiting[]): Promise<void> {
    let rows: readonly Waiting[] = batch;
    try {
      const connection = await this.#connect();
      await this.#checkClock(connection);
      const ready = this.#takeReady(batch);
      if (ready === undefined) rows = await this.#usable(batch, connection);
      if (rows.length > 0) await this.#attempt(rows, ready, connection);
    } catch (error) {
      await this.#failed(rows, error);
    }
  }

  async #attempt(rows: readonly Waiting[], ready: Made | undefined, connection: DedicatedConnection): Promise<void> {
    const contended = this.#contendedAmong(rows);
    const effect = rows[0]?.request.effect;
    try {
      if (effect === undefined && contended.size === 0) {
        const made = ready ?? (await this.#make(rows, connection));
        this.#settle(made, await this.#send(made, connection));
      } else {
        const { made, answers } = await this.#inTransaction(connection, rows, contended, effect);
        this.#settle(made, answers);
      }
      this.#options.metrics.batch(rows.length);
    } catch (error) {
      if (!(error instanceof ClockBehind)) throw error;
      await sleep(Math.min(error.byMs, appendLimits.reconnectPauseMs), this.#stopping.signal);
      this.#again(rows);
    }
  }

  /** Sends a batch; while it is on its way, the next one is made ready. */
  async #send(made: Made, database: Queryable): Promise<AppendAnswer[]> {
    const sql = made.rows.length <= appendLimits.keptPlanRowsMax ? keptAppend : appendSql;
    const answered = database.query<{ answers: string }>(sql, made.parameters.with(headersAt, json(producerHeaders())));
    setImmediate(() => this.#makeReady(made.drawn));
    return toAnswers(made.drawn, await answered);
  }

  /** BEGIN; the turn for contended logs; the statement; check and effect if it won; COMMIT. An effect that did not win is rolled back. */
  async #inTransaction(
    connection: DedicatedConnection,
    rows: readonly Waiting[],
    contended: ReadonlySet<string>,
    effect: AppendRequest['effect'],
  ): Promise<{ readonly made: Made; readonly answers: readonly (AppendAnswer | undefined)[] }> {
    let made: Made = { rows, drawn: [], parameters: [] };
    try {
      const answers = await connection.transaction(async (tx) => {
        if (contended.size > 0) {
          await tx.query(turnSql, [[...contended]]);
          for (const { request } of rows) if (contended.has(logKey(request.log))) this.#heads.forget(request.log);
        }
        made = await this.#make(rows, tx);
        const found = await this.#send(made, tx);
        const [row] = made.drawn;
        const [answer] = found;
        if (effect === undefined) return found;
        if (answer?.how !== 'won' || row === undefined) throw new NotWon(answer);
        await effect.check(tx);
        await effect.apply(tx, toAppended(row.request, answer));
        return found;
      });
      return { made, answers };
    } catch (error) {
      if (error instanceof NotWon) return { made, answers: [error.answer] };
      throw error;
    }
  }

  /** A batch of rows whose logs take entries. @throws {ClockBehind} */
  async #make(rows: readonly Waiting[], database: Queryable): Promise<Made> {
    const heads = await this.#heads.of(rows.map(({ request }) => request.log), database);
    const drawn = this.#draw(rows, (key) => {
      const head = heads.get(key);
      if (head === undefined || typeof head === 'string') throw new AppError('unavailable', undefined, { detail: `the log ${key} has just been closed` });
      return head;
    });
    return { rows, drawn, parameters: toParameters(drawn) };
  }

  /** Makes the batch after `sent` ready if it is full already, from the heads that there are if all of `sent` wins. */
  #makeReady(sent: readonly BatchRow[]): void {
    const { batch, isFull } = this.#next();
    if (!isFull || batch[0]?.request.effect !== undefined || this.#contendedAmong(batch).size > 0) return;
    const heads = new Map<string, Head>();
    for (const { request, head, id } of sent) {
      const key = logKey(request.log);
      heads.set(key, { ...head, number: (heads.get(key) ?? head).number + 1n, id });
    }
    for (const { request } of batch) {
      const key = logKey(request.log);
      const head = heads.get(key) ?? this.#heads.known(key);
      if (head === undefined) return;
      heads.set(key, head);
    }
    try {
      const drawn = this.#draw(batch, (key) => heads.get(key));
      this.#ready = { rows: batch, drawn, parameters: toParameters(drawn) };
    } catch {
      // Its turn comes, as if nothing had been tried; whatever this was is met there again.
    }
  }

  /** What was made ready, if it is this batch and the heads are those that it was made from. */
  #takeReady(batch: readonly Waiting[]): Made | undefined {
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready?.rows.length !== batch.length || !batch.every((waiting, index) => waiting === ready.rows[index])) return undefined;
    const isSo = ready.drawn.every(({ request, head }) => {
      const now = this.#heads.known(logKey(request.log));
      return now !== undefined && now.number === head.number && now.id === head.id;
    });
    return isSo ? ready : undefined;
  }

  /** Numbers from the heads, ids drawn with them. @throws {ClockBehind} */
  #draw(rows: readonly Waiting[], headOf: (key: string) => Head | undefined): BatchRow[] {
    const lastId = new Map<string, PostId>();
    const now = this.#options.now();
    return rows.map(({ request, scope }) => {
      const key = logKey(request.log);
      const head = headOf(key);
      if (head === undefined) throw new AppError('bug', undefined, { detail: `no head of ${key}` });
      const draw = this.#options.ids.draw(request.log.shard, lastId.get(key) ?? head.id, now);
      if (draw.outcome === 'ahead') throw new ClockBehind(draw.byMs);
      lastId.set(key, draw.id);
      return { request, scope, head, id: draw.id };
    });
  }

  #contendedAmong(rows: readonly Waiting[]): ReadonlySet<string> {
    if (this.#contended.size === 0) return new Set();
    return new Set(rows.map(({ request }) => logKey(request.log)).filter((key) => this.#isContended(key)));
  }

  #isContended(key: string): boolean {
    const until = this.#contended.get(key);
    return until !== undefined && until > this.#options.now();
  }

  #settle({ rows, drawn }: Made, answers: readonly (AppendAnswer | undefined)[]): void {
    const lost: Waiting[] = [];
    const told: (() => void)[] = [];
    const relays = new Set<number>();
    for (const [index, waiting] of rows.entries()) {
      const answer = answers[index];
      const { request } = waiting;
      if (answer === undefined || answer.how === 'lost') {
        this.#heads.forget(request.log);
        this.#contended.set(logKey(request.log), this.#options.now() + this.#options.contendedMs);
        lost.push(waiting);
        continue;
      }
      const appended = toAppended(request, answer);
      if (answer.how === 'won') {
        this.#heads.advance(request.log, appended.number, appended.id);
        relays.add(relayOf(request.log.shard));
        this.#options.metrics.accepted(drawn[index]?.head.audience ?? 'public', this.#options.now() - waiting.since);
      }
      told.push(() => waiting.resolve(appended));
    }
    this.#refusedAt = Number.NEGATIVE_INFINITY;
    for (const relay of relays) this.#options.committed(relay);
    if (lost.length > 0) {
      this.#options.metrics.again(lost.length);
      this.#again(lost);
    }
    const tell = (): void => {
      for (const each of told) each();
    };
    if (this.#queue.length === 0) tell();
    else setImmediate(tell);
  }

  /** Back to the front of the queue, but for those who have waited too long: nothing of them was written. */
  #again(rows: readonly Waiting[]): void {
    const kept: Waiting[] = [];
    for (const waiting of rows) {
      if (this.#stopping.signal.aborted || this.#options.now() - waiting.since > appendLimits.patienceMs) {
        waiting.reject(new AppError('unavailable', undefined, { detail: `not appended within ${appendLimits.patienceMs} ms`, retryAfterSeconds: 1 }));
      } else {
        kept.push(waiting);
        this.#queuedBytes += waiting.bytes;
      }
    }
    this.#queue = [...kept, ...this.#queue];
  }

  async #failed(rows: readonly Waiting[], error: unknown): Promise<void> {
    if (isConnectionLost(error)) return await this.#afterLostConnection(rows, error);
    if (isClash(error)) return await this.#afterClash(rows, error);
    if (isDiskFull(error) || isTimeout(error)) this.#refusedAt = this.#options.now();
    const hopeless = isDiskFull(error) || isTimeout(error) || (error instanceof AppError && !(error instanceof DatabaseError));
    if (rows.length === 1 || hopeless) {
      for (const { request, reject } of rows) {
        this.#heads.forget(request.log);
        reject(error);
      }
      return;
    }
    const half = Math.ceil(rows.length / 2);
    await this.#commit(rows.slice(0, half));
    await this.#commit(rows.slice(half));
  }

  /** Somebody else has a key, an id or an object id of ours: look for our objects, run the others again. */
  async #afterClash(rows: readonly Waiting[], error: unknown): Promise<void> {
    this.#options.metrics.again(rows.length);
    for (const { request } of rows) this.#heads.forget(request.log);
    let left = rows;
    if (isUniqueViolation(error, 'entry_object')) {
      try {
        left = await this.#answerCommitted(rows, await this.#connect());
      } catch (again) {
        return await this.#failed(rows, again);
      }
    }
    const hopeless: Waiting[] = [];
    const retried: Waiting[] = [];
    for (const waiting of left) {
      waiting.clashes += 1;
      (waiting.clashes > appendLimits.clashesMax ? hopeless : retried).push(waiting);
    }
    for (const { reject } of hopeless) reject(error);
    this.#again(retried);
  }

  /** The commit may have happened: who is there is answered, the others are appended again. */
  async #afterLostConnection(rows: readonly Waiting[], cause: unknown): Promise<void> {
    this.#dropConnection();
    this.#refusedAt = this.#options.now();
    const deadline = Math.max(...rows.map(({ since }) => since)) + appendLimits.patienceMs;
    let error = cause;
    while (this.#options.now() < deadline && !this.#stopping.signal.aborted) {
      try {
        this.#again(await this.#answerCommitted(rows, await this.#connect()));
        return;
      } catch (failure) {
        error = failure;
        this.#dropConnection();
        await sleep(appendLimits.reconnectPauseMs, this.#stopping.signal);
      }
    }
    // If it was, its events are there: whoever carries them goes on looking until the database is back.
    for (const relay of new Set(rows.map(({ request }) => relayOf(request.log.shard)))) this.#options.committed(relay);
    for (const { reject } of rows) reject(new AppError('unavailable', undefined, { detail: 'the database is away; whether the entry was committed is not known', cause: error, retryAfterSeconds: 5 }));
  }

  /** Answers the rows whose objects are in their logs; gives back the others. */
  async #answerCommitted(rows: readonly Waiting[], connection: DedicatedConnection): Promise<Waiting[]> {
    const found = await connection.query<{ ord: number; number: bigint; id: PostId }>(
      `SELECT t.ord::int4 AS ord, e.number, e.id FROM unnest($1::int2[], $2::uuid[], $3::uuid[], $4::int4[]) WITH ORDINALITY AS t(log_shard, object_id, log_id, epoch_no, ord)
       JOIN entry e USING (log_shard, object_id, log_id, epoch_no)`,
      [rows.map(({ request }) => request.log.shard), rows.map(({ request }) => request.objectId), rows.map(({ request }) => request.log.log), rows.map(({ request }) => request.log.epochNo)],
    );
    const answers = new Map(found.map(({ ord, number, id }) => [ord - 1, { number, id }]));
    return rows.filter(({ request, resolve }, index) => {
      const answer = answers.get(index);
      if (answer === undefined) return true;
      resolve({ ...request.log, how: 'appended', ...answer });
      this.#options.committed(relayOf(request.log.shard));
      return false;
    });
  }

  /** Rows whose log takes entries; the others get their error. */
  async #usable(rows: readonly Waiting[], connection: Queryable): Promise<Waiting[]> {
    const heads = await this.#heads.of(rows.map(({ request }) => request.log), connection);
    return rows.filter(({ request, reject }) => {
      const head: Head | Refusal = heads.get(logKey(request.log)) ?? 'unknown';
      if (typeof head !== 'string') return true;
      reject(refusalError(head, request.log.log));
      return false;
    });
  }

  async #connect(): Promise<DedicatedConnection> {
    if (this.#connection !== undefined && this.#connection.lost === undefined) return this.#connection;
    this.#dropConnection();
    this.#connection = await this.#options.database.dedicated(() => undefined);
    return this.#connection;
  }

  #dropConnection(): void {
    this.#heads.forgetAll();
    this.#clockCheckedAt = Number.NEGATIVE_INFINITY;
    const connection = this.#connection;
    this.#connection = undefined;
    void connection?.close();
  }

  /** Compares our clock with the database's, although nothing is appended: for readiness, which would otherwise never come back. */
  async compareClocks(): Promise<void> {
    await this.#compareClocks(this.#options.database);
  }

  async #compareClocks(database: Queryable): Promise<void> {
    const now = this.#options.now();
    const [row] = await database.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    // Whatever the question took on its way makes us seem less ahead, never more.
    this.#clockAheadMs = now - (row?.now.getTime() ?? now);
    this.#clockCheckedAt = now;
  }

  /** @throws AppError unavailable while our clock is too far ahead of the database's: ids would claim a time to come */
  async #checkClock(connection: DedicatedConnection): Promise<void> {
    const now = this.#options.now();
    const isFine = this.#clockAheadMs <= appendLimits.clockAheadMsMax;
    if (!isFine || now - this.#clockCheckedAt >= appendLimits.clockCheckMs || now < this.#clockCheckedAt) await this.#compareClocks(connection);
    if (this.#clockAheadMs > appendLimits.clockAheadMsMax) {
      throw new AppError('unavailable', undefined, { detail: `the clock of this process is ${this.#clockAheadMs} ms ahead of the database's`, retryAfterSeconds: 5 });
    }
  }
}

function toAppended({ log }: AppendRequest, answer: Exclude<AppendAnswer, { how: 'lost' }>): Appended {
  const { number, id } = answer;
  if (answer.how === 'won') return { how: 'appended', shard: log.shard, log: log.log, epochNo: log.epochNo, number, id };
  return { how: 'known', shard: log.shard, log: answer.log, epochNo: answer.epochNo, number, id };
}

/** Whether somebody else was first with a key, an id or an object id, or two sessions waited for each other. */
function isClash(error: unknown): boolean {
  return isTransactionConflict(error) || ['append_key_key', 'entry_id', 'entry_object', 'entry_key'].some((constraint) => isUniqueViolation(error, constraint));
}

function refusalError(refusal: Refusal, log: LogId): AppError {
  switch (refusal) {
    case 'unknown':
      return new AppError('not-found', undefined, { detail: `no log ${log}` });
    case 'closed':
      return new AppError('gone', undefined, { detail: `the log ${log} takes no entries` });
    case 'old-epoch':
      return new AppError('conflict', undefined, { detail: `the log ${log} has a newer epoch` });
  }
}

/** The scope of a key as uuid: itself, or a hash of what is none. */
function scopeOf({ key }: AppendRequest): string | null {
  if (key === undefined) return null;
  return parseUuid(key.scope) ?? bytesToUuid(createHash('sha256').update(`append scope\0${key.scope}`).digest().subarray(0, 16));
}
