import findMyWay from 'find-my-way';
import { describe, expect, it } from 'vitest';
import { routes, type Route, type ServiceName } from '@dmb/events';
import { nginxConfig } from './ingress.ts';

const upstreams = { identity: ['10.0.0.1:1'], microblog: ['10.0.0.2:1', '10.0.0.3:1'], timeline: ['10.0.0.4:1'] };
const make = (table: readonly Route[] = routes): string => nginxConfig({ routes: table, upstreams, listen: ['127.0.0.1:80'], folder: '/run/nginx' });
const text = make();

/** What nginx makes of the map from paths to services: exact entries first, then patterns in their order. */
function serviceOf(path: string): string {
  const lines = /map \$uri \$dmb_service \{([^}]*(?:\}[^}]*)*?)\n {2}\}/.exec(text)?.[1]?.trim().split('\n') ?? [];
  const entries = lines.map((line) => /^\s*"?(.*?)"? (dmb-\S+);$/.exec(line)).map((parts) => [parts?.[1] ?? '', parts?.[2] ?? ''] as const);
  const exact = entries.find(([key]) => key === path);
  const loose = entries.find(([key]) => key.startsWith('~') && new RegExp(key.slice(1)).test(path));
  return (exact ?? loose ?? entries.find(([key]) => key === 'default'))?.[1] ?? '';
}

describe('the configuration of nginx', () => {
  it('sends every path where the router of one process sends it', () => {
    const router = findMyWay({ ignoreTrailingSlash: true, caseSensitive: true });
    for (const { method, path, service } of routes) router.on(method, path, () => undefined, service);
    const free = ['x', '@anna', '1', 'settings', 'api', 'home', 'verify_credentials', 'a.b', 'ä'];
    const paths = routes.flatMap(({ path }) => free.map((each) => path.replaceAll(/:[^/]+/g, each)));
    const wrong = [...new Set(paths)].flatMap((path) => {
      const services = new Set(routes.flatMap(({ method }) => (router.find(method, encodeURI(path))?.store as ServiceName | undefined) ?? []));
      const expected = [...services].map((service) => `dmb-${service}`);
      return [path, path === '/' ? path : `${path}/`].filter((each) => !expected.includes(serviceOf(each))).map((each) => `${each}: ${serviceOf(each)}, not ${expected.join()}`);
    });
    expect(wrong).toEqual([]);
    expect(serviceOf('/nothing/of/this')).toBe('dmb-microblog');
  });

  it('names every process of a service, and every stream without buffering', () => {
    expect(text).toContain('server 10.0.0.2:1 max_fails');
    expect(text).toContain('server 10.0.0.3:1 max_fails');
    for (const { path } of routes.filter(({ stream }) => stream === true)) {
      const block = new RegExp(`location = ${path} \\{([^}]*)\\}`).exec(text)?.[1];
      expect(block).toContain('proxy_buffering off;');
      expect(block).toContain('proxy_set_header Connection $dmb_connection;');
      expect(block).toContain('proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;');
    }
  });

  it('logs no request, and repeats none that may have been begun', () => {
    expect(text).toContain('access_log off;');
    expect(text.match(/error_log .*;/g)).toEqual(['error_log stderr alert;']);
    expect(text.match(/proxy_next_upstream .*;/g)).toEqual(['proxy_next_upstream error timeout;']);
  });

  it('is refused where a proxy could not tell, or nobody is there', () => {
    const route = (method: Route['method'], path: string, service: ServiceName): Route => ({ method, path, service, auth: 'none', reads: [] });
    expect(() => make([route('GET', '/a/:id', 'microblog'), route('POST', '/a/:other', 'identity')])).toThrow('cannot tell');
    expect(() => make([route('GET', '/a', 'fan-out')])).toThrow('no process of fan-out');
  });
});
