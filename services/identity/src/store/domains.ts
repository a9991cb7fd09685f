/** What belongs to a whole domain: its settings, the keys of registrations, its operators and the link that makes the first one. All at the shard of the domain id. */
import { statement, type Databases } from '@dmb/postgres';
import { type Domain, type DomainId, type MicroblogId, type PersonId, shardOf } from '@dmb/protocol';
import { type MacKey, newMacKey } from '../domain/client-ids.ts';
import { type SecretKey, newSecret } from '../domain/secrets.ts';
import { ages } from '../limits.ts';

export type RegistrationMode = 'open' | 'approval' | 'closed';

const operatorOf = statement('SELECT person_id FROM operator WHERE domain_shard = $1 AND domain_id = $2 AND person_id = $3');

export class Domains {
  readonly #databases: Databases;
  readonly #name: Domain;
  readonly #id: DomainId;
  readonly #shard: number;

  constructor(databases: Databases, name: Domain, id: DomainId) {
    this.#databases = databases;
    this.#name = name;
    this.#id = id;
    this.#shard = shardOf(id);
  }

  /** The keys of registrations, newest first; the first ones are made when there are none. */
  async macKeys(): Promise<readonly MacKey[]> {
    const read = async (): Promise<MacKey[]> =>
      (
        await this.#database.query<{ key_id: Buffer; id_key: Buffer; secret_key: Buffer }>(
          'SELECT key_id, id_key, secret_key FROM mac_key WHERE domain_shard = $1 AND domain_id = $2 ORDER BY created DESC, key_id', this.#key)
      ).map((row) => ({ keyId: row.key_id, idKey: row.id_key, secretKey: row.secret_key }));
    const keys = await read();
    if (keys.length > 0) return keys;
    await this.#database.transaction(async (tx) => {
      await tx.execute('INSERT INTO domain (domain_shard, domain_id, domain) VALUES ($1, $2, $3) ON CONFLICT (domain_shard, domain_id) DO NOTHING', [...this.#key, this.#name]);
      // The row of the domain is the lock: of two processes that start together one makes the key.
      await tx.query('SELECT FROM domain WHERE domain_shard = $1 AND domain_id = $2 FOR UPDATE', this.#key);
      if ((await tx.query('SELECT FROM mac_key WHERE domain_shard = $1 AND domain_id = $2', this.#key)).length > 0) return;
      const { keyId, idKey, secretKey } = newMacKey();
      await tx.execute('INSERT INTO mac_key (domain_shard, domain_id, key_id, id_key, secret_key) VALUES ($1, $2, $3, $4, $5)', [...this.#key, keyId, idKey, secretKey]);
    });
    return await read();
  }

  /** How the domain itself sets registration; null = as configured. */
  async registration(): Promise<RegistrationMode | null> {
    const [row] = await this.#database.query<{ registration: RegistrationMode | null }>('SELECT registration FROM domain WHERE domain_shard = $1 AND domain_id = $2', this.#key);
    return row?.registration ?? null;
  }

  async isOperator(person: PersonId): Promise<boolean> {
    return (await this.#database.query(operatorOf, [...this.#key, person])).length > 0;
  }

  /** The microblog of who has been an operator for longest; null while there is none. */
  async operatorMicroblog(): Promise<MicroblogId | null> {
    const [row] = await this.#database.query<{ microblog_id: MicroblogId }>(
      'SELECT microblog_id FROM operator WHERE domain_shard = $1 AND domain_id = $2 ORDER BY since, person_id LIMIT 1', this.#key);
    return row?.microblog_id ?? null;
  }

  /** The secret of a new link, which ends the one before; undefined once there is an operator. */
  async newOperatorLink(): Promise<string | undefined> {
    if ((await this.operatorMicroblog()) !== null) return undefined;
    const { secret, hash } = newSecret(this.#shard);
    await this.#database.execute(
      `INSERT INTO operator_link (domain_shard, domain_id, link_hash, expires) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
        ON CONFLICT (domain_shard, domain_id) DO UPDATE SET link_hash = EXCLUDED.link_hash, expires = EXCLUDED.expires`,
      [...this.#key, hash, ages.operatorLinkMs / 1_000]);
    return secret;
  }

  /** Whether a link would make an operator now. */
  async isOperatorLink(key: SecretKey): Promise<boolean> {
    if (key.shard !== this.#shard) return false;
    const rows = await this.#database.query('SELECT FROM operator_link WHERE domain_shard = $1 AND domain_id = $2 AND link_hash = $3 AND expires > now()', [...this.#key, key.hash]);
    return rows.length > 0;
  }

  /** Uses up the link and makes the person an operator, in one transaction; false if the link is none (any more). */
  async useOperatorLink(key: SecretKey, person: PersonId, microblog: MicroblogId): Promise<boolean> {
    if (key.shard !== this.#shard) return false;
    return await this.#database.transaction(async (tx) => {
      const used = await tx.execute('DELETE FROM operator_link WHERE domain_shard = $1 AND domain_id = $2 AND link_hash = $3 AND expires > now()', [...this.#key, key.hash]);
      if (used === 0) return false;
      await tx.execute(
        `INSERT INTO operator (domain_shard, domain_id, person_id, person_shard, microblog_id) VALUES ($1, $2, $3, $4, $5)
          ON CONFLICT (domain_shard, domain_id, person_id) DO NOTHING`, [...this.#key, person, shardOf(person), microblog]);
      return true;
    });
  }

  get #database() {
    return this.#databases.at(this.#shard);
  }

  get #key(): readonly [number, DomainId] {
    return [this.#shard, this.#id];
  }
}
