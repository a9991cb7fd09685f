/**
 * Nothing that was acknowledged is ever lost, whatever is killed and whenever.
 *
 * Three authors write all the time, each post under a key, and repeat it until it is acknowledged;
 * readers read meanwhile, so that timelines are present and pushed to. The program is killed with
 * SIGKILL twenty times: at random moments, and at the points where something has happened and the
 * next thing that belongs to it has not. Those points are reached from outside (see
 * libs/testing/src/fault-preload.ts); a point that is never reached fails its test, so that these
 * tests cannot go blind when a statement changes. After each restart the journal is compared with
 * every log and every home, read to its end.
 *
 * Which wrong implementations this finds: an answer before the commit; numbers that are given and
 * then not used; events found by `seq >`; a cursor that moves before its effect; a mark before the
 * effect; ids that are remembered in memory only; a post doubled by its repetition.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabases } from '@dmb/postgres';
import { Browser, ClientError, eventually, Journal, logIn, mountSmallDisk, registerApp, signUp, startTestServer, TestClient, type Fault, type Member, type TestServer } from '@dmb/testing';

/** Who follows whom. */
const follows: Readonly<Record<string, readonly string[]>> = { fay: ['ann', 'bea', 'cid'], gus: ['ann', 'bea'], ann: ['bea'], cid: [] };
const authorNames = ['ann', 'bea', 'cid'];
const randomKills = 14;

class World {
  readonly server: TestServer;
  readonly members: ReadonlyMap<string, Member>;
  readonly journal = new Journal();

  private constructor(server: TestServer, members: ReadonlyMap<string, Member>) {
    this.server = server;
    this.members = members;
  }

  static async make(server: TestServer): Promise<World> {
    const app = await registerApp(server.url);
    const members = new Map<string, Member>();
    for (const name of new Set([...authorNames, ...Object.keys(follows)])) members.set(name, await signUp(server.url, name, { app }));
    const world = new World(server, members);
    for (const [reader, authors] of Object.entries(follows)) for (const author of authors) await world.member(reader).client.follow(world.member(author).account.id);
    return world;
  }

  member(name: string): Member {
    const member = this.members.get(name);
    if (member === undefined) throw new Error(`nobody is called ${name}`);
    return member;
  }

  get authors(): readonly Member[] {
    return authorNames.map((name) => this.member(name));
  }

  /** Writes and reads until `signal`; resolves when all that was begun is acknowledged. */
  async busy(signal: AbortSignal): Promise<void> {
    const read = async (name: string): Promise<void> => {
      while (!signal.aborted) {
        await this.member(name).client.home(20).catch(() => undefined);
        await sleep(30);
      }
    };
    await Promise.all([this.journal.write(this.authors, { signal, postsMax: 90 }), ...Object.keys(follows).map(read)]);
  }

  /** Every home, every history and every log, compared with the journal. */
  async problems(): Promise<string[]> {
    const problems: string[] = [];
    const compare = async (where: string, list: Promise<Parameters<Journal['problemsIn']>[0]>, authors: readonly string[]): Promise<void> => {
      problems.push(...this.journal.problemsIn(await list, authors).map((problem) => `${where}: ${problem}`));
    };
    for (const [reader, authors] of Object.entries(follows)) {
      const own = authorNames.includes(reader) ? [reader] : [];
      await compare(`home of ${reader}`, this.member(reader).client.wholeHome(), [...authors, ...own]);
    }
    for (const { client, handle, account } of this.authors) await compare(`history of ${handle}`, client.wholeHistory(account.id), [handle]);
    return [...problems, ...(await this.holes())];
  }

  /** What the logs themselves say: numbers without a hole, ids that rise with them, every acknowledged id once. */
  async holes(): Promise<string[]> {
    const databases = await openDatabases({ urls: [this.server.databaseUrl], service: 'microblog', connectionsMax: 1, applicationName: 'dmb test' });
    try {
      const database = databases.all[0]!;
      const logs = await database.query<{ log: string; first: bigint; last: bigint; count: bigint; falls: bigint }>(`
        SELECT log_id AS log, min(number) AS first, max(number) AS last, count(*) AS count, count(*) FILTER (WHERE falls) AS falls
        FROM (SELECT log_id, number, id <= lag(id) OVER (PARTITION BY log_id ORDER BY number) AS falls FROM entry) e GROUP BY 1`);
      const problems = logs.flatMap(({ log, first, last, count, falls }) => [
        ...(first === 1n && last === count ? [] : [`log ${log} has ${count} entries from ${first} to ${last}`]),
        ...(falls === 0n ? [] : [`in log ${log} ids fall ${falls} times`]),
      ]);
      const rows = await database.query<{ id: bigint }>('SELECT id FROM entry WHERE id = ANY($1::int8[])', [this.journal.acknowledged.map(({ id }) => id)]);
      if (rows.length !== this.journal.acknowledged.length) problems.push(`of ${this.journal.acknowledged.length} acknowledged posts ${rows.length} are in a log`);
      return problems;
    } finally {
      await databases.close();
    }
  }

