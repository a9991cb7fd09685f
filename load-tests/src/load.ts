/**
 * `npm run load`: starts or takes a server, loads what a test needs, runs it, and tells the figures.
 *
 * The scripts of k6 hold the thresholds; those of what k6 cannot measure are here. A threshold that is missed is the exit code 1, and so is
 * anything that could not be measured.
 */
import { resolve } from 'node:path';
import { AppError, notice, StartError } from '@dmb/runtime';
import { Client, forEach } from './client.ts';
import { readEnvironment, type LoadEnvironment } from './config.ts';
import { findK6, runK6, type K6Result, type Metric } from './k6.ts';
import { loadTestLimits } from './limits.ts';
import { hearLive } from './live.ts';
import { readOptions, usage, type Options, type Sizes, type Tell, type TestName } from './options.ts';
import { isMet, percentiles, toJson, toTable, type Quantity } from './quantities.ts';
import { handlesOf, makePresent, sampleOf, Seeder, type Person } from './seed.ts';
import { sweep } from './sweep.ts';
import { openTarget, type Target } from './target.ts';

/** The exit code. */
export async function runLoad(parameters: readonly string[]): Promise<number> {
  const environment = readEnvironment();
  const tell: Tell = (progress) => void process.stderr.write(`${progress}\n`);
  try {
    const options = readOptions(parameters, environment.databaseUrls, resolve(import.meta.dirname, '../reports'));
    if (options === undefined) {
      notice(usage);
      return 0;
    }
    return await load(options, environment, tell);
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    tell(error.message);
    return 1;
  }
}

async function load(options: Options, environment: LoadEnvironment, tell: Tell): Promise<number> {
  const k6 = await findK6(environment, tell);
  const target = await openTarget(options, tell);
  const found: Quantity[] = [];
  const missed: string[] = [];
  try {
    tell(`under load: ${target.what}`);
    const seeder = await Seeder.open(target.databaseUrls, tell);
    const client = new Client(target.url);
    try {
      for (const name of options.tests) {
        tell(`${name}:`);
        const parts: Parts = { target, seeder, client, sizes: options.sizes, tell, k6: (script, seed) => runK6({ program: k6, environment, script, url: target.url, seed, reports: options.reports, tell }) };
        try {
          const { quantities, failed } = await tests[name](parts);
          found.push(...quantities);
          missed.push(...failed.map((expression) => `${name}: ${expression}`));
        } catch (error) {
          // What the others measured is not lost with this one.
          missed.push(`${name}: ${error instanceof AppError ? `${error.kind} ${error.detail ?? ''}` : (error as Error).message}`);
          tell(target.complaints());
        }
      }
    } finally {
      await client.close();
      await seeder.close();
    }
  } finally {
    await target.stop();
  }
  notice(options.json ? toJson(found) : `${toTable(found)}\n\nof ${target.what}`);
  missed.push(...found.filter((quantity) => !isMet(quantity)).map(({ name }) => name));
  for (const each of missed) tell(`missed: ${each}`);
  return missed.length === 0 ? 0 : 1;
}

interface Parts {
  readonly target: Target;
  readonly seeder: Seeder;
  readonly client: Client;
  readonly sizes: Sizes;
  readonly tell: Tell;
  readonly k6: (script: TestName, seed: unknown) => Promise<K6Result>;
}

interface Outcome {
  readonly quantities: readonly Quantity[];
  /** Thresholds of the script that were missed. */
  readonly failed: readonly string[];
}

const tests: { readonly [Name in TestName]: (parts: Parts) => Promise<Outcome> } = { celebrity, everyday, live, following };

async function celebrity({ target, seeder, client, sizes, tell, k6 }: Parts): Promise<Outcome> {
  const { author, followers } = await audience(seeder, 'celebrity', sizes.followers);
  const present = followers.slice(0, Math.round((followers.length * sizes.presentPercent) / 100));
  await makePresent(client, present, tell);
  const sample = sampleOf(present, sizes.sample);
  const each = Math.ceil(sample.length / sizes.posts);
  const watchers = Array.from({ length: sizes.posts }, (_, index) => sample.slice(index * each, (index + 1) * each).map(({ token }) => token));
  const { metrics, missed } = await k6('celebrity', { author: author.token, watchers, pollEveryMs: sizes.pollEveryMs, pauseMs: sizes.pauseMs, giveUpMs: 60_000 });
  await new Promise((done) => setTimeout(done, 2 * loadTestLimits.telemetryEveryMs));
  const delivered = target.delivered();

  const begun = performance.now();
  const posts = (await client.request('GET', `/api/v1/accounts/${author.accountId}/statuses?limit=${loadTestLimits.homePageMax}`, author.token)).body as { readonly id: string }[];
  const swept = await sweep(client, target.redisUrls, followers, posts.map(({ id }) => id));
  tell(`all ${followers.length} followers were asked in ${((performance.now() - begun) / 1_000).toFixed(0)} s`);

  const of = `${sizes.followers} followers, ${sizes.presentPercent} % present, ${sizes.posts} posts, ${sample.length} watched`;
  return {
    failed: missed,
    quantities: [
      ...trend('celebrity.readable', metrics['time_to_readable'], `POST answered until seen at home, over HTTP, at most; ${of}, each asked every ${sizes.pollEveryMs} ms`),
      ...trend('celebrity.unreadable', metrics['time_unreadable'], 'POST answered until last asked in vain: at least'),
      ...trend('celebrity.request', metrics['http_req_duration'], 'one request, of which each of the above has at least one'),
      { name: 'celebrity.watched', value: metrics['watched']?.['count'] ?? 0, unit: 'count', goal: { atLeast: sample.length }, of: 'followers asked from outside' },
      ...(delivered === undefined ? [] : [
        { name: 'celebrity.last_list.max', value: delivered.maxMs, unit: 'ms', of: `accepted until the last list was written, as telemetry tells; ${delivered.count} deliveries` } as const,
        { name: 'celebrity.last_list.mean', value: delivered.meanMs, unit: 'ms', of: 'the same, on average' } as const,
      ]),
      {
        name: 'celebrity.not_exactly_once',
        value: swept.wrong,
        unit: 'count',
        goal: { atMost: 0 },
        of: `of all ${followers.length} followers: who has not the newest ${posts.length} posts once each, in order; ${swept.byPort} lists read through the store's port, ${swept.byHttp} homes over HTTP`,
      },
    ],
  };
}

