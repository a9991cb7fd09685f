/**
 * The ingress of a cluster: the configuration of an nginx, made from the one route table.
 *
 * Every way to run a cluster takes this text (the runner, compose, Kubernetes), with other addresses in it. What it decides:
 *
 *   which service   by the path, as nginx has decoded it: exact paths by a hash, patterns by regular expressions with the
 *                   more exact first. Everything else goes to the service that has the pages: what listens there has the whole
 *                   table and answers an unknown path as one process does. A method has no say, and two services never share a path.
 *   which process   the one with the fewest requests. One that cannot be reached is passed over for a second, and the request goes to the
 *                   next; so does a GET or a PUT whose connection broke off. A POST that may have been begun is never sent twice:
 *                   clients repeat it with its Idempotency-Key.
 *   streams         Server-Sent Events and WebSockets: not buffered, and open for as long as both sides are.
 *   who asks        X-Forwarded-For gets the address of the connection appended; processes believe as much of it as DMB_TRUSTED_PROXIES says.
 *   bounds          bytes of headers and bodies and times as in one process (httpLimits); a slow body waits here and not at a process.
 *   nothing logged  requests carry tokens in their addresses (streams, one-time links): there is no access log, and the log of errors is left
 *                   to what has no request in it.
 *
 * What nginx answers by itself (nobody there, too large) has the form that clients of that path understand.
 */
import type { Route, ServiceName } from '@dmb/events';
import { httpLimits } from '@dmb/runtime';

export interface NginxOptions {
  readonly routes: readonly Route[];
  /** `host:port` of the processes of each service. */
  readonly upstreams: Readonly<Partial<Record<ServiceName, readonly string[]>>>;
  /** What nginx listens on: `127.0.0.1:8080`, `[::]:443`. */
  readonly listen: readonly string[];
  /** PEM files; with them it speaks TLS. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** For its pid file and bodies that wait. */
  readonly folder: string;
  /** `auto` = one for each CPU. */
  readonly workers?: number | 'auto';
  /** Requests at the same time from one address; left out, they are not counted. */
  readonly connectionsPerAddressMax?: number;
}

/** Where what no route names goes: the service with the pages. */
const pages: ServiceName = 'microblog';

/** Bounds of the ingress that have no counterpart in one process. */
export const ingressLimits = {
  connectionsPerWorker: 16_384,
  /** Idle connections to each service that are kept; they are closed here before a process closes them. */
  upstreamsKept: 64,
  upstreamsKeptSeconds: 5,
  /** A process that could not be reached is passed over for this long: the next one must not be restarted sooner after it is ready again. */
  restSeconds: 1,
  connectSeconds: 2,
  /** The longest call is 30 s. */
  answerSeconds: 60,
  /** Streams say something every 15 s. */
  streamSilenceSeconds: 75,
  /** What still runs this long after nginx was told to quit is cut off. */
  shutdownSeconds: 5,
} as const;

