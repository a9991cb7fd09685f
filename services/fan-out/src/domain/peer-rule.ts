/**
 * The peer rule: fan-out reads a log as another server would.
 *
 * Of each log (and epoch) we have everything up to our cursor, without a hole. An event says that an
 * entry is there; it may come twice, late, out of order, or not at all. So:
 *
 *   number ≤ cursor       we have it: drop
 *   number = cursor + 1   the next one: apply
 *   beyond                something is missing: fetch the range (cursor, number] first
 *
 * A log that we have never met starts at its floor, below which there is nothing to be had: 0 for our
 * own logs, so that number 1 can be applied at once; for anything higher the fetch says where the floor
 * is. A floor above our cursor (a replica that was cut short) moves the cursor up to it.
 */
import type { EntryAnswer, EntryRef } from '@dmb/events';

/** What one log's events come to. */
export interface PeerDecision {
  /** To be applied now, contiguous from cursor + 1. */
  readonly apply: readonly EntryRef[];
  /** To be fetched once those are applied: `(after, upTo]`. */
  readonly fetch: { readonly after: bigint; readonly upTo: bigint } | undefined;
  readonly dropped: number;
}

/** Applies the rule to the events of one log, in whatever order they came. `cursor` undefined = never met. */
export function decide(cursor: bigint | undefined, events: readonly EntryRef[]): PeerDecision {
  const rising = events.toSorted((left, right) => (left.number < right.number ? -1 : left.number > right.number ? 1 : 0));
  let reached = cursor ?? 0n;
  const apply: EntryRef[] = [];
  for (const event of rising) {
    if (event.number <= reached) continue;
    if (event.number > reached + 1n) break;
    apply.push(event);
    reached = event.number;
  }
  const highest = rising.at(-1)?.number ?? 0n;
  const beyond = highest > reached ? { after: reached, upTo: highest } : undefined;
  const left = beyond === undefined ? 0 : rising.filter(({ number }) => number > reached).length;
  return { apply, fetch: beyond, dropped: rising.length - apply.length - left };
}

/** What a page of fetched entries comes to. */
export type PageDecision =
  /** `cursor` is where the log stands before `entries`: the floor, where that is higher. */
  | { readonly outcome: 'apply'; readonly cursor: bigint; readonly entries: readonly EntryAnswer[] }
  /** Nothing above the cursor: the log is shorter than what was heard of it. */
  | { readonly outcome: 'short'; readonly head: bigint }
  | { readonly outcome: 'hole'; readonly at: bigint };

/** Checks that a page goes on exactly where the cursor is. */
export function decidePage(after: bigint, page: { readonly entries: readonly EntryAnswer[]; readonly head: bigint; readonly floor: bigint }): PageDecision {
  const cursor = page.floor > after ? page.floor : after;
  const entries = page.entries.filter(({ number }) => number > cursor);
  if (entries.length === 0) return cursor > after ? { outcome: 'apply', cursor, entries } : { outcome: 'short', head: page.head };
  for (const [index, { number }] of entries.entries()) {
    const expected = cursor + 1n + BigInt(index);
    if (number !== expected) return { outcome: 'hole', at: expected };
  }
  return { outcome: 'apply', cursor, entries };
}
