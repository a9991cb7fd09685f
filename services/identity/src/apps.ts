/** Registered apps: making and recognising client ids with the keys of the domain. */
import { AppError } from '@dmb/runtime';
import type { Domain } from '@dmb/protocol';
import { type MacKey, type RegisteredApp, type Registration, isClientSecret, readClientId, registerApp } from './domain/client-ids.ts';
import type { Domains } from './store/domains.ts';

/** How often keys that we do not know are looked for in the database, at most. */
const reloadAfterMs = 10_000;

export class Apps {
  readonly #domains: Domains;
  readonly #domain: Domain;
  #keys: Promise<readonly MacKey[]> | undefined;
  #loadedAt = 0;

  constructor(domains: Domains, domain: Domain) {
    this.#domains = domains;
    this.#domain = domain;
  }

  /** @throws {AppError} `invalid` where the registration is too long for a client id */
  async register(registration: Omit<Registration, 'domain' | 'created'>): Promise<RegisteredApp & { readonly clientSecret: string }> {
    const [key] = await this.#load();
    if (key === undefined) throw new AppError('unavailable', undefined, { detail: 'there is no key for client ids' });
    const app = registerApp(key, { ...registration, domain: this.#domain, created: Math.floor(Date.now() / 1_000) });
    if (app === undefined) throw new AppError('invalid', 'Validation failed: name, redirect URIs, scopes and website are too long together');
    return app;
  }

  /** The app of a client id that this domain gave; undefined for any other. */
  async read(clientId: string | undefined): Promise<RegisteredApp | undefined> {
    const find = async (): Promise<RegisteredApp | undefined> => {
      const app = readClientId(await this.#load(), clientId);
      return app?.domain === this.#domain ? app : undefined;
    };
    const app = await find();
    if (app !== undefined || clientId === undefined || Date.now() - this.#loadedAt < reloadAfterMs) return app;
    // Another process may have a newer key.
    this.#keys = undefined;
    return await find();
  }

  async isSecret(app: RegisteredApp, secret: string): Promise<boolean> {
    return isClientSecret(await this.#load(), app.clientId, secret);
  }

  #load(): Promise<readonly MacKey[]> {
    if (this.#keys === undefined) {
      this.#loadedAt = Date.now();
      this.#keys = this.#domains.macKeys();
      this.#keys.catch(() => (this.#keys = undefined));
    }
    return this.#keys;
  }
}
