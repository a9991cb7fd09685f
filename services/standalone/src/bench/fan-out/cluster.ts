/**
 * A cluster for measuring: Postgres, Kafka, Redis and fan-out processes, all real, each a process of its own.
 *
 * This process posts: entries go through microblog's appender, and its relay carries the outbox to Kafka. Logs and their followers
 * are rows that the benchmark makes itself, in bulk; what a follow does besides matters for who may see, and not for what is delivered.
 *
 * The clock of a delivery starts when the append has resolved, hence when the outbox row has been committed, and ends with the
 * acknowledgement of the last list's push.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { KafkaEventLog } from '@dmb/event-log';
import type { AnswerOf, LogRef, RequestOf } from '@dmb/events';
import { fanOutMigrations } from '@dmb/fan-out';
import { microblogMigrations } from '@dmb/microblog';
import { Appender } from '@dmb/microblog/append';
import { migrate, openDatabases, openInstallation, relayOf, startEmbeddedPostgres, type Databases, type EmbeddedPostgres } from '@dmb/postgres';
import { createEntry, domainIdOf, ENTRY_KINDS, IdSource, newEpochId, newLogId, newMicroblogId, newObjectId, newPersonId, shardOf, type Domain, type MicroblogId, type PostId } from '@dmb/protocol';
import { createLogger } from '@dmb/runtime';
import { findKafka, startTestKafka, startTestRedis, type TestKafka, type TestRedis } from '@dmb/testing';
import type { FromProcess, ToProcess } from './messages.ts';
import { placeOf } from './lists.ts';

const domain = 'bench.example' as Domain;
const waitMsMax = 120_000;
const settling = { logs: 16, times: 5, quickMs: 250 } as const;
const now = (): number => performance.timeOrigin + performance.now();

/** A log of the benchmark, with as many followers as were asked for. */
export interface Audience extends LogRef {
  readonly microblog: MicroblogId;
  readonly readers: number;
  /** The readers, as {@link placeOf} numbers them. */
  readonly numbers: readonly number[];
}

/** A post: its id, and when its outbox row had been committed. */
export interface Posted {
  readonly id: PostId;
  readonly at: number;
}

/** When an id came to how many readers. */
interface Arrivals {
  readers: number;
  firstAt: number;
  lastAt: number;
}

export class Cluster {
  readonly postgres: EmbeddedPostgres;
  readonly redis: TestRedis[] = [];
  readonly processes: FanOutProcess[] = [];
  private readonly databases: Readonly<Record<'microblog' | 'fan-out', Databases>>;
  private readonly kafka: TestKafka;
  private readonly prefix = `dmb-bench-${randomBytes(4).toString('hex')}.`;
  private readonly eventLog: KafkaEventLog;
  private readonly appender: Appender;
  private readonly arrivals = new Map<PostId, Arrivals>();
  private readonly waiters = new Set<() => void>();
  private readonly person = newPersonId();

  private constructor(postgres: EmbeddedPostgres, kafka: TestKafka, databases: Readonly<Record<'microblog' | 'fan-out', Databases>>) {
    this.postgres = postgres;
    this.kafka = kafka;
    this.databases = databases;
    this.eventLog = new KafkaEventLog({
      connection: { brokers: kafka.brokers, clientId: 'microblog' },
      producers: { microblog: databases.microblog },
      prefix: this.prefix,
      logger: createLogger({ name: 'bench', level: 'warn', stream: process.stderr }),
    });
    this.appender = new Appender({ databases: databases.microblog, ids: new IdSource(), lanes: 2, committed: (database, relay) => this.eventLog.committed('microblog', database, relay) });
  }

  /** @throws when there is no Kafka or no Redis to be had */
  static async open(folder: string): Promise<Cluster> {
    const source = await findKafka({ startable: true });
    if (source.from === 'nothing') throw new Error(source.why);
    const [postgres, kafka] = await Promise.all([startEmbeddedPostgres({ dataDir: `${folder}/postgres` }), startTestKafka()]);
    const urls = [postgres.url];
    await openInstallation({ urls, domain });
    const migrations = { microblog: microblogMigrations, 'fan-out': fanOutMigrations } as const;
    const open = async (service: keyof typeof migrations): Promise<Databases> => {
      await migrate({ urls, service, migrations: await migrations[service]() });
      return await openDatabases({ urls, service, connectionsMax: 8, applicationName: `dmb bench ${service}` });
    };
    return new Cluster(postgres, kafka, { microblog: await open('microblog'), 'fan-out': await open('fan-out') });
  }

