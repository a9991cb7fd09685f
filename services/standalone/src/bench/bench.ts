/**
 * `npm run bench [-- NAME] [--json]`: all benchmarks or one of them.
 *
 * Results go to standard output, as a table or as one JSON object; what is being measured is told
 * on standard error. A figure that misses its goal is shown as such and is no failure: the exit code
 * tells only whether everything could be measured.
 */
import { AppError, notice, StartError } from '@dmb/runtime';
import { benchAppend } from './append.ts';
import { benchFanOut, fanOutParts } from './fan-out/index.ts';
import { benchHome, benchPost } from './http.ts';
import { benchStart } from './start.ts';
import { toJson, toTable, type Quantity } from './quantities.ts';

/** Tells what is being done. */
export type Tell = (progress: string) => void;

const benchmarks: Readonly<Record<string, (tell: Tell, parts: readonly string[]) => Promise<Quantity[]>>> = {
  append: benchAppend,
  home: benchHome,
  post: benchPost,
  'fan-out': benchFanOut,
  start: benchStart,
};

/** Parts of benchmarks that run by themselves: `fan-out.burst`. */
const parts: Readonly<Record<string, readonly string[]>> = { 'fan-out': fanOutParts };
const allNames = Object.keys(benchmarks).flatMap((name) => [name, ...(parts[name] ?? []).map((part) => `${name}.${part}`)]);
const usage = `Usage: npm run bench [-- NAME …] [--json]     NAME: ${allNames.join(', ')}`;

export async function runBenchmarks(args: readonly string[]): Promise<void> {
  const names = args.filter((arg) => !arg.startsWith('-'));
  const unknown = args.find((arg) => (arg.startsWith('-') ? arg !== '--json' : !allNames.includes(arg)));
  if (unknown !== undefined) {
    process.stderr.write(`"${unknown}" is not understood.\n${usage}\n`);
    process.exitCode = 2;
    return;
  }
  const found: Quantity[] = [];
  for (const [name, run] of Object.entries(benchmarks)) {
    const wanted = names.filter((each) => each === name || each.startsWith(`${name}.`));
    if (names.length > 0 && wanted.length === 0) continue;
    const only = wanted.includes(name) ? [] : wanted.map((each) => each.slice(name.length + 1));
    const begun = performance.now();
    try {
      found.push(...(await run((progress) => process.stderr.write(`${name}: ${progress}\n`), only)));
    } catch (error) {
      process.exitCode = 1;
      process.stderr.write(`${name}: ${explain(error)}\n`);
    }
    process.stderr.write(`${name}: ${Math.round((performance.now() - begun) / 1_000)} s\n`);
  }
  notice(args.includes('--json') ? toJson(found) : toTable(found));
}

function explain(error: unknown): string {
  if (error instanceof StartError) return error.message;
  if (error instanceof AppError) return `${error.kind} ${error.detail ?? ''} ${error.stack ?? ''}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