async function everyday({ seeder, client, sizes, tell, k6 }: Parts): Promise<Outcome> {
  const persons = await seeder.persons(handlesOf('person', sizes.persons));
  const pairs = persons.flatMap((from) => sampleOf(persons, sizes.followsEach).filter((to) => to !== from).map((to) => ({ from, to })));
  await seeder.follows(pairs);
  const writers = sampleOf(persons, Math.ceil(persons.length / 5));
  await forEach(writers, async ({ token }, index) => void (await client.post(token, `What was before, number ${index}`)));
  await makePresent(client, sampleOf(persons, Math.ceil(persons.length / 2)), tell);
  const { metrics, missed } = await k6('everyday', { persons: persons.map(({ token, accountId }) => ({ token, account: accountId })), actionsPerSecond: sizes.actionsPerSecond, seconds: sizes.everydaySeconds });
  const of = `${sizes.persons} persons who follow ${sizes.followsEach} each, ${sizes.actionsPerSecond} actions/s for ${sizes.everydaySeconds} s`;
  return {
    failed: missed,
    quantities: [
      { name: 'everyday.requests', value: metrics['http_reqs']?.['rate'] ?? 0, unit: 'requests/s', of },
      { name: 'everyday.failed', value: metrics['http_req_failed']?.['rate'] ?? 1, unit: 'ratio', goal: { atMost: 0.001 }, of: 'requests that failed' },
      ...['home', 'older', 'notifications', 'profile', 'post', 'follow'].flatMap((action) => trend(`everyday.${action}`, metrics[`http_req_duration{action:${action}}`], `time of a request: ${action}`)),
    ],
  };
}

async function live({ target, seeder, client, sizes, tell }: Parts): Promise<Outcome> {
  const { author, followers } = await audience(seeder, 'live', sizes.streams);
  const heard = await hearLive({ url: target.url, client, author: author.token, readers: followers.map(({ token }) => token), posts: sizes.streamPosts, tell });
  return {
    failed: [],
    quantities: [
      ...percentiles('live.event', heard.sinceSentMs, `POST sent until the event; ${heard.streams} open streams, ${sizes.streamPosts} posts`).map((quantity) => (quantity.name === 'live.event.max' ? { ...quantity, goal: { atMost: 10_000 } } : quantity)),
      { name: 'live.missed', value: heard.missed, unit: 'count', goal: { atMost: 0 }, of: 'events that did not come' },
      { name: 'live.doubled', value: heard.doubled, unit: 'count', goal: { atMost: 0 }, of: 'events that came twice' },
    ],
  };
}

async function following({ seeder, client, sizes, tell, k6 }: Parts): Promise<Outcome> {
  const followed = await seeder.persons(handlesOf('followed', sizes.followed));
  const readers = await seeder.persons(handlesOf('reader', sizes.readers));
  await seeder.follows(readers.flatMap((from) => followed.map((to) => ({ from, to }))));
  await forEach(followed, async ({ token }, index) => void (await client.post(token, `One of very many, number ${index}`)));
  tell(`${followed.length} microblogs have posted`);
  const { metrics, missed } = await k6('following', { readers: readers.map(({ token }) => token), rows: Math.min(20, followed.length) });
  const of = `${sizes.readers} readers who follow ${sizes.followed} microblogs`;
  return {
    failed: missed,
    quantities: [...trend('following.first_page', metrics['first_page'], `${of}: the first page while nothing is kept of their home`), ...trend('following.page_again', metrics['page_again'], 'the same page again')],
  };
}

/** A microblog and its followers. */
async function audience(seeder: Seeder, name: string, count: number): Promise<{ readonly author: Person; readonly followers: readonly Person[] }> {
  const [author] = await seeder.persons(handlesOf(name, 1));
  if (author === undefined) throw new Error('nobody was loaded');
  const followers = await seeder.persons(handlesOf('follower', count));
  await seeder.follows(followers.map((from) => ({ from, to: author })));
  // At random, so that who is present has nothing to do with the order in which readers are written to.
  return { author, followers: sampleOf(followers, followers.length) };
}

function trend(name: string, metric: Metric | undefined, of: string): Quantity[] {
  if (metric === undefined) return [];
  return (['med', 'p(95)', 'p(99)', 'max'] as const).map((statistic) => ({ name: `${name}.${statistic === 'med' ? 'p50' : statistic.replace(/[()]/g, '')}`, value: metric[statistic] ?? Number.NaN, unit: 'ms', of }));
}
