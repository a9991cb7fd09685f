/** Telling the others what happened to a person: the outbox row is part of the effect, everything here is only a hint after its commit. */
import { type EventLog, producerHeaders } from '@dmb/event-log';
import type { PersonEvent } from '@dmb/events';
import { isConnectionLost, relayOf, type Database } from '@dmb/postgres';
import type { Logger } from '@dmb/runtime';
import type { LiveEvents } from '@dmb/timelines';

export class PersonEvents {
  readonly #eventLog: Pick<EventLog, 'committed'>;
  readonly #live: Pick<LiveEvents, 'publish'> | undefined;
  readonly #logger: Logger;
  readonly #traceHeaders: () => Readonly<Record<string, string>>;

  constructor(eventLog: Pick<EventLog, 'committed'>, live: Pick<LiveEvents, 'publish'> | undefined, logger: Logger, traceHeaders: () => Readonly<Record<string, string>> = producerHeaders) {
    this.#eventLog = eventLog;
    this.#live = live;
    this.#logger = logger;
    this.#traceHeaders = traceHeaders;
  }

  /** Trace context for the outbox row. */
  headers(): Readonly<Record<string, string>> {
    return this.#traceHeaders();
  }

  /** Runs the transaction that writes an event's outbox row. Where nobody knows whether it was committed, whoever carries events away is asked to look. */
  async attempt<T>(database: Pick<Database, 'index'>, shard: number, transaction: Promise<T>): Promise<T> {
    try {
      return await transaction;
    } catch (error) {
      if (isConnectionLost(error)) this.#eventLog.committed('identity', database.index, relayOf(shard));
      throw error;
    }
  }

  /** After the commit of an event's outbox row. A live event that gets lost is made up for by the look that streams take every 5 s. */
  committed(database: number, event: PersonEvent): void {
    this.#eventLog.committed('identity', database, relayOf(event.shard));
    this.#live?.publish([{ type: 'person', event }]).catch((error: unknown) => {
      this.#logger.warn('a live event was not published', { error });
    });
  }
}
