/**
 * A disk that is small enough to be filled: a tmpfs, mounted for one test.
 *
 * Mounting needs Linux and root. Elsewhere the test is skipped and says so, except in CI, where
 * nothing is skipped in silence: there it fails.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, realpathSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning } from './server.ts';

/** A mounted disk. */
export interface SmallDisk {
  readonly path: string;
  /** Writes a file until nothing more fits. */
  fill(): void;
  /** Removes that file. */
  makeRoom(): void;
  readonly freeBytes: number;
  unmount(): void;
}

/**
 * A disk of this size, or why there can be none here.
 * @throws in CI, instead of the reason
 */
export function mountSmallDisk(megabytes: number): SmallDisk | { readonly impossible: string } {
  const impossible = whyNot();
  if (impossible !== undefined) return refuse(impossible);
  removeLeft();
  const path = mkdtempSync(join(realpathSync(tmpdir()), `dmb-disk-${process.pid}-`));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0755`, 'tmpfs', path], { encoding: 'utf8' });
  if (mounted.status !== 0) {
    rmSync(path, { recursive: true });
    return refuse(`a disk cannot be mounted: ${mounted.stderr.trim()}`);
  }
  chmodSync(path, 0o755);
  const ballast = join(path, 'ballast');
  const unmount = (): void => {
    // Whoever still works there must not keep it.
    if (spawnSync('umount', [path]).status !== 0) spawnSync('umount', ['-l', path]);
    rmSync(path, { recursive: true, force: true });
    process.off('exit', unmount);
  };
  process.on('exit', unmount);
  return {
    path,
    fill: () => fill(ballast),
    makeRoom: () => rmSync(ballast, { force: true }),
    get freeBytes() {
      const { bavail, bsize } = statfsSync(path);
      return bavail * bsize;
    },
    unmount,
  };
}

/** Disks that killed test processes have left. */
function removeLeft(): void {
  for (const name of readdirSync(tmpdir())) {
    const owner = /^dmb-disk-(\d+)-/.exec(name)?.[1];
    if (owner === undefined || isRunning(Number(owner))) continue;
    const path = join(realpathSync(tmpdir()), name);
    spawnSync('umount', ['-l', path]);
    rmSync(path, { recursive: true, force: true });
  }
}

function whyNot(): string | undefined {
  if (process.platform !== 'linux') return 'a small disk can be mounted on Linux only';
  return process.getuid?.() === 0 ? undefined : 'a small disk can be mounted by root only';
}

function refuse(impossible: string): { readonly impossible: string } {
  if (process.env['CI'] === 'true') throw new Error(`${impossible}, and in CI this test is not skipped`);
  return { impossible };
}

function fill(file: string): void {
  const handle = openSync(file, 'a');
  try {
    for (let size = 1 << 20; size >= 512; ) {
      try {
        writeSync(handle, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        size /= 2;
      }
    }
  } finally {
    closeSync(handle);
  }
}
