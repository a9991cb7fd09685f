/**
 * From a post to the homes of its readers, in one process and in a cluster.
 *
 * R is what Redis does by itself (lists.ts), measured between the rounds of what is compared with it. What is compared is always the
 * whole way: from the moment at which the outbox row of a post has been committed until the last list has it, over Kafka, a fan-out process,
 * its queries to Postgres and its pushes to Redis. Each part can be run alone: `npm run bench -- fan-out.burst`.
 *
 *   one-process   everything in one process, in memory (one-process.ts)
 *   post          one post to 50,000 present readers, one Redis; also the last reader of 50 such posts, and memory
 *   burst         8 posts to the same 50,000 that are pending together
 *   fair          a post to ten readers, idle and while a million are being pushed to
 *   million       one post to a million readers, lists of 160
 *   two-redis     as `post`, on two Redis
 *   processes     1, 2 and 4 fan-out processes on 4 Redis: deliveries a second, and what each costs
 *   kafka         from the outbox row to the handler, without deliveries
 */
import type { Tell } from '../bench.ts';
import { withFolder } from '../disk.ts';
import type { Quantity } from '../quantities.ts';
import { median, quantile, rangeOf, ratio } from '../rounds.ts';
import { Cluster, type Audience } from './cluster.ts';
import { cpuTimes } from './host.ts';
import { checkOnce, fill, redisRate } from './lists.ts';
import { benchOneProcess } from './one-process.ts';

const sizes = {
  persons: 200_000,
  ids: 800,
  readers: 50_000,
  audiences: 4,
  rounds: 7,
  basePushes: 200_000,
  lastPosts: 50,
  burst: 8,
  million: 1_000_000,
  millionIds: 160,
  millionRounds: 3,
  millionBasePushes: 1_000_000,
  few: 10,
  fewPosts: 300,
  fewPauseMs: 15,
  fairMsMax: 90_000,
  processPosts: 24,
  processAudiences: 8,
} as const;

type Part = (world: World, tell: Tell) => Promise<Quantity[]>;

/** What the parts share: the engines, and which lists are in Redis now. */
interface World {
  readonly cluster: Cluster;
  readonly folder: string;
  /** Present lists of the wanted kind on the wanted number of Redis; answers bytes for each id if they were made now. */
  prepare(shape: { readonly redis: number; readonly fanOut: number; readonly persons: number; readonly ids: number }): Promise<number | undefined>;
}

const parts: Readonly<Record<string, Part>> = { post: benchPost, burst: benchBurst, 'two-redis': benchTwoRedis, processes: benchProcesses, fair: benchFair, million: benchMillion, kafka: benchKafka };

/** The names that can be asked for by themselves. */
export const fanOutParts: readonly string[] = ['one-process', ...Object.keys(parts)];

/** Measures the parts that are named; all of them, if none is. */
export async function benchFanOut(tell: Tell, only: readonly string[]): Promise<Quantity[]> {
  const isWanted = (name: string): boolean => only.length === 0 || only.includes(name);
  const found = isWanted('one-process') ? await benchOneProcess(tell) : [];
  const wanted = Object.entries(parts).filter(([name]) => isWanted(name));
  if (wanted.length === 0) return found;
  return await withFolder(async (folder) => {
    const cluster = await Cluster.open(folder);
    try {
      const world = worldOf(cluster, folder, tell);
      for (const [, part] of wanted) found.push(...(await part(world, tell)));
      return found;
    } finally {
      await cluster.close();
    }
  });
}

