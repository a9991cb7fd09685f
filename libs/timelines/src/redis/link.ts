/**
 * The hot path to one node: prebuilt bytes out, replies counted.
 *
 * A post to ten thousand readers is ten thousand `RPUSHX`. A client library spends 6 to 14 µs of this process on
 * each: an object, a promise, an encoded command, a parsed reply. Redis spends less than 3. So the commands of a
 * flush are one text, written at once, and their replies are not parsed: all that is asked of a flush is how many replies
 * have come, which of them are errors, and which lists have grown too long.
 *
 * The connection is ioredis's: it knows about TLS, passwords, databases and reconnecting. When it is
 * ready, `prepare` runs on it by the ordinary way; then the listener that parses replies is taken off the
 * socket and {@link ReplyReader} put in its place. From then on nobody sends a command through ioredis on this
 * connection, so its parser has nothing to miss. A lost connection is made again by ioredis, with a new socket and
 * its parser, and taken over again.
 *
 * Replies come in the order of the commands, so flushes form a queue: the first gets replies until it has all.
 * Every command must be one that answers a line: an integer, a status or an error.
 *
 * On failure (connection lost, no answer within `flushMsMax`, a reply that is no line) every flush that is
 * out rejects and the connection is given up: what was applied is not known, and whoever asked repeats it. An error
 * reply fails its command only.
 */
import type { Redis } from 'ioredis';
import { redisLimits } from '../limits.ts';
import { unavailable, type RedisNode } from './nodes.ts';

/** What a flush was answered. */
export interface Replies {
  /** By the place of the command in the flush. */
  readonly errors: ReadonlyMap<number, string>;
  /** Commands that answered 0: pushes to absent lists. */
  readonly zeros: number;
  /** Places of the commands whose answer was above the bound of the flush. */
  readonly long: readonly number[];
}

interface Flight {
  readonly expected: number;
  readonly longAbove: number;
  readonly errors: Map<number, string>;
  readonly long: number[];
  zeros: number;
  seen: number;
  resolve(replies: Replies): void;
  reject(error: unknown): void;
}

const longMax = 64;
const errorLengthMax = 512;
const byte = { colon: 0x3a, minus: 0x2d, plus: 0x2b, zero: 0x30, lineFeed: 0x0a, carriageReturn: 0x0d } as const;

/** Reads replies that are lines, whatever pieces they come in, and counts them for the flushes that wait. */
export class ReplyReader {
  private readonly flights: Flight[] = [];
  /** First byte of the line that is being read; 0 between lines. */
  private type = 0;
  private value = 0;
  private text = '';

  /** Flushes whose replies are not all there. */
  get outstanding(): number {
    return this.flights.length;
  }

  expect(flight: Flight): void {
    this.flights.push(flight);
  }

  /** @throws when a reply is no line, or nobody waits for it */
  read(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; at++) {
      const next = chunk[at]!;
      if (this.type === 0) {
        if (next !== byte.colon && next !== byte.minus && next !== byte.plus) throw new Error(`a reply began with byte ${next}`);
        this.type = next;
        this.value = 0;
        this.text = '';
      } else if (next === byte.lineFeed) {
        this.take();
        this.type = 0;
      } else if (this.type === byte.colon) {
        if (next !== byte.carriageReturn) this.value = this.value * 10 + (next - byte.zero);
      } else if (this.type === byte.minus && next !== byte.carriageReturn && this.text.length < errorLengthMax) {
        this.text += String.fromCharCode(next);
      }
    }
  }

  /** Rejects whoever waits, and forgets what was half read. */
  fail(error: unknown): void {
    this.type = 0;
    for (const flight of this.flights.splice(0)) flight.reject(error);
  }

  private take(): void {
    const [flight] = this.flights;
    if (flight === undefined) throw new Error('a reply came that nobody waits for');
    const place = flight.seen++;
    if (this.type === byte.minus) flight.errors.set(place, this.text);
    else if (this.type === byte.colon && this.value === 0) flight.zeros++;
    else if (this.value > flight.longAbove && flight.long.length < longMax) flight.long.push(place);
    if (flight.seen < flight.expected) return;
    this.flights.shift();
    flight.resolve(flight);
  }
}

