/** Rate limits of what strangers may try, with the error that tells them to wait. */
import { AppError } from '@dmb/runtime';
import type { Limit, Limits } from '@dmb/timelines';
import { rateLimits } from './limits.ts';
import { countLimited } from './metrics.ts';

type Attempt = keyof typeof rateLimits;

const counted: Readonly<Record<Attempt, Parameters<typeof countLimited>[0]>> = {
  logInByAddress: 'log-in',
  logInByHandle: 'log-in',
  passwordChangeByPerson: 'log-in',
  signUpByAddress: 'sign-up',
  appsByAddress: 'app',
  tokensByAddress: 'address',
  operatorLinkByAddress: 'address',
};

/** On a machine of one's own there are no strangers, but tests and scripts that make many persons. */
const ownMachineFactor = 100;

export class Rates {
  readonly #limits: Pick<Limits, 'take'>;
  readonly #factor: number;

  /** @param isOwnMachine the domain is `localhost` or below it: a hundred times as much is allowed */
  constructor(limits: Pick<Limits, 'take'>, isOwnMachine: boolean) {
    this.#limits = limits;
    this.#factor = isOwnMachine ? ownMachineFactor : 1;
  }

  /** Counts one attempt. @throws {AppError} `limited`, with the time to wait */
  async attempt(what: Attempt, key: string): Promise<void> {
    const { name, capacity, periodMs } = rateLimits[what];
    const limit: Limit = { name, capacity: capacity * this.#factor, periodMs };
    const answer = await this.#limits.take(limit, key);
    if (answer.allowed) return;
    countLimited(counted[what]);
    // One of `capacity` comes back after this part of the period.
    const seconds = Math.ceil(limit.periodMs / limit.capacity / 1_000);
    throw new AppError('limited', `Too many attempts. Please wait ${seconds < 90 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`} and try again.`, { retryAfterSeconds: seconds });
  }
}
