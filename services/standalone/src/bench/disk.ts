/** How long the disk takes to make a write durable: the one thing that a rate of commits cannot be compared without. */
import { mkdtemp, open, realpath, rm } from 'node:fs/promises';
import { chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from './rounds.ts';

/** Median milliseconds of writing 8 KiB in place and waiting for fdatasync, as pg_test_fsync measures it. */
export async function flushMs(folder: string, { forMs = 500 } = {}): Promise<number> {
  const path = join(folder, 'flush-test');
  const file = await open(path, 'w');
  const block = Buffer.alloc(8_192, 1);
  const times: number[] = [];
  try {
    await file.write(Buffer.alloc(1 << 20), 0, 1 << 20, 0);
    await file.sync();
    const end = performance.now() + forMs;
    while (performance.now() < end) {
      const begun = performance.now();
      await file.write(block, 0, block.length, 0);
      await file.datasync();
      times.push(performance.now() - begun);
    }
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
  return median(times);
}

/** Runs `work` with a folder that goes with it; the user as whom Postgres runs may pass. */
export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(await realpath(tmpdir()), `dmb-bench-${process.pid}-`));
  chmodSync(folder, 0o711);
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