/** The text of an `nginx.conf`. @throws {Error} if the table gives one path to two services, or a service with routes has no process */
export function nginxConfig(options: NginxOptions): string {
  const { routes, upstreams, folder, workers = 'auto', tls, connectionsPerAddressMax } = options;
  const served = [...new Set(routes.map(({ service }) => service))];
  for (const service of served) if ((upstreams[service] ?? []).length === 0) throw new Error(`no process of ${service} is there for its routes`);
  const seconds = (ms: number): string => `${Math.ceil(ms / 1_000)}s`;
  return `# Made from the route table of libs/events by libs/cluster: change it there.
daemon off;
worker_processes ${workers};
worker_shutdown_timeout ${ingressLimits.shutdownSeconds}s;
pid ${folder}/nginx.pid;
error_log stderr alert;
events {
  worker_connections ${ingressLimits.connectionsPerWorker};
}
http {
  access_log off;
  server_tokens off;
  default_type application/octet-stream;
  client_body_temp_path ${folder}/bodies;
  proxy_temp_path ${folder}/answers;
  fastcgi_temp_path ${folder}/unused;
  uwsgi_temp_path ${folder}/unused;
  scgi_temp_path ${folder}/unused;

  client_header_timeout ${seconds(httpLimits.headersTimeoutMs)};
  client_body_timeout ${seconds(httpLimits.requestTimeoutMs)};
  keepalive_timeout ${seconds(httpLimits.keepAliveTimeoutMs)};
  keepalive_requests ${httpLimits.requestsPerConnectionMax};
  client_header_buffer_size ${httpLimits.headersBytesMax};
  # Larger ones are refused by the process, in its own words.
  large_client_header_buffers 4 ${httpLimits.headersBytesMax * 2};
  client_max_body_size ${httpLimits.bodyBytesMax};
  client_body_buffer_size 64k;
  # A page of posts stays in memory; what is larger goes at the pace of its reader.
  proxy_buffers 16 16k;
  proxy_max_temp_file_size 0;
${connectionsPerAddressMax === undefined ? '' : `  limit_conn_zone $binary_remote_addr zone=addresses:10m;\n  limit_conn addresses ${connectionsPerAddressMax};\n  limit_conn_status 429;\n`}
${served.map((service) => upstreamText(service, upstreams[service] ?? [])).join('')}
  map $uri $dmb_service {
    default ${nameOf(pages)};
${serviceEntries(routes).map((entry) => `    ${entry}\n`).join('')}  }
  map $http_upgrade $dmb_connection {
    default upgrade;
    '' '';
  }
  map $uri $dmb_away {
    default @away_page;
    ~^/(?:api|oauth|\\.well-known|nodeinfo)(?:/|$) @away_client;
  }
  map $uri $dmb_large {
    default @large_page;
    ~^/(?:api|oauth|\\.well-known|nodeinfo)(?:/|$) @large_client;
  }

  server {
${options.listen.map((address) => `    listen ${address}${tls === undefined ? '' : ' ssl'};\n`).join('')}${tls === undefined ? '' : `    ssl_certificate ${tls.certFile};\n    ssl_certificate_key ${tls.keyFile};\n    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache shared:tls:10m;\n`}    # As the table is: two slashes are not one.
    merge_slashes off;
    error_page 502 504 = $dmb_away;
    error_page 413 = $dmb_large;

    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection '';
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_connect_timeout ${ingressLimits.connectSeconds}s;
    proxy_read_timeout ${ingressLimits.answerSeconds}s;
    proxy_next_upstream error timeout;
    proxy_next_upstream_tries 3;
    proxy_next_upstream_timeout ${ingressLimits.answerSeconds}s;

    location / {
      proxy_pass http://$dmb_service;
    }
${routes.filter(({ stream }) => stream === true).flatMap(({ path, service }) => [path, `${path}/`].map((exact) => streamText(exact, service))).join('')}
    location @away_client {
      internal;
      default_type application/json;
      add_header Access-Control-Allow-Origin '*' always;
      add_header Retry-After 1 always;
      return 503 '{"error":"This server cannot do that right now; please try again"}';
    }
    location @away_page {
      internal;
      default_type text/html;
      add_header Retry-After 1 always;
      return 503 '<!doctype html><title>Please try again</title><p>This server cannot do that right now; please try again';
    }
    location @large_client {
      internal;
      default_type application/json;
      add_header Access-Control-Allow-Origin '*' always;
      return 413 '{"error":"The request is too large"}';
    }
    location @large_page {
      internal;
      default_type text/html;
      return 413 '<!doctype html><title>Too large</title><p>The request is too large';
    }
  }
}
`;
}

const nameOf = (service: ServiceName): string => `dmb-${service}`;

function upstreamText(service: ServiceName, addresses: readonly string[]): string {
  // A process alone is never passed over: there is nobody else to ask.
  const servers = addresses.map((address) => `    server ${address} max_fails=1 fail_timeout=${ingressLimits.restSeconds}s;\n`);
  return `  upstream ${nameOf(service)} {
    # What one worker knows of a process, all know.
    zone ${nameOf(service)} 64k;
    least_conn;
${servers.join('')}    keepalive ${ingressLimits.upstreamsKept};
    keepalive_timeout ${ingressLimits.upstreamsKeptSeconds}s;
  }
`;
}

const streamText = (path: string, service: ServiceName): string => `    location = ${path} {
      proxy_pass http://${nameOf(service)};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $dmb_connection;
      proxy_buffering off;
      proxy_read_timeout ${ingressLimits.streamSilenceSeconds}s;
      proxy_send_timeout ${ingressLimits.streamSilenceSeconds}s;
    }
`;

interface Pattern {
  readonly segments: readonly string[];
  readonly service: ServiceName;
}

/** Lines of the map from paths to services: exact paths, then patterns with the more exact first. */
function serviceEntries(routes: readonly Route[]): string[] {
  const byPath = new Map<string, ServiceName>();
  for (const { path, service } of routes) {
    const shape = path.replaceAll(/:[^/]+/g, ':');
    const before = byPath.get(shape) ?? service;
    if (before !== service) throw new Error(`${path} leads to ${before} and to ${service}: a proxy cannot tell which`);
    byPath.set(shape, service);
  }
  const patterns: Pattern[] = [...byPath].map(([shape, service]) => ({ segments: shape.slice(1).split('/'), service }));
  const isExact = ({ segments }: Pattern): boolean => !segments.includes(':');
  const exact = patterns.filter(isExact).flatMap(({ segments, service }) => {
    const path = `/${segments.join('/')}`;
    return (path === '/' ? [path] : [path, `${path}/`]).map((each) => `${each} ${nameOf(service)};`);
  });
  const loose = patterns
    .filter((pattern) => !isExact(pattern))
    .toSorted((left, right) => orderOf(left).localeCompare(orderOf(right)))
    .map(({ segments, service }) => `"~^/${segments.map((segment) => (segment === ':' ? '[^/]+' : segment.replaceAll(/[^\w/-]/g, '\\$&'))).join('/')}/?$" ${nameOf(service)};`);
  return [...exact, ...loose];
}

/** Sorts a fixed segment before a free one, at the first place where two patterns differ in that. */
const orderOf = ({ segments }: Pattern): string => segments.map((segment) => (segment === ':' ? '1' : '0')).join('');
