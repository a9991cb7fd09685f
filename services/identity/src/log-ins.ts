/**
 * Logging in: from a handle or e-mail address and a password to a person.
 *
 * An unknown handle costs what a known one costs and is answered with the same words. Attempts are
 * limited by address, and by handle over all addresses. A sign-up that broke in the middle is
 * finished here, since its owner has just proven who they are.
 */
import { type PersonId, newPersonId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import { type Passwords, isOutdated } from './domain/passwords.ts';
import { textLimits } from './limits.ts';
import { countLogIn } from './metrics.ts';
import type { Rates } from './rates.ts';
import { emailKey, type SignUps } from './sign-ups.ts';
import type { Directory } from './store/directory.ts';
import type { Person, Persons } from './store/persons.ts';

export interface LogInsOptions {
  readonly directory: Directory;
  readonly persons: Persons;
  readonly passwords: Passwords;
  readonly rates: Rates;
  readonly signUps: SignUps;
}

export class LogIns {
  readonly #options: LogInsOptions;

  constructor(options: LogInsOptions) {
    this.#options = options;
  }

  /**
   * Who logs in: somebody active, or waiting for approval.
   * @throws {AppError} `unauthenticated` for a wrong pair, `forbidden` for somebody suspended, `limited`, `unavailable`
   */
  async logIn(name: string, password: string, addressBucket: string): Promise<Person> {
    const { persons, passwords, rates, signUps } = this.#options;
    const key = nameKey(name);
    await rates.attempt('logInByAddress', addressBucket);
    await rates.attempt('logInByHandle', key.slice(0, textLimits.emailLengthMax));
    const id = await this.#find(key);
    const person = await persons.find(id);
    const stored = await persons.password(id);
    if (!(await passwords.verify(password, stored)) || person === undefined || stored === undefined || person.state === 'removed') {
      countLogIn('refused');
      throw new AppError('unauthenticated', 'This handle and password do not belong together.');
    }
    if (person.state === 'suspended') {
      countLogIn('refused');
      throw new AppError('forbidden', 'This person was suspended by whoever runs this server.');
    }
    if (isOutdated(stored)) await persons.rehash(person.id, await passwords.hash(password));
    const finished = await signUps.finish(person);
    countLogIn('ok');
    return finished;
  }

  /** Whether the password is the person's, asked again before something important. @throws {AppError} `limited` */
  async confirmPassword(person: Person, password: string): Promise<boolean> {
    const { persons, passwords, rates } = this.#options;
    await rates.attempt('passwordChangeByPerson', person.id);
    return await passwords.verify(password, await persons.password(person.id));
  }

  /** The person of a name; nobody's id for an unknown one, so that looking further costs the same. */
  async #find(key: string): Promise<PersonId> {
    const row = await this.#options.directory.find(key.includes('@') ? 'email' : 'login', key);
    return row === undefined || row.state === 'retired' ? newPersonId() : row.person;
  }
}

/** What was typed, as the directory spells it: `@News` is news. */
function nameKey(name: string): string {
  return emailKey(name.trim().replace(/^@/, '').slice(0, textLimits.emailLengthMax));
}
