/**
 * Thousands of open streams and a post: k6 has no Server-Sent Events, so these are opened here.
 *
 * Each stream belongs to another follower. On Linux they come from several addresses of loopback, because the server bounds streams and
 * connections by address, and readers do not share one; elsewhere all come from one, and the server's own limits hold.
 */
import { Agent, get, type ClientRequest } from 'node:http';
import { forEach, type Client } from './client.ts';
import { loadTestLimits } from './limits.ts';
import type { Tell } from './options.ts';

/** What the streams heard. */
export interface Heard {
  readonly streams: number;
  /** From the request of the post to the event, for each stream and post. */
  readonly sinceSentMs: readonly number[];
  /** Events that no stream should have missed. */
  readonly missed: number;
  /** Events that came a second time. */
  readonly doubled: number;
}

export interface LiveRun {
  readonly url: string;
  readonly client: Client;
  readonly author: string;
  readonly readers: readonly string[];
  readonly posts: number;
  readonly tell: Tell;
}

interface Event {
  readonly id: string;
  readonly atMs: number;
}

export async function hearLive({ url, client, author, readers, posts, tell }: LiveRun): Promise<Heard> {
  const agent = new Agent({ keepAlive: false });
  const open: ClientRequest[] = [];
  try {
    const heard: Event[][] = readers.map(() => []);
    await forEach(readers, async (token, index) => {
      open.push(await openStream({ url, token, agent, localAddress: addressOf(url, index), onStatus: (id) => heard[index]?.push({ id, atMs: performance.now() }) }));
    });
    tell(`${open.length} streams are open`);
    const sent: { readonly id: string; readonly atMs: number }[] = [];
    for (let index = 0; index < posts; index++) {
      const atMs = performance.now();
      sent.push({ id: await client.post(author, `Live number ${index}`), atMs });
      await until(() => heard.every((events) => events.length > index), loadTestLimits.eventTimeoutMs);
    }
    const sinceSentMs: number[] = [];
    let missed = 0;
    let doubled = 0;
    for (const events of heard) {
      for (const { id, atMs } of sent) {
        const of = events.filter((event) => event.id === id);
        if (of[0] === undefined) missed += 1;
        else sinceSentMs.push(of[0].atMs - atMs);
        doubled += Math.max(0, of.length - 1);
      }
    }
    return { streams: open.length, sinceSentMs, missed, doubled };
  } finally {
    for (const request of open) request.destroy();
    agent.destroy();
  }
}

function addressOf(url: string, index: number): string | undefined {
  if (process.platform !== 'linux' || !/^(localhost|127\.0\.0\.1)$/.test(new URL(url).hostname)) return undefined;
  return `127.0.0.${2 + (index % loadTestLimits.localAddresses)}`;
}

interface OpenStream {
  readonly url: string;
  readonly token: string;
  readonly agent: Agent;
  readonly localAddress: string | undefined;
  readonly onStatus: (id: string) => void;
}

/** Resolves once the server has answered with a stream. */
function openStream({ url, token, agent, localAddress, onStatus }: OpenStream): Promise<ClientRequest> {
  return new Promise((done, failed) => {
    const address = new URL('/api/v1/streaming/user', url);
    const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream', host: address.host };
    const request = get({ host: localAddress === undefined ? address.hostname : '127.0.0.1', port: address.port, path: address.pathname, agent, headers, ...(localAddress === undefined ? {} : { localAddress }) });
    request.once('error', failed);
    request.once('response', (response) => {
      if (response.statusCode !== 200) {
        request.destroy();
        failed(new Error(`a stream was answered with ${response.statusCode}`));
        return;
      }
      request.on('error', () => undefined);
      let rest = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        // An event is its name and its data; of an update the id is enough, and parsing everything would be our own time.
        for (const line of lines) {
          const id = /^data: \{"id":"(\d+)"/.exec(line)?.[1];
          if (id !== undefined) onStatus(id);
        }
      });
      response.on('error', () => undefined);
      done(request);
    });
  });
}

async function until(holds: () => boolean, timeoutMs: number): Promise<void> {
  for (const deadline = performance.now() + timeoutMs; !holds() && performance.now() < deadline; ) await new Promise((done) => setTimeout(done, 20));
}
