/**
 * An idle server is quiet: what it asks its database in half a minute can be counted on one hand.
 *
 * Counted is by Postgres, transaction by transaction, whoever asked. What may remain is rare by
 * declaration: the safety poll of the event log (5 minutes), housekeeping (an hour). Whoever polls
 * every second, or renews a lease every few, is found here.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDatabases, type Databases } from '@dmb/postgres';
import { signUp, startTestServer, type Member, type TestServer } from '@dmb/testing';

/** Long enough for whatever comes every few seconds, and short of what comes a minute after the start. */
const windowMs = 30_000;
const transactionsPerMinuteMax = 6;

let server: TestServer;
let databases: Databases;
let ada: Member;

beforeAll(async () => {
  server = await startTestServer();
  ada = await signUp(server.url, 'ada');
  const ben = await signUp(server.url, 'ben');
  await ben.client.follow(ada.account.id);
  await ada.client.post('the last thing that happens');
  await ben.client.home();
  databases = await openDatabases({ urls: [server.databaseUrl], service: 'microblog', connectionsMax: 1, applicationName: 'idle' });
});
afterAll(async () => {
  await databases?.close();
  await server?.dispose();
});

/** Transactions ended in this database so far, ours of counting left out. */
let looks = 0;
async function transactions(): Promise<number> {
  looks++;
  await databases.all[0]?.query('SELECT pg_stat_force_next_flush()');
  const [row] = (await databases.all[0]?.query<{ count: bigint }>('SELECT xact_commit + xact_rollback AS count FROM pg_stat_database WHERE datname = current_database()')) ?? [];
  return Number(row?.count ?? 0n) - 2 * looks;
}

/** What the program asked last on each of its connections, for whoever has to find out. */
async function last(): Promise<string> {
  looks++;
  await databases.all[0]?.execute('SET ROLE NONE');
  const rows = (await databases.all[0]?.query<{ name: string; query: string; ago: string }>(`SELECT application_name AS name, left(regexp_replace(query, '\\s+', ' ', 'g'), 200) AS query, (now() - query_start)::text AS ago FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY query_start DESC`)) ?? [];
  return rows.map(({ name, query, ago }) => `${ago} ${name}: ${query}`).join('\n');
}

const perMinute = (count: number): number => (count * 60_000) / windowMs;

it('asks its database next to nothing', async () => {
  // A connection that has gone idle tells Postgres within ten seconds what it did last.
  await sleep(12_000);
  const before = await transactions();
  await sleep(windowMs);
  const after = await transactions();
  expect(perMinute(after - before), await last()).toBeLessThanOrEqual(transactionsPerMinuteMax);
  // And what is counted is counted: a post is more than that.
  for (let posts = 0; posts < 3; posts++) {
    await ada.client.post('no longer idle');
    // A busy one tells once a second.
    await sleep(1_200);
  }
  expect((await transactions()) - after).toBeGreaterThan(transactionsPerMinuteMax);
}, 90_000);
