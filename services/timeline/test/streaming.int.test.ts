import { get as httpGet, type IncomingMessage } from 'node:http';
import { connect as connectSocket, type Socket as NetSocket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { EntryRef } from '@dmb/events';
import { shardOf } from '@dmb/protocol';
import { streamLimits } from '../src/index.ts';
import { createWorld, type FakeLog, type FakePerson, type World } from './world.ts';

let world: World;
let ann: FakePerson;
let news: FakeLog;
let sockets: WebSocket[] = [];

beforeAll(async () => {
  world = await createWorld({ DMB_STREAMS_PER_TOKEN: '1200', DMB_STREAMS_PER_ADDRESS: '1300' });
});
afterAll(() => world.close());
beforeEach(() => {
  world.services.failing.clear();
  ann = world.services.person();
  news = world.services.log();
  ann.home.add(news.log);
});
afterEach(async () => {
  for (const socket of sockets) socket.terminate();
  sockets = [];
  await until(() => world.streams.open === 0);
});

async function until(done: () => boolean, ms = 8_000): Promise<void> {
  for (const end = Date.now() + ms; !done(); ) {
    if (Date.now() > end) throw new Error('it did not happen');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
interface Socket {
  readonly ws: WebSocket;
  readonly messages: { stream?: string[]; event?: string; payload?: string; error?: string; status?: number }[];
  closed: { code: number; reason: string } | undefined;
}
/** Opens a WebSocket, or tells with which status it was refused. */
async function open(path = '/api/v1/streaming?stream=user', options: { token?: string; protocol?: string; headers?: Record<string, string> } = {}): Promise<Socket> {
  const headers = { ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }), ...options.headers };
  const ws = new WebSocket(`ws://${world.origin}${path}`, options.protocol === undefined ? [] : [options.protocol], { headers });
  sockets.push(ws);
  const socket: Socket = { ws, messages: [], closed: undefined };
  ws.on('message', (data: Buffer) => socket.messages.push(JSON.parse(data.toString()) as Socket['messages'][number]));
  ws.on('close', (code, reason) => (socket.closed = { code, reason: reason.toString() }));
  await new Promise<void>((resolve, reject) => {
    ws.on('open', resolve);
    ws.on('error', reject);
    ws.on('unexpected-response', (_request, response: IncomingMessage) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('end', () => reject(new Error(`${response.statusCode} ${response.headers['content-type'] ?? ''} ${body}`)));
    });
  });
  return socket;
}
const tell = (...refs: readonly EntryRef[]) => world.live.publish(refs.map((ref) => ({ type: 'entry', ref })));
const followingChanged = () => world.live.publish([{ type: 'person', event: { shard: shardOf(ann.person), person: ann.person, what: 'following-changed' } }]);
const say = (socket: Socket, message: unknown) => socket.ws.send(typeof message === 'string' ? message : JSON.stringify(message));
/** Asks something that is answered, so that everything said before has been taken in. */
async function settled(socket: Socket): Promise<void> {
  const pong = new Promise((resolve) => socket.ws.once('pong', resolve));
  socket.ws.ping();
  await pong;
}

