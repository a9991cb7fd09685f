/** Many requests to one server: connections that are kept, and a bound on what is under way. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { loadTestLimits } from './limits.ts';

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export class Client {
  readonly #pool: Pool;

  constructor(url: string) {
    this.#pool = new Pool(url, { connections: loadTestLimits.requestsAtOnce, pipelining: 1, bodyTimeout: loadTestLimits.requestTimeoutMs, headersTimeout: loadTestLimits.requestTimeoutMs });
  }

  async request(method: 'GET' | 'POST', path: string, token: string, body?: unknown, key?: string): Promise<Answer> {
    const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...(key === undefined ? {} : { 'idempotency-key': key }) };
    const { statusCode, body: stream } = await this.#pool.request({ method, path, headers, body: body === undefined ? null : JSON.stringify(body) });
    const text = await stream.text();
    return { status: statusCode, body: statusCode === 200 ? JSON.parse(text) : text };
  }

  /** The ids on the first page of somebody's home. @throws for any answer but 200 */
  async home(token: string, limit: number): Promise<string[]> {
    const { status, body } = await this.request('GET', `/api/v1/timelines/home?limit=${limit}`, token);
    if (status !== 200) throw new Error(`GET home answered ${status}: ${String(body).slice(0, 200)}`);
    return (body as { readonly id: string }[]).map(({ id }) => id);
  }

  /** Posts; the id, after the acknowledgement. A 503 is answered as clients do, by posting again under the same key. @throws for any other answer but 200 */
  async post(token: string, text: string): Promise<string> {
    const key = randomUUID();
    let answer = await this.request('POST', '/api/v1/statuses', token, { status: text }, key);
    for (let attempt = 1; answer.status === 503 && attempt < loadTestLimits.postAttemptsMax; attempt++) {
      await sleep(loadTestLimits.postRetryMs);
      answer = await this.request('POST', '/api/v1/statuses', token, { status: text }, key);
    }
    const { status, body } = answer;
    if (status !== 200) throw new Error(`POST statuses answered ${status}: ${String(body).slice(0, 200)}`);
    return (body as { readonly id: string }).id;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** Runs `work` for each item, a bounded number at once; rejects with the first failure. */
export async function forEach<T>(items: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  const rest = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of rest) await work(item, index);
  };
  await Promise.all(Array.from({ length: Math.min(loadTestLimits.requestsAtOnce, items.length) }, worker));
}
