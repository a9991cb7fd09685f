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
 *   up     with `min_id`: the rows immediately above it. Ids are walked down to it and presented from
 *          its end, lowest first.
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
  const descent = new Descent(source, maxId ?? idMax, minId);
  const ids: PostId[] = [];
  while (descent.ended === undefined) {
    ids.push(...(await descent.next(homeLimits.snapshotIdsMax)));
    if (ids.length > homeLimits.ascentIdsMax) throw new AppError('invalid', 'min_id lies too far back');
  }
  let rows: Row[] = [];
  let kept: PostId[] = [];
  for (let end = ids.length, count = limit; end > 0 && kept.length < limit; count = Math.min(homeLimits.chunkMax, (limit - kept.length) * 2)) {
    const from = Math.max(0, end - count);
    const part = await present(ids.slice(from, end));
    rows = [...part.statuses, ...rows];
    kept = [...part.kept, ...kept];
    end = from;
  }
  rows = rows.slice(-limit);
  kept = kept.slice(-limit);
  return { rows, next: kept.at(-1), prev: kept[0] };
}