describe('opening a WebSocket', () => {
  it('takes the token in four ways and echoes the subprotocol', async () => {
    const ways = [{ token: ann.token }, { protocol: ann.token }, { headers: { Authorization: `bearer ${ann.token}` } }];
    for (const way of ways) {
      const socket = await open('/api/v1/streaming', way);
      expect(socket.ws.protocol).toBe(way.protocol ?? '');
    }
    await open(`/api/v1/streaming/?stream=user&access_token=${ann.token}`);
    expect(world.streams.open).toBe(4);
  });

  it('answers a bad token with 401 in JSON before any upgrade', async () => {
    await expect(open('/api/v1/streaming?stream=user')).rejects.toThrow(/^401 application\/json.*\{"error":/);
    await expect(open('/api/v1/streaming?stream=user', { token: 'wrong' })).rejects.toThrow(/^401/);
    await expect(open('/api/v1/streaming', { protocol: 'wrong' })).rejects.toThrow(/^401/);
    world.services.roles.delete(`${ann.person}/${ann.microblog}`);
    await expect(open('/api/v1/streaming', { token: ann.token })).rejects.toThrow(/^401/);
    expect(world.streams.open).toBe(0);
  });

  it('answers a missing scope with 403, an unknown stream with 400, one that is not served with 404, an unknown path with 404', async () => {
    await expect(open(undefined, { token: world.services.person(['write']).token })).rejects.toThrow(/^403/);
    await expect(open('/api/v1/streaming?stream=user:notification', { token: world.services.person(['read:statuses']).token })).rejects.toThrow(/^403/);
    await expect(open('/api/v1/streaming?stream=nonsense', { token: ann.token })).rejects.toThrow(/^400/);
    await expect(open('/api/v1/streaming?stream=public', { token: ann.token })).rejects.toThrow(/^404/);
    await expect(open('/api/v1/timelines/home', { token: ann.token })).rejects.toThrow(/^404/);
  });

  it('answers 503 when nobody can say who asks', async () => {
    world.services.failing.add('identity.token');
    await expect(open(undefined, { token: ann.token })).rejects.toThrow(/^503/);
    world.services.failing.clear();
    world.services.failing.add('microblog.listening');
    await expect(open(undefined, { token: ann.token })).rejects.toThrow(/^503/);
  });
});

describe('what a stream tells', () => {
  it('a post as update, an edit as status.update of the post, a deletion as the bare id', async () => {
    const socket = await open(undefined, { token: ann.token });
    const post = world.services.append(news, 'post');
    const edit = world.services.append(news, 'edit', 1n);
    const end = world.services.append(news, 'delete', 1n);
    await tell(post, edit, end);
    await until(() => socket.messages.length === 3);
    expect(socket.messages.map(({ event }) => event)).toEqual(['update', 'status.update', 'delete']);
    expect(socket.messages.every(({ stream }) => stream?.length === 1 && stream[0] === 'user')).toBe(true);
    expect(JSON.parse(socket.messages[0]!.payload!)).toEqual({ id: String(post.id), content: 'live\n❄' });
    expect((JSON.parse(socket.messages[1]!.payload!) as { id: string }).id).toBe(String(post.id));
    expect(socket.messages[2]!.payload).toBe(String(post.id));
  });

  it('a happening as notification, in each stream that was asked for', async () => {
    const socket = await open('/api/v1/streaming', { protocol: ann.token });
    say(socket, { type: 'subscribe', stream: 'user' });
    say(socket, { type: 'subscribe', stream: 'user:notification' });
    await settled(socket);
    const happening = world.services.append(world.services.logs.get(ann.own)!, 'happening');
    const post = world.services.append(news, 'post');
    await tell(happening, post);
    await until(() => socket.messages.length === 3);
    expect(socket.messages.map(({ stream, event }) => [stream, event])).toEqual([
      [['user'], 'notification'],
      [['user:notification'], 'notification'],
      [['user'], 'update'],
    ]);
    say(socket, { type: 'unsubscribe', stream: 'user' });
    await settled(socket);
    await tell(world.services.append(news, 'post'), world.services.append(world.services.logs.get(ann.own)!, 'happening'));
    await until(() => socket.messages.length === 4);
    expect(socket.messages[3]).toMatchObject({ stream: ['user:notification'], event: 'notification' });
  });

  it('nothing that is hidden, late, of logs not followed, or direct', async () => {
    const socket = await open(undefined, { token: ann.token });
    const hidden = world.services.append(news, 'post');
    world.services.hidden.add(hidden.id);
    await tell(hidden, { ...world.services.append(news, 'post'), late: true }, world.services.append(world.services.log(), 'post'), { ...world.services.append(news, 'post'), audience: 'direct' });
    const shown = world.services.append(news, 'post');
    await tell(shown);
    await until(() => socket.messages.length > 0);
    expect(socket.messages.map(({ payload }) => (JSON.parse(payload!) as { id: string }).id)).toEqual([String(shown.id)]);
  });

  it('notifications only to a token that may read them', async () => {
    const bob = world.services.person(['read:statuses']);
    bob.home.add(news.log);
    const socket = await open(undefined, { token: bob.token });
    say(socket, { type: 'subscribe', stream: 'user:notification' });
    await until(() => socket.messages.length === 1);
    expect(socket.messages[0]).toMatchObject({ status: 401 });
    await tell(world.services.append(world.services.logs.get(bob.own)!, 'happening'), world.services.append(news, 'post'));
    await until(() => socket.messages.length === 2);
    expect(socket.messages[1]).toMatchObject({ event: 'update' });
  });

  it('presents once for all connections of one viewer', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => open(undefined, { token: ann.token })));
    world.services.asked.clear();
    await tell(world.services.append(news, 'post'));
    await until(() => all.every(({ messages }) => messages.length === 1));
    expect(world.services.asked.get('microblog.present-live')).toBe(1);
    expect(world.services.asked.get('microblog.roles')).toBe(1);
  });

  it('presents in a few calls for many viewers, to each what it may see and hears', async () => {
    const sport = world.services.log();
    const many = Array.from({ length: 60 }, () => world.services.person());
    for (const [index, person] of many.entries()) for (const log of index % 3 === 0 ? [news] : index % 3 === 1 ? [sport] : [news, sport]) person.home.add(log.log);
    const all = await Promise.all(many.map(({ token }) => open(undefined, { token })));
    world.services.tokens.delete(many[0]!.token);
    world.services.asked.clear();
    const [first, second] = [world.services.append(news, 'post'), world.services.append(sport, 'post')];
    await tell(first, second);
    await until(() => all.every(({ messages, closed }, index) => (index === 0 ? closed !== undefined : messages.length === (index % 3 === 2 ? 2 : 1))));
    const told = all.map(({ messages }) => messages.map(({ payload }) => (JSON.parse(payload!) as { id: string }).id));
    const expected = [[String(first.id)], [String(second.id)], [String(first.id), String(second.id)]];
    expect(told).toEqual(many.map((_, index) => (index === 0 ? [] : expected[index % 3])));
    for (const name of ['microblog.present-live', 'microblog.roles', 'identity.tokens']) expect(world.services.asked.get(name)).toBe(1);
  });

  it('tells more viewers than fit one round, each in order, while more comes', async () => {
    const limits = streamLimits as { viewersPerRoundMax: number; eventsPerRoundMax: number };
    const before = { ...limits };
    Object.assign(limits, { viewersPerRoundMax: 3, eventsPerRoundMax: 40 });
    try {
      const many = Array.from({ length: 20 }, () => world.services.person());
      for (const person of many) person.home.add(news.log);
      const all = await Promise.all(many.map(({ token }) => open(undefined, { token })));
      const posts: EntryRef[] = [];
      for (let wave = 0; wave < 5; wave++) {
        const part = Array.from({ length: 17 }, () => world.services.append(news, 'post'));
        posts.push(...part);
        await tell(...part);
      }
      await until(() => all.every(({ messages }) => messages.length === posts.length));
      for (const { messages } of all) expect(messages.map(({ payload }) => (JSON.parse(payload!) as { id: string }).id)).toEqual(posts.map(({ id }) => String(id)));
    } finally {
      Object.assign(limits, before);
    }
  });

  it('tries a round again, and closes its streams where it goes on failing', async () => {
    const socket = await open(undefined, { token: ann.token });
    world.services.asked.clear();
    world.services.failing.add('microblog.present-live');
    const first = world.services.append(news, 'post');
    await tell(first);
    await until(() => world.services.asked.get('microblog.present-live') !== undefined);
    world.services.failing.clear();
    await until(() => socket.messages.length === 1);
    world.services.failing.add('microblog.roles');
    await tell(world.services.append(news, 'post'));
    await until(() => socket.closed !== undefined);
    expect(socket.closed!.code).toBe(1013);
  });

  it('keeps the order of a burst and presents it in few calls', async () => {
    const socket = await open(undefined, { token: ann.token });
    world.services.asked.clear();
    const burst = Array.from({ length: 100 }, () => world.services.append(news, 'post'));
    await tell(...burst);
    await until(() => socket.messages.length === 100);
    expect(socket.messages.map(({ payload }) => (JSON.parse(payload!) as { id: string }).id)).toEqual(burst.map(({ id }) => String(id)));
    expect(world.services.asked.get('microblog.present-live')).toBeLessThanOrEqual(6);
  });

  it('hears a log that is followed from then on, also what comes while it is asked', async () => {
    const socket = await open(undefined, { token: ann.token });
    const sport = world.services.log();
    await tell(world.services.append(sport, 'post'));
    ann.home.add(sport.log);
    await followingChanged();
    const [first, second] = [world.services.append(sport, 'post'), world.services.append(sport, 'post')];
    await tell(first);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await tell(second);
    await until(() => socket.messages.length === 2);
    expect(socket.messages.map(({ payload }) => (JSON.parse(payload!) as { id: string }).id)).toEqual([String(first.id), String(second.id)]);
    ann.home.delete(sport.log);
    await followingChanged();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await tell(world.services.append(sport, 'post'));
    await tell(world.services.append(news, 'post'));
    await until(() => socket.messages.length === 3);
    expect(socket.messages).toHaveLength(3);
  });

  // Asking twice at a time, the answer that was made first may come last, and would be believed for a minute.
  it('hears what is followed although the answer to an opening stream is older and comes later', async () => {
    const sport = world.services.log();
    let answer = (): void => undefined;
    world.services.held.set('microblog.listening', new Promise((resolve) => (answer = resolve)));
    world.services.asked.clear();
    const opening = open(undefined, { token: ann.token });
    await until(() => world.services.asked.get('microblog.listening') === 1);
    world.services.held.clear();
    ann.home.add(sport.log);
    await followingChanged();
    const first = world.services.append(sport, 'post');
    await tell(first);
    answer();
    const socket = await opening;
    await until(() => world.services.asked.get('microblog.listening') === 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const second = world.services.append(sport, 'post');
    await tell(second);
    await until(() => socket.messages.length > 0 && (JSON.parse(socket.messages.at(-1)!.payload!) as { id: string }).id === String(second.id));
  });
  it('asks once for many changes', async () => {
    const socket = await open(undefined, { token: ann.token });
    world.services.asked.clear();
    const sport = world.services.log();
    ann.home.add(sport.log);
    for (let change = 0; change < 50; change++) await followingChanged();
    await settled(socket);
    await tell(world.services.append(sport, 'post'));
    await until(() => socket.messages.length === 1);
    expect(world.services.asked.get('microblog.listening')).toBeLessThan(10);
  });
});

