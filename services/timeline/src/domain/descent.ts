/**
 * Walking down a timeline: ids from the list first, from Postgres below it, without a seam.
 *
 * A *skeleton* is a list of falling ids that is exact down to `exactFrom`: at and above it nothing is
 * missing, below it nothing is said. The first one comes from the store and ends somewhere; each further
 * one is asked for below the last one's `exactFrom`. So the walk is exact to the very end of what a
 * person follows, however short the list in the store is. It ends at the bottom (`exactFrom` 0), or at a
 * lower bound of the caller's; which of the two matters, since only the first is the end of the timeline.
 */
import type { PostId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';

export interface Skeleton {
  /** Falling. */
  readonly ids: readonly PostId[];
  readonly exactFrom: PostId;
}

/** Where skeletons come from. */
export interface Source {
  /** From the top. */
  first(): Promise<Skeleton>;
  /** Ids below `before`. */
  below(before: PostId): Promise<Skeleton>;
  /** At most `count` ids next above `after`, falling; fewer only at the top. */
  above(after: PostId, count: number): Promise<readonly PostId[]>;
}

/** Two skeletons as one: every id of both, once, down to where both are exact. */
export function mergeSkeletons(one: Skeleton, other: Skeleton): Skeleton {
  const exactFrom = one.exactFrom > other.exactFrom ? one.exactFrom : other.exactFrom;
  const ids: PostId[] = [];
  for (let left = 0, right = 0; ; ) {
    const [here, there] = [one.ids[left], other.ids[right]];
    const next = there === undefined || (here !== undefined && here > there) ? here : there;
    if (next === undefined || next < exactFrom) return { ids, exactFrom };
    ids.push(next);
    if (here === next) left++;
    if (there === next) right++;
  }
}

export class Descent {
  private readonly source: Source;
  /** Only ids above this are wanted. */
  private readonly until: bigint;
  private skeleton: Skeleton | undefined;
  private index = 0;
  /** Everything from here up has been walked past. */
  private at: bigint;
  /** Set when there is nothing more: at the bottom of the timeline, or at the bound. */
  ended: 'bottom' | 'bound' | undefined;

  constructor(source: Source, from: bigint, until: bigint) {
    this.source = source;
    this.at = from;
    this.until = until;
  }

  /** The next ids, falling; fewer than `count` only at the end. */
  async next(count: number): Promise<PostId[]> {
    const found: PostId[] = [];
    while (found.length < count && this.ended === undefined) {
      this.skeleton ??= await this.begin();
      this.walk(this.skeleton, found, count);
      if (found.length < count && this.ended === undefined) await this.goOn(this.skeleton);
    }
    return found;
  }

  private async begin(): Promise<Skeleton> {
    const first = await this.source.first();
    // What lies wholly below the list is asked of Postgres at once.
    return this.at <= first.exactFrom ? await this.source.below(this.at as PostId) : first;
  }

  private walk({ ids }: Skeleton, found: PostId[], count: number): void {
    for (; this.index < ids.length && found.length < count; this.index++) {
      const id = ids[this.index]!;
      if (id >= this.at) continue;
      if (id <= this.until) {
        this.ended = 'bound';
        return;
      }
      found.push(id);
      this.at = id;
    }
  }

  private async goOn({ exactFrom }: Skeleton): Promise<void> {
    if (exactFrom === 0n) {
      this.ended = 'bottom';
      return;
    }
    if (exactFrom <= this.until) {
      this.ended = 'bound';
      return;
    }
    const before = exactFrom < this.at ? exactFrom : this.at;
    const next = await this.source.below(before as PostId);
    if (next.ids.length === 0 && next.exactFrom >= before) throw new AppError('bug', undefined, { detail: `a skeleton below ${before} goes no further down` });
    this.skeleton = next;
    this.index = 0;
    this.at = before;
  }
}
