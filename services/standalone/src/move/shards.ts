/**
 * `npm run move-shards`: shards to another database of an installation that is stopped. How, and why a crash at any
 * moment is harmless: libs/postgres/src/remap.ts.
 */
import { describeUrl, moveShards, type MoveShardsOptions } from '@dmb/postgres';
import { StartError } from '@dmb/runtime';
import { runCommand, urlsOf } from './command.ts';

const usage = `Usage: npm run move-shards -- --databases URL,URL[,URL…] --shards NUMBER[-NUMBER] --to NUMBER

Moves shards (0 to 1023) with everything in them to another database of the list. Stop every process of DMB
first. If it breaks, run the same again.

  --databases  postgres://… of each, as DATABASE_URL lists them
  --shards     one shard, or the first and the last of several
  --to         where they are to lie: 1 is the first database of the list`;

/** Runs the command; its exit code. */
export function runMoveShards(parameters: readonly string[]): Promise<number> {
  return runCommand(usage, parameters, async () => {
    const order = readOrder(parameters);
    const moved = await moveShards(order);
    const rows = moved.reduce((sum, table) => sum + table.rows, 0);
    return `Shards ${order.from} to ${order.to} lie in ${describeUrl(order.urls[order.database] ?? '')} now; ${rows} rows were moved.`;
  });
}

/** @throws {StartError} */
function readOrder(parameters: readonly string[]): MoveShardsOptions {
  const given = new Map<string, string>();
  for (let index = 0; index < parameters.length; index += 2) {
    const [name = '', value] = [parameters[index], parameters[index + 1]];
    if (!['--databases', '--shards', '--to'].includes(name) || value === undefined) throw new StartError(`"${name}" is not understood.\n\n${usage}`);
    given.set(name, value);
  }
  const urls = urlsOf(given.get('--databases'));
  const shards = /^(\d+)(?:-(\d+))?$/.exec(given.get('--shards') ?? '');
  const to = /^[1-9]\d*$/.exec(given.get('--to') ?? '');
  if (urls.length === 0 || shards === null || to === null) throw new StartError(`--databases, --shards and --to are needed.\n\n${usage}`);
  return { urls, from: Number(shards[1]), to: Number(shards[2] ?? shards[1]), database: Number(to[0]) - 1 };
}
