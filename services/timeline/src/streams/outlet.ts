/** The end of a stream that writes to a client: Server-Sent Events or a WebSocket. */
import type { StreamEvent, StreamName } from '../domain/stream-names.ts';
import type { CutReason } from '../metrics.ts';

/** Why we end a stream, and what the client is told: close codes of WebSocket. */
export const closings = {
  slow: { code: 4008, text: 'You read too slowly; please connect again' },
  revoked: { code: 4401, text: 'The access token was revoked' },
  stopping: { code: 1012, text: 'The server is restarting; please connect again' },
  failed: { code: 1013, text: 'The server cannot do that right now; please connect again' },
  flooding: { code: 1008, text: 'Too many messages' },
} as const;

export type Closing = keyof typeof closings;

/** How a closing is counted. */
export const cutReasonOf = (closing: Closing): CutReason => (closing === 'flooding' ? 'failed' : closing);

/** What the hub needs of an open stream. */
export interface Outlet {
  readonly kind: 'sse' | 'websocket';
  /** Writes one event; `payload` is JSON text, or the bare id of a delete. Never waits. */
  send(stream: StreamName, event: StreamEvent, payload: string): void;
  /** Bytes that the client has not taken yet. */
  readonly bufferedBytes: number;
  /** A sign of life; false if the client gives none of its own any more. */
  heartbeat(): boolean;
  /** A look has been taken: the client may say something again. */
  allowMessages?(): void;
  /** Says goodbye; the outlet tells its connection when it is closed. */
  close(closing: Closing): void;
  /** Ends it without another word, where a goodbye was not taken. */
  destroy(): void;
}