describe('who may listen', () => {
  it('is asked at each event: a revoked token hears nothing more and is closed with a code', async () => {
    const socket = await open(undefined, { token: ann.token });
    world.services.tokens.delete(ann.token);
    await tell(world.services.append(news, 'post'));
    await until(() => socket.closed !== undefined);
    expect(socket.closed).toEqual({ code: 4401, reason: 'The access token was revoked' });
    expect(socket.messages).toEqual([]);
  });

  it('is asked when identity says so, and at each look besides', async () => {
    const first = await open(undefined, { token: ann.token });
    world.services.tokens.delete(ann.token);
    await world.live.publish([{ type: 'person', event: { shard: shardOf(ann.person), person: ann.person, what: 'tokens-revoked', microblog: null } }]);
    await until(() => first.closed !== undefined);
    expect(first.closed!.code).toBe(4401);

    const bob = world.services.person();
    const second = await open(undefined, { token: bob.token });
    world.services.roles.delete(`${bob.person}/${bob.microblog}`);
    await world.streams.look();
    await until(() => second.closed !== undefined);
    expect(second.closed!.code).toBe(4401);
  });

  it('closes the revoked token of two and leaves the other', async () => {
    const other = { ...ann, token: `${ann.token}-other` };
    world.services.tokens.set(other.token, other);
    const [first, second] = [await open(undefined, { token: ann.token }), await open(undefined, { token: other.token })];
    world.services.tokens.delete(ann.token);
    await tell(world.services.append(news, 'post'));
    await until(() => first.closed !== undefined && second.messages.length === 1);
    expect(first.messages).toEqual([]);
  });

  it('keeps streams while identity is away for a moment, and closes them when it stays away', async () => {
    const socket = await open(undefined, { token: ann.token });
    world.services.failing.add('identity.tokens');
    for (let look = 1; look < streamLimits.failedLooksMax; look++) await world.streams.look();
    expect(socket.closed).toBeUndefined();
    await world.streams.look();
    await until(() => socket.closed !== undefined);
    expect(socket.closed!.code).toBe(1013);
  });
});

