/**
 * The data folder: what it is, told before anything in it is touched.
 *
 *     data/
 *       dmb.json    {"format": 1, "domain": "example.org"}: what this folder is, written once the database is there
 *       postgres/   the embedded database, with everything else in it
 *
 * A folder whose data was moved into other databases (`npm run move`) is closed for good: `dmb.json` says so, in
 * format 2, which releases that do not know of moving refuse. Two servers that go on from one state would contradict each other.
 *
 * A folder is refused if it cannot be read and written, if it was made by a newer release or for
 * another domain, if it was moved, or if it holds things that are not ours. That nobody else uses it is the embedded
 * Postgres' business, whose lock outlives a kill -9 of ours. With a database of the operator's own
 * the folder is not needed and not made.
 */
import { constants } from 'node:fs';
import { access, mkdir, open, readFile, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartError } from '@dmb/runtime';

/** The form of the folder that this release writes, the one of a folder that was moved, and the newest that it understands. */
const format = 1;
const formatMoved = 2;

const makeTimeoutMs = 5_000;

interface FolderDescription {
  readonly format: number;
  readonly domain: string;
  /** Where everything in it is now. */
  readonly movedTo?: string;
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
      await writeDescription(path, { format, domain });
    },
  };
}

/** A data folder as a move finds it. */
export interface DescribedFolder extends Pick<DataFolder, 'postgres'> {
  readonly domain: string;
  /** Closes the folder for good. */
  closeAsMoved(to: string): Promise<void>;
}

/** The folder of a server that is to be moved, also if it was closed already. @throws {StartError} one sentence why not */
export async function describedFolder(path: string): Promise<DescribedFolder> {
  const description = await readDescription(path);
  if (description === undefined) throw new StartError(`There is no data folder of DMB at ${path}.`);
  const { domain } = description;
  return { postgres: join(path, 'postgres'), domain, closeAsMoved: (movedTo) => writeDescription(path, { format: formatMoved, domain, movedTo }) };
}

async function writeDescription(path: string, description: FolderDescription): Promise<void> {
  const file = join(path, 'dmb.json');
  const handle = await open(`${file}.tmp`, 'w');
  try {
    await handle.writeFile(`${JSON.stringify(description)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.tmp`, file);
}

async function inspect(path: string, domain: string): Promise<FolderDescription | undefined> {
  const names = await makeReadable(path);
  const description = await readDescription(path);
  if (description === undefined) {
    const foreign = names.find((name) => !['dmb.json.tmp', 'postgres', 'lost+found'].includes(name));
    if (foreign !== undefined) throw new StartError(`The folder ${path} holds other things (${foreign}): DMB_DATA must name an empty folder or one made by DMB.`);
    return undefined;
  }
  if (description.movedTo !== undefined) {
    throw new StartError(`What was in the data folder ${path} has been moved to ${description.movedTo}: start DMB with these databases. The folder is a copy from before and must not be used again.`);
  }
  if (description.domain !== domain) {
    throw new StartError(`The data folder ${path} belongs to the domain ${description.domain}, but DMB_DOMAIN is ${domain}. A domain cannot be changed, because it is part of every address.`);
  }
  return description;
}

/** What dmb.json says; undefined if it is not there. @throws {StartError} */
async function readDescription(path: string): Promise<FolderDescription | undefined> {
  let description: Partial<FolderDescription> | null;
  try {
    description = JSON.parse(await readFile(join(path, 'dmb.json'), 'utf8')) as Partial<FolderDescription> | null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new StartError(`The data folder ${path} is damaged: dmb.json cannot be read.`, { cause: error });
  }
  const { format: found, domain, movedTo } = typeof description === 'object' ? (description ?? {}) : {};
  if (!Number.isSafeInteger(found) || typeof domain !== 'string') throw new StartError(`The data folder ${path} is damaged: dmb.json does not say what it is.`);
  if (Number(found) > formatMoved) throw new StartError(`The data folder ${path} was made by a newer release of DMB: use that release.`);
  return { format: Number(found), domain, ...(movedTo === undefined ? {} : { movedTo }) };
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
