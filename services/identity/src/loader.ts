/**
 * Many persons at once, for load tests: by COPY, and exactly as sign-ups by the API leave them.
 *
 * A person signs up in milliseconds, most of which is the hashing of a password and a dozen commits; fifty
 * thousand would take an hour. A loader writes the end state of the same steps (sign-ups.ts) for all of them: the
 * person, `active`, with a password and a token for one app; the name to log in by, confirmed. A test compares
 * the rows of every table with those of persons who signed up. What is not as with strangers: all persons
 * of one load share one password and its hash, since hashing is made to be slow.
 *
 * Nobody is told: there are no events. microblog's loader (which makes their microblogs under the ids given out
 * here) and fan-out's write what those events would have caused. Everything of one database is one
 * transaction; a load that breaks leaves the databases that were done, and is begun again with other handles.
 * It may run beside a running server.
 */
import { statement, type Databases, type Transaction } from '@dmb/postgres';
import { domainIdOf, isHandle, newId, newMicroblogId, newPersonId, shardOf, type Domain, type DomainId, type MicroblogId, type PersonId, type Uuid } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import { Apps } from './apps.ts';
import type { RegisteredApp } from './domain/client-ids.ts';
import { Passwords, type PasswordHash } from './domain/passwords.ts';
import { newSecret } from './domain/secrets.ts';
import { Directory } from './store/directory.ts';
import { Domains } from './store/domains.ts';

/** The app that the tokens are for. */
export interface LoadedApp {
  readonly name: string;
  readonly scopes: readonly string[];
}

export interface LoadPersonsOptions {
  /** Opened as the service `identity`. */
  readonly databases: Databases;
  readonly domain: Domain;
  /** Names to log in by, each new; titles are the same. */
  readonly handles: readonly string[];
  /** Of all of them. */
  readonly password: string;
  readonly app: LoadedApp;
}

/** Somebody who can log in, and whose microblog is still to be loaded. */
export interface LoadedPerson {
  readonly person: PersonId;
  readonly handle: string;
  readonly microblog: MicroblogId;
  /** Under which the handle is held: microblog's loader writes it too. */
  readonly reservation: Uuid<'reservation'>;
  /** A bearer token of the person, acting as the microblog. */
  readonly token: string;
}

interface NewRow extends LoadedPerson {
  readonly shard: number;
  readonly directoryShard: number;
  readonly tokenHash: Buffer;
}

/** @throws {AppError} invalid for a handle that nobody could sign up with; DatabaseError for one that is taken */
export async function loadPersons({ databases, domain, handles, password, app }: LoadPersonsOptions): Promise<LoadedPerson[]> {
  const wrong = handles.find((handle) => !isHandle(handle));
  if (wrong !== undefined) throw new AppError('invalid', undefined, { detail: `${wrong} is no handle` });
  const domainId = domainIdOf(domain);
  const registered = await new Apps(new Domains(databases, domain, domainId), domain).register({ name: app.name, redirectUris: ['urn:ietf:wg:oauth:2.0:oob'], scopes: app.scopes, website: null });
  const hash = await new Passwords().hash(password);
  const directory = new Directory(databases, domainId);
  const rows = handles.map((handle) => newRow(handle, directory));
  // As in a sign-up the name comes second: one that leads to nobody could not be taken again.
  for (const [database, group] of databases.group(rows, ({ shard }) => shard)) {
    await database.transaction((tx) => copyPersons(tx, group, { domainId, hash, registered }));
  }
  for (const [database, group] of databases.group(rows, ({ directoryShard }) => directoryShard)) {
    await database.transaction((tx) => copyNames(tx, group, domainId));
  }
  return rows.map(({ person, handle, microblog, reservation, token }) => ({ person, handle, microblog, reservation, token }));
}

function newRow(handle: string, directory: Directory): NewRow {
  const person = newPersonId();
  const shard = shardOf(person);
  const { secret, hash } = newSecret(shard);
  return { person, shard, handle, microblog: newMicroblogId(), reservation: newId() as Uuid<'reservation'>, token: secret, tokenHash: hash, directoryShard: directory.shardOf('login', handle) };
}

/** A token without a code, as the API gives after a sign-up. */
const putApps = statement(`INSERT INTO app (person_shard, app_id, domain_id, name, website, redirect_uris, scopes)
  SELECT shard, $2, $3, $4, $5, $6, $7 FROM unnest($1::int2[]) AS t(shard) ORDER BY 1 ON CONFLICT (person_shard, app_id) DO NOTHING`);

async function copyPersons(tx: Transaction, rows: readonly NewRow[], { domainId, hash, registered: app }: { readonly domainId: DomainId; readonly hash: PasswordHash; readonly registered: RegisteredApp }): Promise<void> {
  const scopes = app.scopes.join(' ');
  await tx.copyIn({
    table: 'person',
    columns: ['person_shard', 'person_id', 'domain_id', 'state', 'becomes', 'login', 'reservation', 'microblog_id', 'title'],
    rows: rows.map(({ shard, person, handle, reservation, microblog }) => [shard, person, domainId, 'active', 'active', handle, reservation, microblog, handle]),
  });
  await tx.copyIn({
    table: 'credential',
    columns: ['person_shard', 'person_id', 'domain_id', 'kind', 'algorithm', 'memory_kib', 'passes', 'parallelism', 'salt', 'hash'],
    rows: rows.map(({ shard, person }) => [shard, person, domainId, 'password', 'argon2id', hash.memoryKiB, hash.passes, hash.parallelism, hash.salt, hash.hash]),
  });
  await tx.execute(putApps, [[...new Set(rows.map(({ shard }) => shard))], app.appId, domainId, app.name, app.website, app.redirectUris, scopes]);
  await tx.copyIn({
    table: 'token',
    columns: ['person_shard', 'token_hash', 'token_id', 'domain_id', 'person_id', 'microblog_id', 'app_id', 'scopes'],
    rows: rows.map(({ shard, tokenHash, person, microblog }) => [shard, tokenHash, newId(), domainId, person, microblog, app.appId, scopes]),
  });
}

async function copyNames(tx: Transaction, rows: readonly NewRow[], domainId: DomainId): Promise<void> {
  await tx.copyIn({
    table: 'directory',
    columns: ['key_shard', 'domain_id', 'kind', 'key', 'state', 'reservation', 'person_shard', 'person_id'],
    rows: rows.map(({ directoryShard, handle, reservation, shard, person }) => [directoryShard, domainId, 'login', handle, 'confirmed', reservation, shard, person]),
  });
}