describe('bad clients', () => {
  it('says what is wrong with a message and goes on', async () => {
    const socket = await open('/api/v1/streaming', { token: ann.token });
    for (const message of ['{', '[]', '5', '"x"', '']) say(socket, message);
    say(socket, { type: 'subscribe', stream: 'nonsense' });
    say(socket, { type: 'subscribe' });
    say(socket, { type: 'subscribe', stream: 'public' });
    say(socket, { type: 'something new' });
    say(socket, { type: 'subscribe', stream: 'user' });
    await settled(socket);
    expect(socket.messages.map(({ status }) => status)).toEqual([400, 400, 400, 400, 400, 400, 400]);
    await tell(world.services.append(news, 'post'));
    await until(() => socket.messages.length === 8);
  });

  it('closes on a message that is too large, and on too many', async () => {
    const large = await open('/api/v1/streaming', { token: ann.token });
    say(large, 'x'.repeat(streamLimits.messageBytesMax + 1));
    await until(() => large.closed !== undefined);
    expect(large.closed!.code).toBe(1009);
    const many = await open('/api/v1/streaming', { token: ann.token });
    for (let count = 0; count <= streamLimits.messagesPerLookMax; count++) say(many, { type: 'unsubscribe', stream: 'user' });
    await until(() => many.closed !== undefined);
    expect(many.closed!.code).toBe(1008);
  });

  /** A client of whom more waits than may, told nothing more, and not yet gone. */
  async function unread(): Promise<NetSocket> {
    const [host = '', port = ''] = world.origin.split(':');
    const socket = connectSocket({ host, port: Number(port) });
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(`GET /api/v1/streaming?stream=user HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${ann.token}\r\n\r\n`);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.removeAllListeners('data').pause();
    // Of the same viewer: what it was told, the other was told before.
    const reader = await open(undefined, { token: ann.token });
    // Posts so large that what the kernel buffers is soon full.
    world.services.more = { large: 'x'.repeat(500_000) };
    try {
      for (let told = 1; told <= 40; told++) {
        await tell(world.services.append(news, 'post'));
        await until(() => reader.messages.length === told);
      }
    } finally {
      world.services.more = {};
    }
    reader.ws.terminate();
    await until(() => world.streams.open === 1);
    return socket;
  }

  it('cuts off a client that reads nothing, and holds little for it', async () => {
    const socket = await unread();
    try {
      for (let look = 0; look < streamLimits.goodbyeLooks; look++) {
        expect(world.streams.open).toBe(1);
        await world.streams.look();
      }
      await until(() => world.streams.open === 0);
    } finally {
      socket.destroy();
    }
  });

  // A look may come just behind the goodbye.
  it('leaves it the time to read on, to the code that says why', async () => {
    const socket = await unread();
    await world.streams.look();
    let last = Buffer.alloc(0);
    let bytes = 0;
    socket.on('data', (data: Buffer) => {
      bytes += data.length;
      last = Buffer.concat([last, data]).subarray(-100);
      // It says goodbye as well, as clients do, or it would be waited for.
      if (/read too slowly/.test(last.toString('latin1'))) socket.end();
    });
    socket.resume();
    await until(() => world.streams.open === 0);
    expect(last.toString('latin1')).toMatch(/You read too slowly; please connect again$/);
    expect(last.readUInt16BE(last.length - 'You read too slowly; please connect again'.length - 2)).toBe(4008);
    expect(bytes).toBeLessThan(40 * 500_000);
  });

  it('leaves unread sockets to themselves no longer than two heartbeats', async () => {
    const socket = await open(undefined, { token: ann.token });
    // It never answers a ping again.
    (socket.ws as unknown as { pong: () => void }).pong = () => undefined;
    for (let look = 0; look <= (streamLimits.missedPongsMax + 1) * streamLimits.looksPerHeartbeat; look++) await world.streams.look();
    await until(() => world.streams.open === 0);
  });

  it('closes with a code when more waits for a viewer than may', async () => {
    const socket = await open(undefined, { token: ann.token });
    await tell(...Array.from({ length: streamLimits.pendingMax + 50 }, () => world.services.append(news, 'post')));
    await until(() => socket.closed !== undefined);
    expect(socket.closed!.code).toBe(1013);
  });
});

