/**
 * Ten thousand bad requests leave no memory behind.
 *
 * The mix is the list of bad-input.ts, large bodies seldom, with WebSockets that are refused, closed
 * for what they say, or simply dropped. What is compared is the resident memory of the program after
 * 1,000 and after 10,000 of them, each time when it has come to rest.
 *
 * What V8 keeps for the young grows with the first load and stays then, and so do compiled code,
 * pools of connections and caches with a bound; when garbage is collected is V8's own business.
 * None of that is a leak, and all of it would be counted as one. So a warm-up brings every path to
 * its usual size first, and garbage is collected before each reading (collect-preload.ts). The heap
 * itself is then steady enough to find what resident memory hides: half a kilobyte a request.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, registerApp, requestToken, signUp, startTestServer, TestClient, type Member, type TestServer } from '@dmb/testing';
import { badInputs, type BadInput } from './bad-input.ts';
import { exchange, open, requestText, talk } from './wire.ts';

const warmUp = 3_000;
const inParallel = 8;
/** One large body in so many requests. */
const largeEvery = 500;

let server: TestServer;
let ada: Member;
let appToken: string;

beforeAll(async () => {
  server = await startTestServer({ environment: { NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, 'collect-preload.ts')).href}` } });
  ada = await signUp(server.url, 'ada');
  const token = (await requestToken(server.url, await registerApp(server.url), { grant_type: 'client_credentials', scope: 'read write' })) as unknown as { readonly access_token: string };
  appToken = token.access_token;
});
afterAll(async () => await server?.dispose());

/** MiB. */
interface Memory {
  readonly resident: number;
  readonly heap: number;
}

/** What is left when everything has come to rest and garbage is collected. */
async function memory(): Promise<Memory> {
  await sleep(500);
  const said = server.stdout.length;
  server.signal('SIGUSR2');
  const told = await eventually(() => Promise.resolve(server.stdout.slice(said).includes('collected {') ? [] : ['not yet']));
  expect(told).toEqual([]);
  await sleep(100);
  const { heapUsed } = JSON.parse(/collected (\{.*\})/.exec(server.stdout.slice(said))?.[1] ?? '{}') as { heapUsed: number };
  const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]);
  return { resident: resident / 1_024, heap: heapUsed / 1_048_576 };
}

const small = badInputs.filter(({ isLarge }) => isLarge !== true);
const large = badInputs.filter(({ isLarge }) => isLarge === true);
const unexpected = new Set<string>();

async function send(input: BadInput): Promise<void> {
  const { line, headers = {}, body, as = 'person' } = input;
  const token = as === 'person' ? ada.client.token : as === 'app' ? appToken : undefined;
  const text = (value: string): string => value.replace('TOKEN', ada.client.token ?? '');
  const bytes = requestText(
    server.port,
    text(line),
    { ...(token === undefined || 'Authorization' in headers ? {} : { Authorization: `Bearer ${token}` }), 'X-Forwarded-For': `10.7.0.${randomBytes(1)[0] ?? 0}`, Connection: 'close', ...headers },
    typeof body === 'string' ? text(body) : body,
  );
  const { status } = await exchange(server.port, bytes, { timeoutMs: 30_000 });
  // The limits of requests are met, too, as anybody who does this meets them.
  if (status !== input.status && status !== 429) unexpected.add(`${input.what}: ${status}`);
}

async function badSocket(turn: number): Promise<void> {
  const socket = await open(server.port);
  const key = randomBytes(16).toString('base64');
  const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key };
  const { status } = await talk(socket, requestText(server.port, 'GET /api/v1/streaming', { ...headers, Authorization: `Bearer ${turn % 3 === 0 ? 'x' : (ada.client.token ?? '')}` }));
  if (![101, 401, 429].includes(status)) unexpected.add(`WebSocket: ${status}`);
  // Masked with zeros: nothing that is JSON.
  if (status === 101 && turn % 3 === 1) await talk(socket, Buffer.from([0x81, 0x83, 0, 0, 0, 0, 0x61, 0x62, 0x63]), { timeoutMs: 20 });
  socket.destroy();
}

let sent = 0;
async function sendMany(count: number): Promise<void> {
  const end = sent + count;
  const lane = async (): Promise<void> => {
    while (sent < end) {
      const turn = sent++;
      if (turn % largeEvery === largeEvery - 1) await send(large[Math.floor(turn / largeEvery) % large.length] as BadInput);
      else if (turn % 50 === 7) await badSocket(turn / 50);
      else await send(small[turn % small.length] as BadInput);
    }
  };
  await Promise.all(Array.from({ length: inParallel }, lane));
}

it('resident memory after 10,000 is at most 10 % above that after 1,000, and the heap 5 %', async () => {
  await sendMany(warmUp);
  await sendMany(1_000);
  const first = await memory();
  await sendMany(9_000);
  const last = await memory();
  expect([...unexpected]).toEqual([]);
  expect(last.resident, JSON.stringify({ first, last })).toBeLessThanOrEqual(first.resident * 1.1);
  expect(last.heap, JSON.stringify({ first, last })).toBeLessThanOrEqual(first.heap * 1.05);
  expect(await new TestClient(server.url, ada.client.token).get('/api/v1/accounts/lookup?acct=ada')).toMatchObject({ acct: 'ada' });
}, 240_000);
