import 'reflect-metadata';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import { Controller, Module, UseFilters, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, Payload } from '@nestjs/microservices';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { insertOutbox, outboxMigrations, relayOf, type Databases } from '@dmb/postgres';
import { createTestDatabases, type TestDatabases } from '@dmb/testing';
import { EventLogTransport, PostgresEventLog, producerHeaders, Rethrow, type EventLog, type LogEvent, type PoisonEvent } from '../src/index.ts';

let test: TestDatabases;
let databases: { readonly identity: Databases; readonly microblog: Databases };
type SpanProcessor = NonNullable<NodeSDKConfiguration['spanProcessors']>[number];
type Span = Parameters<SpanProcessor['onEnd']>[0];
const finished: Span[] = [];
const telemetry = new NodeSDK({
  spanProcessors: [{ onStart: () => undefined, onEnd: (span) => void finished.push(span), forceFlush: () => Promise.resolve(), shutdown: () => Promise.resolve() }],
  metricReaders: [],
  logRecordProcessors: [],
  instrumentations: [],
  autoDetectResources: false,
});

beforeAll(async () => {
  telemetry.start();
  test = await createTestDatabases();
  databases = { identity: await test.openMigrated('identity', outboxMigrations), microblog: await test.openMigrated('microblog', outboxMigrations) };
});
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  finished.length = 0;
  for (const each of [...databases.identity.all, ...databases.microblog.all]) await each.execute('TRUNCATE outbox, outbox_mark, outbox_consumer');
});
afterAll(async () => {
  await test.drop();
  await telemetry.shutdown();
});

/** What the handlers of {@link EventsController} do; a test replaces it. */
const behaviour: { entries: (events: readonly LogEvent[]) => Promise<void>; persons: (events: readonly LogEvent[]) => Promise<void> } = {
  entries: () => Promise.resolve(),
  persons: () => Promise.resolve(),
};

@Controller()
@UseFilters(new Rethrow())
class EventsController {
  @EventPattern<string>('microblog.entry.v1')
  async entries(@Payload() events: readonly LogEvent[]): Promise<void> {
    await behaviour.entries(events);
  }
  @EventPattern<string>('identity.person.v1')
  async persons(@Payload() events: readonly LogEvent[]): Promise<void> {
    await behaviour.persons(events);
  }
}

@Controller()
class MistakenController {
  @EventPattern<string>('microblog.entry.v0')
  entries(): void {
    // Nobody ever produces this.
  }
}

@Module({})
class AppModule {
  static of(controller: NonNullable<DynamicModule['controllers']>[number]): DynamicModule {
    return { module: AppModule, controllers: [controller] };
  }
}

