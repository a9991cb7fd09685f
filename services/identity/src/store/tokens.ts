/**
 * Tokens, codes and the apps that they belong to: the only file that spells these three tables, beside the loader.
 *
 * All rows of one consent (app, code, token) are at the shard of the person, so giving, using and
 * revoking are single transactions. A code is used once: whoever uses it again gets nothing, and
 * what the first use brought is revoked, since one of the two was a thief (RFC 6749 §4.1.2).
 */
import { randomInt } from 'node:crypto';
import { personEventWire, type PersonEvent } from '@dmb/events';
import { insertOutbox, statement, type Databases, type Transaction } from '@dmb/postgres';
import { type DomainId, type MicroblogId, type PersonId, type Uuid, SHARD_COUNT, newId, shardOf } from '@dmb/protocol';
import type { RegisteredApp } from '../domain/client-ids.ts';
import { type SecretKey, newSecret } from '../domain/secrets.ts';
import { ages, listLimits } from '../limits.ts';
import type { PersonEvents } from './person-events.ts';
import type { PersonState } from './persons.ts';

/** A token that was found. */
export interface Token {
  readonly id: string;
  readonly domain: DomainId;
  readonly person: PersonId | null;
  readonly microblog: MicroblogId | null;
  /** Of the person; null for a token of an app alone. */
  readonly personState: PersonState | null;
  readonly scopes: readonly string[];
  readonly created: Date;
  readonly app: AppRow;
}

/** An app, as it registered. */
export interface AppRow {
  readonly id: Uuid<'app'>;
  readonly name: string;
  readonly website: string | null;
  readonly redirectUris: readonly string[];
  readonly scopes: readonly string[];
}

/** A token as its app gets it: the only moment at which the secret exists. */
export interface IssuedToken {
  readonly secret: string;
  readonly scopes: readonly string[];
  readonly created: Date;
}

/** What a person agreed to. */
export interface Consent {
  readonly person: PersonId;
  readonly microblog: MicroblogId;
  readonly scopes: readonly string[];
}

/** Where a code stands when it is brought back. */
export interface StoredCode extends Consent {
  readonly redirectUri: string;
  readonly codeChallenge: string | null;
  readonly isExpired: boolean;
}

export type Exchange = { readonly outcome: 'issued'; readonly token: IssuedToken } | { readonly outcome: 'unknown' | 'reused' } | { readonly outcome: 'refused'; readonly reason: string };

/** An app that a person let in. */
export interface ConnectedApp {
  readonly id: Uuid<'app'>;
  readonly name: string;
  readonly website: string | null;
  readonly scopes: readonly string[];
  readonly microblogs: readonly MicroblogId[];
  readonly since: Date;
  /** A day, as 2026-11-22. */
  readonly lastUsed: string;
}

const findTokens = statement(`SELECT asked.ord::int4, t.token_id, t.domain_id, t.person_id, t.microblog_id, t.scopes, t.created, t.last_used < current_date AS stale,
    a.app_id, a.name, a.website, a.redirect_uris, a.scopes AS app_scopes, p.state
  FROM unnest($1::int2[], $2::bytea[]) WITH ORDINALITY AS asked(person_shard, token_hash, ord)
    JOIN token t USING (person_shard, token_hash)
    JOIN app a ON a.person_shard = t.person_shard AND a.app_id = t.app_id
    LEFT JOIN person p ON p.person_shard = t.person_shard AND p.person_id = t.person_id
  WHERE t.person_id IS NOT NULL OR t.last_used >= (now() - make_interval(secs => $3))::date`);
/** Leaves alone what another is just writing: it writes the same. */
const touchTokens = statement(`UPDATE token t SET last_used = current_date
  FROM (SELECT s.person_shard, s.token_hash FROM unnest($1::int2[], $2::bytea[]) AS asked(person_shard, token_hash) JOIN token s USING (person_shard, token_hash)
    WHERE s.last_used < current_date FOR UPDATE OF s SKIP LOCKED) AS stale
  WHERE (t.person_shard, t.token_hash) = (stale.person_shard, stale.token_hash)`);
