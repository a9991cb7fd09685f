/**
 * One program at a time on a data folder.
 *
 * Of several that start at once, each finds the same things left by an earlier run and would clear
 * them away. Between two looks another may have put its own Postgres there: one that has just begun
 * cannot be told from a leftover, because Postgres writes its pid before the rest of its files. So
 * whoever looks, clears and starts holds the folder itself, for as long as it lives.
 *
 * It is the kernel's lock (`flock`) on the open folder: nothing is written, so there is nothing to be
 * left behind, and it ends with us however we end. Node has no call for it. macOS and the BSDs take
 * it while opening (`O_EXLOCK`). On Linux the program `flock` (util-linux, busybox) locks what it
 * inherits, and since a lock belongs to the opened file and not to a process, it stays ours when
 * that program has ended. The Postgres we start does not inherit it.
 *
 * Where there is no such program, or the file system knows no locks, what remains is Postgres' own
 * lock file and the look at who its parent is (`postmaster.ts`).
 */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';

/** Held until it is released, or this process ends. */
export interface FolderLock {
  /** Again is nothing. */
  release(): void;
}

/** `O_EXLOCK` of macOS and the BSDs, which `node:fs` does not name. */
const exclusive = 0x20;

/** Takes a folder that exists; undefined if another program, or another part of this one, has it. */
export function lockFolder(folder: string): FolderLock | undefined {
  return process.platform === 'linux' ? lockByProgram(folder) : lockByOpening(folder);
}

function lockByProgram(folder: string): FolderLock | undefined {
  const file = openOrNothing(folder, constants.O_RDONLY);
  if (file === undefined) return unlocked;
  const { status } = spawnSync('flock', ['-x', '-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', file] });
  if (status === 0) return held(file);
  closeSync(file);
  // 1 says that somebody has it; the rest, that there is no locking here.
  return status === 1 ? undefined : unlocked;
}

function lockByOpening(folder: string): FolderLock | undefined {
  try {
    return held(openSync(folder, constants.O_RDONLY | constants.O_NONBLOCK | exclusive));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EAGAIN' ? undefined : unlocked;
  }
}

function openOrNothing(folder: string, flags: number): number | undefined {
  try {
    return openSync(folder, flags);
  } catch {
    // Another user's: that is told in its own words, by who looks at the folder next.
    return undefined;
  }
}

const unlocked: FolderLock = { release: () => undefined };

function held(file: number): FolderLock {
  let isHeld = true;
  return {
    release: () => {
      if (isHeld) closeSync(file);
      isHeld = false;
    },
  };
}
