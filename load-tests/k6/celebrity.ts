/**
 * A microblog with very many followers posts; when can they read it from home?
 *
 * Asking all of them all the time would measure the asking. So each post is watched by its own part of a random sample: each
 * watcher asks for the newest post of its home once per `pollEveryMs`, at moments that are spread evenly over that time, until it is there.
 * With 10 watchers and 100 ms that is 100 small requests a second at most, until the last of them has it.
 *
 *   time_to_readable    from the answer to the POST to the answer that shows the post: at most, never too low
 *   time_unreadable     the same to the question of the last answer without it: at least; 0 if the first answer had it
 *
 * What lies between the two is the resolution, `pollEveryMs` and a request.
 */
import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
import { setTimeout } from 'k6/timers';

interface Seed {
  readonly author: string;
  readonly watchers: readonly (readonly string[])[];
  readonly pollEveryMs: number;
  readonly pauseMs: number;
  readonly giveUpMs: number;
}

const seed = JSON.parse(open(__ENV['SEED'] ?? '')) as Seed;
const url = __ENV['URL'] ?? '';

const readable = new Trend('time_to_readable', true);
const unreadable = new Trend('time_unreadable', true);
const never = new Counter('never_readable');
const watched = new Counter('watched');

export const options = {
  scenarios: { posts: { executor: 'shared-iterations', vus: 1, iterations: seed.watchers.length, maxDuration: '30m' } },
  thresholds: {
    time_to_readable: ['max<60000', 'p(99)<10000'],
    never_readable: ['count<1'],
    http_req_failed: ['rate<0.001'],
    checks: ['rate==1'],
  },
  summaryTrendStats: ['count', 'min', 'med', 'p(95)', 'p(99)', 'max'],
};

const as = (token: string) => ({ headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } });
const pause = (ms: number): Promise<void> => new Promise((done) => void setTimeout(done, ms));

export default async function posts(): Promise<void> {
  const number = exec.scenario.iterationInTest;
  const answer = http.post(`${url}/api/v1/statuses`, JSON.stringify({ status: `Number ${number} to everybody` }), as(seed.author));
  const acknowledgedMs = Date.now();
  if (!check(answer, { 'the post is acknowledged': ({ status }) => status === 200 })) return;
  const id = answer.json('id') as string;
  const tokens = seed.watchers[number] ?? [];
  await Promise.all(tokens.map((token, index) => watch(token, id, acknowledgedMs, (index / tokens.length) * seed.pollEveryMs)));
  await pause(seed.pauseMs);
}

async function watch(token: string, id: string, acknowledgedMs: number, firstAfterMs: number): Promise<void> {
  watched.add(1);
  let lastWithoutMs = acknowledgedMs;
  await pause(firstAfterMs);
  for (;;) {
    const askedMs = Date.now();
    const answer = await http.asyncRequest('GET', `${url}/api/v1/timelines/home?limit=1`, null, as(token));
    const isThere = check(answer, { 'home is answered': ({ status }) => status === 200 }) && answer.json('0.id') === id;
    const nowMs = Date.now();
    if (isThere) {
      readable.add(nowMs - acknowledgedMs);
      unreadable.add(lastWithoutMs - acknowledgedMs);
      return;
    }
    lastWithoutMs = askedMs;
    if (nowMs - acknowledgedMs > seed.giveUpMs) {
      never.add(1);
      return;
    }
    await pause(Math.max(0, seed.pollEveryMs - (nowMs - askedMs)));
  }
}

export function handleSummary(data: unknown): Record<string, string> {
  return { [__ENV['SUMMARY'] ?? '']: JSON.stringify(data) };
}
