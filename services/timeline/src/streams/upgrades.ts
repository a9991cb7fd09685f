/**
 * WebSocket requests: everything is decided before the upgrade.
 *
 * The token may come in four ways (`Authorization`, `?access_token=`, the subprotocol, and, for those who
 * set headers, a lower-case `bearer`); a bad one is answered by 401 in the client's format, so that no
 * client takes it for a dropped connection. A subprotocol is echoed, or browsers refuse what they get.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { routes } from '@dmb/events';
import { AppError, toAppError, type Logger } from '@dmb/runtime';
import { addressBucket, addressReader, presentedToken, refuseUpgrade, type Authenticator, type PersonCaller, type UpgradeHandler } from '@dmb/runtime/http';
import { WebSocketServer, type WebSocket } from 'ws';
import { parseStreamName, type StreamName } from '../domain/stream-names.ts';
import { streamLimits } from '../limits.ts';
import type { Connection, Streams } from './streams.ts';
import { WebSocketOutlet } from './web-socket.ts';

export interface StreamUpgradesParts {
  readonly streams: Streams;
  readonly authenticator: Authenticator;
  readonly https: boolean;
  readonly trustedProxies: readonly string[];
  readonly logger: Logger;
}

/** Paths that name a stream by themselves. */
const streamsOfPaths: Readonly<Record<string, readonly StreamName[]>> = {
  '/api/v1/streaming': [],
  '/api/v1/streaming/user': ['user'],
  '/api/v1/streaming/user/notification': ['user:notification'],
};

/** What `?stream=` asks for. @throws {AppError} 404 for what is not served, 400 for what nobody knows */
export function askedStream(stream: unknown): StreamName {
  const parsed = parseStreamName(stream);
  switch (parsed.kind) {
    case 'served':
      return parsed.name;
    case 'not-served':
      throw new AppError('not-found', 'This stream is not served here');
    case 'unknown':
      throw new AppError('invalid', 'Unknown stream type', { status: 400 });
  }
}

export class StreamUpgrades implements UpgradeHandler {
  private readonly parts: StreamUpgradesParts;
  private readonly addressOf: (request: IncomingMessage) => string;
  private readonly server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: streamLimits.messageBytesMax,
    handleProtocols: (offered) => offered.values().next().value ?? false,
  });

  constructor(parts: StreamUpgradesParts) {
    this.parts = parts;
    this.addressOf = addressReader(parts.trustedProxies);
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.accept(request, socket, head).catch((thrown: unknown) => {
      const error = toAppError(thrown);
      if (error.kind === 'bug') this.parts.logger.error('a WebSocket could not be opened', { error: thrown });
      refuseUpgrade(socket, error, this.parts.https);
    });
  }

  private async accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const [path = '', search = ''] = (request.url ?? '').split('?', 2);
    const bare = path.replace(/(.)\/+$/, '$1');
    const query = new URLSearchParams(search);
    const route = routes.find((known) => known.method === 'GET' && known.path === bare && known.stream === true);
    const ofPath = streamsOfPaths[bare];
    if (route === undefined || ofPath === undefined) throw new AppError('not-found', 'Not found');
    const token = presentedToken(request.headers, Object.fromEntries(query), true);
    const caller = await this.parts.authenticator.check(route, token);
    if (token === undefined || !isPerson(caller)) throw new AppError('unauthenticated');
    const streams = [...new Set([...ofPath, ...query.getAll('stream').map(askedStream)])];
    await this.parts.streams.connect({
      caller,
      token,
      address: addressBucket(this.addressOf(request)),
      streams,
      connect: (connection) => this.open(request, socket, head, connection),
    });
  }

  /** Completes the handshake, all at once; ws destroys a socket that has gone meanwhile. */
  private open(request: IncomingMessage, socket: Duplex, head: Buffer, connection: Connection): WebSocketOutlet | undefined {
    let outlet: WebSocketOutlet | undefined;
    this.server.handleUpgrade(request, socket, head, (webSocket: WebSocket) => {
      outlet = new WebSocketOutlet(webSocket, connection);
    });
    return outlet;
  }
}

const isPerson = (caller: Awaited<ReturnType<Authenticator['check']>>): caller is PersonCaller => caller.asker.kind === 'person' && caller.token !== null;
