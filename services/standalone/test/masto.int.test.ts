/** The journey of masto.js through one process: on the embedded Postgres, and once more on two databases of one's own. */
import { inject } from 'vitest';
import { createDatabase, dropDatabase } from '@dmb/postgres';
import { startTestServer } from '@dmb/testing';
import { mastoJourney } from './masto-journey.ts';

mastoJourney(async () => {
  const count = inject('dmb.databases');
  const names = count > 1 ? Array.from({ length: count }, (_, index) => `dmb_masto_${process.pid}_${index}`) : [];
  const urls = await Promise.all(names.map((name) => createDatabase(inject('dmb.postgres'), name)));
  const server = await startTestServer(count > 1 ? { environment: { DATABASE_URL: urls.join(',') } } : {});
  return {
    url: server.url,
    port: server.port,
    get complaints() {
      return server.stderr;
    },
    dispose: async () => {
      await server.dispose();
      for (const name of names) await dropDatabase(inject('dmb.postgres'), name);
    },
  };
});
