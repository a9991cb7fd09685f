/**
 * Signing up: several steps in several places, none of which can be part of another's transaction.
 *
 *   1  person      write the person as `creating`, with the password and the id of the microblog to be
 *   2  directory   reserve the name to log in by, under the person's reservation, 10 minutes
 *   3  microblog   reserve the handle under the same reservation; directory: the e-mail address
 *   4  microblog   create the personal microblog; confirm its handle
 *   5  directory   confirm name and address
 *   6  person      `creating` becomes `active`, with the event that tells the others
 *
 * Where approval is needed, 4 is left out, the person becomes `pending`, and 3, 4 and 6 follow when
 * the operator approves: nobody has a public page before somebody said yes. Until then the name is held
 * by the directory here, which every sign-up asks first.
 *
 * Every step may be repeated, and names the reservation, so whoever lost it changes nothing. What a
 * crash leaves behind after each step, and who repairs it:
 *
 *   after 1      a person whom no name leads to: housekeeping deletes it, and nobody is kept waiting
 *   after 2–5    the same handle and password go on where it broke (also by logging in), for others the
 *                reservation runs out; the hourly housekeeping finishes what microblog has confirmed and deletes all else
 *
 * The person comes first because a name that was reserved for nobody yet would keep its own owner
 * out until it ran out: there would be no password to know them by. A step takes at most its call's time limit, seconds in all, so no slow attempt outlives its own
 * reservation. Rejected: one transaction over services (there is none), and creating the microblog
 * first (it would stand without an owner who can log in).
 */
import type { Calls, Logger } from '@dmb/runtime';
import { AppError } from '@dmb/runtime';
import { type DomainId, type Uuid, newId, newMicroblogId, newPersonId } from '@dmb/protocol';
import type { Passwords } from './domain/passwords.ts';
import { type FieldError, type SignUp, signUpError } from './domain/sign-up-form.ts';
import { ages } from './limits.ts';
import { countSignUp } from './metrics.ts';
import type { Directory } from './store/directory.ts';
import type { Person, Persons } from './store/persons.ts';

const taken: FieldError = { field: 'username', error: 'ERR_TAKEN', description: 'is already taken' };
const reserved: FieldError = { field: 'username', error: 'ERR_RESERVED', description: 'is a reserved name' };
const invalid: FieldError = { field: 'username', error: 'ERR_INVALID', description: 'must contain only the letters a–z, digits and underscores' };
const emailTaken: FieldError = { field: 'email', error: 'ERR_TAKEN', description: 'is already taken' };

const refused = (error: FieldError): AppError => signUpError([error]);

export interface SignUpsOptions {
  readonly directory: Directory;
  readonly persons: Persons;
  readonly passwords: Passwords;
  readonly calls: Pick<Calls, 'call'>;
  readonly domain: DomainId;
  readonly logger: Logger;
}

export class SignUps {
  readonly #options: SignUpsOptions;

  constructor(options: SignUpsOptions) {
    this.#options = options;
  }

  /**
   * A new person, `active` or (`becomes: 'pending'`) waiting for approval; or the one that a broken
   * attempt with the same handle and password began.
   * @throws {AppError} `invalid` with details; `unavailable`, after which the same attempt goes on
   */
  async signUp(form: SignUp, becomes: 'active' | 'pending'): Promise<Person> {
    try {
      const begun = await this.#begun(form);
      const person = begun ?? (await this.#begin(form, becomes));
      const finished = await this.finish(person);
      countSignUp('ok');
      return finished;
    } catch (error) {
      countSignUp(error instanceof AppError && error.kind === 'invalid' ? 'refused' : 'failed');
      throw error;
    }
  }

  /** Goes on with a person who is `creating`, from whatever step; others are returned as they are. @throws {AppError} as signUp */
  async finish(person: Person): Promise<Person> {
    const { directory, persons } = this.#options;
    if (person.state !== 'creating') return person;
    if (person.email !== null) await this.#reserveEmail(person.email, person.reservation, person.id);
    if (person.becomes === 'active') await this.#createMicroblog(person);
    const confirmed =
      (await directory.confirm('login', person.login, person.reservation)) &&
      (person.email === null || (await directory.confirm('email', emailKey(person.email), person.reservation)));
    if (!confirmed) throw refused(taken);
    await persons.settle(person.id, ['creating'], person.becomes);
    return { ...person, state: person.becomes };
  }

  /** The operator says yes: the microblog is made and the person becomes active. @throws {AppError} */
  async approve(person: Person, operator: Person['id']): Promise<void> {
    if (person.state !== 'pending') return;
    await this.#createMicroblog(person);
    await this.#options.persons.settle(person.id, ['pending'], 'active', operator);
  }

  /** The operator says no: nothing of the person stays, and the handle, never used, is free again. */
  async reject(person: Person): Promise<void> {
    await this.#discard(person);
  }

  /** Finishes or removes what broke more than a reservation ago. */
  async repair(): Promise<void> {
    const { persons, logger } = this.#options;
    for (const person of await persons.broken(ages.reservationMs)) {
      const outcome = await this.#repair(person);
      logger.info('a sign-up that broke was repaired', { outcome });
    }
  }

  async #repair(person: Person): Promise<'finished' | 'removed'> {
    const { calls, domain } = this.#options;
    if (person.becomes === 'active') {
      const { confirmed } = await calls.call('microblog.confirm-handle', { domain, handle: person.login, reservation: person.reservation, microblog: person.microblog });
      if (confirmed) {
        await this.finish(person);
        return 'finished';
      }
    }
    await this.#discard(person);
    return 'removed';
  }

