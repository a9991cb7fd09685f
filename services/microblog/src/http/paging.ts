/**
 * One page of a list whose rows are filtered after they were read.
 *
 * Rules hide rows, but a page must not be short for that, or a client takes it for the last. So
 * reading goes on below (or above, for `min_id`) until `limit` rows survived, the list ended, or
 * `rowsLookedAtMax` rows were looked at. The ids for the Link header are chosen so that no row is
 * left out and none comes twice, whatever was hidden between.
 */
import type { Status } from '@dmb/events';
import type { PostId } from '@dmb/protocol';
import { linkHeader, type Paging } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Page } from '../domain/model.ts';
import { presentLimits } from '../present/limits.ts';
import type { Site } from '../present/facts.ts';
import type { PresentedStatuses } from '../present/presenter.ts';

/** What survived of a batch, in the order of the rows, each with the id that pages. */
export type Kept<Item> = readonly { readonly id: PostId; readonly item: Item }[];

export interface PageOf<Item> {
  readonly items: readonly Item[];
  /** Id for `max_id` of the next page; absent where this one is the last. */
  readonly next: PostId | undefined;
  /** Id for `min_id` of the previous page; absent when this one is empty. */
  readonly prev: PostId | undefined;
}

/** A page: `read` gives rows falling by id, `keep` says which of them are shown and how. */
export async function readPage<Row extends { readonly id: PostId }, Item>(
  paging: Paging,
  read: (page: Page) => Promise<readonly Row[]>,
  keep: (rows: readonly Row[]) => Promise<Kept<Item>>,
): Promise<PageOf<Item>> {
  return paging.minId === undefined ? readDown(paging, read, keep) : readUp(paging, read, keep);
}

async function readDown<Row extends { readonly id: PostId }, Item>(
  { maxId, sinceId, limit }: Paging,
  read: (page: Page) => Promise<readonly Row[]>,
  keep: (rows: readonly Row[]) => Promise<Kept<Item>>,
): Promise<PageOf<Item>> {
  const kept: { readonly id: PostId; readonly item: Item }[] = [];
  let before = maxId as PostId | undefined;
  let hasEnded = false;
  for (let lookedAt = 0; kept.length < limit && !hasEnded && lookedAt < presentLimits.rowsLookedAtMax; ) {
    const rows = await read({ limit, ...(before === undefined ? {} : { before }), ...(sinceId === undefined ? {} : { since: sinceId as PostId }) });
    kept.push(...(await keep(rows)));
    lookedAt += rows.length;
    hasEnded = rows.length < limit;
    before = rows.at(-1)?.id ?? before;
  }
  const page = kept.slice(0, limit);
  const isFull = page.length === limit;
  return { items: page.map(({ item }) => item), next: isFull ? page.at(-1)?.id : hasEnded ? undefined : before, prev: page[0]?.id };
}

async function readUp<Row extends { readonly id: PostId }, Item>(
  { maxId, minId, limit }: Paging,
  read: (page: Page) => Promise<readonly Row[]>,
  keep: (rows: readonly Row[]) => Promise<Kept<Item>>,
): Promise<PageOf<Item>> {
  let kept: { readonly id: PostId; readonly item: Item }[] = [];
  let min = minId as PostId;
  let hasEnded = false;
  for (let lookedAt = 0; kept.length < limit && !hasEnded && lookedAt < presentLimits.rowsLookedAtMax; ) {
    const rows = await read({ limit, min, ...(maxId === undefined ? {} : { before: maxId as PostId }) });
    kept = [...(await keep(rows)), ...kept];
    lookedAt += rows.length;
    hasEnded = rows.length < limit;
    min = rows[0]?.id ?? min;
  }
  // The page next to `min_id`: the lowest of what was found.
  const page = kept.slice(-limit);
  return { items: page.map(({ item }) => item), next: page.at(-1)?.id, prev: page[0]?.id };
}

/** What presenting left of a batch of posts. */
export function keptStatuses({ statuses, kept }: PresentedStatuses): Kept<Status> {
  return statuses.flatMap((item, index) => {
    const id = kept[index];
    return id === undefined ? [] : [{ id, item }];
  });
}

/** Sets the Link header of a page; none on an empty one. */
export function sendLinks(site: Site, request: FastifyRequest, reply: FastifyReply, { items, next, prev }: PageOf<unknown>): void {
  if (items.length === 0) return;
  const link = linkHeader({ origin: site.origin, target: request.url, next, prev });
  if (link !== undefined) reply.header('link', link);
}
