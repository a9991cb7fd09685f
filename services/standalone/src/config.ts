/**
 * What the one process is told by its environment: where it listens, whose data it serves, and on
 * which database. Each service adds its own declaration; `--help` prints them all.
 *
 * Defaults hang together: the domain is `localhost` with the port, the port is the one in the
 * domain, and the address is loopback while the domain is localhost or below it, so that nobody
 * opens a server to the world by starting it. Whoever sets a real domain means to be reached.
 */
import { existsSync } from 'node:fs';
import { readConfig, serverAddress, serverVariables, StartError, variable, type ConfigOf, type Environment, type ServerAddress } from '@dmb/runtime';

/** Where a server listens when nothing says otherwise. */
const httpPortDefault = 8080;

export const standaloneConfig = {
  domain: serverVariables.domain,
  httpPort: variable({
    name: 'DMB_HTTP_PORT',
    type: 'port',
    defaultText: `the port in DMB_DOMAIN, else ${httpPortDefault}`,
    describe: 'The TCP port on which the server listens.',
  }),
  httpHost: serverVariables.httpHost,
  data: variable({
    name: 'DMB_DATA',
    type: 'path',
    default: './data',
    describe: 'The data folder: the embedded database and what belongs to it. One server at a time.',
  }),
  tlsCert: variable({ name: 'DMB_TLS_CERT', type: 'path', describe: 'PEM file with the TLS certificate and its chain. Given together with DMB_TLS_KEY.' }),
  tlsKey: variable({ name: 'DMB_TLS_KEY', type: 'path', describe: 'PEM file with the private key of DMB_TLS_CERT.' }),
  trustedProxies: serverVariables.trustedProxies,
  databaseUrl: variable({
    name: 'DATABASE_URL',
    type: 'url-list',
    protocols: ['postgres', 'postgresql'],
    secret: true,
    defaultText: 'none: a Postgres of its own in the data folder',
    describe: 'A Postgres of yours. A comma-separated list spreads the data over several; their order and number are fixed at the first start.',
  }),
  logLevel: serverVariables.logLevel,
  telemetry: serverVariables.telemetry,
} as const;

/** The settings with everything worked out. */
export interface Settings extends ServerAddress {
  readonly port: number;
  readonly data: string;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly trustedProxies: readonly string[];
  readonly databaseUrls: readonly string[] | undefined;
  readonly logLevel: ConfigOf<typeof standaloneConfig>['logLevel'];
}

/** @throws {StartError} one sentence per wrong value */
export function readSettings(environment: Environment): Settings {
  const values = readConfig(standaloneConfig, environment);
  const address = serverAddress(values.domain ?? `localhost:${values.httpPort ?? httpPortDefault}`);
  const { domain } = address;
  const portInDomain = domain.includes(':') ? Number(domain.slice(domain.indexOf(':') + 1)) : undefined;
  return {
    ...address,
    host: values.httpHost ?? address.host,
    port: values.httpPort ?? portInDomain ?? httpPortDefault,
    data: values.data,
    tls: readTls(values, !address.https),
    trustedProxies: values.trustedProxies,
    databaseUrls: values.databaseUrl,
    logLevel: values.logLevel,
  };
}

function readTls({ tlsCert, tlsKey }: ConfigOf<typeof standaloneConfig>, local: boolean): Settings['tls'] {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw new StartError('DMB_TLS_CERT and DMB_TLS_KEY belong together: give both or neither.');
  if (local) throw new StartError('DMB_TLS_CERT needs a DMB_DOMAIN of your own: addresses at localhost are http.');
  for (const [name, file] of [['DMB_TLS_CERT', tlsCert], ['DMB_TLS_KEY', tlsKey]] as const) {
    if (!existsSync(file)) throw new StartError(`${name} names ${file}, and there is no such file.`);
  }
  return { certFile: tlsCert, keyFile: tlsKey };
}
