import { type IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { addressBucket, addressReader, isLocalName, knownHosts, trustTest } from './address.ts';

const from = (remoteAddress: string, forwarded?: string) => ({ socket: { remoteAddress }, headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded } }) as unknown as IncomingMessage;

describe('the address of a client', () => {
  const read = addressReader(['10.0.0.0/8', '::1']);
  it.each([
    ['a stranger who claims to be a proxy', from('203.0.113.5', '198.51.100.1'), '203.0.113.5'],
    ['behind one proxy', from('10.0.0.1', '198.51.100.1'), '198.51.100.1'],
    ['behind two, with lies at the left', from('10.0.0.1', '1.1.1.1, 198.51.100.1, 10.0.0.2'), '198.51.100.1'],
    ['with a port', from('::1', '198.51.100.1:4711'), '198.51.100.1'],
    ['IPv6 with brackets and a port', from('::ffff:10.0.0.1', '[2001:db8::1]:4711'), '2001:db8::1'],
    ['a hop that is no address', from('10.0.0.1', '198.51.100.1, unknown'), '10.0.0.1'],
    ['only proxies', from('10.0.0.1', '10.0.0.3, 10.0.0.2'), '10.0.0.3'],
    ['IPv4 inside IPv6', from('::ffff:203.0.113.5'), '203.0.113.5'],
  ])('%s', (_what, request, address) => {
    expect(read(request)).toBe(address);
  });

  it('walks a bounded number of hops', () => {
    expect(read(from('10.0.0.1', `198.51.100.1${', 10.0.0.2'.repeat(1_000)}`))).toBe('10.0.0.2');
  });

  it('is counted by /64 for IPv6 and by itself for IPv4, or as asked', () => {
    expect(addressBucket('203.0.113.5')).toBe('203.0.113.5/32');
    expect(addressBucket('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64');
    expect(addressBucket('2001:db8:1:2:3:4:5:6', { ipv4Bits: 24, ipv6Bits: 48 })).toBe('2001:db8:1::/48');
    expect(addressBucket('203.0.113.5', { ipv4Bits: 24, ipv6Bits: 48 })).toBe('203.0.113.0/24');
    expect(addressBucket('no address')).toBe('unknown');
  });

  it('of a proxy is told', () => {
    expect(trustTest(['10.0.0.0/8'])('10.1.1.1')).toBe(true);
    expect(trustTest([])('10.1.1.1')).toBe(false);
  });
});

describe('known hosts', () => {
  it('are the domains, with their default port or without', () => {
    const known = knownHosts(() => ['example.org', 'example.com:8443'], () => 8080);
    for (const host of ['example.org', 'EXAMPLE.org:443', 'example.com:8443']) expect(known(host)).toBe(true);
    for (const host of ['example.com', 'example.org:8080', 'example.org.', 'localhost:8080', '127.0.0.1:8080', 'example.org@evil', '']) expect(known(host)).toBe(false);
  });

  it('are also the loopback addresses while the domain is local', () => {
    expect(isLocalName('a.localhost:81') && isLocalName('localhost') && !isLocalName('localhost.example.org') && !isLocalName('notlocalhost')).toBe(true);
    const known = knownHosts(() => ['localhost'], () => 80);
    expect(known('127.0.0.1') && known('[::1]:80') && !known('127.0.0.1:81')).toBe(true);
  });
});
