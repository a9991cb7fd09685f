import { PostgresEventLog, type EventLog } from '@dmb/event-log';
import type { TopicName } from '@dmb/events';
import { insertOutbox, outboxMigrations, relayOf, type Databases, type OutboxEvents } from '@dmb/postgres';
import { createTestDatabases } from '../src/engines.ts';
import { eventLogConformance, type EventLogHarness, type StartOptions, type TestEvent } from '../src/conformance/event-log.ts';

/** As a producer writes them: several events in a row, as long as they are of one kind. */
function rowsOf(events: readonly TestEvent[]): OutboxEvents[] {
  const rows: { topic: TopicName; shard: number; refs: unknown[][]; headers: Readonly<Record<string, string>> }[] = [];
  for (const { topic, shard, wire, headers = {} } of events) {
    const last = rows.at(-1);
    if (last?.topic === topic && last.refs.length < 7 && JSON.stringify(last.headers) === JSON.stringify(headers)) last.refs.push(wire as unknown[]);
    else rows.push({ topic: topic as TopicName, shard, refs: [wire as unknown[]], headers });
  }
  return rows;
}

/** The outboxes of two producers; a process is an adapter with connections of its own. */
async function postgresHarness(): Promise<EventLogHarness> {
  const test = await createTestDatabases();
  const migrated = {
    identity: await test.openMigrated('identity', outboxMigrations),
    microblog: await test.openMigrated('microblog', outboxMigrations),
  };
  const producerOf = (topic: string): 'identity' | 'microblog' => (topic.startsWith('identity.') ? 'identity' : 'microblog');
  interface Process {
    readonly log: PostgresEventLog;
    readonly databases: readonly Databases[];
    readonly deaf: boolean;
  }
  const processes = new Map<EventLog, Process>();

  const hint = (events: readonly TestEvent[]): void => {
    for (const { topic, shard } of events) {
      const producer = producerOf(topic);
      for (const { log, deaf } of processes.values()) if (!deaf) log.committed(producer, migrated[producer].at(shard).index, relayOf(shard));
    }
  };
  const write = async (events: readonly TestEvent[], until: Promise<void> = Promise.resolve(), written: () => void = () => undefined): Promise<void> => {
    const [first] = events;
    if (first === undefined) return;
    await migrated[producerOf(first.topic)].at(first.shard).transaction(async (tx) => {
      for (const row of rowsOf(events)) await insertOutbox(tx, row);
      written();
      await until;
    });
    hint(events);
  };

  return {
    async start({ deaf = false, ...limits }: StartOptions = {}) {
      const databases = { identity: await test.open('identity'), microblog: await test.open('microblog') };
      const log = new PostgresEventLog({ producers: databases, limits: { retryDelayMs: 5, retryDelayMsMax: 50, ...limits } });
      processes.set(log, { log, databases: Object.values(databases), deaf });
      const close = log.close.bind(log);
      log.close = async () => {
        processes.delete(log);
        await close();
        await Promise.all(Object.values(databases).map((each) => each.close()));
      };
      return log;
    },
    async kill(log) {
      const process = processes.get(log);
      processes.delete(log);
      // Without connections nothing that it does reaches the log.
      await Promise.all((process?.databases ?? []).map((each) => each.close()));
      void log.close();
    },
    async produce(events) {
      const byShard = Map.groupBy(events, ({ topic, shard }) => `${producerOf(topic)} ${shard}`);
      for (const group of byShard.values()) await write(group);
    },
    async open(events) {
      let commit = (): void => undefined;
      const until = new Promise<void>((done) => {
        commit = done;
      });
      let done: Promise<void> | undefined;
      await new Promise<void>((written, failed) => {
        done = write(events, until, written);
        done.catch(failed);
      });
      return {
        async commit() {
          commit();
          await done;
        },
      };
    },
    async wipe() {
      for (const databases of Object.values(migrated)) for (const database of databases.all) await database.execute('TRUNCATE outbox, outbox_mark, outbox_consumer');
    },
    close: () => test.drop(),
  };
}

eventLogConformance('outbox tables in Postgres', postgresHarness);
