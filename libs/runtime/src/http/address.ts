/**
 * From where a request comes, and to whom it is addressed.
 *
 * The address of a client is that of its connection, unless the connection comes from a proxy that
 * we were told to trust: then it is the rightmost hop of `X-Forwarded-For` that is not trusted
 * itself. Everything to the left of that hop was written by a stranger. A hop that is no address
 * ends the walk. Limits count by {@link addressBucket}: who has one IPv6 address has 2⁶⁴ of them.
 *
 * The name asked for (`Host`) is compared with the domains that are served here, and anything else
 * is refused with 421: a page under a name of a stranger's choosing is how caches are poisoned and
 * private networks are read through a browser (DNS rebinding).
 */
import { type IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
import { httpLimits } from '../limits.ts';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Network = readonly [Address, number];

const isIn = (address: Address, networks: readonly Network[]): boolean =>
  networks.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits));

/** A function that tells whether an address is that of a trusted proxy. */
export function trustTest(trustedProxies: readonly string[] = []): (address: string) => boolean {
  const trusted = trustedProxies.map(parseNetwork);
  return (address) => {
    const parsed = trusted.length === 0 ? undefined : parseAddress(address);
    return parsed !== undefined && isIn(parsed, trusted);
  };
}

/** A function that tells the client's address of a request; `trustedProxies` are addresses and networks. */
export function addressReader(trustedProxies: readonly string[] = []): (request: IncomingMessage) => string {
  const trusted = trustedProxies.map(parseNetwork);
  const isTrusted = (address: Address): boolean => isIn(address, trusted);
  return (request) => {
    let client = parseAddress(request.socket.remoteAddress ?? '');
    if (client === undefined) return 'unknown';
    const forwarded = trusted.length > 0 && isTrusted(client) ? request.headers['x-forwarded-for'] : undefined;
    if (forwarded !== undefined) {
      const hops = String(forwarded).split(',').slice(-httpLimits.forwardedHopsMax);
      for (const hop of hops.reverse()) {
        const address = parseAddress(hop.trim());
        if (address === undefined) break;
        client = address;
        if (!isTrusted(address)) break;
      }
    }
    return client.toString();
  };
}

export interface BucketBits {
  readonly ipv4Bits: number;
  readonly ipv6Bits: number;
}

/** The network that limits count by: the address itself for IPv4, its /64 for IPv6, unless other lengths are asked for. */
export function addressBucket(address: string, { ipv4Bits, ipv6Bits }: BucketBits = { ipv4Bits: 32, ipv6Bits: 64 }): string {
  const parsed = parseAddress(address);
  if (parsed === undefined) return 'unknown';
  const bits = parsed.kind() === 'ipv4' ? ipv4Bits : ipv6Bits;
  const bytes = parsed.toByteArray().map((byte, index) => byte & (0xff << Math.min(8, Math.max(0, 8 - (bits - index * 8)))));
  return `${ipaddr.fromByteArray(bytes).toString()}/${bits}`;
}

/** An address as a proxy writes it: perhaps in brackets, perhaps with a port; IPv4 inside IPv6 as IPv4. */
function parseAddress(text: string): Address | undefined {
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text;
  if (!/^[\da-fA-F:.]+(%\w+)?$/.test(bare) || !ipaddr.isValid(bare)) return undefined;
  return ipaddr.process(bare.replace(/%.*$/, ''));
}

function parseNetwork(text: string): Network {
  if (text.includes('/')) return ipaddr.parseCIDR(text);
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

/** Whether a name is this machine itself: `localhost` or below it. */
export function isLocalName(domain: string): boolean {
  return /^([^:]+\.)?localhost(:\d+)?$/.test(domain);
}

/**
 * Whether a Host header names a domain served here. A default port may be written or not. While a
 * domain is `localhost`, the numeric loopback addresses with the port we listen on are it too.
 */
export function knownHosts(domains: () => readonly string[], listenPort: () => number | undefined): (host: string) => boolean {
  return (given) => {
    const host = given.toLowerCase();
    const bare = host.replace(/:(443|80)$/, '');
    const port = listenPort();
    return domains().some(
      (domain) =>
        domain === host ||
        domain === bare ||
        (isLocalName(domain) && ['127.0.0.1', '[::1]', 'localhost'].some((name) => host === `${name}:${port ?? ''}` || (port === 80 && host === name))),
    );
  };
}