  /** Waits until so many further posts are acknowledged: others are under way then, however slow the machine. */
  async acknowledge(count: number): Promise<void> {
    const { acknowledged } = this.journal;
    const wanted = acknowledged.length + count;
    for (const deadline = performance.now() + 10_000; acknowledged.length < wanted && performance.now() < deadline; ) await sleep(5);
    await sleep(Math.random() * 50);
  }

  /** Statements in the schema of microblog. */
  async sql(text: string): Promise<void> {
    const databases = await openDatabases({ urls: [this.server.databaseUrl], service: 'microblog', connectionsMax: 1, applicationName: 'dmb test' });
    try {
      for (const statement of text.split(/;\s*\n|;$/).filter((each) => each.trim() !== '')) await databases.all[0]!.execute(statement);
    } finally {
      await databases.close();
    }
  }

  /** Busy until the server has died; started again; everything compared. */
  async dieAndRise(die: () => Promise<unknown>): Promise<void> {
    const before = this.journal.acknowledged.length;
    const enough = new AbortController();
    const busy = this.busy(enough.signal);
    // It is awaited below; until then its failure must not count as nobody's.
    busy.catch(() => undefined);
    try {
      await die();
    } finally {
      enough.abort();
      // Whatever went wrong: the next test finds a server, and no post under way.
      if (!this.server.isAlive) await this.server.start();
      await busy;
    }
    expect(this.journal.acknowledged.length).toBeGreaterThan(before);
    expect(await eventually(() => this.problems())).toEqual([]);
  }
}

describe('kill -9 of the program', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.make(await startTestServer({ faults: true }));
  });
  afterAll(() => world?.server.dispose());

  const reached = async (fault: Fault): Promise<void> => {
    await world.server.arm(fault);
    const { signal } = await world.server.ended(20_000).catch(() => {
      throw new Error(`the point was never reached: ${JSON.stringify(fault)}`);
    });
    expect(signal).toBe('SIGKILL');
  };

  const points: readonly (readonly [string, Fault])[] = [
    ['after a commit, before its answer', { at: 'answer', method: 'POST', path: '/api/v1/statuses', nth: 7 }],
    ['before a commit, when its rows are written', { at: 'before-sql', sql: 'INSERT INTO entry', application: 'dmb microblog', nth: 5 }],
    ['between an effect and its mark', { at: 'before-sql', sql: 'INSERT INTO outbox_mark', nth: 5 }],
    ['between a push and the cursor', { at: 'before-sql', sql: 'INSERT INTO cursor', application: 'dmb fan-out', nth: 5 }],
    ['between the cursor and the mark', { at: 'after-sql', sql: 'INSERT INTO cursor', application: 'dmb fan-out', nth: 5 }],
    ['in the middle of rebuilding a timeline', { at: 'after-sql', sql: 'JOIN grants g .*CROSS JOIN LATERAL', application: 'dmb microblog' }],
  ];
  it.each(points)('%s loses nothing', async (where, fault) => {
    if (where.includes('rebuilding')) {
      // Every timeline is absent after a start, until somebody reads.
      await world.server.kill();
      await world.server.start();
    }
    await world.dieAndRise(() => reached(fault));
  });

  it.each(Array.from({ length: randomKills }, (_, index) => index + 1))('at a random moment loses nothing (%i)', async () => {
    await world.dieAndRise(async () => {
      await world.acknowledge(1 + Math.floor(Math.random() * 20));
      await world.server.kill();
    });
  });

  it('together with Postgres, while commits are under way, loses nothing', async () => {
    // Every commit takes a while between the statement and its end: who answers before the end is found out.
    await world.sql(`
      CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.04); RETURN NULL; END';
      CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit();`);
    try {
      await world.dieAndRise(async () => {
        await world.acknowledge(6);
        world.server.killPostgres();
        await world.server.kill();
      });
    } finally {
      await world.sql(`DROP TRIGGER slow_commit ON entry;
        DROP FUNCTION slow_commit();`);
    }
  });

  it('left something to repeat, and a server that still streams', async () => {
    expect(world.journal.repeated).toBeGreaterThan(10);
    expect(world.journal.acknowledged.length).toBeGreaterThan(100);
    const [ann, fay] = [world.member('ann'), world.member('fay')];
    const streams = await Promise.all([fay.client.webSocket(['user']), fay.client.eventStream()]);
    // A WebSocket does not tell when it is subscribed: it is when it brings something.
    const first = await eventually(async () => {
      await world.journal.post(ann);
      return streams.every(({ events }) => events.length > 0) ? [] : ['silence'];
    });
    expect(first).toEqual([]);
    const { id } = await world.journal.post(ann, 'private');
    for (const stream of streams) {
      await stream.status('update', id);
      const told = stream.events.filter(({ event }) => event === 'update').map(({ payload }) => (JSON.parse(payload) as { id: string }).id);
      expect(new Set(told).size).toBe(told.length);
      stream.close();
    }
    expect(await eventually(() => world.problems())).toEqual([]);
  });

  it('leaves an idle server with nothing to account for: accepted is accounted, in every log and for every consumer', async () => {
    const urls = [world.server.databaseUrl];
    const [microblog, fanOut] = await Promise.all((['microblog', 'fan-out'] as const).map((service) => openDatabases({ urls, service, connectionsMax: 1, applicationName: 'dmb test' })));
    try {
      const waiting = async (): Promise<string[]> => {
        const heads = await microblog!.all[0]!.query<{ log: string; head: bigint }>('SELECT log_id AS log, max(number) AS head FROM entry GROUP BY 1');
        const behind = await Promise.all(
          ([['microblog', microblog!], ['fan-out', fanOut!]] as const).map(async ([name, databases]) => {
            const cursors = await databases.all[0]!.query<{ log: string; number: bigint }>('SELECT log_id AS log, number FROM cursor');
            const parked = await databases.all[0]!.query('SELECT FROM parked');
            const at = new Map(cursors.map(({ log, number }) => [log, number]));
            return [...heads.filter(({ log, head }) => at.get(log) !== head).map(({ log, head }) => `${name} is at ${at.get(log) ?? 'nothing'} of ${head} in ${log}`), ...parked.map(() => `${name} has a parked log`)];
          }),
        );
        const [outbox] = await microblog!.all[0]!.query<{ rows: bigint }>('SELECT count(*) AS rows FROM outbox');
        return [...behind.flat(), ...(outbox?.rows === 0n ? [] : [`${outbox?.rows} events wait`])];
      };
      expect(await eventually(waiting, 15_000)).toEqual([]);
    } finally {
      await Promise.all([microblog?.close(), fanOut?.close()]);
    }
  });
});

