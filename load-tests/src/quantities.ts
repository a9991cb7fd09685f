/** What a load test finds, and how it is told: a table for people, one JSON object for programs. */

/** One measured figure. */
export interface Quantity {
  /** `<test>.<what>`. */
  readonly name: string;
  readonly value: number;
  readonly unit: 'ms' | 'requests/s' | 'ratio' | 'count' | 's';
  /** A threshold: a run that misses one has failed. */
  readonly goal?: { readonly atLeast: number } | { readonly atMost: number };
  /** In few words what the figure is of, and how it was taken. */
  readonly of: string;
}

/** Whether a quantity keeps its threshold; true without one. */
export function isMet({ value, goal }: Quantity): boolean {
  if (goal === undefined) return true;
  return 'atLeast' in goal ? value >= goal.atLeast : value <= goal.atMost;
}

export function toJson(quantities: readonly Quantity[]): string {
  return JSON.stringify(
    Object.fromEntries(
      quantities.map((quantity) => {
        const { name, value, unit, goal, of } = quantity;
        return [name, { value: rounded(value), unit, goal: goal === undefined ? null : 'atLeast' in goal ? goal.atLeast : goal.atMost, base: null, met: goal === undefined ? null : isMet(quantity), of }];
      }),
    ),
  );
}

export function toTable(quantities: readonly Quantity[]): string {
  const rows = quantities.map((quantity) => {
    const { name, value, unit, goal, of } = quantity;
    const told = goal === undefined ? '' : `${'atLeast' in goal ? `≥ ${goal.atLeast}` : `≤ ${goal.atMost}`}${isMet(quantity) ? ' ✓' : ' missed'}`;
    return [name, `${rounded(value).toLocaleString('en-US')} ${unit}`, told, of];
  });
  const all = [['quantity', 'value', 'threshold', 'of what'], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n');
}

/** p50, p95, p99 and the highest of some milliseconds, each as a quantity. */
export function percentiles(name: string, values: readonly number[], of: string): Quantity[] {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
  return [
    { name: `${name}.p50`, value: at(0.5), unit: 'ms', of },
    { name: `${name}.p95`, value: at(0.95), unit: 'ms', of },
    { name: `${name}.p99`, value: at(0.99), unit: 'ms', of },
    { name: `${name}.max`, value: sorted.at(-1) ?? Number.NaN, unit: 'ms', of },
  ];
}

const rounded = (value: number): number => (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
