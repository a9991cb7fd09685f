/**
 * Who is using a cluster's folder right now.
 *
 * Postgres writes `postmaster.pid` there. A program that was killed leaves its Postgres running: an
 * orphan, which holds the folder and whose parent is no longer the process that started it. It is
 * told from the Postgres of a living DMB by exactly that: we put our pid into the command line
 * (`cluster_name`), and a living one is still the parent. The command line is the process' own;
 * its copy in `postmaster.opts` is written later than the pid, and until then it is an earlier one's.
 *
 * An orphan is stopped (transactions end, a checkpoint is written, about a tenth of a second) and
 * not adopted: one that is our child can be waited for and heard, and runs with today's settings.
 * The pid in a file that a crash left behind may by now belong to any process: it is only touched
 * if it really is a Postgres in this folder.
 *
 * Whoever clears a folder holds it (`folder-lock.ts`), so that nobody else starts a Postgres meanwhile.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartError } from '@dmb/runtime';
import { embeddedLimits } from '../limits.ts';

/** What `postmaster.pid` says. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  readonly socketFolder: string;
  readonly ready: boolean;
}

/** @see https://www.postgresql.org/docs/current/storage-file-layout.html; lines as of src/include/utils/pidfile.h */
export function readPostmaster(cluster: string): Postmaster | undefined {
  try {
    const lines = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n');
    const pid = Number(lines[0]);
    return Number.isInteger(pid) && pid > 0 ? { pid, port: Number(lines[3]), socketFolder: lines[4] ?? '', ready: lines[7]?.trim() === 'ready' } : undefined;
  } catch {
    return undefined;
  }
}

/** The setting that names us on the command line of our Postgres. */
export const ownerSetting = (pid: number): string => `cluster_name=dmb-${pid}`;

const ownerIn = (commandLine: string): number | undefined => {
  const pid = /cluster_name=dmb-(\d+)/.exec(commandLine)?.[1];
  return pid === undefined ? undefined : Number(pid);
};

/** Whose Postgres runs in this folder, for a sentence; undefined if that cannot be told now. */
export function userOf(cluster: string): number | undefined {
  const pid = readPostmaster(cluster)?.pid;
  return pid === undefined ? undefined : inspect(pid, cluster)?.owner;
}

/** The sentence for who finds a folder in use. */
export const inUse = (place: string, by: number | undefined): StartError =>
  new StartError(`The data folder is in use: ${place}${by === undefined ? '' : ` by process ${by}${by === process.pid ? ', this one' : ''}`}.`);

/**
 * Makes sure that no Postgres runs in this folder: an orphan is stopped, a leftover file removed.
 * @throws {StartError} if a living DMB, or somebody else's Postgres, uses the folder
 */
export async function freeCluster(cluster: string, told: (sentence: string) => void): Promise<void> {
  const postmaster = readPostmaster(cluster);
  if (postmaster === undefined) return;
  const { pid } = postmaster;
  const running = inspect(pid, cluster);
  if (running !== undefined) {
    const { owner, parent } = running;
    if (owner === undefined || parent === owner) throw inUse(cluster, owner ?? pid);
    told(`a Postgres of an earlier run (process ${pid}) is still there; stopping it`);
    await end(() => (inspect(pid, cluster) === undefined ? [] : [pid]), 'SIGINT');
  }
  // The children of a killed Postgres may live a moment longer, and a new one must not meet them.
  await end(() => straysIn(cluster), 'SIGQUIT');
  // Nothing is left of them after an orderly end. Else Postgres would believe both as long as any process has that pid, be it a zombie.
  removeLock(join(cluster, 'postmaster.pid'), pid);
  removeLock(join(postmaster.socketFolder, `.s.PGSQL.${postmaster.port}.lock`), pid);
}

/** Removes a lock file if it is that of this pid. */
function removeLock(file: string, pid: number): void {
  try {
    if (Number(readFileSync(file, 'utf8').split('\n')[0]) === pid) rmSync(file, { force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function end(alive: () => readonly number[], first: NodeJS.Signals): Promise<void> {
  const steps: [NodeJS.Signals, number][] = [[first, embeddedLimits.stopTimeoutMs], ['SIGQUIT', embeddedLimits.quitTimeoutMs], ['SIGKILL', embeddedLimits.quitTimeoutMs]];
  for (const [signal, timeoutMs] of steps) {
    const deadline = Date.now() + timeoutMs;
    for (const pid of alive()) signalTo(pid, signal);
    while (alive().length > 0 && Date.now() < deadline) await sleep(embeddedLimits.readyPollMs);
    if (alive().length === 0) return;
  }
  throw new StartError(`A Postgres of an earlier run (process ${alive().join(', ')}) cannot be stopped.`);
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPERM') throw new StartError(`The data folder is in use by process ${pid}, which belongs to another user.`, { cause: error });
  }
}

/** A process of a Postgres. */
interface Running {
  readonly parent: number;
  /** The DMB that started it, by its command line. */
  readonly owner: number | undefined;
}

/** The Postgres with this pid in this folder; undefined if the process is gone, a zombie, or something else. */
function inspect(pid: number, cluster: string): Running | undefined {
  return existsSync('/proc/self/stat') ? inspectProc(pid, cluster) : inspectPs(pid, cluster);
}

function inspectProc(pid: number, cluster: string): Running | undefined {
  try {
    // pid (program) state parent …; the program's name may hold anything, a parenthesis too.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const program = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X' || !program.startsWith('postgres')) return undefined;
    if (readlinkSync(`/proc/${pid}/cwd`) !== realpathSync(cluster)) return undefined;
    return { parent: Number(parent), owner: ownerIn(readFileSync(`/proc/${pid}/cmdline`, 'utf8')) };
  } catch {
    return undefined;
  }
}

function inspectPs(pid: number, cluster: string): Running | undefined {
  const { status, stdout } = spawnSync('ps', ['-ww', '-o', 'ppid=,state=,command=', '-p', String(pid)], { encoding: 'utf8' });
  const [, parent, state, command] = /^\s*(\d+)\s+(\S+)\s+(.*)/.exec(stdout) ?? [];
  if (status !== 0 || state?.startsWith('Z') === true || command === undefined) return undefined;
  return command.includes('postgres') && command.includes(cluster) ? { parent: Number(parent), owner: ownerIn(command) } : undefined;
}

/** Processes of a Postgres in this folder that have lost their parent: neither that Postgres nor who started it is there. Only Linux can tell. */
function straysIn(cluster: string): number[] {
  if (!existsSync('/proc/self/stat')) return [];
  const pids = readdirSync('/proc').map(Number).filter((pid) => Number.isInteger(pid) && pid > 0);
  const here = new Map(pids.flatMap((pid) => {
    const found = inspectProc(pid, cluster);
    return found === undefined ? [] : [[pid, found] as const];
  }));
  return [...here].filter(([, { parent, owner }]) => !here.has(parent) && parent !== owner).map(([pid]) => pid);
}