describe('many', () => {
  it('holds 1,000 idle sockets, tells them all, and refuses more than a token may have', async () => {
    const before = process.memoryUsage().rss;
    for (let part = 0; part < 20; part++) await Promise.all(Array.from({ length: 50 }, () => open(undefined, { token: ann.token })));
    expect(world.streams.open).toBe(1_000);
    const perSocket = (process.memoryUsage().rss - before) / 1_000;
    // Both ends are in this process.
    expect(perSocket).toBeLessThan(150_000);
    world.services.asked.clear();
    await world.streams.look();
    expect(world.services.asked.get('identity.tokens')).toBe(1);
    let told = 0;
    for (const socket of sockets) socket.on('message', () => told++);
    await tell(world.services.append(news, 'post'));
    await until(() => told === 1_000);
    for (let part = 0; part < 4; part++) await Promise.all(Array.from({ length: 50 }, () => open(undefined, { token: ann.token })));
    await expect(open(undefined, { token: ann.token })).rejects.toThrow(/^429/);
    const bob = world.services.person();
    for (let part = 0; part < 2; part++) await Promise.all(Array.from({ length: 50 }, () => open(undefined, { token: bob.token })));
    await expect(open(undefined, { token: bob.token })).rejects.toThrow(/^429/);
  });
});