function worldOf(cluster: Cluster, folder: string, tell: Tell): World {
  let filled = '';
  return {
    cluster,
    folder,
    prepare: async ({ redis, fanOut, persons, ids }) => {
      const wanted = `${redis} ${persons} ${ids}`;
      let bytes: number | undefined;
      if (filled !== wanted) {
        tell(`making ${persons.toLocaleString('en')} lists of ${ids} ids`);
        await cluster.renew(redis);
        bytes = await fill(cluster.redis, persons, ids);
        filled = wanted;
      }
      await cluster.run(fanOut);
      return bytes;
    },
  };
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** Logs with 50,000 readers each: in turn every so-many-th person, so that nobody's list is warm from the log before. */
async function audiences(cluster: Cluster, count: number): Promise<Audience[]> {
  const found: Audience[] = [];
  const step = Math.floor(sizes.persons / sizes.readers);
  // Persons of all groups, and of all places in memory.
  for (let log = 0; log < count; log++) found.push(await cluster.follow(range(sizes.persons).filter((number) => Math.floor(number / 4) % step === log % step)));
  return found;
}

/** Deliveries per second of `posts` posts that are made together. */
async function rate(cluster: Cluster, audience: Audience, posts: number): Promise<number> {
  const made = await Promise.all(range(posts).map(() => cluster.post(audience)));
  const begun = Math.min(...made.map(({ at }) => at));
  let last = 0;
  for (const post of made) last = Math.max(last, await cluster.all(post, audience.readers));
  await cluster.drained();
  await checkOnce(cluster.redis, audience.numbers, made.map(({ id }) => id));
  return (posts * audience.readers * 1_000) / (last - begun);
}

async function compared(cluster: Cluster, logs: readonly Audience[], posts: number): Promise<{ readonly ours: readonly number[]; readonly base: readonly number[] }> {
  const [ours, base]: [number[], number[]] = [[], []];
  for (let round = 0; round <= sizes.rounds; round++) {
    const audience = logs[round % logs.length]!;
    const measured = await rate(cluster, audience, posts);
    const r = await redisRate(cluster.redis, sizes.persons, sizes.basePushes);
    if (round === 0) continue;
    ours.push(measured);
    base.push(r);
  }
  return { ours, base };
}

const baseOf = (rates: readonly number[], lists: string) => ({ value: median(rates), unit: 'deliveries/s', of: `R: redis-benchmark -P 100 -c 4 rpushx on the same ${lists}` });
const fullLists = `${sizes.persons.toLocaleString('en')} full lists`;
const crowd = sizes.readers.toLocaleString('en');

async function benchPost({ cluster, prepare }: World, tell: Tell): Promise<Quantity[]> {
  const bytes = await prepare({ redis: 1, fanOut: 1, persons: sizes.persons, ids: sizes.ids });
  const logs = await audiences(cluster, sizes.audiences);
  tell(`one post to ${crowd}`);
  const { ours, base } = await compared(cluster, logs, 1);
  tell(`the last of ${crowd}`);
  const [times, firsts]: [number[], number[]] = [[], []];
  for (let post = 0; post < sizes.lastPosts; post++) {
    const made = await cluster.post(logs[post % logs.length]!);
    times.push((await cluster.all(made, sizes.readers)) - made.at);
    firsts.push(cluster.firstAt(made.id) - made.at);
    await cluster.drained();
    await checkOnce(cluster.redis, logs[post % logs.length]!.numbers, [made.id]);
  }
  const r = median([...base, await redisRate(cluster.redis, sizes.persons, sizes.basePushes)]);
  const allowed = (1.25 * sizes.readers * 1_000) / r + 50;
  return [
    { name: 'fan-out.post', ...ratio(ours, base), unit: 'ratio', goal: { atLeast: 0.95 }, base: baseOf(base, fullLists), of: `one post to ${crowd} present readers, one Redis` },
    { name: 'fan-out.last', value: quantile(times, 0.99), range: rangeOf(times), unit: 'ms', goal: { atMost: allowed }, base: { value: r, unit: 'deliveries/s', of: 'R; the goal is 1.25 × 50,000 / R + 50 ms' }, of: `until the last of ${crowd} has it, p99 of ${sizes.lastPosts} posts` },
    { name: 'fan-out.last-p50', value: median(times), unit: 'ms', of: 'the same, p50' },
    { name: 'fan-out.first-p50', value: median(firsts), range: rangeOf(firsts), unit: 'ms', of: 'until the first of them have it' },
    ...(bytes === undefined ? [] : [{ name: 'fan-out.memory', value: bytes, unit: 'bytes', goal: { atMost: 10.5 }, of: `memory of Redis for each id of ${fullLists}` } as const]),
  ];
}

async function benchBurst({ cluster, prepare }: World, tell: Tell): Promise<Quantity[]> {
  await prepare({ redis: 1, fanOut: 1, persons: sizes.persons, ids: sizes.ids });
  tell(`${sizes.burst} posts at once to ${crowd}`);
  const { ours, base } = await compared(cluster, await audiences(cluster, sizes.audiences), sizes.burst);
  return [{ name: 'fan-out.burst', ...ratio(ours, base), unit: 'ratio', goal: { atLeast: 5 }, base: baseOf(base, fullLists), of: `a burst of ${sizes.burst} posts to the same ${crowd}` }];
}

async function benchTwoRedis({ cluster, prepare }: World, tell: Tell): Promise<Quantity[]> {
  await prepare({ redis: 2, fanOut: 1, persons: sizes.persons, ids: sizes.ids });
  tell('two Redis');
  const { ours, base } = await compared(cluster, await audiences(cluster, sizes.audiences), 1);
  return [{ name: 'fan-out.two-redis', ...ratio(ours, base), unit: 'ratio', goal: { atLeast: 1.3 }, base: baseOf(base, 'full lists of one of them'), of: `one post to ${crowd} present readers, two Redis` }];
}

async function benchProcesses({ cluster, folder, prepare }: World, tell: Tell): Promise<Quantity[]> {
  const found: Quantity[] = [];
  for (const processes of [1, 2, 4]) {
    await prepare({ redis: 4, fanOut: processes, persons: sizes.persons, ids: sizes.ids });
    const logs = await audiences(cluster, sizes.processAudiences);
    tell(`${processes} fan-out processes on 4 Redis`);
    for (const log of logs) await cluster.all(await cluster.post(log), log.readers);
    await cluster.drained();
    const before = await cpuTimes(cluster.redis, cluster.processes, `${folder}/postgres`);
    const begun = performance.now();
    const made = await Promise.all(range(sizes.processPosts).map((post) => cluster.post(logs[post % logs.length]!)));
    for (const post of made) await cluster.all(post, sizes.readers);
    const seconds = (performance.now() - begun) / 1_000;
    await cluster.drained();
    const after = await cpuTimes(cluster.redis, cluster.processes, `${folder}/postgres`);
    const deliveries = sizes.processPosts * sizes.readers;
    const name = `fan-out.processes-${processes}`;
    const of = `${sizes.processPosts} posts of ${sizes.processAudiences} logs to ${crowd} each, ${processes} fan-out processes, 4 Redis`;
    found.push({ name, value: deliveries / seconds, unit: 'deliveries/s', of });
    for (const part of ['redis', 'node', 'postgres'] as const) {
      found.push({ name: `${name}.cpu-${part}`, value: (after[part] - before[part]) / deliveries, unit: 'µs', of: `CPU of ${part} for each of these deliveries` });
    }
  }
  return found;
}

/** Milliseconds of posts to a few readers, one after the other, while `going` says so. */
async function fewTimes(cluster: Cluster, audience: Audience, going: (post: number) => boolean): Promise<number[]> {
  const times: number[] = [];
  for (let post = 0; going(post); post++) {
    const made = await cluster.post(audience);
    times.push((await cluster.all(made, audience.readers)) - made.at);
    await new Promise((resolve) => setTimeout(resolve, sizes.fewPauseMs));
  }
  return times;
}

async function benchFair({ cluster, prepare }: World, tell: Tell): Promise<Quantity[]> {
  await prepare({ redis: 1, fanOut: 1, persons: sizes.million, ids: sizes.millionIds });
  const large = await cluster.follow(range(sizes.million));
  const few = await cluster.follow(range(sizes.few).map((number) => number * 97));
  tell('a small post, idle');
  const [idle, busy]: [number[], number[]] = [[], []];
  const end = performance.now() + sizes.fairMsMax;
  for (let round = 0; busy.length < sizes.fewPosts && (round === 0 || performance.now() < end); round++) {
    idle.push(...(await fewTimes(cluster, few, (post) => post < 60)));
    if (round === 0) tell('a small post, while a million are pushed to');
    const made = await cluster.post(large);
    let done = false;
    const delivered = cluster.all(made, large.readers).then(() => (done = true));
    const times = await fewTimes(cluster, few, () => !done);
    await delivered;
    await cluster.drained();
    // The first finds a million that has not begun, the last one that is over.
    busy.push(...times.slice(1, -1));
  }
  const base = quantile(idle, 0.99);
  return [
    { name: 'fan-out.fair', value: quantile(busy, 0.99) / base, unit: 'ratio', goal: { atMost: 2 }, base: { value: base, unit: 'ms', of: 'p99 of the same, idle' }, of: `a post to ${sizes.few} readers while a million are pushed to, p99` },
    { name: 'fan-out.fair-p50', value: median(busy) / median(idle), unit: 'ratio', base: { value: median(idle), unit: 'ms', of: 'p50 of the same, idle' }, of: 'the same, p50' },
  ];
}

async function benchMillion({ cluster, prepare }: World, tell: Tell): Promise<Quantity[]> {
  const bytes = await prepare({ redis: 1, fanOut: 1, persons: sizes.million, ids: sizes.millionIds });
  const large = await cluster.follow(range(sizes.million));
  tell('one post to a million');
  const [ours, base]: [number[], number[]] = [[], []];
  for (let round = 0; round <= sizes.millionRounds; round++) {
    const measured = await rate(cluster, large, 1);
    const r = await redisRate(cluster.redis, sizes.million, sizes.millionBasePushes);
    if (round === 0) continue;
    ours.push(measured);
    base.push(r);
  }
  const usage = await cluster.processes[0]!.usage();
  return [
    { name: 'fan-out.million', ...ratio(ours, base), unit: 'ratio', goal: { atLeast: 0.95 }, base: baseOf(base, `lists of ${sizes.millionIds}`), of: 'one post to a million present readers, one Redis' },
    { name: 'fan-out.million-rss', value: usage.rssMegabytesMax, unit: 'MB', of: 'memory of the fan-out process at its most' },
    ...(bytes === undefined ? [] : [{ name: 'fan-out.million-memory', value: bytes, unit: 'bytes', of: `memory of Redis for each id of lists of ${sizes.millionIds}` } as const]),
  ];
}

/** Posts to one reader each: what is left is the way to the handler and back. */
async function benchKafka({ cluster, prepare }: World, tell: Tell): Promise<Quantity[]> {
  await prepare({ redis: 1, fanOut: 1, persons: sizes.persons, ids: sizes.ids });
  const one = await cluster.follow([1]);
  tell('from the outbox to the handler');
  const times = await fewTimes(cluster, one, (post) => post < sizes.fewPosts);
  return [
    { name: 'fan-out.kafka-p50', value: median(times), unit: 'ms', of: 'from the outbox row over Kafka to one list, one post at a time' },
    { name: 'fan-out.kafka-p99', value: quantile(times, 0.99), unit: 'ms', of: 'the same, 99 of 100 are faster' },
  ];
}
