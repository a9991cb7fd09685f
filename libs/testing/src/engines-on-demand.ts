/**
 * Engines that one run of tests shares and that are started by the first test that asks.
 *
 * Test files run in processes of their own, one after the other and beside each other; an engine that
 * takes seconds to start belongs to the process that holds the run. That process listens on
 * loopback: `GET /kafka` starts the engine, if it does not run yet or any more, and answers what it is reached by.
 * A run in which nobody asks starts nothing. When no engine can be had, a run with CI=true fails;
 * any other says which tests did not run, and why.
 */
import { createServer } from 'node:http';
import { findKafka, startTestKafka } from './kafka-engine.ts';

/** The answer to who asks: brokers, or why there are none. */
type Answer = { readonly brokers: readonly string[] } | { readonly why: string };

/** An engine that runs. `revive` sees to it that it does, and says what was the matter. */
interface Started {
  readonly answer: Answer;
  revive(): Promise<string | undefined>;
}

/** What a run holds. */
export interface EnginesOnDemand {
  /** Where to ask. */
  readonly url: string;
  /** Ends what was started. */
  stop(): Promise<void>;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Where engines are asked for. */
    'dmb.engines': string;
  }
}

/** Listens for tests that want an engine. */
export async function serveEngines(say: (sentence: string) => void): Promise<EnginesOnDemand> {
  const stops: (() => Promise<void>)[] = [];
  let kafka: Promise<Started> | undefined;
  const given = (answer: Answer): Started => ({ answer, revive: () => Promise.resolve(undefined) });
  const startKafka = async (): Promise<Started> => {
    const source = await findKafka();
    if (source.from === 'nothing') {
      say(`${source.why} Tests that need Kafka ${process.env['CI'] === 'true' ? 'fail' : 'were NOT run'}.`);
      return given({ why: source.why });
    }
    if (source.from === 'url') {
      say(`Kafka for these tests: ${source.brokers.join(', ')} (${source.why}).`);
      return given({ brokers: source.brokers });
    }
    const started = await startTestKafka();
    stops.push(() => started.stop());
    say(`Kafka for these tests: ${source.from}, ${started.brokers.join(', ')} (${source.why}).`);
    return { answer: { brokers: started.brokers }, revive: () => started.revive() };
  };
  let reviving: Promise<unknown> = Promise.resolve();
  const reviveKafka = async (): Promise<Answer> => {
    kafka ??= startKafka().catch((error: unknown) => {
      // Who asks next tries once more.
      kafka = undefined;
      throw error;
    });
    const { answer, revive } = await kafka;
    const revived = reviving.then(revive);
    // One after the other: two would start two.
    reviving = revived.catch(() => undefined);
    const trouble = await revived;
    if (trouble !== undefined) say(`Kafka for these tests was started again: ${trouble}`);
    return answer;
  };
  const server = createServer((request, response) => {
    if (request.url !== '/kafka') return void response.writeHead(404).end();
    reviveKafka().then(
      (answer) => response.end(JSON.stringify(answer)),
      (error: unknown) => response.writeHead(500).end((error as Error).message),
    );
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    async stop() {
      server.close();
      server.closeAllConnections();
      await kafka?.catch(() => undefined);
      for (const stop of stops) await stop();
    },
  };
}

/**
 * The brokers of this run; undefined if there are none to be had, outside CI only. For `describe.skipIf`.
 * @throws in CI when no Kafka can be had, and wherever one is there but does not start
 */
export async function sharedKafka(): Promise<readonly string[] | undefined> {
  const { inject } = await import('vitest');
  const ask = (): Promise<Response> => fetch(`${inject('dmb.engines')}/kafka`);
  let response = await ask();
  // A broker that did not come up is tried once more.
  if (!response.ok) response = await ask();
  if (!response.ok) throw new Error(await response.text());
  const answer = (await response.json()) as Answer;
  if ('brokers' in answer) return answer.brokers;
  if (process.env['CI'] === 'true') throw new Error(answer.why);
  return undefined;
}
