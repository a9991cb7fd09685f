/** Two producers whose outboxes a test writes to, whatever event log carries them. */
import type { EventLog } from '@dmb/event-log';
import type { TopicName } from '@dmb/events';
import { insertOutbox, outboxMigrations, relayOf, type Databases, type OutboxEvents } from '@dmb/postgres';
import { createTestDatabases, type TestDatabases } from '../src/engines.ts';
import type { EventLogHarness, StartOptions, TestEvent } from '../src/conformance/event-log.ts';

/** The databases of one process. */
export interface ProcessDatabases {
  readonly identity: Databases;
  readonly microblog: Databases;
}

/** How one adapter differs from another. */
export interface AdapterHarness {
  /** A process on databases of its own. */
  start(databases: ProcessDatabases, limits: Omit<StartOptions, 'deaf'>): EventLog;
  /** Cuts a process off, as far as that is not done by closing its databases. */
  cut?(log: EventLog): void;
  /** Empties what is not in the databases. */
  wipe?(): Promise<void>;
  close?(): Promise<void>;
}

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

const producerOf = (topic: string): keyof ProcessDatabases => (topic.startsWith('identity.') ? 'identity' : 'microblog');

/** A harness for the conformance suite. `databases`: how many; left out, as many as the project says. */
export async function outboxHarness(adapter: AdapterHarness, databases?: number): Promise<EventLogHarness & { readonly test: TestDatabases; readonly migrated: ProcessDatabases }> {
  const test = await createTestDatabases(databases === undefined ? {} : { count: databases });
  const migrated = {
    identity: await test.openMigrated('identity', outboxMigrations),
    microblog: await test.openMigrated('microblog', outboxMigrations),
  };
  const processes = new Map<EventLog, { readonly databases: readonly Databases[]; readonly deaf: boolean }>();

  const hint = (events: readonly TestEvent[]): void => {
    for (const { topic, shard } of events) {
      const producer = producerOf(topic);
      for (const [log, { deaf }] of processes) if (!deaf) log.committed(producer, migrated[producer].at(shard).index, relayOf(shard));
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
    test,
    migrated,
    async start({ deaf = false, ...limits }: StartOptions = {}) {
      const own = { identity: await test.open('identity'), microblog: await test.open('microblog') };
      const log = adapter.start(own, limits);
      processes.set(log, { databases: Object.values(own), deaf });
      const close = log.close.bind(log);
      log.close = async () => {
        processes.delete(log);
        await close();
        await Promise.all(Object.values(own).map((each) => each.close()));
      };
      return log;
    },
    async kill(log) {
      const process = processes.get(log);
      processes.delete(log);
      adapter.cut?.(log);
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
      for (const each of Object.values(migrated)) {
        for (const database of each.all) {
          await database.execute('TRUNCATE outbox, outbox_mark, outbox_consumer');
          await database.execute(`UPDATE outbox_lease SET holder = NULL, until = '-infinity'`);
        }
      }
      await adapter.wipe?.();
    },
    async close() {
      await adapter.close?.();
      await test.drop();
    },
  };
}
