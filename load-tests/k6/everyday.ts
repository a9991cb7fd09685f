/**
 * Many persons on an ordinary day: they read what is new, page down, look at notifications and profiles, post, follow.
 *
 * The mix, in parts of a thousand. Reading to writing is 50 to 1, what Twitter told of itself ("Timelines at Scale", 2012: 300,000
 * reads of timelines and 6,000 writes a second); how reads divide is an estimate from what clients do: they ask for the newest page whenever they
 * come to the front, one in five goes on to older pages, and notifications are asked for about a sixth as often.
 * Actions begin at a constant rate whatever the answers take (an open model), each by a random person: nobody comes near the
 * limit of requests per person.
 */
import { check } from 'k6';
import http, { type RefinedResponse } from 'k6/http';
import { Counter } from 'k6/metrics';

interface Seed {
  readonly persons: readonly { readonly token: string; readonly account: string }[];
  readonly actionsPerSecond: number;
  readonly seconds: number;
}

const seed = JSON.parse(open(__ENV['SEED'] ?? '')) as Seed;
const url = __ENV['URL'] ?? '';
const made = new Counter('actions');

const mix = { home: 640, older: 160, notifications: 100, profile: 60, thread: 20, post: 16, follow: 2, unfollow: 2 } as const;
type Action = keyof typeof mix;

export const options = {
  scenarios: {
    day: { executor: 'constant-arrival-rate', rate: seed.actionsPerSecond, timeUnit: '1s', duration: `${seed.seconds}s`, preAllocatedVUs: 50, maxVUs: 400 },
  },
  thresholds: {
    http_req_failed: ['rate<0.001'],
    checks: ['rate>0.999'],
    dropped_iterations: ['count<1'],
    'http_req_duration{action:home}': ['p(95)<1000', 'p(99)<3000'],
    'http_req_duration{action:older}': ['p(95)<1000'],
    'http_req_duration{action:post}': ['p(95)<1500'],
    'http_req_duration{action:follow}': ['p(95)<1500'],
    'http_req_duration{action:notifications}': ['p(95)<1500'],
    'http_req_duration{action:profile}': ['p(95)<1500'],
  },
  summaryTrendStats: ['count', 'med', 'p(95)', 'p(99)', 'max'],
};

type Person = Seed['persons'][number];
const someone = (): Person => seed.persons[Math.floor(Math.random() * seed.persons.length)] as Person;

function get(path: string, action: Action, { token }: Person): RefinedResponse<'text'> {
  return http.get(`${url}${path}`, { headers: { authorization: `Bearer ${token}` }, tags: { action, name: action }, responseType: 'text' });
}

function send(path: string, body: unknown, action: Action, { token }: Person): RefinedResponse<'text'> {
  return http.post(`${url}${path}`, JSON.stringify(body), { headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, tags: { action, name: action }, responseType: 'text' });
}

const actions: { readonly [Name in Action]: (person: Person) => RefinedResponse<'text'> } = {
  home: (person) => get('/api/v1/timelines/home?limit=20', 'home', person),
  older: (person) => {
    const first = get('/api/v1/timelines/home?limit=20', 'home', person);
    const last = (first.json() as { readonly id: string }[]).at(-1)?.id;
    return last === undefined ? first : get(`/api/v1/timelines/home?limit=20&max_id=${last}`, 'older', person);
  },
  notifications: (person) => get('/api/v1/notifications?limit=20', 'notifications', person),
  profile: (person) => get(`/api/v1/accounts/${someone().account}/statuses?limit=20`, 'profile', person),
  thread: (person) => {
    const first = get('/api/v1/timelines/home?limit=5', 'home', person);
    const id = (first.json() as { readonly id: string }[])[0]?.id;
    return id === undefined ? first : get(`/api/v1/statuses/${id}/context`, 'thread', person);
  },
  post: (person) => send('/api/v1/statuses', { status: `What a day, number ${Math.floor(Math.random() * 1e9)} #everyday` }, 'post', person),
  follow: (person) => {
    let other = someone();
    while (other.account === person.account) other = someone();
    return send(`/api/v1/accounts/${other.account}/follow`, {}, 'follow', person);
  },
  unfollow: (person) => {
    let other = someone();
    while (other.account === person.account) other = someone();
    return send(`/api/v1/accounts/${other.account}/unfollow`, {}, 'unfollow', person);
  },
};

const total = Object.values(mix).reduce((sum, part) => sum + part, 0);

function someAction(): Action {
  let left = Math.random() * total;
  for (const [action, part] of Object.entries(mix)) if ((left -= part) < 0) return action as Action;
  return 'home';
}

export default function act(): void {
  const action = someAction();
  made.add(1, { action });
  check(actions[action](someone()), { 'is answered': ({ status }) => status === 200 });
}

export function handleSummary(data: unknown): Record<string, string> {
  return { [__ENV['SUMMARY'] ?? '']: JSON.stringify(data) };
}