  /** What an earlier attempt with this handle and password began; undefined if the name is free. @throws {AppError} if it is somebody else's */
  async #begun(form: SignUp): Promise<Person | undefined> {
    const { directory, persons, passwords } = this.#options;
    const row = await directory.find('login', form.handle);
    if (row === undefined) return undefined;
    if (row.state === 'retired') throw refused(taken);
    const person = await persons.find(row.person);
    if (person === undefined) {
      // Rejected or removed, and a crash came before its name was let go of.
      if (row.state === 'reserved' && !row.isExpired) throw refused(taken);
      await directory.release('login', form.handle, row.reservation);
      return undefined;
    }
    if (row.state === 'confirmed') throw refused(taken);
    if (await passwords.verify(form.password, await persons.password(person.id))) {
      await directory.reserve('login', person.login, person.reservation, person.id);
      return person;
    }
    if (!row.isExpired || (await this.#repair(person)) === 'finished') throw refused(taken);
    return undefined;
  }

  async #begin(form: SignUp, becomes: 'active' | 'pending'): Promise<Person> {
    const { directory, persons, passwords } = this.#options;
    const hash = await passwords.hash(form.password);
    const reservation = newId() as Uuid<'reservation'>;
    const id = newPersonId();
    const mine = { login: form.handle, email: form.email, reservation };
    await persons.create({ id, becomes, ...mine, microblog: newMicroblogId(), title: form.title, locale: form.locale, reason: form.reason }, hash);
    try {
      if (!(await directory.reserve('login', form.handle, reservation, id))) throw refused(taken);
      await this.#reserveHandle(form.handle, reservation);
      if (form.email !== null) await this.#reserveEmail(form.email, reservation, id);
    } catch (error) {
      // What failed for now may go on with the next attempt; what was refused leaves nothing.
      if (error instanceof AppError && error.kind === 'invalid') await this.#discard({ id, ...mine });
      throw error;
    }
    const person = await persons.find(id);
    if (person === undefined) throw new AppError('unavailable', undefined, { detail: 'a person just written is not there' });
    return person;
  }

  async #reserveHandle(handle: string, reservation: string): Promise<void> {
    const { outcome } = await this.#options.calls.call('microblog.reserve-handle', { domain: this.#options.domain, handle, reservation });
    switch (outcome) {
      case 'reserved':
        return;
      case 'taken':
        throw refused(taken);
      case 'reserved-name':
        throw refused(reserved);
      case 'invalid':
        throw refused(invalid);
    }
  }

  async #reserveEmail(email: string, reservation: Uuid, id: Person['id']): Promise<void> {
    const { directory } = this.#options;
    const key = emailKey(email);
    if (await directory.reserve('email', key, reservation, id)) return;
    const row = await directory.find('email', key);
    if (row?.reservation === reservation) return;
    const isLeft = row?.state === 'confirmed' && (await this.#options.persons.find(row.person)) === undefined;
    if (row?.isExpired || (row && isLeft)) await directory.release('email', key, row.reservation);
    if (!(await directory.reserve('email', key, reservation, id))) throw refused(emailTaken);
  }

  /** Steps 2 and 4, which microblog takes for the same however often they come. */
  async #createMicroblog({ id, login: handle, reservation, microblog, title, locale }: Person): Promise<void> {
    const { calls, domain } = this.#options;
    await this.#reserveHandle(handle, reservation);
    await calls.call('microblog.create', { domain, microblog, handle, reservation, owner: id, personal: true, title, locale });
    const { confirmed } = await calls.call('microblog.confirm-handle', { domain, handle, reservation, microblog });
    if (!confirmed) throw refused(taken);
  }

  async #discard({ id, login, email, reservation }: Pick<Person, 'id' | 'login' | 'email' | 'reservation'>): Promise<void> {
    const { directory, persons } = this.#options;
    if (!(await persons.discard(id))) return;
    await directory.release('login', login, reservation);
    if (email !== null) await directory.release('email', emailKey(email), reservation);
  }
}

/** One spelling of an address: providers differ in what else they take for the same. */
export function emailKey(email: string): string {
  return email.toLowerCase();
}
