/** Persons who follow thousands of microblogs come back after a long time: nothing is kept of their home, and its first page has to be made. Each reads it once, one after the other, and then once more. */
import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Trend } from 'k6/metrics';

interface Seed {
  readonly readers: readonly string[];
  /** Posts that a first page must have. */
  readonly rows: number;
}

const seed = JSON.parse(open(__ENV['SEED'] ?? '')) as Seed;
const url = __ENV['URL'] ?? '';
const first = new Trend('first_page', true);
const again = new Trend('page_again', true);

export const options = {
  scenarios: { readers: { executor: 'shared-iterations', vus: 1, iterations: seed.readers.length, maxDuration: '10m' } },
  thresholds: { first_page: ['max<10000'], checks: ['rate==1'], http_req_failed: ['rate<0.001'] },
  summaryTrendStats: ['count', 'min', 'med', 'p(95)', 'p(99)', 'max'],
};

export default function read(): void {
  const token = seed.readers[exec.scenario.iterationInTest] ?? '';
  for (const trend of [first, again]) {
    const answer = http.get(`${url}/api/v1/timelines/home?limit=20`, { headers: { authorization: `Bearer ${token}` }, responseType: 'text' });
    trend.add(answer.timings.duration);
    check(answer, { 'the page is full': ({ status }) => status === 200 && (answer.json() as unknown[]).length === seed.rows });
  }
}

export function handleSummary(data: unknown): Record<string, string> {
  return { [__ENV['SUMMARY'] ?? '']: JSON.stringify(data) };
}
