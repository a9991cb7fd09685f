/// <reference lib="es2024.string" />
/**
 * Passwords: argon2id, few at a time.
 *
 * Each hashing takes 46 MiB for some tens of milliseconds, so an unbounded number of log-ins would
 * be a way to fill the memory. At most `concurrencyMax` run, `waitingMax` wait, and whoever comes
 * then is told to come again: a full queue delays log-ins and nothing else.
 *
 * The parameters stand beside each hash, so raising them later costs nobody a password: an old hash
 * is checked by its own parameters and replaced when its owner next logs in (`isOutdated`). A log-in for
 * a handle that does not exist does the same work (`verify` with undefined), so that time tells
 * nothing.
 */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { AppError } from '@dmb/runtime';
import { passwordWork, textLimits } from '../limits.ts';

/** A stored password. */
export interface PasswordHash {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Whether the password has an allowed length (8 to 1,024 characters) and is well-formed text. */
export function isPassword(password: string): boolean {
  if (password.length > textLimits.passwordLengthMax * 2 || !password.isWellFormed() || password.includes('\0')) return false;
  const length = [...password].length;
  return length >= textLimits.passwordLengthMin && length <= textLimits.passwordLengthMax;
}

/** Makes and checks hashes, at most `concurrencyMax` at a time in this process. */
export class Passwords {
  readonly #waiting: (() => void)[] = [];
  readonly #concurrencyMax: number;
  readonly #waitingMax: number;
  /** What an unknown handle is checked against. */
  readonly #nobody: PasswordHash;
  #running = 0;

  constructor(options: { readonly concurrencyMax?: number; readonly waitingMax?: number } = {}) {
    this.#concurrencyMax = options.concurrencyMax ?? passwordWork.concurrencyMax;
    this.#waitingMax = options.waitingMax ?? passwordWork.waitingMax;
    const { memoryKiB, passes, parallelism, saltBytes, hashBytes } = passwordWork;
    this.#nobody = { memoryKiB, passes, parallelism, salt: randomBytes(saltBytes), hash: randomBytes(hashBytes) };
  }

  /** @throws {AppError} `unavailable` when too many wait */
  async hash(password: string): Promise<PasswordHash> {
    const { memoryKiB, passes, parallelism, saltBytes, hashBytes } = passwordWork;
    const parameters = { memoryKiB, passes, parallelism, salt: randomBytes(saltBytes) };
    return { ...parameters, hash: await this.#derive(password, parameters, hashBytes) };
  }

  /**
   * Whether the password is the one that was hashed; false for undefined, after the same work.
   * @throws {AppError} `unavailable` when too many wait
   */
  async verify(password: string, stored: PasswordHash | undefined): Promise<boolean> {
    const against = stored ?? this.#nobody;
    // Longer than any password is: not hashed in full, but not told by time either.
    const derived = await this.#derive(isPassword(password) ? password : '', against, against.hash.length);
    const same = timingSafeEqual(derived, against.hash);
    return same && stored !== undefined && isPassword(password);
  }

  async #derive(password: string, { memoryKiB, passes, parallelism, salt }: Omit<PasswordHash, 'hash'>, hashBytes: number): Promise<Buffer> {
    await this.#enter();
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        // Different keyboards compose the same letters differently.
        const message = Buffer.from(password.normalize('NFKC'), 'utf8');
        argon2('argon2id', { message, nonce: salt, memory: memoryKiB, passes, parallelism, tagLength: hashBytes }, (error, derived) => {
          if (error) reject(error);
          else resolve(derived);
        });
      });
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#concurrencyMax) {
      this.#running++;
      return;
    }
    if (this.#waiting.length >= this.#waitingMax) {
      throw new AppError('unavailable', 'Many people are logging in just now. Please try again in a few seconds.', { retryAfterSeconds: 5 });
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#running--;
  }
}

/** Whether a hash was made with other parameters than new ones are. */
export function isOutdated(stored: PasswordHash): boolean {
  return stored.memoryKiB !== passwordWork.memoryKiB || stored.passes !== passwordWork.passes || stored.parallelism !== passwordWork.parallelism;
}
