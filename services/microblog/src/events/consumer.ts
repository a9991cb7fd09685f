/**
 * Our own consumer: what an entry of ours causes besides being there.
 *
 * It obeys the rule of every reader of logs, with a cursor per log in the log's own shard:
 *
 *   number <= cursor    dropped: it was here before
 *   number  > cursor    the range (cursor, number] is read from the log itself, in order, and applied.
 *                       An event is only an early hint that there is something to read, so events
 *                       that come twice, late, in another order or not at all are one case
 *
 * Effects in other shards come first and may be repeated (outside.ts); those in the log's shard are in the
 * transaction that moves the cursor (inside.ts). What happens on a crash:
 *
 *   before or between the outside effects   they are made again, by key and revision
 *   before the cursor's commit              the same
 *   after it, before the event is marked    the event comes again and is dropped
 *
 * Many logs are read, applied and moved in one go, since a statement costs more than an entry. If that
 * fails, each log goes alone; a log that fails alone is parked: one row that says up to which number it
 * is wanted and why it failed. Later events only raise that number, and other logs go on. A repair reads
 * the range again after a pause that doubles up to an hour.
 *
 * The sweep compares heads with cursors within our own databases: once an hour, and when the event log
 * has lost our position. It finds whatever no event told of. An idle server asks nothing else: the
 * repair runs only when something was parked.
 */
import type { EventLog, LogEvent, Subscription } from '@dmb/event-log';
import type { EntryRef, PersonEvent } from '@dmb/events';
import type { LogId } from '@dmb/protocol';
import type { Database, Databases } from '@dmb/postgres';
import { isTransactionConflict } from '@dmb/postgres';
import { AppError, type Background, type Logger } from '@dmb/runtime';
import { consumerLimits } from '../limits.ts';
import { consumerMetrics } from '../metrics.ts';
import { applyInside, CursorMoved } from './inside.ts';
import { Named, type OutsideEffects } from './outside.ts';
import { isContiguous, readStretches, type Stretch, type Wanted } from './stretch.ts';

const repairName = 'microblog: repairing parked logs';
const sweepName = 'microblog: comparing heads with cursors';

/** What the consumer needs. */
export interface ConsumerOptions {
  readonly databases: Databases;
  readonly outside: OutsideEffects;
  readonly persons: { applyPersonEvent(event: PersonEvent): Promise<void> };
  readonly logger: Logger;
}

export class EntryConsumer {
  readonly #databases: Databases;
  readonly #outside: OutsideEffects;
  readonly #persons: ConsumerOptions['persons'];
  readonly #logger: Logger;
  #background: Background | undefined;
  #repairTimer: NodeJS.Timeout | undefined;

  constructor({ databases, outside, persons, logger }: ConsumerOptions) {
    this.#databases = databases;
    this.#outside = outside;
    this.#persons = persons;
    this.#logger = logger;
  }

  /** Takes part in the event log until the subscription is stopped; sweeps and repairs on `background`. */
  async start(eventLog: Pick<EventLog, 'subscribe'>, background: Background): Promise<Subscription> {
    this.#background = background;
    background.every(sweepName, { intervalMs: consumerLimits.sweepIntervalMs }, (signal) => this.sweep(signal));
    background.every(repairName, { intervalMs: consumerLimits.sweepIntervalMs, firstAfterMs: 0 }, () => this.repair());
    return await eventLog.subscribe({
      group: 'microblog',
      topics: ['microblog.entry.v1', 'identity.person.v1'],
      handle: (events) => this.handle(events),
      onLost: () => this.sweep(),
      onPoison: ({ topic, cause }) => {
        // A reference that cannot be read names nothing that the sweep would not find.
        this.#logger.error('an event cannot be read', { topic, error: cause });
        return Promise.resolve();
      },
    });
  }

