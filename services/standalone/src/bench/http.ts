/**
 * The program through its real ingress, with tokens, over HTTP; client, server and base in a process each.
 *
 *   home   a home page of twenty posts, read again and again by many readers, against `node:http` that
 *          returns the same bytes with the same headers
 *   post   a post of 140 characters, against a handler of Nest on Fastify that does nothing
 *
 * A token may send 300 requests in five minutes, and nothing switches that off; so a measurement is a
 * number of requests spread over many readers, each with a token and a home of its own.
 */
import { registerApp, signUp, startTestServer, type Member, type TestClient, type TestServer } from '@dmb/testing';
import type { Tell } from './bench.ts';
import type { BaseTask } from './processes/base.ts';
import { Child } from './processes/child.ts';
import type { LoadResult, LoadTask } from './processes/load.ts';
import type { Quantity } from './quantities.ts';
import { inTurns, median, quantile, rangeOf, ratio } from './rounds.ts';

const sizes = { rounds: 5, connections: 16, authors: 5, posts: 25, requestsPerToken: 270, baseRequests: 8_000, text: 140 } as const;
/** Persons that read, persons that post. */
const people = { home: 60, post: 40 } as const;

const path = '/api/v1/timelines/home?limit=20';

export async function benchHome(tell: Tell): Promise<Quantity[]> {
  return await withServer(async (server, load) => {
    tell(`${people.home} people sign up and follow ${sizes.authors} authors`);
    const authors = await signUpAll(server, 'author', sizes.authors);
    const readers = await signUpAll(server, 'reader', people.home);
    for (const reader of readers) for (const author of authors) await reader.client.follow(author.account.id);
    for (let post = 0; post < sizes.posts; post++) await authors[post % authors.length]?.client.post(textOf(post));
    const page = await fullHome(readers);
    tell(`a page of 20 posts, ${page.body.length.toLocaleString('en')} characters`);
    const base = new Child<BaseTask, number>('./base.ts');
    try {
      const port = await base.ask({ kind: 'raw', ...page });
      const tokens = readers.map(({ client }) => client.token ?? '');
      const task = { method: 'GET', path, tokens, connections: sizes.connections } as const;
      const requests = Math.floor((readers.length * sizes.requestsPerToken) / (sizes.rounds + 1));
      const times: number[] = [];
      const rounds = await inTurns(sizes.rounds, {
        base: async () => (await measure(load, { ...task, origin: `http://127.0.0.1:${port}`, requests: sizes.baseRequests })).perSecond,
        ours: async () => {
          const { perSecond, milliseconds } = await measure(load, { ...task, origin: server.url, requests });
          times.push(...milliseconds);
          return perSecond;
        },
      });
      return [
        { name: 'home.ratio', ...ratio(rounds.ours, rounds.base), unit: 'ratio', goal: { atLeast: 0.5 }, base: { value: median(rounds.base), unit: 'requests/s', of: 'node:http returning the same bytes' }, of: 'warm home pages of 20 posts' },
        { name: 'home.rate', value: median(rounds.ours), range: rangeOf(rounds.ours), unit: 'requests/s', of: `warm home pages of 20 posts, ${sizes.connections} connections` },
        { name: 'home.p99', value: quantile(times, 0.99), unit: 'ms', of: 'the same, 99 of 100 are faster' },
      ];
    } finally {
      base.end();
    }
  });
}

export async function benchPost(tell: Tell): Promise<Quantity[]> {
  return await withServer(async (server, load) => {
    tell(`${people.post} people sign up`);
    const authors = await signUpAll(server, 'author', people.post);
    const base = new Child<BaseTask, number>('./base.ts');
    try {
      const port = await base.ask({ kind: 'nest' });
      const tokens = authors.map(({ client }) => client.token ?? '');
      const task = { method: 'POST', path: '/api/v1/statuses', tokens, body: JSON.stringify({ status: `# ${'x'.repeat(sizes.text - 8)}` }), connections: sizes.connections } as const;
      const requests = Math.floor((authors.length * sizes.requestsPerToken) / (sizes.rounds + 1));
      const times: number[] = [];
      tell('posting');
      const rounds = await inTurns(sizes.rounds, {
        base: async () => (await measure(load, { ...task, origin: `http://127.0.0.1:${port}`, requests: sizes.baseRequests })).perSecond,
        ours: async () => {
          const { perSecond, milliseconds } = await measure(load, { ...task, origin: server.url, requests });
          times.push(...milliseconds);
          return perSecond;
        },
      });
      return [
        { name: 'post.ratio', ...ratio(rounds.ours, rounds.base), unit: 'ratio', base: { value: median(rounds.base), unit: 'requests/s', of: 'an empty handler of Nest on Fastify' }, of: 'posting' },
        { name: 'post.rate', value: median(rounds.ours), range: rangeOf(rounds.ours), unit: 'requests/s', of: `posts accepted, ${sizes.connections} connections` },
        { name: 'post.p50', value: median(times), unit: 'ms', of: 'a post until its 200' },
        { name: 'post.p99', value: quantile(times, 0.99), unit: 'ms', of: 'the same, 99 of 100 are faster' },
      ];
    } finally {
      base.end();
    }
  });
}

async function withServer<T>(work: (server: TestServer, load: Child<LoadTask, LoadResult>) => Promise<T>): Promise<T> {
  const server = await startTestServer();
  const load = new Child<LoadTask, LoadResult>('./load.ts');
  try {
    return await work(server, load);
  } finally {
    load.end();
    await server.dispose();
  }
}

/** @throws if any answer was no success */
async function measure(load: Child<LoadTask, LoadResult>, task: LoadTask): Promise<LoadResult> {
  const result = await load.ask(task);
  const failed = Object.entries(result.failures);
  if (failed.length > 0) throw new Error(`${task.method} ${task.path}: ${failed.map(([status, count]) => `${count} answers ${status}`).join(', ')}`);
  return result;
}

/** Two at a time: that many passwords are hashed at once. */
async function signUpAll(server: TestServer, name: string, count: number): Promise<Member[]> {
  const app = await registerApp(server.url);
  const members: Member[] = [];
  for (let index = 0; index < count; index += 2) {
    members.push(...(await Promise.all(Array.from({ length: Math.min(2, count - index) }, (_, place) => signUp(server.url, `${name}_${index + place}`, { app })))));
  }
  return members;
}

const textOf = (post: number): string => `${post} ${'A post of the usual length, in words of the usual length. '.repeat(3)}`.slice(0, sizes.text);

/** Waits until every reader's home is full; the page as it is on the wire. */
async function fullHome(readers: readonly Member[]): Promise<{ readonly headers: Record<string, string>; readonly body: string }> {
  let page: Awaited<ReturnType<typeof read>> | undefined;
  for (const { client } of readers) {
    for (let tries = 0; ; tries++) {
      page = await read(client);
      if (page.rows === 20) break;
      if (tries > 100) throw new Error(`a home has ${page.rows} posts`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  if (page === undefined) throw new Error('nobody reads');
  return page;
}

async function read(client: TestClient): Promise<{ readonly headers: Record<string, string>; readonly body: string; readonly rows: number }> {
  const response = await client.raw('GET', path);
  const body = await response.text();
  const headers = Object.fromEntries([...response.headers].filter(([name]) => !['connection', 'keep-alive', 'date', 'content-length', 'transfer-encoding'].includes(name)));
  return { headers, body, rows: (JSON.parse(body) as unknown[]).length };
}