/** Flushes to one node. */
export class Link {
  private readonly redis: Redis;
  private readonly reader = new ReplyReader();
  private readonly node: RedisNode;
  /** The socket whose replies are ours. */
  private socket: Redis['stream'] | undefined;
  private waiting: { resolve(): void; reject(error: unknown): void }[] = [];

  /** @param prepare runs on each new connection before anything is flushed; when it fails the connection is made again. */
  constructor(node: RedisNode, prepare: (redis: Redis) => Promise<void>) {
    this.node = node;
    // RESP2: no reply of another kind, no push in between.
    this.redis = node.connect({ protocol: 2, connectionName: 'dmb-push' });
    this.redis.on('ready', () => void this.open(prepare));
    this.redis.on('close', () => this.lose(new Error('the connection was lost')));
  }

  /**
   * Sends `commands` commands at once; resolves when each has its reply.
   * @param longAbove integers above this are reported in {@link Replies.long}
   * @throws {AppError} unavailable: whether they were applied is not known
   */
  async flush(text: string, commands: number, longAbove = Number.MAX_SAFE_INTEGER): Promise<Replies> {
    if (this.socket === undefined) await this.opened();
    try {
      return await this.send(text, commands, longAbove);
    } catch (error) {
      throw unavailable(error, this.node);
    }
  }

  close(): void {
    this.node.release(this.redis);
    this.lose(new Error('closed'));
  }

  /** Gives the connection up; a new one is made. */
  abandon(error: Error): void {
    const { socket } = this;
    this.lose(error);
    socket?.destroy();
  }

  private send(text: string, expected: number, longAbove: number): Promise<Replies> {
    const { socket } = this;
    if (socket === undefined) return Promise.reject(new Error('the connection was lost'));
    return new Promise((done, failed) => {
      const limit = setTimeout(() => this.abandon(new Error(`no answer within ${redisLimits.flushMsMax} ms`)), redisLimits.flushMsMax);
      this.reader.expect({
        expected,
        longAbove,
        errors: new Map(),
        long: [],
        zeros: 0,
        seen: 0,
        resolve: (replies) => {
          clearTimeout(limit);
          done(replies);
        },
        reject: (error) => {
          clearTimeout(limit);
          failed(error as Error);
        },
      });
      // Keys and ids are ASCII.
      socket.write(text, 'latin1');
    });
  }

  private async open(prepare: (redis: Redis) => Promise<void>): Promise<void> {
    const { stream } = this.redis;
    try {
      await prepare(this.redis);
    } catch (error) {
      if (this.redis.stream === stream) this.abandonUnopened(stream, error);
      return;
    }
    if (this.redis.stream !== stream || this.redis.status !== 'ready') return;
    stream.removeAllListeners('data');
    stream.on('data', (chunk: Buffer) => {
      if (this.socket !== stream) return;
      try {
        this.reader.read(chunk);
      } catch (error) {
        this.abandon(error as Error);
      }
    });
    this.socket = stream;
    for (const { resolve } of this.waiting.splice(0)) resolve();
  }

  private abandonUnopened(stream: Redis['stream'], error: unknown): void {
    for (const { reject } of this.waiting.splice(0)) reject(error);
    stream.destroy();
  }

  private lose(error: Error): void {
    this.socket = undefined;
    this.reader.fail(error);
  }

  private async opened(): Promise<void> {
    let limit: NodeJS.Timeout | undefined;
    let mine: (typeof this.waiting)[number] | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        mine = { resolve, reject };
        this.waiting.push(mine);
        limit = setTimeout(() => reject(new Error('no connection')), redisLimits.linkWaitMsMax);
      });
    } catch (error) {
      this.waiting = this.waiting.filter((each) => each !== mine);
      throw unavailable(error, this.node);
    } finally {
      clearTimeout(limit);
    }
  }
}
