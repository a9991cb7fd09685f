/**
 * Measuring on a machine that others use too: what is compared is measured in turns, in the same
 * minute, several times, and what counts is the median of the ratios of one turn.
 *
 * A ratio of two medians would pair a quiet minute of one side with a busy one of the other. The
 * order of the sides is turned round in every other round, so that what one leaves behind (a
 * write-ahead log to be synchronised, garbage to be collected) burdens each of them alike.
 */

/** Something that is measured once per round; what it answers is a rate or a time. */
export type Measure = () => Promise<number>;

/** What each side answered, round by round. */
export type Rounds<Side extends string> = Readonly<Record<Side, readonly number[]>>;

/** Measures all sides `rounds` times, in turns; a round before that is thrown away. */
export async function inTurns<Side extends string>(rounds: number, sides: Readonly<Record<Side, Measure>>): Promise<Rounds<Side>> {
  const names = Object.keys(sides) as Side[];
  const answers = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Side, number[]>;
  for (let round = 0; round <= rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const answer = await sides[name]();
      if (round > 0) answers[name].push(answer);
    }
  }
  return answers;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which `q` (0 to 1) of the values lie, interpolated. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * q;
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}

/** Median and range of the ratios, round by round. */
export function ratio(ours: readonly number[], base: readonly number[]): { readonly value: number; readonly range: readonly [number, number] } {
  const ratios = ours.map((value, round) => value / (base[round] ?? Number.NaN));
  return { value: median(ratios), range: rangeOf(ratios) };
}

export function rangeOf(values: readonly number[]): readonly [number, number] {
  return [Math.min(...values), Math.max(...values)];
}
