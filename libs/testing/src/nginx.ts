/**
 * nginx for clusters under test: found, or fetched.
 *
 *   1. `nginx` on the PATH, or where systems put programs of administrators
 *   2. Debian and Ubuntu: the system's own package, fetched by apt-get and unpacked into the user's cache folder. Nothing is
 *      installed and no daemon is started.
 *
 * It runs in a folder of its own as our child, in a process group of its own: Ctrl-C at a terminal reaches us alone.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const bounds = { fetchMsMax: 120_000 } as const;
const run = promisify(execFile);

/** The program to run, and why it was chosen; or what to install. */
export type NginxSource = { readonly from: 'native'; readonly why: string; readonly program: string } | { readonly from: 'nothing'; readonly why: string };

/** Finds an nginx, or fetches one. */
export async function findNginx(): Promise<NginxSource> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin'];
  const program = folders.filter((folder) => folder !== '').map((folder) => join(folder, 'nginx')).find((path) => existsSync(path));
  if (program !== undefined) return { from: 'native', why: `${program} is there`, program };
  const kept = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'dmb', 'nginx');
  const unpacked = join(kept, 'usr/sbin/nginx');
  const advice = 'install nginx (Debian and Ubuntu: apt-get install nginx; macOS: brew install nginx)';
  try {
    if (!existsSync(unpacked)) await fetchPackage(kept);
    await run(unpacked, ['-v'], { timeout: 10_000 });
    return { from: 'native', why: 'the package of this system, unpacked into the cache folder', program: unpacked };
  } catch (error) {
    return { from: 'nothing', why: `No nginx: there is none on the PATH, and apt-get could not fetch it (${(error as Error).message.split('\n')[0] ?? ''}); ${advice}.` };
  }
}

async function fetchPackage(folder: string): Promise<void> {
  mkdirSync(join(folder, '..'), { recursive: true });
  const making = mkdtempSync(`${folder}.`);
  try {
    const aptGet = (...parameters: readonly string[]): Promise<unknown> => run('apt-get', parameters, { cwd: making, timeout: bounds.fetchMsMax });
    // A new machine has no list of packages yet, or an old one.
    await aptGet('download', 'nginx').catch(async (error: unknown) => {
      if (process.getuid?.() !== 0) throw error;
      await aptGet('update');
      await aptGet('download', 'nginx');
    });
    const file = readdirSync(making).find((name) => name.endsWith('.deb'));
    if (file === undefined) throw new Error('apt-get has fetched nothing');
    await run('dpkg-deb', ['-x', file, 'unpacked'], { cwd: making, timeout: bounds.fetchMsMax });
    renameSync(join(making, 'unpacked'), folder);
  } catch (error) {
    // Another run may have been faster.
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

/** Starts nginx with this configuration, made for `folder`. */
export async function startNginx(program: string, folder: string, configuration: string): Promise<ChildProcess> {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration);
  const args = ['-p', folder, '-c', file, '-e', 'stderr'];
  await run(program, ['-t', '-q', ...args], { timeout: 10_000 });
  return spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
}
