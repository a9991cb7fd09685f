/**
 * What every way of running DMB is told in the same words: whose server it is, where it listens, whom it believes.
 *
 * Declared once and put into the declaration of each composition; what is worked out of them (the address of
 * everything, whether it is https) is worked out here, so that one process and a cluster cannot differ.
 */
import { isIP } from 'node:net';
import { baseUrl, domainIdOf, isLocalhost, normaliseDomain, type Domain, type DomainId } from '@dmb/protocol';
import { variable } from './config.ts';
import { StartError } from './errors.ts';

/** Variables that every composition takes. */
export const serverVariables = {
  domain: variable({
    name: 'DMB_DOMAIN',
    type: 'string',
    defaultText: 'localhost:<DMB_HTTP_PORT>',
    form: 'a domain name, with a port only if it is not the usual one',
    describe: 'The domain in every handle and address. It is kept with the data at the first start and cannot be changed later.',
  }),
  httpHost: variable({
    name: 'DMB_HTTP_HOST',
    type: 'string',
    defaultText: '127.0.0.1 while the domain is localhost or below it, else :: (every address)',
    form: 'an IP address or localhost',
    describe: 'The address on which the server listens.',
    check: (value: string) => (value === 'localhost' || isIP(value) !== 0 ? undefined : 'must be an IP address or localhost'),
  }),
  trustedProxies: variable({
    name: 'DMB_TRUSTED_PROXIES',
    type: 'network-list',
    default: [],
    describe: 'Addresses or networks of reverse proxies whose X-Forwarded-For is believed.',
  }),
  logLevel: variable({ name: 'DMB_LOG_LEVEL', type: 'enum', values: ['debug', 'info', 'warn', 'error'], default: 'warn', describe: 'The least important lines that are logged (to standard error).' }),
  telemetry: variable({
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    type: 'url-list',
    protocols: ['http', 'https'],
    defaultText: 'none: telemetry is off',
    describe: 'Where traces and metrics go by OTLP. All other OTEL_* variables of OpenTelemetry count too.',
  }),
} as const;

/** Whose server this is. */
export interface ServerAddress {
  readonly domain: Domain;
  readonly domainId: DomainId;
  /** Without a slash at the end. */
  readonly baseUrl: string;
  /** Whether addresses of this server are https. */
  readonly https: boolean;
  /** Where to listen if nothing says otherwise. */
  readonly host: string;
}

/** @throws {StartError} if the domain is none */
export function serverAddress(given: string): ServerAddress {
  const domain = normaliseDomain(given);
  if (domain === undefined) throw new StartError(`DMB_DOMAIN must be a domain name such as example.org, not "${given}".`);
  const local = isLocalhost(domain);
  return { domain, domainId: domainIdOf(domain), baseUrl: baseUrl(domain), https: !local, host: local ? '127.0.0.1' : '::' };
}
