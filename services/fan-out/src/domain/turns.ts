/**
 * Turns at the store: who may push the next slice.
 *
 * A post with a million readers must not hold up one with twenty. Both push slices of bounded size,
 * and each slice waits for its turn here. Turns of one kind are given in the order of asking; while
 * both kinds wait they alternate, so that bulk has at most half of the turns while small posts wait.
 * At most `atOnce` turns are out, of which bulk has at most `bulkAtOnce`: a small post finds a turn free
 * however much bulk there is, and nobody starves.
 */
export type TurnKind = 'small' | 'bulk';

export class Turns {
  private readonly waiting: Record<TurnKind, (() => void)[]> = { small: [], bulk: [] };
  private last: TurnKind = 'bulk';
  private readonly out: Record<TurnKind, number> = { small: 0, bulk: 0 };
  private readonly atOnce: number;
  private readonly bulkAtOnce: number;

  constructor(atOnce: number, bulkAtOnce: number) {
    this.atOnce = atOnce;
    this.bulkAtOnce = bulkAtOnce;
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
      this.out[kind]--;
      this.next();
    }
  }

  /** Slices that wait, for telemetry. */
  get queued(): number {
    return this.waiting.small.length + this.waiting.bulk.length;
  }

  private next(): void {
    while (this.out.small + this.out.bulk < this.atOnce) {
      const order: readonly TurnKind[] = this.last === 'small' ? ['bulk', 'small'] : ['small', 'bulk'];
      const kind = order.find((each) => this.waiting[each].length > 0 && (each === 'small' || this.out.bulk < this.bulkAtOnce));
      if (kind === undefined) return;
      const start = this.waiting[kind].shift();
      this.last = kind;
      this.out[kind]++;
      start?.();
    }
  }
}
