/**
 * A stream of Server-Sent Events: `event:` and `data:` lines and an empty line, LF only, since clients
 * split at LF and look for an empty line. A comment every 15 s (`:thump`) keeps proxies and clients awake.
 */
import type { ServerResponse } from 'node:http';
import type { StreamEvent, StreamName } from '../domain/stream-names.ts';
import type { Outlet } from './outlet.ts';

export class SseOutlet implements Outlet {
  readonly kind = 'sse';
  private readonly response: ServerResponse;

  /** `response` has its headers out. */
  constructor(response: ServerResponse, onClose: () => void) {
    this.response = response;
    response.on('close', onClose);
    response.on('error', () => response.destroy());
    // Some clients show that they are connected at the first byte.
    response.write(':)\n\n');
  }

  get bufferedBytes(): number {
    return this.response.writableLength;
  }

  send(_stream: StreamName, event: StreamEvent, payload: string): void {
    // JSON has no line break of its own.
    this.response.write(`event: ${event}\ndata: ${payload}\n\n`);
  }

  heartbeat(): boolean {
    this.response.write(':thump\n');
    return true;
  }

  close(): void {
    this.response.end();
  }

  destroy(): void {
    this.response.destroy();
  }
}