describe('Server-Sent Events', () => {
  const listen = (path: string, token = ann.token): Promise<{ response: IncomingMessage; text: () => string; end: () => void }> =>
    new Promise((resolve, reject) => {
      const request = httpGet(`http://${world.origin}${path}`, { headers: { authorization: `Bearer ${token}` } }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('error', () => undefined);
        resolve({ response, text: () => text, end: () => request.destroy() });
      });
      request.on('error', reject);
    });

  it('come with LF only, an empty line after each, and a heartbeat', async () => {
    const stream = await listen('/api/v1/streaming/user');
    expect(stream.response.headers['content-type']).toMatch(/^text\/event-stream/);
    expect(stream.response.headers['access-control-allow-origin']).toBe('*');
    expect(stream.response.headers['cache-control']).toMatch(/no-store/);
    const post = world.services.append(news, 'post');
    const end = world.services.append(news, 'delete', 1n);
    await tell(post, end);
    await until(() => stream.text().includes('event: delete'));
    expect(stream.text().replace(/^:\)\n\n/, '')).toBe(`event: update\ndata: ${JSON.stringify({ id: String(post.id), content: 'live\n❄' })}\n\nevent: delete\ndata: ${post.id}\n\n`);
    for (let look = 0; look < streamLimits.looksPerHeartbeat; look++) await world.streams.look();
    await until(() => stream.text().includes(':thump\n'));
    expect(stream.text()).not.toContain('\r');
    stream.end();
  });

  it('are there by name and by path, and say what is not', async () => {
    const named = await listen(`/api/v1/streaming?stream=user:notification&access_token=${ann.token}`);
    const path = await listen('/api/v1/streaming/user/notification/');
    await until(() => world.streams.open === 2);
    await tell(world.services.append(world.services.logs.get(ann.own)!, 'happening'));
    await until(() => [named, path].every(({ text }) => text().includes('event: notification')));
    named.end();
    path.end();
    for (const [target, status] of [['/api/v1/streaming', 404], ['/api/v1/streaming?stream=public', 404], ['/api/v1/streaming?stream=x', 400]] as const) {
      const refused = await listen(target);
      expect([refused.response.statusCode, refused.response.headers['content-type']]).toEqual([status, 'application/json; charset=utf-8']);
      refused.end();
    }
    const bad = await listen('/api/v1/streaming/user', 'wrong');
    expect(bad.response.statusCode).toBe(401);
    bad.end();
  });

  it('end when the token does', async () => {
    const stream = await listen('/api/v1/streaming/user');
    let ended = false;
    stream.response.on('end', () => (ended = true));
    await until(() => world.streams.open === 1);
    world.services.tokens.delete(ann.token);
    await world.streams.look();
    await until(() => ended);
  });

  it('are well: the health path says OK in two letters', async () => {
    const answer = await fetch(`http://${world.origin}/api/v1/streaming/health`);
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([200, 'text/plain; charset=utf-8', 'OK']);
  });
});

describe('stopping', () => {
  it('says goodbye so that clients connect again, and takes nobody new', async () => {
    const own = await createWorld();
    try {
      const person = own.services.person();
      const ws = new WebSocket(`ws://${own.origin}/api/v1/streaming?stream=user`, { headers: { authorization: `Bearer ${person.token}` } });
      await new Promise((resolve) => ws.once('open', resolve));
      const closed = new Promise<number>((resolve) => ws.once('close', resolve));
      await own.streams.stop();
      expect(await closed).toBe(1012);
      const refused = await new Promise<number | undefined>((resolve) => {
        const late = new WebSocket(`ws://${own.origin}/api/v1/streaming?stream=user`, { headers: { authorization: `Bearer ${person.token}` } });
        late.on('error', () => undefined);
        late.on('unexpected-response', (_request, response: IncomingMessage) => resolve(response.statusCode));
      });
      expect(refused).toBe(503);
    } finally {
      await own.close();
    }
  });
});
