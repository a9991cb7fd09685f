/**
 * The plan: what one stretch of each log means here. The file to read first.
 *
 * An entry of a log has up to three effects on this side, by its kind and the audience of its log:
 *
 * | log                  | kind                        | timelines                      | open streams | followers      |
 * |----------------------|-----------------------------|--------------------------------|--------------|----------------|
 * | public, followers    | 1 post, 4 boost             | its id, to every reader of log | told         |                |
 * | public, followers    | 2 edit, 3 delete, 5 unboost | (a rule when reading)          | told         |                |
 * | public, followers    | 6 … 8, 10, unknown ones     |                                | told         |                |
 * | direct               | any                         | (never in home)                | told         |                |
 * | own                  | 9 happening                 |                                | told         | where it says so |
 * | mail                 | any                         |                                |              |                |
 *
 * The readers of a log are the rows of `follower`; a person follows their own personal microblog by a
 * grant like any other, so no author is a special case. How the ids reach the readers depends on how
 * many they are:
 *
 *   up to smallAudienceMax   the handler pushes, in slices, before the cursor moves
 *   more                     the transaction that moves the cursor inserts jobs, one per range of
 *                            person shards; workers push slice by slice and remember how far they are
 *   mergeAudienceMin or more nobody pushes: whoever reads merges the log in (work/merged.ts). Streams are told as of any other
 *
 * Several ids of one log become one push: a burst costs as much as a post. Everything here is a pure
 * function of facts that the caller looked up; nothing is known of how it is carried out.
 */
import type { EntryRef, LogRef } from '@dmb/events';
import { ENTRY_KINDS, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';
import type { Push, Reader } from '@dmb/timelines';

/** A stretch of one log: `entries` follow one another from cursor + 1. */
export interface Stretch {
  readonly log: LogRef;
  /** Where the log stands before. */
  readonly cursor: bigint;
  readonly entries: readonly EntryRef[];
}

/** Who reads a log: all of them; more than a handler may push to; or so many that their timelines are left alone and the log is merged into them when they read. */
export type LogReaders = { readonly size: 'small'; readonly readers: readonly Reader[] } | { readonly size: 'large' } | { readonly size: 'merged' };

/** Ids of one log for its large audience. */
export interface LargeDelivery {
  readonly log: LogRef;
  /** Rising. */
  readonly ids: readonly PostId[];
}

/** Ids for all readers of a log. */
export interface LogPush extends Push {
  readonly log: LogRef;
}

/** What is to be done for a number of stretches. */
export interface Plan {
  /** By delivery lane. */
  readonly pushes: ReadonlyMap<number, readonly LogPush[]>;
  readonly large: readonly LargeDelivery[];
  /** Entries that open streams are told of, rising by id. */
  readonly told: readonly EntryRef[];
}

/** Whether entries of this kind in a log of this audience belong in timelines. */
export function isDelivered({ kind, audience }: EntryRef): boolean {
  return (audience === 'public' || audience === 'followers') && (kind === ENTRY_KINDS.post || kind === ENTRY_KINDS.boost);
}

/** Ids of a stretch that belong in timelines, rising. Late ones may lie below their neighbours. */
export function deliveredIds(stretch: Stretch): PostId[] {
  return stretch.entries
    .filter(isDelivered)
    .map(({ id }) => id)
    .toSorted((left, right) => (left < right ? -1 : left > right ? 1 : 0));
}

/** Plans stretches of different logs. `readersOf` knows every log that has something to deliver. */
export function planStretches(stretches: readonly Stretch[], readersOf: (log: LogRef) => LogReaders, lanes: number): Plan {
  const pushes = new Map<number, LogPush[]>();
  const large: LargeDelivery[] = [];
  const told: EntryRef[] = [];
  for (const stretch of stretches) {
    for (const entry of stretch.entries) if (entry.audience !== 'mail') told.push(entry);
    const ids = deliveredIds(stretch);
    if (ids.length === 0) continue;
    const found = readersOf(stretch.log);
    if (found.size === 'large') {
      large.push({ log: stretch.log, ids });
    } else if (found.size === 'small' && found.readers.length > 0) {
      const lane = stretch.log.shard % lanes;
      const push = { log: stretch.log, ids, readers: found.readers };
      const ofLane = pushes.get(lane);
      if (ofLane === undefined) pushes.set(lane, [push]);
      else ofLane.push(push);
    }
  }
  // Ids rise inside each log, so this keeps every log's order, and gives readers one order between logs.
  told.sort((left, right) => (left.id < right.id ? -1 : left.id > right.id ? 1 : 0));
  return { pushes, large, told };
}

/** Cuts pushes into slices of at most `readersMax` readers, in order. */
export function slicesOf(pushes: readonly Push[], readersMax: number): Push[][] {
  const slices: Push[][] = [];
  let open: Push[] = [];
  let room = readersMax;
  for (const { ids, readers } of pushes) {
    for (let from = 0; from < readers.length; ) {
      const part = readers.slice(from, from + room);
      open.push({ ids, readers: part });
      from += part.length;
      room -= part.length;
      if (room === 0) {
        slices.push(open);
        open = [];
        room = readersMax;
      }
    }
  }
  if (open.length > 0) slices.push(open);
  return slices;
}

/** Ranges of person shards, both ends inclusive, that together are all of them. */
export function rangesOf(count: number, shards: number): { readonly from: number; readonly to: number }[] {
  const size = shards / count;
  return Array.from({ length: count }, (_, index) => ({ from: index * size, to: (index + 1) * size - 1 }));
}

/** What a happening makes of one reader of one log of the microblog that it happened to. */
export interface FollowerChange {
  readonly log: LogRef['log'];
  readonly person: PersonId;
  readonly via: MicroblogId | null;
  readonly reads: boolean;
  /** Number of the happening in the own log. */
  readonly ownNumber: bigint;
}

/**
 * What the body of a happening says about followers here: nothing unless it is a follow and names a
 * person of this server. It carries a state and not a step, so applying it again changes nothing.
 * An erased or unreadable body has no effect; its entry keeps its number.
 */
export function followerChanges(body: Readonly<Record<string, unknown>> | null, ownNumber: bigint): FollowerChange[] {
  if (body === null || typeof body['what'] !== 'string' || !body['what'].startsWith('follow-')) return [];
  const { person, grants, actor } = body;
  if (!isId(person) || !Array.isArray(grants)) return [];
  const via = isObject(actor) && isId(actor['id']) ? (actor['id'] as MicroblogId) : null;
  return grants.filter(isObject).flatMap(({ log, state, sees }) => {
    return isId(log) ? [{ log: log as LogRef['log'], person: person as PersonId, via, reads: state === 'active' && sees === true, ownNumber }] : [];
  });
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isId = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value);
