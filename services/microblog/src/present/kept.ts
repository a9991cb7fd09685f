/** Answers that are kept while nothing is written: see store/writes.ts for why that is right. */
import { LRUCache } from 'lru-cache';
import { presentLimits } from './limits.ts';

/** Tells whether anything may have changed. */
export interface Unchanged {
  /** Two equal states: nothing was written between them. Undefined: nobody knows, and nothing is kept. */
  state(): number | undefined;
}

export class Kept<Answer extends object> {
  readonly #unchanged: Unchanged | undefined;
  readonly #answers: LRUCache<string, { readonly state: number; readonly answer: Answer }>;

  constructor(unchanged: Unchanged | undefined, max: number) {
    this.#unchanged = unchanged;
    this.#answers = new LRUCache({ max, ttl: presentLimits.keptMs });
  }

  /** The answer that is kept for this key, or a new one. */
  async get(key: string, read: () => Promise<Answer>): Promise<Answer> {
    const state = this.#unchanged?.state();
    if (state === undefined) return await read();
    const kept = this.#answers.get(key);
    if (kept?.state === state) return kept.answer;
    const answer = await read();
    // Something that was written meanwhile may or may not be in it.
    if (this.#unchanged?.state() === state) this.#answers.set(key, { state, answer });
    return answer;
  }
}
