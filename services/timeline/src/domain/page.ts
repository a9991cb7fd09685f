/**
 * A page of home: skeleton → present → what survives, until there are `limit` rows.
 *
 * Presenting leaves rows out: deleted, withheld, not to be seen any more, hidden by a rule. A page is
 * filled up from further down, so that a reader never meets a gap or an end that is none:
 *
 *   down   from `max_id` (or the top) to `since_id` (or the bottom), first as many ids as rows are
 *          wanted, then more at once. After `looksMax` rows a page with anything on it is given out as
 *          it is, and `next` leads on from the last row *looked at*. A page with nothing on it goes on to
 *          `emptyLooksMax`, because clients stop at an empty page.
 *   up     with `min_id`: the rows immediately above it, lowest first. Where the list in the store reaches down
 *          to it, from the list, else from Postgres upwards: as much work at the bottom of a long
 *          timeline as at its top. Hidden rows are looked past within the same bounds; `prev` then leads on.
 *
 * `next` is left out only where the bottom was reached; `prev` leads above the newest row.
 */
import type { PostId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import { idMax, type Paging } from '@dmb/runtime/http';
import { homeLimits } from '../limits.ts';
import { Descent, type Source } from './descent.ts';

/** Presents rows: those that survive, in the order asked, with their ids. */
export type Present<Row> = (ids: readonly PostId[]) => Promise<{ readonly statuses: readonly Row[]; readonly kept: readonly PostId[] }>;

export interface HomePage<Row> {
  /** Newest first. */
  readonly rows: readonly Row[];
  readonly next: PostId | undefined;
  readonly prev: PostId | undefined;
}

/** Reads one page. */
export async function readPage<Row>(source: Source, present: Present<Row>, paging: Paging): Promise<HomePage<Row>> {
  return paging.minId === undefined ? await readDown(source, present, paging) : await readUp(source, present, paging, paging.minId);
}

async function readDown<Row>(source: Source, present: Present<Row>, { maxId, sinceId, limit }: Paging): Promise<HomePage<Row>> {
  const descent = new Descent(source, maxId ?? idMax, sinceId ?? 0n);
  const rows: Row[] = [];
  const kept: PostId[] = [];
  let looked = 0;
  let lowest: PostId | undefined;
  for (let count = limit; ; count = Math.min(homeLimits.chunkMax, Math.max(20, (limit - kept.length) * 2))) {
    const ids = await descent.next(count);
    if (ids.length > 0) {
      const part = await present(ids);
      rows.push(...part.statuses);
      kept.push(...part.kept);
      looked += ids.length;
      lowest = ids.at(-1);
    }
    if (kept.length >= limit) {
      return { rows: rows.slice(0, limit), next: kept[limit - 1], prev: kept[0] };
    }
    const end = descent.ended;
    if (end !== undefined) return { rows, next: end === 'bound' ? kept.at(-1) : undefined, prev: kept[0] };
    if (looked >= (kept.length > 0 ? homeLimits.looksMax : homeLimits.emptyLooksMax)) return { rows, next: lowest, prev: kept[0] };
  }
}

async function readUp<Row>(source: Source, present: Present<Row>, { maxId, limit }: Paging, minId: bigint): Promise<HomePage<Row>> {
  const ascent = await beginAscent(source, minId, maxId ?? idMax);
  let rows: Row[] = [];
  let kept: PostId[] = [];
  let looked = 0;
  let highest: PostId | undefined;
  for (let count = limit; kept.length < limit && !ascent.isOver; count = Math.min(homeLimits.chunkMax, Math.max(20, (limit - kept.length) * 2))) {
    const ids = await ascent.next(count);
    if (ids.length === 0) break;
    const part = await present(ids);
    rows = [...part.statuses, ...rows];
    kept = [...part.kept, ...kept];
    looked += ids.length;
    highest = ids[0];
    if (looked >= (kept.length > 0 ? homeLimits.looksMax : homeLimits.emptyLooksMax)) return { rows: rows.slice(-limit), next: kept.at(-1), prev: kept.length > limit ? kept.at(-limit) : highest };
  }
  rows = rows.slice(-limit);
  kept = kept.slice(-limit);
  return { rows, next: kept.at(-1), prev: kept[0] };
}

/** Goes up a timeline. */
interface Ascent {
  /** Ids next above those given before, falling; `isOver` at the top, or at the upper bound. */
  next(count: number): Promise<readonly PostId[]>;
  isOver: boolean;
}

async function beginAscent(source: Source, minId: bigint, maxId: bigint): Promise<Ascent> {
  const first = await source.first();
  if (minId >= first.exactFrom) {
    const ids = first.ids.filter((id) => id > minId && id < maxId);
    const ascent: Ascent = {
      isOver: ids.length === 0,
      next: (count) => {
        const part = ids.splice(-count);
        ascent.isOver = ids.length === 0;
        return Promise.resolve(part);
      },
    };
    return ascent;
  }
  let after = minId;
  const ascent: Ascent = {
    isOver: false,
    next: async (count) => {
      const found = await source.above(after as PostId, count);
      if (found.some((id) => id <= after)) throw new AppError('bug', undefined, { detail: `ids above ${after} lead down` });
      after = found[0] ?? after;
      ascent.isOver = found.length < count || after >= maxId;
      return found.filter((id) => id < maxId);
    },
  };
  return ascent;
}
