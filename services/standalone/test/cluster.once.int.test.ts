/**
 * The cluster: the same services as processes on Kafka, Redis and two Postgres, behind nginx, as `npm run cluster` starts
 * them. Known by its address and its process ids alone.
 *
 * One cluster for the whole file, and the tests in this order: what the one process promises holds here too; a crash; a
 * rolling restart; the end. Posts are written by journals that repeat what was not acknowledged, as clients do, and in
 * the end compare what is there with what they were told.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { clusterMissing, eventually, isRunning, Journal, signUp, TestCluster, type Member, type TestStream } from '@dmb/testing';
import { mastoJourney } from './masto-journey.ts';

const missing = await clusterMissing();
let cluster: TestCluster;

afterAll(async () => {
  await cluster?.dispose();
});

/** A person who has followed these. */
async function follower(name: string, authors: readonly Member[]): Promise<Member> {
  const member = await somebody(name);
  for (const author of authors) await member.client.follow((await author.client.me()).id);
  return member;
}

/** Keeps a stream open as clients do: when it ends, the next. */
class Listener {
  readonly heard = new Set<string>();
  opened = 0;
  private readonly member: Member;
  private readonly stopping = new AbortController();
  private readonly done: Promise<void>;
  private stream: TestStream | undefined;

  constructor(member: Member) {
    this.member = member;
    this.done = this.listen();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    this.stream?.close();
    await this.done;
  }