describe('kill -9 in the middle of signing up', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ faults: true });
  });
  afterAll(() => server?.dispose());

  /** As if a reservation's ten minutes were over. */
  const letReservationsRunOut = async (): Promise<void> => {
    for (const [service, table] of [['identity', 'directory'], ['microblog', 'handle']] as const) {
      const databases = await openDatabases({ urls: [server.databaseUrl], service, connectionsMax: 1, applicationName: 'dmb test' });
      await databases.all[0]!.execute(`UPDATE ${table} SET reserved_until = now() - interval '1 minute' WHERE state = 'reserved'`);
      await databases.close();
    }
  };

  const points: readonly (readonly [string, Fault])[] = [
    ['when the name is reserved', { at: 'after-sql', sql: 'INSERT INTO directory', application: 'dmb identity' }],
    ['when the handle is reserved', { at: 'after-sql', sql: 'INSERT INTO handle', application: 'dmb microblog' }],
    ['when the person is written', { at: 'before-sql', sql: 'INSERT INTO microblog', application: 'dmb microblog' }],
    ['when the microblog is made', { at: 'before-sql', sql: "UPDATE handle .*'confirmed'", application: 'dmb microblog' }],
    ['when the handle is confirmed', { at: 'after-sql', sql: "UPDATE handle .*'confirmed'", application: 'dmb microblog' }],
    ['when everything is done but the answer', { at: 'answer', method: 'POST', path: '/api/v1/accounts' }],
  ];
  it.each(points)('%s: the same handle and password work in the end', async (where, fault) => {
    const handle = `new_${points.findIndex(([name]) => name === where)}`;
    const password = 'the same every time';
    const app = await registerApp(server.url);
    await server.arm(fault);
    await expect(signUp(server.url, handle, { password, app })).rejects.toThrow(TypeError);
    expect((await server.ended()).signal).toBe('SIGKILL');
    await server.start();

    let member = await signUp(server.url, handle, { password, app }).catch(taken);
    if (member === undefined && (await logIn(new Browser(server.url), { handle, password })).url.includes('/log-in')) {
      // Nothing was there but a reservation, which nobody can claim before it has run out.
      await letReservationsRunOut();
      member = await signUp(server.url, handle, { password, app });
    }
    // In any case there is one person with one microblog now, who can log in, and nobody else can be called that.
    const browser = new Browser(server.url);
    expect((await logIn(browser, { handle, password })).url).not.toContain('/log-in');
    expect(await signUp(server.url, handle, { password: 'somebody else', app }).catch(taken)).toBeUndefined();
    expect((await new TestClient(server.url).lookUp(handle)).acct).toBe(handle);
    if (member !== undefined) {
      const { id } = await member.client.post('here I am');
      expect(await eventually(async () => ((await member.client.home()).some((status) => status.id === id) ? [] : ['not at home']))).toEqual([]);
    }
  });

  function taken(error: unknown): undefined {
    if (error instanceof ClientError && error.status === 422) return undefined;
    throw error;
  }
});

