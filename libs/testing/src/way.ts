/** A way to a server, on loopback, that can be broken and led to another one. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Way {
  /** Where to connect to. */
  readonly port: number;
  /** Breaks every connection; further ones lead to the server at this port. */
  point(port: number): void;
  /** Breaks every connection. */
  drop(): void;
  close(): Promise<void>;
}

/** A stable address in front of a server that is replaced, as a virtual address or a service name is. */
export async function startWay(to: number): Promise<Way> {
  let target = to;
  const sockets = new Set<Socket>();
  const server = createServer((inner) => {
    const outer = connect({ port: target, host: '127.0.0.1' });
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(one);
      one.setNoDelay(true);
      one.on('error', () => undefined).on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const drop = (): void => sockets.forEach((socket) => socket.destroy());
  return {
    port: (server.address() as AddressInfo).port,
    point(port) {
      target = port;
      drop();
    },
    drop,
    close: () => {
      drop();
      return new Promise((done) => server.close(() => done()));
    },
  };
}
