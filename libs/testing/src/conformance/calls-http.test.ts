import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { calls as callTable, type Call } from '@dmb/events';
import type { PersonId, PostId } from '@dmb/protocol';
import { AppError, Calls, silentLogger } from '@dmb/runtime';
import { CallListener, HttpCallTransport, type CallListenerOptions, type HttpCallTransportOptions } from '@dmb/runtime/calls';
import { callsConformance } from './calls.ts';

const secret = 'a-secret-of-at-least-thirty-two-characters';
const other = 'another-secret-as-long-as-the-first-one-is';

interface Ends {
  readonly caller: Calls;
  readonly callee: Calls;
  readonly url: string;
  readonly listener: CallListener;
  close(): Promise<void>;
}

/** Two processes' worth of calls, with a wire in between. */
async function ends(options: Partial<CallListenerOptions> & { readonly client?: Partial<HttpCallTransportOptions>; readonly opened?: boolean } = {}): Promise<Ends> {
  const { client, opened = true, ...rest } = options;
  const callee = new Calls();
  const listener = new CallListener({ calls: callee, secrets: [secret], host: '127.0.0.1', port: 0, readiness: () => Promise.resolve({ ready: true, failing: [] }), logger: silentLogger, ...rest });
  const { port } = await listener.listen();
  if (opened) listener.open();
  const url = `http://127.0.0.1:${port}`;
  const transport = (service: 'identity' | 'microblog') => new HttpCallTransport({ service, urls: [url], secret, logger: silentLogger, ...client });
  const transports = { identity: transport('identity'), microblog: transport('microblog') };
  return {
    caller: new Calls({ transports }),
    callee,
    url,
    listener,
    close: async () => {
      await Promise.all([transports.identity.close(), transports.microblog.close(), listener.close(0)]);
    },
  };
}

const made = async (options?: Parameters<typeof ends>[0]): Promise<Ends> => {
  const both = await ends(options);
  onTestFinished(() => both.close());
  return both;
};

const person = '00000000-0000-4000-8000-000000000001' as PersonId;
const contributions = { contributions: [] };

async function failureOf(asked: Promise<unknown>): Promise<AppError> {
  const error: unknown = await asked.then(
    () => new Error('the call succeeded'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AppError);
  return error as AppError;
}

/** An address at which nobody listens. */
async function deadUrl(): Promise<string> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return `http://127.0.0.1:${port}`;
}

