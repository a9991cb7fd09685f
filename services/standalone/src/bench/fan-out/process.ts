/**
 * A fan-out process of the cluster, as a child of the benchmark: Kafka before it, Redis behind it, Postgres beside it.
 *
 * It tells its parent of every push once Redis has acknowledged it, by the clock that both share. What it asks of microblog is
 * answered by the parent, which is the one that posts.
 */
import { KafkaEventLog } from '@dmb/event-log';
import type { AnswerOf, CallName, RequestOf } from '@dmb/events';
import { FanOut } from '@dmb/fan-out';
import { openDatabases } from '@dmb/postgres';
import type { PostId } from '@dmb/protocol';
import { Calls, createLogger } from '@dmb/runtime';
import { RedisLiveEvents, RedisNodes, RedisTimelines, type Push, type Timelines } from '@dmb/timelines';
import type { FromProcess, ToProcess } from './messages.ts';

const tell = (message: FromProcess): void => void process.send?.(message);
const now = (): number => performance.timeOrigin + performance.now();

class Process {
  private asked = 0;
  private readonly waiting = new Map<number, (answer: unknown) => void>();
  private stop: () => Promise<void> = () => Promise.resolve();

  async take(message: ToProcess): Promise<void> {
    switch (message.type) {
      case 'start':
        await this.start(message);
        return tell({ type: 'ready' });
      case 'answer':
        this.waiting.get(message.number)?.(message.answer);
        this.waiting.delete(message.number);
        return;
      case 'usage': {
        const { user, system } = process.cpuUsage();
        return tell({ type: 'usage', cpuMicroseconds: user + system, rssMegabytes: process.memoryUsage.rss() / 1_048_576, rssMegabytesMax: process.resourceUsage().maxRSS / 1_024 });
      }
      case 'stop':
        await this.stop();
        process.disconnect();
    }
  }

  private async start({ databaseUrls, brokers, prefix, redisUrls, jobLeaseMs }: Extract<ToProcess, { readonly type: 'start' }>): Promise<void> {
    const logger = createLogger({ name: 'fan-out', level: 'warn', stream: process.stderr });
    const databases = await openDatabases({ urls: databaseUrls, service: 'fan-out', connectionsMax: 8, applicationName: 'dmb bench fan-out' });
    const nodes = await RedisNodes.open({ urls: redisUrls, mode: 'nodes', logger });
    const timelines = new RedisTimelines({ nodes });
    const live = new RedisLiveEvents({ nodes });
    const eventLog = new KafkaEventLog({ connection: { brokers, clientId: 'fan-out' }, producers: {}, prefix, logger });
    const calls = new Calls();
    calls.bind('microblog.entries', (request) => this.ask('microblog.entries', request));
    calls.bind('microblog.heads', () => Promise.resolve({ logs: [], next: null, databases: 1 }));
    const fanOut = new FanOut({ databases, calls, eventLog, timelines: observed(timelines), live, logger, config: { mergeReaders: 1_000_000_000 }, ...(jobLeaseMs === undefined ? {} : { jobLeaseMs }) });
    await fanOut.start();
    this.stop = async () => {
      await fanOut.stop();
      await eventLog.close();
      await timelines.close();
      await live.close();
      await nodes.close();
      await databases.close();
    };
  }

  private ask<Name extends CallName>(name: Name, request: RequestOf<Name>): Promise<AnswerOf<Name>> {
    const number = ++this.asked;
    return new Promise((answered) => {
      this.waiting.set(number, answered as (answer: unknown) => void);
      tell({ type: 'ask', number, name, request });
    });
  }
}

/** A message wakes the parent, which takes CPU time from what is measured: they are collected for so long. */
const collectMs = 4;

/** Tells of every push that has been acknowledged. */
function observed(timelines: Timelines): Timelines {
  const acknowledged = new Map<PostId, { readers: number; firstAt: number; at: number }>();
  const note = ({ ids, readers }: Push): void => {
    if (acknowledged.size === 0) {
      setTimeout(() => {
        tell({ type: 'pushed', arrivals: [...acknowledged].map(([id, arrival]) => ({ id, ...arrival })) });
        acknowledged.clear();
      }, collectMs);
    }
    const at = now();
    for (const id of ids) {
      const known = acknowledged.get(id);
      if (known === undefined) acknowledged.set(id, { readers: readers.length, firstAt: at, at });
      else {
        known.readers += readers.length;
        known.at = at;
      }
    }
  };
  const pushAndNote: Timelines['push'] = async (lane, position, pushes, options) => {
    await timelines.push(lane, position, pushes, options);
    for (const push of pushes) note(push);
  };
  return new Proxy(timelines, {
    get: (inner, name) => {
      if (name === 'push') return pushAndNote;
      const member: unknown = Reflect.get(inner, name, inner);
      return typeof member === 'function' ? (member.bind(inner) as unknown) : member;
    },
  });
}

const fanOutProcess = new Process();
process.on('message', (message: ToProcess) => {
  fanOutProcess.take(message).catch((error: unknown) => {
    process.stderr.write(`${String(error instanceof Error ? error.stack : error)}\n`);
    process.exit(1);
  });
});
// The parent is gone.
process.on('disconnect', () => process.exit(0));
