/**
 * The 63-bit ids of posts, boosts and notifications.
 *
 * The client API wants ids that are decimal strings and sort by time; the database wants them unique within
 * a shard and rising with the number inside each log; a request for one post wants to know its shard. So:
 *
 *   bit 62 … 22   milliseconds since 2000-01-01T00:00:00Z (41 bits: until September 2069)
 *   bit 21 … 12   log_shard
 *   bit 11 …  0   counter
 *
 * The server that receives an entry gives it its id once and keeps it; another server gives the same entry
 * another id. Ids are not part of the protocol between servers.
 *
 * How one is drawn (`IdSource`). Many processes draw for one shard at once and do not talk to each other:
 * the unique key (log_shard, id) is what excludes doubles, and a draw only has to make clashes rare and
 * the order inside a log certain. A clash or a lost race for the number means: read the head, draw again.
 *
 *   time      the greatest of: now; the time of the log's head; the time this process drew last for the shard
 *   counter   the next one, if this process already drew in that millisecond; otherwise random in the lower
 *             half, so that two processes in one millisecond rarely meet and 2,048 draws still fit
 *   above     an id that is not above the head's is drawn again one millisecond later
 *   full      past 4,095 the next millisecond is begun
 *
 * Each of these pushes the time ahead of the clock, never back. At most one second: then the outcome is
 * `ahead`, nothing is remembered of the draw, and the caller holds its writer back until the clock has
 * caught up. The same happens when the clock is set back, and when another process with a fast clock wrote
 * the head. A process that dies forgets its counters; the head of each log keeps that log's order, and the
 * unique key the rest.
 */
import { randomInt } from 'node:crypto';
import { SHARD_COUNT } from './shards.ts';

declare const postIdBrand: unique symbol;

/** An id of 63 bits: time, log_shard, counter. To clients a decimal string. */
export type PostId = bigint & { readonly [postIdBrand]: true };

/** 2000-01-01T00:00:00Z in Unix milliseconds: zero of all times in DMB/1. */
export const EPOCH_2000_MS = 946_684_800_000;

/** Counters of one shard and millisecond. */
export const POST_ID_COUNTERS = 4096;

/** How far the time of a drawn id may be ahead of the clock. */
export const POST_ID_AHEAD_MS_MAX = 1000;

const TIME_LIMIT_MS = EPOCH_2000_MS + 2 ** 41;
const POST_ID_LIMIT = 1n << 63n;
const POST_ID_TEXT = /^(?:0|[1-9][0-9]{0,18})$/;

/**
 * Puts an id together. `unixMs` is a whole number from 2000-01-01 on and before 2^41 ms later, `shard` and
 * `counter` are within their bits.
 * @throws RangeError for anything else.
 */
export function makePostId(unixMs: number, shard: number, counter: number): PostId {
  checkRange('time', unixMs, EPOCH_2000_MS, TIME_LIMIT_MS);
  checkRange('shard', shard, 0, SHARD_COUNT);
  checkRange('counter', counter, 0, POST_ID_COUNTERS);
  return ((BigInt(unixMs - EPOCH_2000_MS) << 22n) | BigInt((shard << 12) | counter)) as PostId;
}

function checkRange(what: string, value: number, from: number, below: number): void {
  if (!Number.isSafeInteger(value) || value < from || value >= below) {
    throw new RangeError(`the ${what} of a post id is a whole number in [${from}, ${below}), not ${value}`);
  }
}

/** The time part, in Unix milliseconds. */
export function postIdMs(id: PostId): number {
  return Number(id >> 22n) + EPOCH_2000_MS;
}

/** The log_shard part, 0 … 1023. */
export function postIdShard(id: PostId): number {
  return Number((id >> 12n) & 0x3ffn);
}

/** The decimal form that clients see. */
export function formatPostId(id: PostId): string {
  return id.toString();
}

/** Reads the decimal form; undefined unless it is exactly what `formatPostId` writes of an id below 2^63. */
export function parsePostId(text: string): PostId | undefined {
  if (!POST_ID_TEXT.test(text)) return undefined;
  const id = BigInt(text);
  return id < POST_ID_LIMIT ? (id as PostId) : undefined;
}

/** What a draw came to. `ahead`: the clock has to catch up `byMs` (more than 1,000) milliseconds; draw again later. */
export type DrawnId =
  | { readonly outcome: 'drawn'; readonly id: PostId }
  | { readonly outcome: 'ahead'; readonly byMs: number };

/** Draws ids for any shard. One per process: two in one process would draw as two processes do. */
export class IdSource {
  readonly #firstCounter: () => number;
  /** Per shard, the time (Unix ms) and counter drawn last. Zero: none yet. */
  readonly #lastMs = new Float64Array(SHARD_COUNT);
  readonly #lastCounter = new Uint16Array(SHARD_COUNT);

  /** `firstCounter` gives the counter that a millisecond begins with, 0 … 2047; random unless a test needs otherwise. */
  constructor(firstCounter: () => number = () => randomInt(POST_ID_COUNTERS / 2)) {
    this.#firstCounter = firstCounter;
  }

  /**
   * Draws an id for the next entry of a log: above `headId`, the id of the log's newest entry (undefined if
   * there is none or it has no id), and above everything that this source drew for the shard.
   * @throws RangeError if `headId` is of another shard, or the clock is outside of what an id can hold.
   */
  draw(shard: number, headId: bigint | undefined, nowMs: number): DrawnId {
    checkRange('shard', shard, 0, SHARD_COUNT);
    const head = headId as PostId | undefined;
    if (head !== undefined && postIdShard(head) !== shard) {
      throw new RangeError(`the head ${head} is not of shard ${shard}`);
    }
    const lastMs = this.#lastMs[shard] ?? 0;
    let ms = Math.max(nowMs, lastMs, head === undefined ? 0 : postIdMs(head));
    let counter = ms === lastMs ? (this.#lastCounter[shard] ?? 0) + 1 : this.#firstCounter();
    if (counter >= POST_ID_COUNTERS) {
      ms += 1;
      counter = this.#firstCounter();
    }
    let id = makePostId(ms, shard, counter);
    if (head !== undefined && id <= head) {
      ms += 1;
      counter = this.#firstCounter();
      id = makePostId(ms, shard, counter);
    }
    if (ms - nowMs > POST_ID_AHEAD_MS_MAX) return { outcome: 'ahead', byMs: ms - nowMs };
    this.#lastMs[shard] = ms;
    this.#lastCounter[shard] = counter;
    return { outcome: 'drawn', id };
  }
}