const putApp = statement(`INSERT INTO app (person_shard, app_id, domain_id, name, website, redirect_uris, scopes) VALUES ($1, $2, $3, $4, $5, $6, $7)
  ON CONFLICT (person_shard, app_id) DO NOTHING`);
const putCode = statement(`INSERT INTO code (person_shard, code_hash, person_id, domain_id, microblog_id, app_id, scopes, redirect_uri, code_challenge, expires)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10))`);
const takeCode = statement(`SELECT person_id, microblog_id, app_id, scopes, redirect_uri, code_challenge, expires < now() AS expired, used IS NOT NULL AS used
  FROM code WHERE person_shard = $1 AND code_hash = $2 FOR UPDATE`);
const putToken = statement(`INSERT INTO token (person_shard, token_hash, token_id, domain_id, person_id, microblog_id, app_id, scopes, code_hash)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING created`);
const trimTokens = statement(`DELETE FROM token WHERE person_shard = $1 AND token_hash IN (
    SELECT token_hash FROM token WHERE person_shard = $1 AND person_id = $2 AND app_id = $3 ORDER BY last_used DESC, created DESC OFFSET $4)`);

export class Tokens {
  readonly #databases: Databases;
  readonly #domain: DomainId;
  readonly #events: PersonEvents;

  constructor(databases: Databases, domain: DomainId, events: PersonEvents) {
    this.#databases = databases;
    this.#domain = domain;
    this.#events = events;
  }

  /** The token of a secret; undefined when unknown, revoked, or an app's own that lay unused for too long. Notes the day of its use. */
  async find(key: SecretKey): Promise<Token | undefined> {
    return (await this.findMany([key]))[0];
  }

