/** Making and removing databases on a server, for tests and tools: DMB itself is given databases that exist. */
import pg from 'pg';
import { withConnection } from './database.ts';

/** Makes an empty database and answers its URL. `server` is the URL of any database of the same server. */
export async function createDatabase(server: string, name: string): Promise<string> {
  await withConnection({ url: server, applicationName: 'dmb setup' }, (session) => session.execute(`CREATE DATABASE ${pg.escapeIdentifier(name)} TEMPLATE template0 ENCODING 'UTF8'`));
  const [address = '', ...query] = server.split('?');
  return [address.replace(/\/[^/]*$/, `/${encodeURIComponent(name)}`), ...query].join('?');
}

/** Removes a database together with its connections; nothing happens if there is none. */
export async function dropDatabase(server: string, name: string): Promise<void> {
  await withConnection({ url: server, applicationName: 'dmb setup' }, (session) => session.execute(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`));
}

/** Rows of one statement, asked as the user of the URL. */
export async function askDatabase<R extends object = Record<string, unknown>>(url: string, sql: string): Promise<R[]> {
  return await withConnection({ url, applicationName: 'dmb setup' }, (session) => session.query<R>(sql));
}
