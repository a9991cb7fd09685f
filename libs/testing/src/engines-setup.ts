/**
 * The global setup of the integration tests: one Postgres for all projects of a run.
 *
 * It is, in this order: the server that TEST_DATABASE_URL names (a user who may create databases
 * and roles), or an embedded one in a temporary folder. DMB_TEST_DATABASES says with how many
 * databases the project `int` runs (1). Other engines are started by the first test that asks
 * (engines-on-demand.ts).
 */
import { readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@dmb/runtime';
import { stopLeftPostgres } from '@dmb/postgres';
import type { TestProject } from 'vitest/node';
import { startTestPostgres } from './engines.ts';
import { serveEngines, type EnginesOnDemand } from './engines-on-demand.ts';

/** Shared by the setups of all projects, each of which has modules of its own. */
const shared = globalThis as { dmbTestServer?: Promise<{ url: string; stop(): Promise<void> }>; dmbTestEngines?: Promise<EnginesOnDemand>; dmbTestServerUsers?: number };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  shared.dmbTestServer ??= startServer();
  shared.dmbTestEngines ??= serveEngines((sentence) => void process.stderr.write(`${sentence}\n`));
  shared.dmbTestServerUsers = (shared.dmbTestServerUsers ?? 0) + 1;
  const server = await shared.dmbTestServer;
  const engines = await shared.dmbTestEngines;
  project.provide('dmb.postgres', server.url);
  project.provide('dmb.engines', engines.url);
  project.provide('dmb.databases', project.name === 'int-2db' ? 2 : Number(process.env['DMB_TEST_DATABASES'] ?? 1));
  return async () => {
    shared.dmbTestServerUsers = (shared.dmbTestServerUsers ?? 1) - 1;
    if (shared.dmbTestServerUsers > 0) return;
    delete shared.dmbTestServer;
    delete shared.dmbTestEngines;
    await engines.stop();
    await server.stop();
  };
}

async function startServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const url = process.env['TEST_DATABASE_URL'];
  if (url !== undefined && url !== '') return { url, stop: () => Promise.resolve() };
  await removeLeft();
  return await startTestPostgres({ logger: createLogger({ name: 'test', level: 'error' }), settings: { shared_buffers: '128MB' } });
}

/** What a killed run has left. */
async function removeLeft(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^dmb-test-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const folder = join(tmpdir(), name);
    await stopLeftPostgres(folder).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
