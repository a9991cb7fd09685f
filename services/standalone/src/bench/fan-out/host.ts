/** CPU time of the engines and processes of a measurement. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestRedis } from '@dmb/testing';
import type { FanOutProcess } from './cluster.ts';

/** Microseconds of CPU that have been used so far. */
export interface CpuTimes {
  readonly redis: number;
  readonly node: number;
  readonly postgres: number;
}

export async function cpuTimes(servers: readonly TestRedis[], processes: readonly FanOutProcess[], dataFolder: string): Promise<CpuTimes> {
  const infos = await Promise.all(servers.map((server) => server.ask('INFO', 'cpu')));
  const redis = infos.reduce((sum, info) => sum + [...info.matchAll(/used_cpu_(?:user|sys):([\d.]+)/g)].reduce((seconds, [, value]) => seconds + Number(value), 0), 0) * 1e6;
  const node = (await Promise.all(processes.map((process) => process.usage()))).reduce((sum, { cpuMicroseconds }) => sum + cpuMicroseconds, 0);
  return { redis, node, postgres: postgresMicroseconds(dataFolder) };
}

/** Of the postmaster and its children, running and ended; 0 where there is no /proc. */
function postgresMicroseconds(dataFolder: string): number {
  try {
    const [version] = readdirSync(dataFolder).filter((name) => /^\d+$/.test(name));
    const postmaster = readFileSync(join(dataFolder, version ?? '', 'postmaster.pid'), 'utf8').split('\n')[0] ?? '';
    const ofProcess = (pid: string): { readonly parent: string; readonly ticks: number } | undefined => {
      try {
        const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
        return { parent: fields[1] ?? '', ticks: [11, 12, ...(pid === postmaster ? [13, 14] : [])].reduce((sum, index) => sum + Number(fields[index]), 0) };
      } catch {
        return undefined;
      }
    };
    const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
      const found = ofProcess(pid);
      return found !== undefined && (pid === postmaster || found.parent === postmaster) ? [found.ticks] : [];
    });
    // A tick is a hundredth of a second on every Linux that runs Node.
    return all.reduce((sum, ticks) => sum + ticks, 0) * 10_000;
  } catch {
    return 0;
  }
}
