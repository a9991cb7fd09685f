/**
 * The client of the HTTP benchmarks, in a process of its own: answers a {@link LoadTask} with what
 * it took. Connections are kept; each sends its next request when it has read the last answer.
 */
import { Pool } from 'undici';

export interface LoadTask {
  readonly origin: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Taken in turns; none = no Authorization. */
  readonly tokens: readonly string[];
  /** Sent as JSON; `#` becomes the number of the request. */
  readonly body?: string;
  readonly requests: number;
  readonly connections: number;
}

export interface LoadResult {
  readonly perSecond: number;
  /** Of each request, rising. */
  readonly milliseconds: readonly number[];
  /** Answers that were not 2xx, by status. */
  readonly failures: Readonly<Record<string, number>>;
}

process.on('message', (task: LoadTask) => void run(task).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit());

async function run({ origin, method, path, tokens, body, requests, connections }: LoadTask): Promise<LoadResult> {
  const pool = new Pool(origin, { connections, pipelining: 1 });
  const milliseconds: number[] = [];
  const failures: Record<string, number> = {};
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let number = next++; number < requests; number = next++) {
      const token = tokens[number % tokens.length];
      const begun = performance.now();
      const response = await pool.request({
        method,
        path,
        headers: { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        body: body?.replace('#', String(number)) ?? null,
      });
      await response.body.dump({ limit: 1 << 24 });
      milliseconds.push(performance.now() - begun);
      if (response.statusCode >= 300) failures[response.statusCode] = (failures[response.statusCode] ?? 0) + 1;
    }
  };
  // Connections are made before the clock starts.
  await Promise.all(Array.from({ length: connections }, () => pool.request({ method: 'GET', path: '/health/live' }).then((response) => response.body.dump())));
  const begun = performance.now();
  await Promise.all(Array.from({ length: connections }, worker));
  const perSecond = (requests * 1_000) / (performance.now() - begun);
  await pool.close();
  return { perSecond, milliseconds: milliseconds.sort((a, b) => a - b), failures };
}