/** Something that takes a request whole and then drops the connection. */
async function dropper(): Promise<{ readonly url: string; readonly taken: () => number }> {
  let taken = 0;
  const server = createServer((request) => {
    request.resume().once('end', () => {
      taken++;
      request.socket.destroy();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, taken: () => taken };
}

callsConformance('HTTP between two processes', () => ends());

describe('calls by HTTP', () => {
  it.each([
    ['no secret', undefined],
    ['a wrong secret', `Bearer ${other}`],
    ['the secret under another scheme', `Basic ${secret}`],
  ])('refuse %s before the body is there', async (_, authorization) => {
    const { callee, url } = await made();
    let begun = 0;
    callee.bind('microblog.contributions', () => {
      begun++;
      return Promise.resolve(contributions);
    });
    // A million bytes are promised and none is sent: whoever waits for them answers nothing.
    const answer = await new Promise<string>((done, failed) => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      let text = '';
      socket.setEncoding('utf8').on('data', (part: string) => (text += part));
      socket.once('error', failed).once('close', () => done(text));
      socket.write(`POST /calls/microblog.contributions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n${authorization === undefined ? '' : `authorization: ${authorization}\r\n`}\r\n`);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(begun).toBe(0);
  });

  it('takes two secrets while the secret is being changed', async () => {
    const { callee, caller } = await made({ secrets: [other, secret], client: { secret: secret } });
    callee.bind('microblog.contributions', () => Promise.resolve(contributions));
    expect(await caller.call('microblog.contributions', { person })).toEqual(contributions);
  });

  it('tells alive and ready without a secret, and nothing else', async () => {
    const { url, listener } = await made({ readiness: () => Promise.resolve({ ready: false, failing: ['events'] }), opened: false });
    const get = async (path: string): Promise<[number, unknown]> => {
      const answer = await fetch(url + path);
      return [answer.status, await answer.json()];
    };
    expect(await get('/livez')).toEqual([200, { status: 'live' }]);
    expect(await get('/readyz')).toEqual([503, { status: 'not ready', failing: ['starting'] }]);
    listener.open();
    expect(await get('/readyz')).toEqual([503, { status: 'not ready', failing: ['events'] }]);
    expect((await get('/calls/microblog.role'))[0]).toBe(401);
  });

  it('refuse a request that is too large, told or not', async () => {
    const { callee, caller, url } = await made({ limits: { requestBytesMax: 1_000 } });
    callee.bind('microblog.present', ({ ids }) => Promise.resolve({ statuses: [], kept: ids }));
    const asker = { kind: 'anonymous', domain: person as never } as const;
    const error = await failureOf(caller.call('microblog.present', { asker, ids: Array.from({ length: 500 }, (_, index) => BigInt(index) as PostId), context: 'home' }));
    expect([error.kind, error.status]).toEqual(['bug', 413]);
    const chunked = await fetch(`${url}/calls/microblog.present`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}` },
      body: new Blob(['"', 'x'.repeat(5_000), '"']).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(chunked.status).toBe(413);
    expect((await caller.call('microblog.present', { asker, ids: [1n as PostId], context: 'home' })).kept).toEqual([1n]);
  });

  it('refuse an answer that is too large, on either side', async () => {
    const long = { contributions: Array.from({ length: 100 }, () => ({ title: 'x'.repeat(100) })) } as never;
    for (const options of [{ limits: { answerBytesMax: 1_000 } }, { client: { limits: { answerBytesMax: 1_000 } } }]) {
      const { callee, caller } = await made(options);
      callee.bind('microblog.contributions', () => Promise.resolve(long));
      expect((await failureOf(caller.call('microblog.contributions', { person }))).kind).toBe('bug');
    }
  });

  it('aborts the callee when the caller is gone', async () => {
    const { callee, url } = await made();
    let aborted = (_reason: unknown): void => undefined;
    const told = new Promise<unknown>((done) => (aborted = done));
    let begin = (): void => undefined;
    const begun = new Promise<void>((done) => (begin = done));
    callee.bind('microblog.heads', (_request, signal) => {
      signal.addEventListener('abort', () => aborted(signal.reason));
      begin();
      return new Promise(() => undefined);
    });
    const hangUp = new AbortController();
    const asked = fetch(`${url}/calls/microblog.heads`, { method: 'POST', headers: { authorization: `Bearer ${secret}` }, body: '{}', signal: hangUp.signal });
    asked.catch(() => undefined);
    await begun;
    hangUp.abort();
    // Its own time limit aborts it as well, much later.
    expect(await told).toMatchObject({ detail: 'nobody waits for microblog.heads any more' });
  });

  it('keeps to the time that the caller has left', async () => {
    const { callee, url } = await made();
    callee.bind('microblog.heads', () => new Promise(() => undefined));
    const answer = await fetch(`${url}/calls/microblog.heads`, { method: 'POST', headers: { authorization: `Bearer ${secret}`, 'dmb-timeout-ms': '50' }, body: '{}' });
    // Declared are 30 s.
    expect([answer.status, await answer.json()]).toEqual([503, expect.objectContaining({ kind: 'unavailable', detail: 'the call microblog.heads took longer than 50 ms' })]);
  });

  it('asks the second address while the first is down', async () => {
    const dead = await deadUrl();
    const second = await made();
    second.callee.bind('microblog.contributions', () => Promise.resolve(contributions));
    const transport = new HttpCallTransport({ service: 'microblog', urls: [dead, second.url], secret, logger: silentLogger });
    onTestFinished(() => transport.close());
    const caller = new Calls({ transports: { microblog: transport } });
    for (let turn = 0; turn < 4; turn++) expect(await caller.call('microblog.contributions', { person })).toEqual(contributions);
  });

  it('asks the second address while the first is stopping, and lets what has begun there end', async () => {
    const [first, second] = [await made(), await made()];
    let answerFirst = (): void => undefined;
    let begin = (): void => undefined;
    const begun = new Promise<void>((done) => (begin = done));
    first.callee.bind('microblog.contributions', () => {
      begin();
      return new Promise((done) => (answerFirst = () => done(contributions)));
    });
    let answered = 0;
    second.callee.bind('microblog.contributions', () => {
      answered++;
      return Promise.resolve(contributions);
    });
    const transport = new HttpCallTransport({ service: 'microblog', urls: [first.url, second.url], secret, logger: silentLogger });
    onTestFinished(() => transport.close());
    const caller = new Calls({ transports: { microblog: transport } });
    const waiting = caller.call('microblog.contributions', { person });
    await begun;
    const closed = first.listener.close();
    for (let turn = 0; turn < 4; turn++) await caller.call('microblog.contributions', { person });
    expect(answered).toBe(4);
    answerFirst();
    expect(await waiting).toEqual(contributions);
    await closed;
  });

  it('repeats what is idempotent once, at another address, when the callee dies in the middle of it', async () => {
    const [dying, good] = [await dropper(), await made()];
    good.callee.bind('microblog.contributions', () => Promise.resolve(contributions));
    const transport = new HttpCallTransport({ service: 'microblog', urls: [dying.url, good.url], secret, logger: silentLogger });
    onTestFinished(() => transport.close());
    expect(await new Calls({ transports: { microblog: transport } }).call('microblog.contributions', { person })).toEqual(contributions);
    expect(dying.taken()).toBe(1);

    const alone = new HttpCallTransport({ service: 'microblog', urls: [dying.url], secret, logger: silentLogger });
    onTestFinished(() => alone.close());
    expect((await failureOf(new Calls({ transports: { microblog: alone } }).call('microblog.contributions', { person }))).kind).toBe('unavailable');
    expect(dying.taken()).toBe(3);
  });

  it('never repeats what is not idempotent, unless it never left', async () => {
    const declaration = callTable['microblog.create'] as { -readonly [Key in keyof Call<unknown, unknown>]: Call<unknown, unknown>[Key] };
    declaration.idempotent = false;
    onTestFinished(() => {
      declaration.idempotent = true;
    });
    const [dying, good, dead] = [await dropper(), await made(), await deadUrl()];
    let created = 0;
    good.callee.bind('microblog.create', ({ microblog }) => {
      created++;
      return Promise.resolve({ microblog });
    });
    const create = async (urls: readonly string[]): Promise<unknown> => {
      const transport = new HttpCallTransport({ service: 'microblog', urls, secret, logger: silentLogger });
      onTestFinished(() => transport.close());
      return await new Calls({ transports: { microblog: transport } }).call('microblog.create', { microblog: 'm' } as never);
    };
    expect((await failureOf(create([dying.url, good.url]))).kind).toBe('unavailable');
    expect([dying.taken(), created]).toEqual([1, 0]);
    expect(await create([dead, good.url])).toEqual({ microblog: 'm' });
    expect(created).toBe(1);
  });
});
