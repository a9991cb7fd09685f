/**
 * The data folder: what it is, told before anything in it is touched.
 *
 *     data/
 *       dmb.json    {"format": 1, "domain": "example.org"}: what this folder is, written once the database is there
 *       postgres/   the embedded database, with everything else in it
 *
 * A folder is refused if it cannot be read and written, if it was made by a newer release or for
 * another domain, or if it holds things that are not ours. That nobody else uses it is the embedded
 * Postgres' business, whose lock outlives a kill -9 of ours. With a database of the operator's own
 * the folder is not needed and not made.
 */
import { constants } from 'node:fs';
import { access, mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartError } from '@dmb/runtime';

/** The form of the folder that this release writes, and the newest that it understands. */
const format = 1;

const makeTimeoutMs = 5_000;

interface FolderDescription {
  readonly format: number;
  readonly domain: string;
}

/** A data folder that this program may use. */
export interface DataFolder {
  readonly postgres: string;
  /** Writes down what the folder is, once the database in it is there. */
  describe(): Promise<void>;
}

/** @throws {StartError} one sentence why this folder cannot be used */
export async function openDataFolder(path: string, domain: string): Promise<DataFolder> {
  const description = await inspect(path, domain);
  return {
    postgres: join(path, 'postgres'),
    describe: async () => {
      if (description !== undefined) return;
      const file = join(path, 'dmb.json');
      await writeFile(`${file}.tmp`, `${JSON.stringify({ format, domain } satisfies FolderDescription)}\n`);
      await rename(`${file}.tmp`, file);
    },
  };
}

async function inspect(path: string, domain: string): Promise<FolderDescription | undefined> {
  const names = await makeReadable(path);
  let description: Partial<FolderDescription> | null | undefined;
  try {
    description = JSON.parse(await readFile(join(path, 'dmb.json'), 'utf8')) as Partial<FolderDescription> | null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new StartError(`The data folder ${path} is damaged: dmb.json cannot be read.`, { cause: error });
  }
  if (description === undefined) {
    const foreign = names.find((name) => !['dmb.json.tmp', 'postgres', 'lost+found'].includes(name));
    if (foreign !== undefined) throw new StartError(`The folder ${path} holds other things (${foreign}): DMB_DATA must name an empty folder or one made by DMB.`);
    return undefined;
  }
  const { format: found, domain: theirs } = typeof description === 'object' ? (description ?? {}) : {};
  if (!Number.isSafeInteger(found) || typeof theirs !== 'string') throw new StartError(`The data folder ${path} is damaged: dmb.json does not say what it is.`);
  if (Number(found) > format) throw new StartError(`The data folder ${path} was made by a newer release of DMB: use that release.`);
  if (theirs !== domain) {
    throw new StartError(`The data folder ${path} belongs to the domain ${theirs}, but DMB_DOMAIN is ${domain}. A domain cannot be changed, because it is part of every address.`);
  }
  return { format: Number(found), domain: theirs };
}

async function makeReadable(path: string): Promise<string[]> {
  try {
    // Where nothing can be made (below /proc), Node tries for ever.
    const made = await Promise.race([mkdir(path, { recursive: true }).then(() => true), sleep(makeTimeoutMs, false, { ref: false })]);
    if (!made) throw new StartError(`The data folder ${path} cannot be made there.`);
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return await readdir(path);
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`The data folder ${path} ${reason(error as NodeJS.ErrnoException)}.`, { cause: error });
  }
}

function reason({ code }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'ENOTDIR':
    case 'EEXIST':
      return 'is not a folder';
    case 'ENOSPC':
      return 'cannot be made: the disk is full';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'cannot be read and written by this user';
    default:
      return `cannot be used (${code ?? 'unknown error'})`;
  }
}
