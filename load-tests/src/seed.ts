/**
 * What a load test runs on: persons, microblogs and follows, written by the services' own loaders into the databases of a
 * running server, so that each is as if it had signed up and followed (libs and services say how; a test compares the rows).
 *
 * Whether somebody is present is not written anywhere: they are when their home has been read and is kept in the store. So the share that is
 * to be present reads home once, over HTTP, as everybody does.
 */
import { loadFollowers } from '@dmb/fan-out';
import { loadPersons, type LoadedPerson } from '@dmb/identity';
import { MicroblogLoader, type FollowToLoad } from '@dmb/microblog';
import { openDatabases, type Databases } from '@dmb/postgres';
import type { ServiceName } from '@dmb/events';
import type { Domain } from '@dmb/protocol';
import { forEach, type Client } from './client.ts';
import type { Tell } from './options.ts';

const password = 'the same for everybody who was loaded';
const scopes = ['read', 'write', 'follow', 'push'];
const services = ['identity', 'microblog', 'fan-out'] as const satisfies readonly ServiceName[];

/** A loaded person, and the id of their microblog in the client API. */
export interface Person extends LoadedPerson {
  readonly accountId: string;
}

/** A follow between persons who were loaded. */
export interface Follow {
  readonly from: Person;
  readonly to: Person;
}

/** Loads into the databases of one installation. */
export class Seeder {
  readonly #databases: ReadonlyMap<ServiceName, Databases>;
  readonly #loader: MicroblogLoader;
  readonly #domain: Domain;
  readonly #tell: Tell;

  private constructor(databases: ReadonlyMap<ServiceName, Databases>, tell: Tell) {
    this.#databases = databases;
    this.#tell = tell;
    this.#domain = this.#of('microblog').installation.domain as Domain;
    this.#loader = new MicroblogLoader({ databases: this.#of('microblog'), domain: this.#domain });
  }

  /** @throws {StartError} where these are not the databases of an installation */
  static async open(urls: readonly string[], tell: Tell): Promise<Seeder> {
    const databases = new Map<ServiceName, Databases>();
    for (const service of services) databases.set(service, await openDatabases({ urls, service, connectionsMax: 2, applicationName: 'dmb load test' }));
    return new Seeder(databases, tell);
  }

  get domain(): Domain {
    return this.#domain;
  }

  /** New persons with a token each. */
  async persons(handles: readonly string[]): Promise<Person[]> {
    const begun = performance.now();
    const persons = await loadPersons({ databases: this.#of('identity'), domain: this.#domain, handles, password, app: { name: 'Load test', scopes } });
    const { microblogs, ownLogs } = await this.#loader.microblogs(persons);
    await loadFollowers(this.#of('fan-out'), ownLogs);
    this.#tell(`${handles.length} persons were loaded in ${seconds(begun)} s`);
    return persons.map((person, index) => ({ ...person, accountId: String(microblogs[index]?.accountId) }));
  }

  async follows(follows: readonly Follow[]): Promise<void> {
    const begun = performance.now();
    const wanted = follows.map(({ from, to }): FollowToLoad => ({ target: to.microblog, person: from.person, via: { id: from.microblog, handle: from.handle } }));
    await loadFollowers(this.#of('fan-out'), await this.#loader.follows(wanted));
    this.#tell(`${follows.length} follows were loaded in ${seconds(begun)} s`);
  }

  async close(): Promise<void> {
    for (const databases of this.#databases.values()) await databases.close();
  }

  #of(service: ServiceName): Databases {
    const databases = this.#databases.get(service);
    if (databases === undefined) throw new Error(`the databases of ${service} are not open`);
    return databases;
  }
}

/** Makes persons present: their home is read once. */
export async function makePresent(client: Client, persons: readonly Person[], tell: Tell): Promise<void> {
  const begun = performance.now();
  await forEach(persons, async ({ token }) => void (await client.home(token, 1)));
  tell(`${persons.length} persons have read their home, in ${seconds(begun)} s`);
}

/** Handles that no earlier run has used: `prefix`, when, and a number. */
export function handlesOf(prefix: string, count: number): string[] {
  const run = Date.now().toString(36);
  return Array.from({ length: count }, (_, index) => `${prefix}_${run}_${index}`);
}

/** Some items at random, each at most once. */
export function sampleOf<T>(items: readonly T[], count: number): T[] {
  const pool = [...items];
  for (let index = 0; index < Math.min(count, pool.length); index++) {
    const other = index + Math.floor(Math.random() * (pool.length - index));
    [pool[index], pool[other]] = [pool[other] as T, pool[index] as T];
  }
  return pool.slice(0, count);
}

const seconds = (begun: number): string => ((performance.now() - begun) / 1_000).toFixed(1);