  /** The same for many, in the order asked. */
  async findMany(keys: readonly SecretKey[]): Promise<(Token | undefined)[]> {
    const found: (Token | undefined)[] = keys.map(() => undefined);
    const places = this.#databases.group([...keys.entries()], ([, { shard }]) => shard);
    await Promise.all([...places].map(async ([database, group]) => {
      const asked = [group.map(([, { shard }]) => shard), group.map(([, { hash }]) => hash)];
      const rows = await database.query<{
        ord: number; token_id: string; domain_id: DomainId; person_id: PersonId | null; microblog_id: MicroblogId | null; scopes: string; created: Date; stale: boolean;
        app_id: Uuid<'app'>; name: string; website: string | null; redirect_uris: string[]; app_scopes: string; state: PersonState | null;
      }>(findTokens, [...asked, ages.appTokenUnusedMs / 1_000]);
      const ours = rows.filter(({ domain_id }) => domain_id === this.#domain);
      if (ours.some(({ stale }) => stale)) await database.execute(touchTokens, asked);
      for (const row of ours) {
        const place = group[row.ord - 1]?.[0];
        if (place === undefined) continue;
        found[place] = {
          id: row.token_id, domain: row.domain_id, person: row.person_id, microblog: row.microblog_id, personState: row.state, scopes: words(row.scopes), created: row.created,
          app: { id: row.app_id, name: row.name, website: row.website, redirectUris: row.redirect_uris, scopes: words(row.app_scopes) },
        };
      }
    }));
    return found;
  }

  /** A code for what a person agreed to. */
  async createCode(app: RegisteredApp, consent: Consent, redirectUri: string, codeChallenge: string | undefined): Promise<string> {
    const { secret, shard, hash } = newSecret(shardOf(consent.person));
    await this.#databases.at(shard).transaction(async (tx) => {
      await this.#putApp(tx, shard, app);
      await tx.execute(putCode, [
        shard, hash, consent.person, this.#domain, consent.microblog, app.appId, consent.scopes.join(' '), redirectUri, codeChallenge ?? null, ages.codeMs / 1_000,
      ]);
    });
    return secret;
  }

  /** Gives an app a token for its code, once. `check` says why it must not, if so; the code then stays as it was. */
  async exchange({ shard, hash }: SecretKey, appId: Uuid<'app'>, check: (code: StoredCode) => string | undefined): Promise<Exchange> {
    const database = this.#databases.at(shard);
    let event: PersonEvent | undefined;
    const exchange = await database.transaction(async (tx): Promise<Exchange> => {
      event = undefined;
      const [row] = await tx.query<{
        person_id: PersonId; microblog_id: MicroblogId; app_id: Uuid<'app'>; scopes: string; redirect_uri: string; code_challenge: string | null; expired: boolean; used: boolean;
      }>(takeCode, [shard, hash]);
      if (row?.app_id !== appId) return { outcome: 'unknown' };
      if (row.used) {
        const revoked = await tx.execute('DELETE FROM token WHERE person_shard = $1 AND code_hash = $2', [shard, hash]);
        if (revoked > 0) {
          event = { shard, person: row.person_id, what: 'tokens-revoked', microblog: row.microblog_id };
          await this.#tell(tx, event);
        }
        return { outcome: 'reused' };
      }
      const consent = { person: row.person_id, microblog: row.microblog_id, scopes: words(row.scopes) };
      const reason = check({ ...consent, redirectUri: row.redirect_uri, codeChallenge: row.code_challenge, isExpired: row.expired });
      if (reason !== undefined) return { outcome: 'refused', reason };
      await tx.execute('UPDATE code SET used = now() WHERE person_shard = $1 AND code_hash = $2', [shard, hash]);
      return { outcome: 'issued', token: await this.#putToken(tx, shard, row.app_id, consent, hash) };
    });
    if (event !== undefined) this.#events.committed(database.index, event);
    return exchange;
  }

  /** A token without a code: after signing up by an app. */
  async issue(app: AppRow, consent: Consent): Promise<IssuedToken> {
    const shard = shardOf(consent.person);
    return await this.#databases.at(shard).transaction(async (tx) => {
      await this.#putApp(tx, shard, { ...app, appId: app.id });
      return await this.#putToken(tx, shard, app.id, consent, null);
    });
  }

  /** A token of an app alone, at a shard drawn at random. */
  async issueForApp(app: RegisteredApp, scopes: readonly string[]): Promise<IssuedToken> {
    const shard = randomInt(SHARD_COUNT);
    return await this.#databases.at(shard).transaction(async (tx) => {
      await this.#putApp(tx, shard, app);
      return await this.#putToken(tx, shard, app.appId, { person: null, microblog: null, scopes }, null);
    });
  }

  /** Ends one token, if it is of this app. */
  async revoke({ shard, hash }: SecretKey, appId: Uuid<'app'>): Promise<void> {
    await this.#revoke(shard, async (tx) => {
      const rows = await tx.query<{ person_id: PersonId | null; microblog_id: MicroblogId | null }>(
        'DELETE FROM token WHERE person_shard = $1 AND token_hash = $2 AND app_id = $3 RETURNING person_id, microblog_id', [shard, hash, appId]);
      const [row] = rows;
      return { revoked: rows.length, event: row?.person_id ? { shard, person: row.person_id, what: 'tokens-revoked', microblog: row.microblog_id } : undefined };
    });
  }

  /** Ends the tokens and codes of a person: of one microblog, or all. Tells how many tokens. */
  async revokeOf(person: PersonId, microblog: MicroblogId | null): Promise<number> {
    const shard = shardOf(person);
    return await this.#revoke(shard, async (tx) => {
      const revoked = await revokeTokens(tx, shard, person, microblog);
      return { revoked, event: { shard, person, what: 'tokens-revoked', microblog } };
    });
  }

  /** Ends what one app has of a person. */
  async revokeApp(person: PersonId, appId: Uuid): Promise<number> {
    const shard = shardOf(person);
    return await this.#revoke(shard, async (tx) => {
      await tx.execute('DELETE FROM code WHERE person_shard = $1 AND person_id = $2 AND app_id = $3', [shard, person, appId]);
      const revoked = await tx.execute('DELETE FROM token WHERE person_shard = $1 AND person_id = $2 AND app_id = $3', [shard, person, appId]);
      return { revoked, event: revoked > 0 ? { shard, person, what: 'tokens-revoked', microblog: null } : undefined };
    });
  }

  /** The apps that a person let in, the one used last first. */
  async connectedApps(person: PersonId): Promise<readonly ConnectedApp[]> {
    const shard = shardOf(person);
    const rows = await this.#databases.at(shard).query<{ app_id: Uuid<'app'>; name: string; website: string | null; scopes: string; microblogs: MicroblogId[]; since: Date; last_used: string }>(
      `SELECT a.app_id, a.name, a.website, string_agg(DISTINCT t.scopes, ' ') AS scopes, array_agg(DISTINCT t.microblog_id) AS microblogs,
          min(t.created) AS since, max(t.last_used)::text AS last_used
        FROM token t JOIN app a ON a.person_shard = t.person_shard AND a.app_id = t.app_id
        WHERE t.person_shard = $1 AND t.person_id = $2 GROUP BY a.person_shard, a.app_id ORDER BY max(t.last_used) DESC, min(t.created) DESC LIMIT $3`,
      [shard, person, listLimits.connectedAppsMax]);
    return rows.map((row) => ({ id: row.app_id, name: row.name, website: row.website, scopes: [...new Set(words(row.scopes))], microblogs: row.microblogs, since: row.since, lastUsed: row.last_used }));
  }

  /** Deletes what has run out, a bounded number of rows in each database. */
  async sweep(): Promise<void> {
    for (const database of this.#databases.all) {
      const bounded = (table: string, where: string, seconds: number) => database.execute(
        `DELETE FROM ${table} WHERE ctid IN (SELECT ctid FROM ${table} WHERE ${where} LIMIT $2)`, [seconds, listLimits.housekeepingRowsMax]);
      await bounded('code', 'expires < now() - make_interval(secs => $1)', ages.codeMs / 1_000);
      await bounded('token', 'person_id IS NULL AND last_used < (now() - make_interval(secs => $1))::date', ages.appTokenUnusedMs / 1_000);
    }
  }

  async #putApp(tx: Transaction, shard: number, app: Pick<RegisteredApp, 'appId' | 'name' | 'website' | 'redirectUris' | 'scopes'>): Promise<void> {
    await tx.execute(putApp, [shard, app.appId, this.#domain, app.name, app.website, app.redirectUris, app.scopes.join(' ')]);
  }

  async #putToken(
    tx: Transaction, shard: number, appId: Uuid<'app'>, { person, microblog, scopes }: { readonly person: PersonId | null; readonly microblog: MicroblogId | null; readonly scopes: readonly string[] }, code: Buffer | null,
  ): Promise<IssuedToken> {
    const { secret, hash } = newSecret(shard);
    const [row] = await tx.query<{ created: Date }>(putToken, [shard, hash, newId(), this.#domain, person, microblog, appId, scopes.join(' '), code]);
    if (person !== null) await tx.execute(trimTokens, [shard, person, appId, listLimits.tokensPerPersonAndAppMax]);
    return { secret, scopes, created: row?.created ?? new Date() };
  }

  /** Deletes and, if that concerns a person, tells the others in the same transaction. */
  async #revoke(shard: number, work: (tx: Transaction) => Promise<{ readonly revoked: number; readonly event: PersonEvent | undefined }>): Promise<number> {
    const database = this.#databases.at(shard);
    const transaction = database.transaction(async (tx) => {
      const result = await work(tx);
      if (result.event) await this.#tell(tx, result.event);
      return result;
    });
    const { revoked, event } = await this.#events.attempt(database, shard, transaction);
    if (event) this.#events.committed(database.index, event);
    return revoked;
  }

  async #tell(tx: Transaction, event: PersonEvent): Promise<void> {
    await insertOutbox(tx, { topic: 'identity.person.v1', shard: event.shard, refs: [personEventWire(event)], headers: this.#events.headers() });
  }
}

/** Deletes tokens and codes of a person within a transaction on the person's shard; how many tokens. */
export async function revokeTokens(tx: Pick<Transaction, 'execute'>, shard: number, person: PersonId, microblog: MicroblogId | null): Promise<number> {
  const parameters = [shard, person, microblog];
  await tx.execute('DELETE FROM code WHERE person_shard = $1 AND person_id = $2 AND ($3::uuid IS NULL OR microblog_id = $3)', parameters);
  return await tx.execute('DELETE FROM token WHERE person_shard = $1 AND person_id = $2 AND ($3::uuid IS NULL OR microblog_id = $3)', parameters);
}

const words = (text: string): readonly string[] => text.split(' ').filter((word) => word !== '');
