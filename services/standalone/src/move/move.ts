/**
 * `npm run move`: from the data folder of one process into the databases of a cluster.
 *
 * The Postgres of the data folder is started for as long as it takes (its own lock keeps everybody else out), and
 * everything in it is carried over (libs/postgres/src/move.ts says how, and why a crash at any
 * moment is harmless). Then the folder is closed: `npm start` refuses it from then on, because a server that goes on from there beside the
 * cluster would give the same numbers and ids to other posts. Nothing in the folder is deleted.
 */
import { resolve } from 'node:path';
import { fanOutMigrations } from '@dmb/fan-out';
import { identityMigrations } from '@dmb/identity';
import { microblogMigrations } from '@dmb/microblog';
import { describeUrl, moveInstallation, startEmbeddedPostgres, type Moved } from '@dmb/postgres';
import { createLogger, StartError } from '@dmb/runtime';
import { timelineMigrations } from '@dmb/timeline';
import { describedFolder } from '../data-folder.ts';
import { runCommand, urlsOf } from './command.ts';

const usage = `Usage: npm run move -- --from FOLDER --to URL[,URL…]

Moves everything that a server keeps in its data folder into the empty databases of a cluster, with the same
ids, tokens and links. Stop the server first. If the move breaks, run it again: it begins anew. Afterwards
start the cluster (or npm start) with the same DMB_DOMAIN and DATABASE_URL=URL[,URL…], in the same order.

  --from  the data folder (DMB_DATA of the server; ./data unless it was set)
  --to    postgres://… of each database, as DATABASE_URL will list them`;

interface Order {
  readonly from: string;
  readonly to: readonly string[];
}

/** Runs the command; its exit code. */
export function runMove(parameters: readonly string[]): Promise<number> {
  return runCommand(usage, parameters, async () => {
    const order = readOrder(parameters);
    return summary(order, await move(order));
  });
}

async function move({ from, to }: Order): Promise<Moved> {
  const folder = await describedFolder(from);
  const postgres = await startEmbeddedPostgres({ dataDir: folder.postgres, logger: createLogger({ name: 'move', level: 'warn' }) });
  const stopAt = (signal: NodeJS.Signals): void => void postgres.stop().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stopAt);
  try {
    return await moveInstallation({
      from: postgres.url,
      to,
      services: [
        { service: 'identity', migrations: await identityMigrations() },
        { service: 'microblog', migrations: await microblogMigrations() },
        { service: 'fan-out', migrations: await fanOutMigrations() },
        { service: 'timeline', migrations: await timelineMigrations() },
      ],
      onCopied: () => folder.closeAsMoved(to.map(describeUrl).join(', ')),
    });
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stopAt);
    await postgres.stop();
  }
}

/** @throws {StartError} */
function readOrder(parameters: readonly string[]): Order {
  const given = new Map<string, string>();
  for (let index = 0; index < parameters.length; index++) {
    const [name = '', ...rest] = parameters[index]?.split('=') ?? [];
    const value = rest.length > 0 ? rest.join('=') : parameters[++index];
    if (!['--from', '--to'].includes(name) || value === undefined || value === '') throw new StartError(`"${parameters[index] ?? name}" is not understood.\n\n${usage}`);
    given.set(name, value);
  }
  const to = urlsOf(given.get('--to'));
  const from = given.get('--from');
  if (from === undefined || to.length === 0) throw new StartError(`Both --from and --to are needed.\n\n${usage}`);
  const wrong = to.find((url) => !/^postgres(ql)?:\/\//.test(url));
  if (wrong !== undefined) throw new StartError('--to lists addresses of databases, each beginning with postgres://.');
  return { from: resolve(from), to };
}

function summary({ from, to }: Order, { installation, tables }: Moved): string {
  const rows = tables.reduce((sum, table) => sum + table.rows, 0n);
  const count = (table: string): bigint => tables.find((each) => each.table === table)?.rows ?? 0n;
  return [
    `Moved ${installation.domain} to ${to.map(describeUrl).join(', ')}: ${rows} rows, among them ${count('person')} persons, ${count('microblog')} microblogs, ${count('entry')} entries and ${count('token')} tokens.`,
    `Next: start DMB with DMB_DOMAIN=${installation.domain} and DATABASE_URL listing these databases in this order.`,
    `The folder ${from} is closed and kept as it was; remove it when the new databases have been backed up.`,
  ].join('\n');
}
