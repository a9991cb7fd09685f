/** What a load test takes from the environment. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface LoadEnvironment {
  /** Of the server named by --url. */
  readonly databaseUrls: readonly string[];
  /** In CI what is missing is a failure. */
  readonly isCi: boolean;
  /** Where what was built is kept for the next run. */
  readonly cache: string;
  /** For programs that we start. */
  readonly inherited: Readonly<Record<string, string>>;
}

export function readEnvironment(): LoadEnvironment {
  const { DATABASE_URL = '', CI, PATH = '', HOME = homedir(), XDG_CACHE_HOME, TMPDIR, GOPROXY, GOFLAGS, GOPATH, GOCACHE, GOMODCACHE } = process.env;
  const inherited = Object.entries({ PATH, HOME, TMPDIR, GOPROXY, GOFLAGS, GOPATH, GOCACHE, GOMODCACHE }).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    databaseUrls: DATABASE_URL.split(',').map((url) => url.trim()).filter((url) => url !== ''),
    isCi: CI === 'true',
    cache: join(XDG_CACHE_HOME ?? join(HOME, '.cache'), 'dmb'),
    inherited: Object.fromEntries(inherited),
  };
}
