/**
 * A client's journal: what a server has acknowledged, and whether it kept its word.
 *
 * Authors write concurrently, each post under an idempotency key, and repeat a post until it is
 * acknowledged, whatever happens to the server meanwhile. The journal notes when each was first
 * sent and when it was acknowledged, on one clock that only counts. From that follows, without
 * looking into the server:
 *
 *  - every acknowledged post is there, once;
 *  - a post that was sent after another was acknowledged has the higher id, and stands above it;
 *  - there is no post that nobody sent, and none twice because it was sent twice.
 *
 * The texts of posts name their author and turn, so that a double under another id is seen too.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '@dmb/events';
import { ClientError, type Member } from './client.ts';

export interface Acknowledged {
  readonly id: string;
  readonly author: string;
  readonly text: string;
  /** Turns of the journal's clock. */
  readonly sentAt: number;
  readonly acknowledgedAt: number;
}

/** An answer that was no acknowledgement. */
export interface Refusal {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export type Visibility = 'public' | 'unlisted' | 'private';

export class Journal {
  readonly acknowledged: Acknowledged[] = [];
  readonly refusals: Refusal[] = [];
  /** Posts that were tried more than once. */
  repeated = 0;
  /** Tries that ended without any answer. */
  unanswered = 0;
  #clock = 0;
  #turn = 0;

  /**
   * Posts once and repeats it, under the same key, until it is acknowledged.
   * @throws if that does not happen within `patienceMs`, or for an answer that repeating does not help
   */
  async post(author: Member, visibility: Visibility = 'public', patienceMs = 60_000): Promise<Acknowledged> {
    const key = randomUUID();
    const text = `${author.handle} ${++this.#turn}`;
    const sentAt = ++this.#clock;
    const deadline = performance.now() + patienceMs;
    for (let attempt = 1; ; attempt++) {
      try {
        const { id } = await author.client.post(text, { visibility, key });
        const acknowledged = { id, author: author.handle, text, sentAt, acknowledgedAt: ++this.#clock };
        this.acknowledged.push(acknowledged);
        if (attempt > 1) this.repeated++;
        return acknowledged;
      } catch (error) {
        if (error instanceof ClientError) {
          this.refusals.push({ status: error.status, contentType: error.contentType, body: error.body });
          if (error.status !== 503 && error.status !== 429) throw error;
        } else {
          this.unanswered++;
        }
        if (performance.now() > deadline) throw error;
        await sleep(40 + Math.random() * 60);
      }
    }
  }

  /** Posts by these authors, `concurrency` at once for each, until `signal`; resolves when all that was begun is acknowledged. */
  async write(authors: readonly Member[], options: { readonly signal: AbortSignal; readonly concurrency?: number; readonly pauseMs?: number; readonly postsMax?: number }): Promise<void> {
    const { signal, concurrency = 2, pauseMs = 20, postsMax = Infinity } = options;
    const visibilities = ['public', 'unlisted', 'private'] as const;
    let begun = 0;
    const lane = async (author: Member, index: number): Promise<void> => {
      for (let turn = index; !signal.aborted && begun < postsMax; turn++) {
        begun++;
        await this.post(author, visibilities[turn % 3]);
        await sleep(pauseMs * Math.random(), undefined, { signal }).catch(() => undefined);
      }
    };
    await Promise.all(authors.flatMap((author) => Array.from({ length: concurrency }, (_, index) => lane(author, index))));
  }

  /** What is wrong with a list, newest first and read to its end, that should hold exactly the posts of these authors. One sentence each. */
  problemsIn(list: readonly Pick<Status, 'id' | 'content'>[], authors: readonly string[]): string[] {
    const problems: string[] = [];
    const expected = this.acknowledged.filter(({ author }) => authors.includes(author));
    const places = new Map<string, number>();
    const texts = new Map<string, string>();
    for (const [place, { id, content }] of list.entries()) {
      const text = content.replace(/<[^>]*>/g, '');
      if (places.has(id)) problems.push(`${id} stands there twice`);
      else if (texts.has(text)) problems.push(`"${text}" stands there as ${id} and as ${texts.get(text) ?? ''}`);
      places.set(id, place);
      texts.set(text, id);
      const above = list[place - 1];
      if (above !== undefined && BigInt(above.id) <= BigInt(id)) problems.push(`${id} stands below ${above.id}`);
    }
    const known = new Set(expected.map(({ id }) => id));
    for (const { id, text } of expected) if (!places.has(id)) problems.push(`${id} (${text}) was acknowledged and is missing`);
    for (const id of places.keys()) if (!known.has(id)) problems.push(`${id} is there and nobody was told so`);
    return [...problems, ...this.#disorder(expected)];
  }

  /** Ids against the order in which they were surely made. */
  #disorder(posts: readonly Acknowledged[]): string[] {
    const problems: string[] = [];
    for (const author of new Set(posts.map((post) => post.author))) {
      let highest: Acknowledged | undefined;
      const events = posts.filter((post) => post.author === author).flatMap((post) => [[post.sentAt, post, 'sent'], [post.acknowledgedAt, post, 'acknowledged']] as const);
      const highestBefore = new Map<string, Acknowledged | undefined>();
      for (const [, post, what] of events.toSorted(([a], [b]) => a - b)) {
        if (what === 'sent') highestBefore.set(post.id, highest);
        else if (highest === undefined || BigInt(post.id) > BigInt(highest.id)) highest = post;
      }
      for (const post of posts) {
        const before = highestBefore.get(post.id);
        if (before !== undefined && BigInt(post.id) < BigInt(before.id)) problems.push(`${post.id} (${post.text}) was sent after ${before.id} (${before.text}) was acknowledged, and has the lower id`);
      }
    }
    return problems;
  }
}

/** Asks again until nothing is wrong; what is still wrong after `timeoutMs`. */
export async function eventually<T>(ask: () => Promise<readonly T[]>, timeoutMs = 10_000): Promise<readonly T[]> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const wrong = await ask();
    if (wrong.length === 0 || performance.now() > deadline) return wrong;
    await sleep(50);
  }
}