const uuid = (number: number): string => `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
const entry = (shard: number, number: number): unknown[] => [shard, uuid(shard), 1, String(number), 1, String(number), 'public', uuid(shard), 0];
const numbersOf = (events: readonly LogEvent[]): number[] => events.map(({ payload }) => Number((payload as { number: bigint }).number));

async function startApp(group: string, controller: NonNullable<DynamicModule['controllers']>[number] = EventsController): Promise<{ eventLog: PostgresEventLog; transport: EventLogTransport; poison: PoisonEvent[] }> {
  const eventLog = new PostgresEventLog({ producers: databases, limits: { retryDelayMs: 5, retryDelayMsMax: 20 } });
  const poison: PoisonEvent[] = [];
  const transport = new EventLogTransport({
    eventLog,
    group,
    onLost: () => Promise.resolve(),
    onPoison: (event) => {
      poison.push(event);
      return Promise.resolve();
    },
  });
  const app = await NestFactory.createMicroservice(AppModule.of(controller), { strategy: transport, logger: false, abortOnError: false });
  closing.push(async () => {
    await app.close();
    await eventLog.close();
  });
  await app.listen();
  return { eventLog, transport, poison };
}

const produce = async (log: EventLog, shard: number, ...numbers: readonly number[]): Promise<void> => {
  const database = databases.microblog.at(shard);
  await database.transaction((tx) => insertOutbox(tx, { topic: 'microblog.entry.v1', shard, refs: numbers.map((number) => entry(shard, number)), headers: producerHeaders() }));
  log.committed('microblog', database.index, relayOf(shard));
};

describe('the Nest transport', () => {
  it('gives a controller batches, in order', async () => {
    const seen: number[][] = [];
    behaviour.entries = (events) => {
      seen.push(numbersOf(events));
      return Promise.resolve();
    };
    const { eventLog, transport } = await startApp('batches');
    await produce(eventLog, 3, 1, 2, 3);
    await transport.subscription?.drain();
    expect(seen).toEqual([[1, 2, 3]]);
  });

  // Nest's own handleEvent neither waits nor hears: every event would be marked at once.
  it('waits for the end of a handler, and brings the events again when it fails', async () => {
    let attempts = 0;
    let ended = 0;
    behaviour.entries = async () => {
      attempts++;
      await new Promise((done) => setTimeout(done, 20));
      if (attempts < 3) throw new Error('not yet');
      ended++;
    };
    const { eventLog, transport } = await startApp('waits');
    await produce(eventLog, 4, 1);
    await transport.subscription?.drain();
    expect([attempts, ended]).toEqual([3, 1]);
  });

  it('hands poison to whom it was given', async () => {
    const { eventLog, transport, poison } = await startApp('poison');
    const database = databases.microblog.at(0);
    await database.transaction((tx) => insertOutbox(tx, { topic: 'microblog.entry.v1', shard: 0, refs: [['nonsense']], headers: {} }));
    eventLog.committed('microblog', database.index, 0);
    await transport.subscription?.drain();
    expect(poison).toMatchObject([{ topic: 'microblog.entry.v1', raw: ['nonsense'] }]);
  });

  it('refuses at the start a topic that does not exist', async () => {
    await expect(startApp('mistaken', MistakenController)).rejects.toThrow('microblog.entry.v0, which does not exist');
  });

  it('lets the handler end when the application is closed', async () => {
    let ended = false;
    let began = (): void => undefined;
    const running = new Promise<void>((done) => {
      began = done;
    });
    behaviour.entries = async () => {
      began();
      await new Promise((done) => setTimeout(done, 100));
      ended = true;
    };
    const { eventLog } = await startApp('closes');
    await produce(eventLog, 5, 1);
    await running;
    await closing.shift()?.();
    expect(ended).toBe(true);
  });
});

describe('the trace', () => {
  const tracer = trace.getTracer('test');
  const spans = (name: string) => finished.filter((span) => span.name === name);

  it('is one from the producer through the outbox to what the handler does', async () => {
    behaviour.entries = () => tracer.startActiveSpan('effect', (span) => Promise.resolve(span.end()));
    const { eventLog, transport } = await startApp('traced');
    await tracer.startActiveSpan('request', async (span) => {
      await produce(eventLog, 6, 1);
      span.end();
    });
    await transport.subscription?.drain();
    const [request] = spans('request');
    const [process] = spans('process microblog.entry.v1');
    const [effect] = spans('effect');
    expect(process).toMatchObject({ kind: SpanKind.CONSUMER, parentSpanContext: { spanId: request?.spanContext().spanId } });
    expect(effect).toMatchObject({ parentSpanContext: { spanId: process?.spanContext().spanId } });
    expect(new Set([request, process, effect].map((span) => span?.spanContext().traceId)).size).toBe(1);
  });

  it('links the others when a batch holds events of several, and tells of a failure', async () => {
    let failures = 1;
    behaviour.entries = () => (failures-- > 0 ? Promise.reject(new Error('no')) : Promise.resolve());
    const { eventLog, transport } = await startApp('linked');
    const database = databases.microblog.at(7);
    const requests = await database.transaction(async (tx) => {
      const ids: string[] = [];
      for (const number of [1, 2, 3]) {
        await tracer.startActiveSpan('request', { root: true }, ROOT_CONTEXT, async (span) => {
          await insertOutbox(tx, { topic: 'microblog.entry.v1', shard: 7, refs: [entry(7, number), entry(7, number + 10)], headers: producerHeaders() });
          ids.push(span.spanContext().spanId);
          span.end();
        });
      }
      return ids;
    });
    eventLog.committed('microblog', database.index, relayOf(7));
    await transport.subscription?.drain();
    const [failed, process] = spans('process microblog.entry.v1');
    expect(failed?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'no' });
    expect(process?.parentSpanContext?.spanId).toBe(requests[0]);
    expect(process?.links.map((link) => link.context.spanId)).toEqual(requests.slice(1));
  });
});