  /** Stops waiting for the next repair. */
  stop(): void {
    clearTimeout(this.#repairTimer);
  }

  /** Applies what these events tell of. Resolves when it is durable, or written down as parked. */
  async handle(events: readonly LogEvent[]): Promise<void> {
    const refs: EntryRef[] = [];
    for (const { topic, payload } of events) {
      if (topic === 'microblog.entry.v1') refs.push(payload as EntryRef);
      else await this.#persons.applyPersonEvent(payload as PersonEvent);
    }
    const wants = new Map<string, Wanted>();
    for (const { shard, log, epochNo, number } of refs) {
      const key = `${log}/${epochNo}`;
      if ((wants.get(key)?.wanted ?? 0n) < number) wants.set(key, { shard, log, epochNo, wanted: number });
    }
    await this.#applyAll([...wants.values()]);
  }

  /** Finds logs whose head is above our cursor, and applies what is missing. */
  async sweep(signal?: AbortSignal): Promise<void> {
    for (const database of this.#databases.all) {
      let after: { shard: number; log: LogId; epochNo: number } | undefined;
      do {
        const rows: { shard: number; log: LogId; epoch_no: number; head: bigint | null; cursor: bigint }[] = await database.query(
          `SELECT ep.log_shard AS shard, ep.log_id AS log, ep.epoch_no, h.number AS head, coalesce(c.number, 0) AS cursor
           FROM (SELECT log_shard, log_id, epoch_no FROM epoch WHERE (log_shard, log_id, epoch_no) > ($1::int2, $2::uuid, $3::int4) ORDER BY log_shard, log_id, epoch_no LIMIT $4) ep
           LEFT JOIN LATERAL (SELECT number FROM entry e WHERE (e.log_shard, e.log_id, e.epoch_no) = (ep.log_shard, ep.log_id, ep.epoch_no) ORDER BY number DESC LIMIT 1) h ON true
           LEFT JOIN cursor c USING (log_shard, log_id, epoch_no) ORDER BY 1, 2, 3`,
          [after?.shard ?? -1, after?.log ?? '00000000-0000-0000-0000-000000000000', after?.epochNo ?? 0, consumerLimits.sweepLogsMax],
        );
        const last = rows.at(-1);
        after = last === undefined || rows.length < consumerLimits.sweepLogsMax ? undefined : { shard: last.shard, log: last.log, epochNo: last.epoch_no };
        const behind = rows.flatMap(({ shard, log, epoch_no, head, cursor }) => (head !== null && head > cursor ? [{ shard, log, epochNo: epoch_no, wanted: head }] : []));
        if (behind.length > 0) consumerMetrics.gapsFound(behind.length);
        await this.#applyAll(behind);
      } while (after !== undefined && signal?.aborted !== true);
    }
    this.#background?.wake(repairName);
  }

  /** Tries parked logs again that are due; knows when the next one is. */
  async repair(): Promise<void> {
    let nextMs: number | undefined;
    for (const database of this.#databases.all) {
      const due = await database.query<{ log_shard: number; log_id: LogId; epoch_no: number; wanted: bigint }>(
        'SELECT log_shard, log_id, epoch_no, wanted FROM parked WHERE next_attempt <= now() ORDER BY next_attempt LIMIT $1',
        [consumerLimits.repairLogsMax],
      );
      for (const row of due) await this.#drive(database, [{ shard: row.log_shard, log: row.log_id, epochNo: row.epoch_no, wanted: row.wanted }], true);
      const [next] = await database.query<{ ms: number | null }>('SELECT (extract(epoch FROM min(next_attempt) - now()) * 1000)::float8 AS ms FROM parked');
      if (typeof next?.ms === 'number') nextMs = Math.min(nextMs ?? Number.POSITIVE_INFINITY, Math.max(next.ms, 0));
    }
    if (nextMs !== undefined) this.#repairIn(nextMs);
  }

  async #applyAll(wants: readonly Wanted[]): Promise<void> {
    await Promise.all([...this.#databases.group(wants, ({ shard }) => shard)].map(([database, group]) => this.#drive(database, group, false)));
  }

  /** Brings logs of one database to what is wanted, or parks them. */
  async #drive(database: Database, wants: readonly Wanted[], isRepair: boolean): Promise<void> {
    let open = wants;
    while (open.length > 0) {
      const now = open.slice(0, consumerLimits.batchEntriesMax);
      const each = Math.max(1, Math.min(consumerLimits.pageEntriesMax, Math.floor(consumerLimits.batchEntriesMax / now.length)));
      const stretches = await readStretches(database, now, each);
      const wanted = new Map(now.map((want) => [`${want.log}/${want.epochNo}`, want]));
      const behind: { stretch: Stretch; want: Wanted }[] = [];
      for (const stretch of stretches) {
        const want = wanted.get(`${stretch.log}/${stretch.epochNo}`);
        if (want === undefined) continue;
        if (stretch.cursor >= want.wanted) {
          consumerMetrics.dropped(1);
          await this.#release(database, stretch);
        } else if (stretch.isParked && !isRepair) await this.#park(database, want, stretch.cursor, undefined);
        else behind.push({ stretch, want });
      }
      const applied = await this.#applyOrPark(database, behind);
      open = [...applied, ...open.slice(now.length)];
    }
  }

  /** Applies all together, else each alone; parks what fails. Gives back what is to be read on. */
  async #applyOrPark(database: Database, behind: readonly { readonly stretch: Stretch; readonly want: Wanted }[]): Promise<Wanted[]> {
    if (behind.length === 0) return [];
    try {
      await this.#apply(database, behind.map(({ stretch }) => stretch));
      const unfinished: Wanted[] = [];
      for (const { stretch, want } of behind) {
        const cursor = stretch.cursor + BigInt(stretch.entries.length);
        if (cursor < want.wanted) unfinished.push(want);
        else await this.#release(database, { ...stretch, cursor });
      }
      return unfinished;
    } catch (error) {
      if (error instanceof CursorMoved || isTransactionConflict(error)) return behind.map(({ want }) => want);
      const [only] = behind;
      if (behind.length === 1 && only !== undefined) {
        await this.#park(database, only.want, only.stretch.cursor, error);
        return [];
      }
      const again: Wanted[] = [];
      for (const one of behind) again.push(...(await this.#applyOrPark(database, [one])));
      return again;
    }
  }

  async #apply(database: Database, stretches: readonly Stretch[]): Promise<void> {
    for (const stretch of stretches) {
      if (stretch.entries.length === 0) throw new AppError('bug', undefined, { detail: `entries above ${stretch.cursor} were told of and are not in the log` });
      if (!isContiguous(stretch)) throw new AppError('bug', undefined, { detail: `the log has a hole above ${stretch.cursor}` });
    }
    const named = await Named.read(database, stretches);
    await this.#outside.apply(stretches, named);
    await database.transaction((tx) => applyInside(tx, stretches, named));
    consumerMetrics.applied(stretches.reduce((total, { entries }) => total + entries.length, 0));
  }

  /** Writes down that a log waits; a failure sets when it is tried again, an event only raises what is wanted. */
  async #park(database: Database, { shard, log, epochNo, wanted }: Wanted, cursor: bigint, error: unknown): Promise<void> {
    if (error === undefined) {
      await database.execute('UPDATE parked SET wanted = greatest(wanted, $4) WHERE (log_shard, log_id, epoch_no) = ($1, $2, $3)', [shard, log, epochNo, wanted]);
      return;
    }
    const cause = error instanceof Error ? `${error.message}${error instanceof AppError && error.detail !== undefined ? ` (${error.detail})` : ''}` : String(error);
    const [row] = await database.query<{ attempts: number }>(
      `INSERT INTO parked AS p (log_shard, log_id, epoch_no, number, wanted, cause, attempts, next_attempt) VALUES ($1, $2, $3, $4, $5, $6, 1, now() + make_interval(secs => $7::float8 / 1000))
       ON CONFLICT (log_shard, log_id, epoch_no) DO UPDATE SET number = excluded.number, wanted = greatest(p.wanted, excluded.wanted), cause = excluded.cause, attempts = p.attempts + 1,
         next_attempt = now() + make_interval(secs => least($7::float8 * power(2, least(p.attempts, 30)), $8::float8) / 1000)
       RETURNING attempts`,
      [shard, log, epochNo, cursor, wanted, cause.replaceAll('\0', '').slice(0, 1_000), consumerLimits.parkFirstMs, consumerLimits.parkMsMax],
    );
    if (row?.attempts === 1) {
      consumerMetrics.parked();
      this.#logger.warn('an entry cannot be applied; its log is set aside and tried again', { log, number: cursor + 1n, error });
    }
    this.#repairIn(consumerLimits.parkFirstMs);
  }

  async #release(database: Database, { shard, log, epochNo, cursor, isParked }: Stretch): Promise<void> {
    if (!isParked) return;
    await database.execute('DELETE FROM parked WHERE (log_shard, log_id, epoch_no) = ($1, $2, $3) AND wanted <= $4', [shard, log, epochNo, cursor]);
  }

  #repairIn(ms: number): void {
    clearTimeout(this.#repairTimer);
    this.#repairTimer = setTimeout(() => this.#background?.wake(repairName), Math.max(ms, 10));
    this.#repairTimer.unref();
  }
}
