/** The programs of a cluster, one by one and without engines: what they say to whoever starts them wrongly. */
import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { serviceNames, type ServiceName } from '@dmb/events';

const root = resolve(import.meta.dirname, '../../..');

/** Runs a program to its end with this environment and no other. */
function run(service: ServiceName, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const flags = ['--import', join(root, 'libs/runtime/dist/preload.js'), join(root, `services/${service}/dist/main.js`)];
  return new Promise((done) => {
    execFile(join(root, 'node_modules/node/bin/node'), [...flags, ...args], { env, timeout: 60_000 }, (error, stdout, stderr) => done({ code: error?.code ?? 0, stdout, stderr }));
  });
}

const settings = {
  DATABASE_URL: 'postgres://postgres@127.0.0.1:1/dmb',
  KAFKA_BROKERS: '127.0.0.1:1',
  REDIS_URLS: 'redis://127.0.0.1:1',
  DMB_CALL_SECRET: 'a-secret-of-at-least-thirty-two-characters',
  DMB_IDENTITY_URLS: 'http://127.0.0.1:1',
  DMB_MICROBLOG_URLS: 'http://127.0.0.1:1',
};

describe.each(serviceNames)('a process of %s', (service) => {
  it('prints its settings for --help', async () => {
    const { code, stdout, stderr } = await run(service, ['--help']);
    expect([code, stderr]).toEqual([0, '']);
    for (const name of ['DATABASE_URL', 'KAFKA_BROKERS', 'REDIS_URLS', 'DMB_CALL_SECRET', 'DMB_CALL_PORT']) expect(stdout).toContain(name);
  });

  it('says all that is missing, and ends', async () => {
    const { code, stdout, stderr } = await run(service, []);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr.trim().split('\n')).toHaveLength(4);
    expect(stderr).toContain('KAFKA_BROKERS must be set: a list of addresses, host:port.');
  });
});

describe('a process of a cluster', () => {
  it.each([['microblog', 'DMB_IDENTITY_URLS'], ['fan-out', 'DMB_MICROBLOG_URLS']] as const)('that is %s says whom it needs to ask: %s', async (service, name) => {
    const { DMB_IDENTITY_URLS: _, DMB_MICROBLOG_URLS: __, ...alone } = settings;
    const { code, stdout, stderr } = await run(service, [], alone);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`${name} must be set`);
  });

  it('says in one sentence which database it cannot reach', async () => {
    const { code, stdout, stderr } = await run('timeline', [], settings);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^The database dmb at 127\.0\.0\.1:1 cannot be reached \(.*\)\.\n$/);
  });

  it('does not take a word that it does not know', async () => {
    const { code, stderr } = await run('identity', ['begin'], settings);
    expect([code, stderr]).toEqual([1, '"begin" is not understood: --help tells what is.\n']);
  });
});
