/** The whole service as it is composed: a token that was revoked is refused from that moment on. */
import 'reflect-metadata';
import { PostgresEventLog } from '@dmb/event-log';
import type { TokenAnswer } from '@dmb/events';
import { outboxMigrations } from '@dmb/postgres';
import { domainIdOf, newId, newMicroblogId, newPersonId, shardOf, type Domain } from '@dmb/protocol';
import { Calls, readConfig, silentLogger } from '@dmb/runtime';
import { createServiceApp } from '@dmb/runtime/http';
import { createTestDatabases } from '@dmb/testing';
import { MemoryLiveEvents } from '@dmb/timelines';
import { expect, test } from 'vitest';
import { createMicroblogModule, Microblog, microblogConfig } from '../src/index.ts';
import { microblogMigrations } from '../src/migrations.ts';

// The token was good a moment ago, and what is known of it is kept for 5 s: without listening, it is good for as long.
test('a token is refused as soon as a live event tells that it was revoked', async () => {
  const domain = 'dmb.test' as Domain;
  const domainId = domainIdOf(domain);
  const testDatabases = await createTestDatabases({ domain });
  const databases = await testDatabases.openMigrated('microblog', await microblogMigrations());
  const eventLog = new PostgresEventLog({ producers: { microblog: databases, identity: await testDatabases.openMigrated('identity', outboxMigrations) } });
  const calls = new Calls({ checked: true });
  const live = new MemoryLiveEvents();
  const app = await createServiceApp(createMicroblogModule({ config: readConfig(microblogConfig, {}), databases, calls, eventLog, live, logger: silentLogger, domain }), {
    name: 'microblog', logger: silentLogger, isKnownHost: (host) => host === domain, https: true,
  });
  try {
    const [person, microblog, reservation] = [newPersonId(), newMicroblogId(), newId()];
    const { microblogs } = app.nest.get(Microblog).commands;
    await microblogs.reserveHandle({ domain: domainId, handle: 'alice', reservation });
    await microblogs.create({ domain: domainId, microblog, handle: 'alice', reservation, owner: person, personal: true, title: 'Alice', locale: 'en' });
    await microblogs.confirmHandle({ domain: domainId, handle: 'alice', reservation, microblog });
    const token: TokenAnswer = { id: newId(), asker: { kind: 'person', domain: domainId, person, microblog, scopes: ['read'] }, app: { name: 'Test', website: null }, createdAt: 0 };
    let known: TokenAnswer | null = token;
    calls.bind('identity.token', () => Promise.resolve(known));
    const status = async (): Promise<number> => (await app.fastify.inject({ url: '/api/v1/preferences', headers: { host: domain, authorization: 'Bearer good' } })).statusCode;

    expect(await status()).toBe(200);
    known = null;
    expect(await status()).toBe(200);
    await live.publish([{ type: 'person', event: { shard: shardOf(person), person, what: 'tokens-revoked', microblog: null } }]);
    expect(await status()).toBe(401);
  } finally {
    await app.close();
    await eventLog.close();
    await live.close();
    await testDatabases.drop();
  }
});
