/**
 * The event log as a Nest transport: a controller says which topic it takes, and gets batches.
 *
 * ```ts
 * @Controller()
 * @UseFilters(new Rethrow())
 * export class EntriesController {
 *   @EventPattern<string>('microblog.entry.v1')
 *   async entries(@Payload() events: readonly LogEvent<'microblog.entry.v1'>[]): Promise<void> { … }
 * }
 * ```
 *
 * Two things that Nest does must not happen here. Its own `handleEvent` neither waits for a handler's
 * end nor hears of its failure, so events would be marked that nobody has handled: the transport
 * subscribes to what the handler returns and waits. And its default filter replaces an error by
 * "Internal server error": {@link Rethrow} keeps the cause. A method that is asked to handle a
 * topic which does not exist is a mistake of ours, found at start.
 */
import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { BaseRpcContext, Server, type CustomTransportStrategy } from '@nestjs/microservices';
import { isObservable, lastValueFrom, throwError, type Observable } from 'rxjs';
import type { TopicName } from '@dmb/events';
import { isTopic } from './decode.ts';
import type { EventLog, LogEvent, SubscribeOptions, Subscription } from './port.ts';

/** Passes a handler's error on as it is. Goes on every controller that takes events, and on no other. */
@Catch()
export class Rethrow implements ExceptionFilter {
  catch(error: unknown, _host: ArgumentsHost): Observable<never> {
    return throwError(() => error);
  }
}

/** What the transport needs beside the controllers. */
export type EventLogTransportOptions = Pick<SubscribeOptions, 'group' | 'onLost' | 'onPoison'> & { readonly eventLog: EventLog };

/** Subscribes the event handlers of an application as one group. */
export class EventLogTransport extends Server implements CustomTransportStrategy {
  override readonly propagatesEventHandlerErrors = true;
  readonly #options: EventLogTransportOptions;
  #subscription: Subscription | undefined;

  constructor(options: EventLogTransportOptions) {
    super();
    this.#options = options;
  }

  /** The running subscription; undefined before the start and if there are no handlers. */
  get subscription(): Subscription | undefined {
    return this.#subscription;
  }

  listen(callback: (error?: unknown) => void): void {
    this.#listen().then(
      () => callback(),
      (error: unknown) => callback(error),
    );
  }

  async close(): Promise<void> {
    await this.#subscription?.stop();
  }

  on(): never {
    throw new Error('the event log has no events of its own');
  }

  unwrap<T>(): T {
    return this.#options.eventLog as T;
  }

  async #listen(): Promise<void> {
    const { eventLog, group, onLost, onPoison } = this.#options;
    const names = [...this.messageHandlers.keys()].map((name) => {
      if (!isTopic(name)) throw new Error(`a handler wants the topic ${name}, which does not exist`);
      return name;
    });
    if (names.length === 0) return;
    this.#subscription = await eventLog.subscribe({ group, topics: names, onLost, onPoison, handle: (events) => this.#handle(events) });
  }

  /** One call per topic: order is kept inside a topic, and promised nowhere else. */
  async #handle(events: readonly LogEvent[]): Promise<void> {
    const byTopic = Map.groupBy(events, ({ topic }) => topic);
    for (const [topic, batch] of byTopic) await this.#call(topic, batch);
  }

  async #call(topic: TopicName, batch: readonly LogEvent[]): Promise<void> {
    const handler = this.messageHandlers.get(topic);
    if (handler === undefined) throw new Error(`no handler for ${topic}`);
    const result: unknown = await handler(batch, new BaseRpcContext([topic]));
    if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
  }
}
