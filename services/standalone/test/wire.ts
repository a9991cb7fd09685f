/** Bytes on a socket: for requests that no client library would send, and answers as they came. */
import { connect, type Socket } from 'node:net';

/** An answer, taken apart as far as a test needs it. */
export interface WireAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Everything that came. */
  readonly bytes: string;
  /** The other side ended the connection. */
  readonly hasEnded: boolean;
}

export interface WireOptions {
  /** Until the answer is there, or the connection ends. */
  readonly timeoutMs?: number;
  /** Waits for the end of the connection, not for the end of the first answer. */
  readonly untilEnd?: boolean;
  /** Sent one after the other with a pause between. */
  readonly pauseMs?: number;
}

/** Opens a connection to loopback. */
export async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => undefined);
  await new Promise<void>((done, failed) => socket.once('connect', done).once('error', failed));
  return socket;
}

/** Sends bytes and waits for the answer; status 0 where none came. */
export async function exchange(port: number, parts: string | Buffer | readonly (string | Buffer)[], options: WireOptions = {}): Promise<WireAnswer> {
  const socket = await open(port);
  try {
    return await talk(socket, parts, options);
  } finally {
    socket.destroy();
  }
}

/** The same on an open connection. */
export async function talk(socket: Socket, parts: string | Buffer | readonly (string | Buffer)[], { timeoutMs = 15_000, untilEnd = false, pauseMs = 0 }: WireOptions = {}): Promise<WireAnswer> {
  let bytes = '';
  let hasEnded = false;
  const answered = new Promise<void>((done) => {
    const limit = setTimeout(done, timeoutMs);
    const finish = (): void => {
      clearTimeout(limit);
      done();
    };
    socket.on('data', (data: Buffer) => {
      bytes += data.toString('latin1');
      if (!untilEnd && isWhole(bytes)) finish();
    });
    socket.once('close', () => {
      hasEnded = true;
      finish();
    });
  });
  for (const part of typeof parts === 'string' || Buffer.isBuffer(parts) ? [parts] : parts) {
    if (socket.destroyed) break;
    socket.write(part);
    if (pauseMs > 0) await new Promise((done) => setTimeout(done, pauseMs));
  }
  await answered;
  return { ...parse(bytes), bytes, hasEnded };
}

function isWhole(bytes: string): boolean {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /^content-length: (\d+)$/im.exec(bytes.slice(0, end))?.[1];
  if (length !== undefined) return bytes.length >= end + 4 + Number(length);
  return !/^transfer-encoding: chunked$/im.test(bytes.slice(0, end)) || bytes.endsWith('\r\n0\r\n\r\n');
}

function parse(bytes: string): Pick<WireAnswer, 'status' | 'headers' | 'body'> {
  const end = bytes.indexOf('\r\n\r\n');
  const [first = '', ...lines] = bytes.slice(0, end < 0 ? 0 : end).split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1] ?? 0), headers, body: Buffer.from(bytes.slice(end + 4), 'latin1').toString('utf8') };
}

/** A request as text; `Host` and the length are added unless they are given. */
export function requestText(port: number, line: string, headers: Readonly<Record<string, string>> = {}, body?: string | Buffer): Buffer {
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  const lines = [
    `${line} HTTP/1.1`,
    ...(given.has('host') ? [] : [`Host: localhost:${port}`]),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...(body === undefined || given.has('content-length') || given.has('transfer-encoding') ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body ?? '')]);
}
