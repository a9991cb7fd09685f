/**
 * One timeline in memory: ids in 8 bytes each, cheap to add to, unique and sorted when read.
 *
 * Adding is what happens ten thousand times for one post, reading once in a while. So `add` only
 * appends: an id above the top keeps the list in order, the same id as the top is dropped, and
 * anything else (a late id, a replay) goes behind the ordered part as it comes. Order is restored
 * where it is needed, in `tidy`: the unordered tail is sorted and merged into the ordered part
 * from the first place that it touches, so that a read costs by the tail and not by the list.
 *
 *   ids    ┌──────────── ordered, unique ───────────┬─ tail ─┬─ free ─┐
 *          0                                     ordered   length   capacity
 *
 * Bounds: at most `idsMax + slack` places, doubled from 8 as needed. A full list is tidied; if it is
 * still full at its greatest size it is cut back to its `idsMax` highest ids and is exact only down to
 * the lowest of them from then on. Ids below `exactFrom` are not kept: Postgres is asked there.
 */

const capacityFirst = 8;

export class IdList {
  private lowest = 0n;
  private ids = new BigUint64Array(capacityFirst);
  private length = 0;
  private ordered = 0;
  /** Highest id of the ordered part; -1 while it is empty. Kept beside the array so that adding reads no array element. */
  private top = -1n;
  /** What the last read answered, while nothing was added since and nobody wants the memory back. */
  private answer: readonly bigint[] | undefined;
  private readonly idsMax: number;
  private readonly capacityMax: number;

  constructor(idsMax: number, slack: number) {
    this.idsMax = idsMax;
    this.capacityMax = idsMax + slack;
  }

  /** The list has every id from here on; 0 = every id that there is. */
  get exactFrom(): bigint {
    return this.lowest;
  }

  /** Nothing below this is known any more. */
  raiseExactFrom(id: bigint): void {
    if (id <= this.lowest) return;
    this.lowest = id;
    this.answer = undefined;
  }

  /** Places that this list holds in memory, of 8 bytes. */
  get capacity(): number {
    return this.ids.length;
  }

  /** Ids held, doubles in the tail included. */
  get size(): number {
    return this.length;
  }

  /** Adds an id, in any order and any number of times. */
  add(id: bigint): void {
    if (id === this.top || id < this.lowest) return;
    if (this.length === this.ids.length) this.makeRoom();
    this.answer = undefined;
    this.ids[this.length] = id;
    if (this.length === this.ordered && id > this.top) {
      this.ordered++;
      this.top = id;
    }
    this.length++;
  }

  /** The ids, falling and unique, at most `idsMax` and none below `exactFrom`. */
  read(): readonly bigint[] {
    if (this.answer !== undefined) return this.answer;
    this.tidy();
    this.cut();
    const { ids, length } = this;
    const falling = new Array<bigint>(length);
    for (let index = 0; index < length; index++) falling[index] = ids[length - 1 - index]!;
    this.answer = falling;
    return falling;
  }

  /** Lets go of the last answer, which takes four times as much memory as the list. */
  forgetAnswer(): void {
    this.answer = undefined;
  }

  private makeRoom(): void {
    this.tidy();
    if (this.length < this.ids.length) return;
    if (this.ids.length < this.capacityMax) {
      const larger = new BigUint64Array(Math.min(this.capacityMax, this.ids.length * 2));
      larger.set(this.ids);
      this.ids = larger;
      return;
    }
    this.cut();
  }

  /** Sorts the tail and merges it into the ordered part. */
  private tidy(): void {
    const { ids, ordered, length } = this;
    if (ordered === length) return;
    const tail = ids.slice(ordered, length).sort();
    let from = this.placeOf(tail[0]!);
    const above = ids.slice(from, ordered);
    let last = from > 0 ? ids[from - 1]! : -1n;
    for (let left = 0, right = 0; left < above.length || right < tail.length; ) {
      const takesLeft = right >= tail.length || (left < above.length && above[left]! <= tail[right]!);
      const id = takesLeft ? above[left++]! : tail[right++]!;
      if (id === last) continue;
      ids[from++] = id;
      last = id;
    }
    this.ordered = from;
    this.length = from;
    this.top = last;
  }

  /** Drops what lies below `exactFrom`, and the lowest ids over `idsMax`. The list is tidy. */
  private cut(): void {
    const { ids, length } = this;
    const below = this.lowest === 0n ? 0 : this.placeOf(this.lowest);
    const over = length - this.idsMax;
    const drop = Math.max(below, over, 0);
    if (drop === 0) return;
    ids.copyWithin(0, drop, length);
    this.length = length - drop;
    this.ordered = this.length;
    if (this.length === 0) this.top = -1n;
    if (over >= below && over > 0) this.lowest = ids[0]!;
  }

  /** Index of the first ordered id that is not below `id`. */
  private placeOf(id: bigint): number {
    let low = 0;
    for (let high = this.ordered; low < high; ) {
      const middle = (low + high) >>> 1;
      if (this.ids[middle]! < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