  /** Sees to it that there are so many Redis, with nothing in them, and no fan-out process. */
  async renew(redis: number): Promise<void> {
    for (const process of this.processes.splice(0)) await process.stop();
    for (const server of this.redis.splice(0)) await server.stop();
    while (this.redis.length < redis) this.redis.push(await startTestRedis());
  }

  /** Sees to it that so many fan-out processes run. */
  async run(fanOut: number, options: { readonly jobLeaseMs?: number } = {}): Promise<void> {
    const urls = this.redis.map(({ url }) => url);
    for (const process of this.processes.splice(fanOut)) await process.stop();
    while (this.processes.length < fanOut) this.processes.push(await this.start(urls, options));
    await this.settle();
  }

  /** Resolves when every process has its part of Kafka and has opened its connections: posts go through at once, several times in turn. */
  private async settle(): Promise<void> {
    const logs: Audience[] = [];
    for (let log = 0; log < settling.logs; log++) logs.push(await this.follow([log]));
    for (let quick = 0; quick < settling.times; ) {
      const begun = now();
      for (const each of await Promise.all(logs.map((log) => this.post(log)))) await this.all(each, 1);
      quick = now() - begun < settling.quickMs ? quick + 1 : 0;
    }
  }

  /** Starts a fan-out process. */
  private async start(redisUrls: readonly string[], options: { readonly jobLeaseMs?: number }): Promise<FanOutProcess> {
    const process = new FanOutProcess({
      pushed: ({ arrivals }) => {
        for (const arrival of arrivals) this.note(arrival);
        for (const wake of this.waiters) wake();
      },
      entries: (request) => this.answer(request),
    });
    await process.start({ type: 'start', databaseUrls: [this.postgres.url], brokers: this.kafka.brokers, prefix: this.prefix, redisUrls, ...options });
    return process;
  }

  /** A log that these persons follow. */
  async follow(numbers: readonly number[]): Promise<Audience> {
    const microblog = newMicroblogId();
    const [shard, log] = [shardOf(microblog), newLogId()];
    const database = this.databases.microblog.at(shard);
    await database.execute(`INSERT INTO log (log_shard, log_id, origin_log_id, domain_id, microblog_id, audience) VALUES ($1, $2, $2, $3, $4, 'public')`, [shard, log, domainIdOf(domain), microblog]);
    await database.execute('INSERT INTO epoch (log_shard, log_id, epoch_no, epoch) VALUES ($1, $2, 1, $3)', [shard, log, newEpochId()]);
    for (let from = 0; from < numbers.length; from += 50_000) {
      const places = numbers.slice(from, from + 50_000).map(placeOf);
      await this.databases['fan-out']
        .at(shard)
        .execute('INSERT INTO follower (log_shard, log_id, person_shard, person_id, own_number) SELECT $1, $2, t.*, 1 FROM unnest($3::int2[], $4::uuid[]) AS t(s, p)', [
          shard,
          log,
          places.map((place) => place.shard),
          places.map(({ person }) => person),
        ]);
    }
    if (numbers.length > 0) await this.analyse();
    return { shard, log, epochNo: 1, microblog, readers: numbers.length, numbers };
  }

  async post({ shard, log, epochNo }: Audience): Promise<Posted> {
    const objectId = newObjectId(shard);
    const entry = createEntry('post', objectId, Date.now(), { type: 'Note', content: 'x'.repeat(140) });
    const { id } = await this.appender.append({ log: { shard, log, epochNo }, kind: 'post', ...entry, objectId, listed: true, person: this.person });
    return { id, at: now() };
  }

