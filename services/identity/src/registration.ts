/** Whether strangers may sign up, and what others are told about it. */
import type { MicroblogId } from '@dmb/protocol';
import { ages } from './limits.ts';
import type { Domains, RegistrationMode } from './store/domains.ts';
import type { Persons } from './store/persons.ts';

export interface RegistrationAnswer {
  readonly mode: RegistrationMode;
  readonly persons: number;
  readonly operatorMicroblog: MicroblogId | null;
}

export class RegistrationInfo {
  readonly #domains: Domains;
  readonly #persons: Persons;
  readonly #configured: RegistrationMode;
  #answer: { readonly at: number; readonly value: Promise<RegistrationAnswer> } | undefined;

  constructor(domains: Domains, persons: Persons, configured: RegistrationMode) {
    this.#domains = domains;
    this.#persons = persons;
    this.#configured = configured;
  }

  async mode(): Promise<RegistrationMode> {
    return (await this.#domains.registration()) ?? this.#configured;
  }

  /** As of at most half a minute ago: every look at the front page asks for it. */
  async answer(): Promise<RegistrationAnswer> {
    const now = Date.now();
    if (this.#answer === undefined || now - this.#answer.at > ages.registrationCacheMs) {
      const value = this.#ask();
      this.#answer = { at: now, value };
      value.catch(() => (this.#answer = undefined));
    }
    return await this.#answer.value;
  }

  /** Forgets the answer, where something in it has just changed. */
  changed(): void {
    this.#answer = undefined;
  }

  async #ask(): Promise<RegistrationAnswer> {
    const [mode, { active }, operatorMicroblog] = await Promise.all([this.mode(), this.#persons.count(), this.#domains.operatorMicroblog()]);
    return { mode, persons: active, operatorMicroblog };
  }
}