/** What a client may be told while something is away. */
function expectClearRefusals(journal: Journal): void {
  for (const { status, contentType, body } of journal.refusals) {
    expect(status).toBe(503);
    expect(contentType).toMatch(/^application\/json/);
    const { error, ...others } = JSON.parse(body) as Record<string, unknown>;
    expect(error).toBeTypeOf('string');
    expect(others).toEqual({});
    expect(String(error)).not.toMatch(/postgres|sql|ECONN|relation|disk/i);
  }
}

describe('kill -9 of Postgres alone', () => {
  it('is answered with 503 until it is back by itself, and loses nothing', async () => {
    const server = await startTestServer();
    try {
      const world = await World.make(server);
      const { pid } = server;
      const stream = await world.member('fay').client.webSocket();
      for (let turn = 0; turn < 3; turn++) {
        const before = world.journal.acknowledged.length;
        const enough = new AbortController();
        const busy = world.busy(enough.signal);
        await sleep(200 + Math.random() * 300);
        const killed = server.killPostgres();
        await sleep(300);
        enough.abort();
        await busy;
        expect(server.postgresPid).not.toBe(killed);
        expect(world.journal.acknowledged.length).toBeGreaterThan(before);
        expect(await eventually(() => world.problems().catch((error: unknown) => [String(error)]))).toEqual([]);
      }
      expect(server.pid).toBe(pid);
      expect(server.isAlive).toBe(true);
      expect(world.journal.unanswered).toBe(0);
      expect(world.journal.refusals.length).toBeGreaterThan(0);
      expectClearRefusals(world.journal);
      const ready = await new TestClient(server.url).raw('GET', '/health/ready');
      expect(ready.status).toBe(200);
      const { id } = await world.journal.post(world.member('bea'));
      // The stream has outlived all of it, or was closed so that its client knows to come again.
      if (!stream.hasEnded) await stream.status('update', id, 15_000);
      await server.stop();
    } finally {
      await server.dispose();
    }
  });
});

describe('a full disk', () => {
  it('is answered with 503 while reading goes on, and everything goes on when there is room', async ({ skip }) => {
    const disk = mountSmallDisk(160);
    if ('impossible' in disk) return skip(disk.impossible);
    let server: TestServer | undefined;
    try {
      server = await startTestServer({ data: `${disk.path}/data` });
      const world = await World.make(server);
      const ann = world.member('ann');
      for (let turn = 0; turn < 10; turn++) await world.journal.post(ann);

      disk.fill();
      expect(disk.freeBytes).toBeLessThan(4_096);
      // The pages that exist have room for some posts yet.
      const text = 'x'.repeat(400);
      let refusal: unknown;
      for (let turn = 0; refusal === undefined && turn < 2_000; turn++) refusal = await ann.client.post(`${turn} ${text}`).then(() => undefined, (error: unknown) => error);
      expect(refusal).toBeInstanceOf(ClientError);
      const { status, contentType, body } = refusal as ClientError;
      world.journal.refusals.push({ status, contentType, body });
      expectClearRefusals(world.journal);

      const known = world.journal.acknowledged[0]?.id ?? '';
      expect((await new TestClient(server.url).status(known)).id).toBe(known);
      expect((await world.member('fay').client.home()).length).toBeGreaterThan(0);
      expect((await ann.client.me()).acct).toBe('ann');
      await expect(ann.client.post(`still full ${text}`)).rejects.toMatchObject({ status: 503 });
      expect(server.isAlive).toBe(true);

      disk.makeRoom();
      const { id } = await world.journal.post(ann, 'public', 30_000);
      expect(await eventually(async () => ((await world.member('fay').client.home()).some((each) => each.id === id) ? [] : ['not at home']))).toEqual([]);
      expect(await world.holes()).toEqual([]);
      const history = await ann.client.wholeHistory(ann.account.id);
      expect(world.journal.acknowledged.filter((post) => !history.some((each) => each.id === post.id))).toEqual([]);
      await server.stop();
      await server.start();
      expect(await world.holes()).toEqual([]);
    } finally {
      await server?.dispose();
      disk.unmount();
    }
  });
});
