/** What a benchmark finds, and how it is told: a table for people, one JSON object for programs. */

/** One measured figure. */
export interface Quantity {
  /** `<benchmark>.<what>`: a key of the JSON object. */
  readonly name: string;
  /** The median of the rounds, unless `of` says otherwise. */
  readonly value: number;
  readonly unit: 'ratio' | 'ms' | 'rows/s' | 'requests/s' | 'deliveries/s' | 'MB' | 'queries/min' | 'bytes' | 'µs';
  /** What it should be at least, or at most. */
  readonly goal?: { readonly atLeast: number } | { readonly atMost: number };
  /** What it was measured against in the same run. */
  readonly base?: { readonly value: number; readonly unit: string; readonly of: string };
  /** Lowest and highest round. */
  readonly range?: readonly [number, number];
  /** In few words what the figure is of. */
  readonly of: string;
}

export function goalOf({ goal }: Quantity): number | null {
  if (goal === undefined) return null;
  return 'atLeast' in goal ? goal.atLeast : goal.atMost;
}

/** Whether a quantity reaches its goal; undefined without one. */
export function isMet({ goal, value }: Quantity): boolean | undefined {
  if (goal === undefined) return undefined;
  return 'atLeast' in goal ? value >= goal.atLeast : value <= goal.atMost;
}

/** Three significant digits, and no more than a person needs. */
export function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}

/** The quantities as one object, by name. */
export function toJson(quantities: readonly Quantity[]): string {
  return JSON.stringify(
    Object.fromEntries(
      quantities.map((quantity) => [
        quantity.name,
        {
          value: rounded(quantity.value),
          unit: quantity.unit,
          goal: goalOf(quantity),
          base: quantity.base === undefined ? null : rounded(quantity.base.value),
          baseOf: quantity.base === undefined ? null : `${quantity.base.of} (${quantity.base.unit})`,
          min: quantity.range === undefined ? null : rounded(quantity.range[0]),
          max: quantity.range === undefined ? null : rounded(quantity.range[1]),
          met: isMet(quantity) ?? null,
          of: quantity.of,
        },
      ]),
    ),
  );
}

/** The quantities as a table. */
export function toTable(quantities: readonly Quantity[]): string {
  const rows = quantities.map((quantity) => {
    const { name, unit, range, base, goal, of } = quantity;
    const met = isMet(quantity);
    return [
      name,
      `${number(quantity.value)} ${unit}`,
      range === undefined ? '' : `${number(range[0])} – ${number(range[1])}`,
      goal === undefined ? '' : `${'atLeast' in goal ? '≥' : '≤'} ${number(goalOf(quantity) ?? 0)}${met === true ? ' ✓' : ' missed'}`,
      base === undefined ? '' : `${number(base.value)} ${base.unit}`,
      base === undefined ? of : `${of}; base: ${base.of}`,
    ];
  });
  const all = [['quantity', 'median', 'min – max', 'goal', 'base', 'of what'], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n');
}

const number = (value: number): string => rounded(value).toLocaleString('en-US', { maximumSignificantDigits: 6 });
