/** What `npm run load` is told, and what its `--help` says. */
import { parseArgs } from 'node:util';
import { StartError } from '@dmb/runtime';
import { usualSizes } from './limits.ts';

/** Tells what is being done. */
export type Tell = (progress: string) => void;

export const testNames = ['celebrity', 'everyday', 'live', 'following'] as const;
export type TestName = (typeof testNames)[number];
export type Sizes = { readonly [Name in keyof typeof usualSizes]: number };

export interface Options {
  readonly tests: readonly TestName[];
  /** A server that runs already, with its databases; undefined: one is started. */
  readonly url: string | undefined;
  readonly databaseUrls: readonly string[];
  /** One process instead of a cluster. */
  readonly one: boolean;
  readonly sizes: Sizes;
  readonly reports: string;
  readonly json: boolean;
}

const sizeFlags: Readonly<Record<string, keyof Sizes>> = {
  followers: 'followers', present: 'presentPercent', sample: 'sample', posts: 'posts', 'poll-ms': 'pollEveryMs', 'pause-ms': 'pauseMs', persons: 'persons', 'follows-each': 'followsEach',
  rate: 'actionsPerSecond', seconds: 'everydaySeconds', streams: 'streams', 'stream-posts': 'streamPosts', followed: 'followed', readers: 'readers',
};

export const usage = `Usage: npm run load [-- celebrity|everyday|live|following …] [--options]

Loads persons and follows into a server, puts it under load, and tells whether the thresholds were kept.

  celebrity   one microblog with many followers posts: when can they read it?
              --followers ${usualSizes.followers}  --present ${usualSizes.presentPercent} (percent)  --posts ${usualSizes.posts}  --sample ${usualSizes.sample}  --poll-ms ${usualSizes.pollEveryMs}
  everyday    many persons read, page, post and follow
              --persons ${usualSizes.persons}  --follows-each ${usualSizes.followsEach}  --rate ${usualSizes.actionsPerSecond} (actions/s)  --seconds ${usualSizes.everydaySeconds}
  live        many open streams hear of a post
              --streams ${usualSizes.streams}  --stream-posts ${usualSizes.streamPosts}
  following   a first page for who follows very many
              --followed ${usualSizes.followed}  --readers ${usualSizes.readers}

  --one              start one process (npm start) instead of a cluster (npm run cluster)
  --url URL          a server that runs already; DATABASE_URL must list its databases, for loading
  --reports DIR      where the HTML reports of k6 go (load-tests/reports)
  --json             one JSON object instead of a table

What is loaded stays in the databases of --url. Never use it on a server that people use.`;

/** undefined = the help was asked for. @throws {StartError} one sentence */
export function readOptions(parameters: readonly string[], databaseUrls: readonly string[], reports: string): Options | undefined {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  let given;
  try {
    given = parseArgs({
      args: [...parameters],
      allowPositionals: true,
      options: { url: text, reports: text, one: flag, json: flag, help: { ...flag, short: 'h' }, ...Object.fromEntries(Object.keys(sizeFlags).map((name) => [name, text])) },
    });
  } catch (error) {
    throw new StartError(`${(error as Error).message}. npm run load -- --help tells what can be given.`);
  }
  const values = given.values as Readonly<Record<string, string | boolean | undefined>>;
  if (values['help'] === true) return undefined;
  const wrong = given.positionals.find((name) => !(testNames as readonly string[]).includes(name));
  if (wrong !== undefined) throw new StartError(`There is no load test "${wrong}": there are ${testNames.join(', ')}.`);
  const sizes: Record<string, number> = { ...usualSizes };
  for (const [name, key] of Object.entries(sizeFlags)) {
    const value = values[name];
    if (value === undefined) continue;
    const size = Number(value);
    if (!Number.isInteger(size) || size < 0 || size > 1_000_000) throw new StartError(`--${name} must be a whole number, not "${String(value)}".`);
    sizes[key] = size;
  }
  const url = values['url'] as string | undefined;
  if (url !== undefined && databaseUrls.length === 0) throw new StartError('With --url, DATABASE_URL must list the databases of that server, because persons are loaded into them.');
  return {
    tests: given.positionals.length === 0 ? testNames : testNames.filter((name) => given.positionals.includes(name)),
    url,
    databaseUrls,
    one: values['one'] === true,
    sizes: sizes as Sizes,
    reports: (values['reports'] as string | undefined) ?? reports,
    json: values['json'] === true,
  };
}
