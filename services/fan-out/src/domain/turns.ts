/**
 * Turns at the store: who may push the next slice.
 *
 * A post with a million readers must not hold up one with twenty. Both push slices of bounded size,
 * and each slice waits for its turn here. Turns of one kind are given in the order of asking; while
 * both kinds wait they alternate, so that bulk has at most half of the turns while small posts wait,
 * and all of them otherwise. At most `atOnce` turns are out. Nobody starves: the first of either kind
 * waits for at most one turn of the other.
 */
export type TurnKind = 'small' | 'bulk';

export class Turns {
  private readonly waiting: Record<TurnKind, (() => void)[]> = { small: [], bulk: [] };
  private last: TurnKind = 'bulk';
  private out = 0;
  private readonly atOnce: number;

  constructor(atOnce: number) {
    this.atOnce = atOnce;
  }

  /** Runs `work` when its turn has come. */
  async take<T>(kind: TurnKind, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((resolve) => {
      this.waiting[kind].push(resolve);
      this.next();
    });
    try {
      return await work();
    } finally {
      this.out--;
      this.next();
    }
  }

  /** Slices that wait, for telemetry. */
  get queued(): number {
    return this.waiting.small.length + this.waiting.bulk.length;
  }

  private next(): void {
    while (this.out < this.atOnce) {
      const other: TurnKind = this.last === 'small' ? 'bulk' : 'small';
      const kind = this.waiting[other].length > 0 ? other : this.last;
      const start = this.waiting[kind].shift();
      if (start === undefined) return;
      this.last = kind;
      this.out++;
      start();
    }
  }
}
