/**
 * A stream over a WebSocket: one socket, any number of subscriptions.
 *
 *   client → server   {"type": "subscribe" | "unsubscribe", "stream": "user"}, at most 4 KiB
 *   server → client   {"stream": ["user"], "event": "update", "payload": "<JSON text>"}
 *
 * `stream` names the subscription as the client made it. An error message makes some clients throw, so
 * one is only sent for what is really wrong. A ping every 15 s; who leaves two unanswered is gone.
 */
import type { RawData, WebSocket } from 'ws';
import { parseStreamName, type ParsedStreamName, type StreamEvent, type StreamName } from '../domain/stream-names.ts';
import { streamLimits } from '../limits.ts';
import { closings, type Closing, type Outlet } from './outlet.ts';

/** What a client may ask for on an open socket. */
export interface SocketHandler {
  subscribe(stream: StreamName): boolean;
  unsubscribe(stream: StreamName): void;
  closed(): void;
}

export class WebSocketOutlet implements Outlet {
  readonly kind = 'websocket';
  private readonly socket: WebSocket;
  private readonly handler: SocketHandler;
  private unanswered = 0;
  private messages = 0;

  constructor(socket: WebSocket, handler: SocketHandler) {
    this.socket = socket;
    this.handler = handler;
    socket.on('message', (data, isBinary) => this.take(data, isBinary));
    socket.on('pong', () => (this.unanswered = 0));
    socket.on('close', () => handler.closed());
    // A frame that is too large or malformed is answered by a close frame of ws itself.
    socket.on('error', () => undefined);
  }

  get bufferedBytes(): number {
    return this.socket.bufferedAmount;
  }

  send(stream: StreamName, event: StreamEvent, payload: string): void {
    this.socket.send(JSON.stringify({ stream: [stream], event, payload }));
  }

  heartbeat(): boolean {
    if (this.unanswered++ >= streamLimits.missedPongsMax) return false;
    this.socket.ping();
    return true;
  }

  /** Called at each look: what a client may say until the next. */
  allowMessages(): void {
    this.messages = 0;
  }

  close(closing: Closing): void {
    const { code, text } = closings[closing];
    this.socket.close(code, text);
  }

  destroy(): void {
    this.socket.terminate();
  }

  private take(data: RawData, isBinary: boolean): void {
    if (++this.messages > streamLimits.messagesPerLookMax) {
      this.close('flooding');
      return;
    }
    const message = isBinary ? undefined : parse(data);
    switch (message?.type) {
      case 'subscribe':
        this.subscribe(parseStreamName(message.stream));
        return;
      case 'unsubscribe': {
        const stream = parseStreamName(message.stream);
        if (stream.kind === 'served') this.handler.unsubscribe(stream.name);
        return;
      }
      case 'other':
        // What later versions of clients may send.
        return;
      case undefined:
        this.complain('The message is not a JSON object', 400);
    }
  }

  private subscribe(stream: ParsedStreamName): void {
    switch (stream.kind) {
      case 'served':
        if (!this.handler.subscribe(stream.name)) this.complain('Access token does not cover required scopes', 401);
        return;
      case 'not-served':
        // An error names no stream: libraries would end those that are served as well.
        return;
      case 'unknown':
        this.complain('Unknown stream type', 400);
    }
  }

  private complain(error: string, status: number): void {
    this.socket.send(JSON.stringify({ error, status }));
  }
}

type Message = { readonly type: 'subscribe' | 'unsubscribe'; readonly stream: unknown } | { readonly type: 'other' };

function parse(data: RawData): Message | undefined {
  let value: unknown;
  try {
    value = JSON.parse((data as Buffer).toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { type, stream } = value as Record<string, unknown>;
  return type === 'subscribe' || type === 'unsubscribe' ? { type, stream } : { type: 'other' };
}
