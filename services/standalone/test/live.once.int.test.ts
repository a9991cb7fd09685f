/**
 * What only shows on a whole server.
 *
 * A stream that opens while microblog's own view of a follow is behind everybody else's: the follow is
 * answered, fan-out has it, and what the person follows cannot be written yet. As soon as it is,
 * the stream hears the log, and not only when it asks again a minute later.
 *
 * A client that asks for streams that are not served, on the socket by which it hears its home: an error
 * message names no stream, and the library takes it for the end of each of them.
 */
import { createStreamingAPIClient } from 'masto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDatabases, type Databases, type Transaction } from '@dmb/postgres';
import { eventually, signUp, startTestServer, type TestServer } from '@dmb/testing';

let server: TestServer;
let microblog: Databases;

beforeAll(async () => {
  server = await startTestServer();
  microblog = await openDatabases({ urls: [server.databaseUrl], service: 'microblog', connectionsMax: 4, applicationName: 'live' });
});
afterAll(async () => {
  await microblog?.close();
  await server?.dispose();
});

it('a stream that was opened before a follow was projected hears what is followed once it is', async () => {
  const [reader, writer] = [await signUp(server.url, 'reader'), await signUp(server.url, 'writer')];
  const rows = async (database: Pick<Transaction, 'query'>): Promise<number> => (await database.query('SELECT FROM following WHERE state = $1', ['active'])).length;
  const [database] = microblog.all;
  if (database === undefined) throw new Error('there is no database');
  const before = await rows(database);
  const stream = await database.transaction(async (tx) => {
    // Readers go on; the projection waits.
    await tx.execute('LOCK TABLE following IN SHARE ROW EXCLUSIVE MODE');
    await reader.client.follow(writer.account.id);
    const opened = await reader.client.eventStream();
    // Others have it by now.
    expect(await eventually(async () => ((await writer.client.get<{ followers_count: number }>('/api/v1/accounts/verify_credentials')).followers_count === 1 ? [] : ['not yet']))).toEqual([]);
    expect(await rows(tx)).toBe(before);
    return opened;
  });
  try {
    expect(await eventually(async () => ((await rows(database)) > before ? [] : ['not yet']), 30_000)).toEqual([]);
    // Posts until one is heard, for less than the minute after which all is asked for again.
    for (let nth = 1; nth <= 40 && stream.events.length === 0; nth++) {
      await writer.client.post(`number ${nth}`);
      await stream.wait(({ event }) => event === 'update', 250).catch(() => undefined);
    }
    expect(stream.events.map(({ event }) => event)).toContain('update');
  } finally {
    stream.close();
  }
});

it('asking for a stream that is not served leaves a real client its home', async () => {
  const { client } = await signUp(server.url, 'many_tabs');
  const streaming = createStreamingAPIClient({ streamingApiUrl: server.url.replace('http', 'ws'), accessToken: client.token ?? '' });
  const heard: string[] = [];
  const ended: unknown[] = [];
  const listen = async (events: AsyncIterable<{ readonly event: string }>): Promise<void> => {
    try {
      for await (const { event } of events) heard.push(event);
    } catch (error) {
      ended.push(error);
    }
  };
  try {
    const { user } = streaming;
    void listen(user.subscribe());
    for (const subscribe of [() => streaming.public.subscribe(), () => streaming.public.local.subscribe(), () => streaming.hashtag.subscribe({ tag: 'x' }), () => streaming.list.subscribe({ list: '1' }), () => streaming.direct.subscribe()]) void listen(subscribe());
    for (let nth = 1; nth <= 40 && heard.length === 0; nth++) {
      await client.post(`number ${nth}`);
      await eventually(() => Promise.resolve(heard.length > 0 ? [] : ['silence']), 250);
    }
    expect(heard).toContain('update');
    expect(ended).toEqual([]);
  } finally {
    streaming.close();
  }
});