  private async listen(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        this.stream = await this.member.client.eventStream();
        this.opened++;
        await this.stream.wait(({ event, payload }) => {
          if (event === 'update') this.heard.add((JSON.parse(payload) as { id: string }).id);
          return false;
        }, 600_000);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}

/** A test that is tried again needs other names. */
let people = 0;
const somebody = (name: string): Promise<Member> => signUp(cluster.url, `${name}${++people}`);

/** The rate of requests is limited: seldom enough for whole lists. */
const patient = { timeout: 100_000, interval: 3_000 };

/** Compares what a reader and everybody finds with what was acknowledged, once delivery had its time. */
async function expectAll(journal: Journal, reader: Member, authors: readonly Member[]): Promise<void> {
  const handles = authors.map(({ handle }) => handle);
  await expect.poll(async () => journal.problemsIn(await reader.client.wholeHome(), handles), patient).toEqual([]);
  for (const author of authors) expect(journal.problemsIn(await author.client.wholeHistory((await author.client.me()).id), [author.handle])).toEqual([]);
}

describe.skipIf(missing !== undefined)('a cluster', { timeout: 240_000 }, () => {
  mastoJourney(async () => {
    cluster = await TestCluster.start(['--microblog', '2', '--fan-out', '2', '--timeline', '2', '--redis', '2', '--postgres', '2']);
    return {
      url: cluster.url,
      port: cluster.port,
      get complaints() {
        return cluster.complaints;
      },
      dispose: () => Promise.resolve(),
    };
  });

  it('answers unknown paths, methods and hosts as one process does', async () => {
    const ask = async (method: string, path: string, headers: Record<string, string> = {}): Promise<unknown> => {
      const answer = await fetch(cluster.url + path, { method, headers, redirect: 'manual' });
      return [answer.status, answer.headers.get('content-type')?.split(';')[0], (await answer.text()).includes('nginx')];
    };
    expect(await ask('GET', '/api/v1/nothing')).toEqual([404, 'application/json', false]);
    expect(await ask('DELETE', '/api/v1/apps')).toEqual([404, 'application/json', false]);
    expect(await ask('GET', '/some/where/else', { accept: 'text/html' })).toEqual([404, 'text/html', false]);
    expect(await ask('GET', '/calls/microblog.role', { accept: 'application/json' })).toEqual([404, 'application/problem+json', false]);
    expect(await ask('OPTIONS', '/api/v1/statuses')).toEqual([204, undefined, false]);
    expect(await ask('POST', '/api/v1/statuses', { 'content-length': '0' })).toEqual([401, 'application/json', false]);
    const large = await fetch(`${cluster.url}/api/v1/statuses`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: `"${'x'.repeat(2_000_000)}"` });
    expect([large.status, await large.json()]).toEqual([413, { error: 'The request is too large' }]);
  });

  it('streams by WebSocket through the ingress', async () => {
    const author = await somebody('wanda');
    const reader = await follower('willy', [author]);
    await reader.client.home();
    const stream = await reader.client.webSocket();
    const post = await author.client.post('by socket');
    await stream.status('update', post.id);
    stream.close();
  });

  it('loses nothing and doubles nothing when a fan-out and a microblog are killed while people post', async () => {
    const authors = [await somebody('kurt'), await somebody('kira'), await somebody('kaja'), await somebody('knut')];
    const reader = await follower('karl', authors);
    expect(await reader.client.home()).toEqual([]);
    const journal = new Journal();
    const writing = new AbortController();
    const written = journal.write(authors, { signal: writing.signal, concurrency: 1, pauseMs: 500 });
    await expect.poll(() => journal.acknowledged.length, { timeout: 30_000 }).toBeGreaterThan(20);
    const from = cluster.log.length;
    const killed = [cluster.pids('fan-out')[0]!, cluster.pids('microblog')[0]!];
    for (const pid of killed) process.kill(pid, 'SIGKILL');
    await cluster.said(/fan-out-1 is ready again/, from);
    await cluster.said(/microblog-1 is ready again/, from);
    const count = journal.acknowledged.length;
    await expect.poll(() => journal.acknowledged.length, { timeout: 30_000 }).toBeGreaterThan(count + 20);
    writing.abort();
    await written;
    expect(cluster.pids('fan-out').concat(cluster.pids('microblog'))).not.toEqual(expect.arrayContaining(killed));
    // What the killed ones held (partitions, relays) is free after 30 s at most.
    await expectAll(journal, reader, authors);
    expect(journal.refusals.filter(({ status }) => status !== 503 && status !== 429)).toEqual([]);
  });

  it('restarts every process under load without a request that fails for good, without a lost post, and streams come back', async () => {
    const authors = [await somebody('rosa'), await somebody('rolf'), await somebody('rena'), await somebody('rudi')];
    const reader = await follower('rita', authors);
    expect(await reader.client.home()).toEqual([]);
    const listener = new Listener(reader);
    const journal = new Journal();
    const working = new AbortController();
    const written = journal.write(authors, { signal: working.signal, concurrency: 1, pauseMs: 500 });
    let reads = 0;
    const read = (async () => {
      const failed: string[] = [];
      while (!working.signal.aborted) {
        const status = await reader.client.raw('GET', '/api/v1/timelines/home').then(async (answer) => (await answer.text(), answer.status), (error: unknown) => (error as Error).message);
        if (status === 200) reads++;
        else failed.push(String(status));
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      return failed;
    })();
    await expect.poll(() => [journal.acknowledged.length > 10, listener.opened], { timeout: 30_000 }).toEqual([true, 1]);
    const before = cluster.now().processes.map(({ pid }) => pid);
    const from = cluster.log.length;
    cluster.signal('SIGUSR2');
    await cluster.said(/rolling restart is done/, from);
    const count = journal.acknowledged.length;
    await expect.poll(() => journal.acknowledged.length, { timeout: 30_000 }).toBeGreaterThan(count + 10);
    working.abort();
    await written;
    expect(cluster.now().processes.filter(({ pid }) => before.includes(pid))).toEqual([]);
    await expectAll(journal, reader, authors);
    // What a client repeats: 429, 503, and a connection that ended.
    expect(journal.refusals.filter(({ status }) => status !== 503 && status !== 429)).toEqual([]);
    expect((await read).filter((status) => status !== '503' && status !== '429')).toEqual([]);
    expect(reads).toBeGreaterThan(5);
    // Both timelines were restarted: whichever held the stream said goodbye, and the client came back.
    expect(listener.opened).toBeGreaterThan(1);
    const last = await authors[0]!.client.post('after all');
    await expect.poll(() => listener.heard.has(last.id), { timeout: 20_000 }).toBe(true);
    await listener.stop();
  });

  it('ends whole at Ctrl-C: no process stays, and no file', async () => {
    const { processes, pid, state } = cluster.now();
    const folder = state.slice(0, state.lastIndexOf('/'));
    const ours = [...processes.map((each) => each.pid), ...descendants(pid)];
    expect(ours.length).toBeGreaterThan(processes.length);
    cluster.signal('SIGINT');
    expect(await cluster.ended()).toBe(0);
    expect(await eventually(() => Promise.resolve(ours.filter(isRunning)))).toEqual([]);
    expect(() => readdirSync(folder)).toThrow('ENOENT');
  });
});

/** Every process below one. */
function descendants(pid: number): number[] {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === pid).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function parentOf(pid: string): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}