  /** When so many readers have the id, as of its last push. @throws if that takes too long */
  async all({ id }: { readonly id: PostId }, readers: number): Promise<number> {
    const end = now() + waitMsMax;
    for (;;) {
      const found = this.arrivals.get(id);
      if (readers === 0 || (found !== undefined && found.readers >= readers)) return found?.lastAt ?? now();
      if (now() > end) throw new Error(`a post has reached ${found?.readers ?? 0} of ${readers} readers`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(wake, 1_000);
        const { waiters } = this;
        function wake(): void {
          clearTimeout(timer);
          waiters.delete(wake);
          resolve();
        }
        waiters.add(wake);
      });
    }
  }

  /** Resolves when no job is left. */
  async drained(): Promise<void> {
    for (const end = now() + waitMsMax; now() < end; await new Promise((resolve) => setTimeout(resolve, 5))) {
      const rows = await this.databases['fan-out'].at(0).query('SELECT FROM job LIMIT 1');
      if (rows.length === 0) return;
    }
    throw new Error('jobs were left');
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.processes.map((process) => process.stop()));
    await this.appender.close();
    await this.eventLog.close();
    await Promise.all(Object.values(this.databases).map((databases) => databases.close()));
    await Promise.all(this.redis.map((server) => server.stop()));
    await this.kafka.stop();
    await this.postgres.stop();
  }

  /** As autovacuum does after a while. */
  private async analyse(): Promise<void> {
    await this.databases['fan-out'].at(0).execute('VACUUM ANALYZE follower');
  }

  private note({ id, readers, firstAt, at }: Extract<FromProcess, { readonly type: 'pushed' }>['arrivals'][number]): void {
    const known = this.arrivals.get(id);
    if (known === undefined) this.arrivals.set(id, { readers, firstAt, lastAt: at });
    else {
      known.readers += readers;
      known.firstAt = Math.min(known.firstAt, firstAt);
      known.lastAt = Math.max(known.lastAt, at);
    }
  }

  /** How many readers have it, as far as has been told. */
  readersOf(id: PostId): number {
    return this.arrivals.get(id)?.readers ?? 0;
  }

  /** Jobs that are left. */
  async jobs(): Promise<number> {
    return (await this.databases['fan-out'].at(0).query('SELECT FROM job')).length;
  }

  /** When the first readers had it. */
  firstAt(id: PostId): number {
    return this.arrivals.get(id)?.firstAt ?? Number.NaN;
  }

  private async answer({ shard, log, epochNo, after, limit }: RequestOf<'microblog.entries'>): Promise<AnswerOf<'microblog.entries'>> {
    const rows = await this.databases.microblog
      .at(shard)
      .query<{ number: bigint; id: PostId }>('SELECT number, id FROM entry WHERE log_shard = $1 AND log_id = $2 AND epoch_no = $3 AND number > $4 ORDER BY number LIMIT $5', [shard, log, epochNo, after, limit]);
    const entries = rows.map(({ number, id }) => ({
      ...{ shard, log, epochNo, number, id, kind: ENTRY_KINDS.post, audience: 'public', microblog: null, late: false } as const,
      ...{ objectId: newObjectId(shard), about: null, body: {} },
    }));
    return { entries, head: entries.at(-1)?.number ?? after, floor: 0n };
  }
}

interface Ears {
  pushed(message: Extract<FromProcess, { readonly type: 'pushed' }>): void;
  entries(request: RequestOf<'microblog.entries'>): Promise<AnswerOf<'microblog.entries'>>;
}

export class FanOutProcess {
  private readonly child: ChildProcess;
  private readonly ears: Ears;
  private readonly heard = new Map<string, (message: FromProcess) => void>();

  constructor(ears: Ears) {
    this.ears = ears;
    // Not what a test runner adds; a profile of this process is one of that process as well.
    const execArgv = ['--enable-source-maps', '--disable-warning=TimeoutNegativeWarning', ...process.execArgv.filter((argument) => argument.startsWith('--cpu-prof'))];
    // Tests run this file from its source, and the process as it is built.
    const program = import.meta.url.endsWith('.ts') ? '../../../dist/bench/fan-out/process.js' : 'process.js';
    this.child = fork(fileURLToPath(new URL(program, import.meta.url)), { serialization: 'advanced', execArgv });
    this.child.on('message', (message: FromProcess) => this.hear(message));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  async start(task: Extract<ToProcess, { readonly type: 'start' }>): Promise<void> {
    this.child.send(task);
    await this.next('ready');
  }

  async usage(): Promise<Extract<FromProcess, { readonly type: 'usage' }>> {
    this.child.send({ type: 'usage' } satisfies ToProcess);
    return (await this.next('usage')) as Extract<FromProcess, { readonly type: 'usage' }>;
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.send({ type: 'stop' } satisfies ToProcess);
    await ended;
  }

  private async next(type: FromProcess['type']): Promise<FromProcess> {
    return await new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`a fan-out process of the benchmark ended with ${code}`));
      this.child.once('exit', ended);
      this.heard.set(type, (message) => {
        this.child.off('exit', ended);
        resolve(message);
      });
    });
  }

  private hear(message: FromProcess): void {
    if (message.type === 'pushed') return this.ears.pushed(message);
    if (message.type === 'ask') {
      void this.ears.entries(message.request as RequestOf<'microblog.entries'>).then((answer) => this.child.send({ type: 'answer', number: message.number, answer } satisfies ToProcess));
      return;
    }
    this.heard.get(message.type)?.(message);
  }
}
