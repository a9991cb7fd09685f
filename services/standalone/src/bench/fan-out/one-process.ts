/**
 * From a post to the homes of 10,000 present local followers.
 *
 * Microblog, fan-out, their event log and the timelines run here as the composition root composes them,
 * without the HTTP rim: `home` and `post` measure that. The author signs up as everybody does. The
 * followers are happenings in the author's own log, as accepted follows are, appended in bulk at the
 * append port; microblog and fan-out hear of them by the event log and write down what follows from
 * that, each in its own tables. What a follow command would do besides (grants, counts, a microblog for each follower)
 * matters for who may see, and not for what is delivered. Followers are made present as a read makes them: by
 * rebuilding their list from microblog's snapshot.
 *
 *   one at a time  each post is sent when the one before it has arrived everywhere; what counts is the time
 *                  from handing it to the append port until a follower has it, for each follower of each post
 *   all at once    a burst, from its first post until the last follower has the last one. Its base are
 *                  the same ids pushed straight at the port of timelines, one push per slice
 *
 * At the end every list is read: an id that is missing, or there twice, is an error.
 */
import { PostgresEventLog } from '@dmb/event-log';
import type { AnswerOf, LogRef } from '@dmb/events';
import { FanOut, fanOutLimits, fanOutMigrations } from '@dmb/fan-out';
import { Microblog, microblogMigrations } from '@dmb/microblog';
import { migrate, openDatabases, openInstallation, startEmbeddedPostgres, type Databases } from '@dmb/postgres';
import { createEntry, domainIdOf, newMicroblogId, newObjectId, newPersonId, shardOf, type Domain, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';
import { Calls, silentLogger } from '@dmb/runtime';
import { MemoryLiveEvents, MemoryTimelines, type Push, type Reader, type Timelines } from '@dmb/timelines';
import { identityMigrations } from '@dmb/identity';
import type { Tell } from '../bench.ts';
import { withFolder } from '../disk.ts';
import type { Quantity } from '../quantities.ts';
import { inTurns, median, quantile, rangeOf, ratio } from '../rounds.ts';

const sizes = { followers: 10_000, singlePosts: 60, rounds: 5, burstPosts: 100, appendsAtOnce: 2_000, rebuildsAtOnce: 8 } as const;
const domain = 'bench.example' as Domain;

export async function benchOneProcess(tell: Tell): Promise<Quantity[]> {
  return await withFolder(async (folder) => {
    const postgres = await startEmbeddedPostgres({ dataDir: `${folder}/postgres` });
    const world = await World.open(postgres.url);
    try {
      tell(`making ${sizes.followers.toLocaleString('en')} followers`);
      await world.makeAuthor();
      await world.makeFollowers(sizes.followers);
      return await measure(world, tell);
    } finally {
      await world.close();
      await postgres.stop();
    }
  });
}

async function measure(world: World, tell: Tell): Promise<Quantity[]> {
  tell('posting, one at a time');
  const { arrivals } = world;
  const each: number[] = [];
  for (let post = 0; post < sizes.singlePosts; post++) {
    const begun = performance.now();
    const id = await world.post();
    for (const { at, readers } of await arrivals.all(id, sizes.followers)) for (let reader = 0; reader < readers; reader++) each.push(at - begun);
  }
  tell('posting, all at once');
  const delivered = sizes.burstPosts * sizes.followers;
  const rounds = await inTurns(sizes.rounds, {
    base: () => world.baseRate(sizes.burstPosts),
    ours: async () => {
      const begun = performance.now();
      const ids = await Promise.all(Array.from({ length: sizes.burstPosts }, () => world.post()));
      let last = begun;
      for (const id of ids) for (const { at } of await arrivals.all(id, sizes.followers)) last = Math.max(last, at);
      return (delivered * 1_000) / (last - begun);
    },
  });
  await world.checkHomes();
  const people = `the homes of ${sizes.followers.toLocaleString('en')} present followers`;
  return [
    { name: 'fan-out.p50', value: median(each), unit: 'ms', of: `from the append port to ${people}` },
    { name: 'fan-out.p99', value: quantile(each, 0.99), unit: 'ms', of: 'the same, 99 of 100 are faster' },
    { name: 'fan-out.rate', value: median(rounds.ours), range: rangeOf(rounds.ours), unit: 'deliveries/s', of: `bursts of ${sizes.burstPosts} posts to ${people}, accepting included` },
    { name: 'fan-out.ratio', ...ratio(rounds.ours, rounds.base), unit: 'ratio', base: { value: median(rounds.base), unit: 'deliveries/s', of: 'the same ids pushed straight at the port of timelines' }, of: 'the same' },
  ];
}

/** When which id came to how many readers. */
class Arrivals {
  private readonly byId = new Map<PostId, { readonly at: number; readonly readers: number }[]>();
  private wake: () => void = () => undefined;

  note(pushes: readonly Push[]): void {
    const at = performance.now();
    for (const { ids, readers } of pushes) {
      for (const id of ids) {
        const known = this.byId.get(id);
        if (known === undefined) this.byId.set(id, [{ at, readers: readers.length }]);
        else known.push({ at, readers: readers.length });
      }
    }
    this.wake();
  }

  /** Resolves when that many readers have it. */
  async all(id: PostId, readers: number): Promise<readonly { readonly at: number; readonly readers: number }[]> {
    for (;;) {
      const known = this.byId.get(id) ?? [];
      if (known.reduce((total, arrival) => total + arrival.readers, 0) >= readers) return known;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}

interface Person {
  readonly person: PersonId;
  readonly microblog: MicroblogId;
}

class World {
  readonly arrivals = new Arrivals();
  private readonly timelines = new MemoryTimelines();
  private readonly live = new MemoryLiveEvents();
  private readonly calls = new Calls();
  private readonly databases: Readonly<Record<'identity' | 'microblog' | 'fan-out', Databases>>;
  private readonly eventLog: PostgresEventLog;
  private readonly microblog: Microblog;
  private readonly fanOut: FanOut;
  private readonly readers: Reader[] = [];
  private readonly posted: PostId[] = [];
  private author: Person | undefined;
  private log: LogRef | undefined;

  private constructor(databases: Readonly<Record<'identity' | 'microblog' | 'fan-out', Databases>>) {
    this.databases = databases;
    this.eventLog = new PostgresEventLog({ producers: { identity: databases.identity, microblog: databases.microblog }, logger: silentLogger });
    const shared = { calls: this.calls, eventLog: this.eventLog, logger: silentLogger };
    this.microblog = new Microblog({ ...shared, databases: databases.microblog, config: { appendLanes: 2 }, domain });
    const observed: Timelines = new Proxy<Timelines>(this.timelines, {
      get: (inner, name) => {
        if (name === 'push') {
          return async (lane: number, position: bigint, pushes: readonly Push[]) => {
            await inner.push(lane, position, pushes);
            this.arrivals.note(pushes);
          };
        }
        const member: unknown = Reflect.get(inner, name, inner);
        return typeof member === 'function' ? (member.bind(inner) as unknown) : member;
      },
    });
    this.fanOut = new FanOut({ ...shared, config: { mergeReaders: 1_000_000_000 }, databases: databases['fan-out'], timelines: observed, live: this.live });
  }

  static async open(url: string): Promise<World> {
    const urls = [url];
    await openInstallation({ urls, domain });
    const migrations = { identity: identityMigrations, microblog: microblogMigrations, 'fan-out': fanOutMigrations } as const;
    const open = async (service: keyof typeof migrations): Promise<Databases> => {
      await migrate({ urls, service, migrations: await migrations[service]() });
      return await openDatabases({ urls, service, connectionsMax: 8, applicationName: `dmb bench ${service}` });
    };
    const world = new World({ identity: await open('identity'), microblog: await open('microblog'), 'fan-out': await open('fan-out') });
    await world.microblog.start();
    await world.fanOut.start();
    return world;
  }

  async makeAuthor(): Promise<void> {
    this.author = await this.signUp('author');
    const logs = await this.microblog.stores.microblogs.logsOf(this.author.microblog);
    if (logs === undefined) throw new Error('no logs');
    const { shard, log, epochNo } = logs.public;
    this.log = { shard, log, epochNo };
  }

  async makeFollowers(count: number): Promise<void> {
    const { author } = this;
    const logs = author === undefined ? undefined : await this.microblog.stores.microblogs.logsOf(author.microblog);
    if (logs === undefined) throw new Error('no author');
    const grants = (['public', 'followers'] as const).map((audience) => ({ log: logs[audience].log, audience, state: 'active', sees: true, from: 0 }) as const);
    const { shard, log, epochNo } = logs.own;
    const people = Array.from({ length: count }, () => newPersonId());
    await inParallel(count, sizes.appendsAtOnce, async (index) => {
      const objectId = newObjectId(shard);
      const actor = { id: newMicroblogId(), handle: `follower_${index}@${domain}` };
      const person = people[index];
      if (person === undefined) throw new Error('no person');
      const entry = createEntry('happening', objectId, Date.now(), { what: 'follow-accepted', actor, person, grants, shown: 'everybody' });
      await this.microblog.appender.append({ log: { shard, log, epochNo }, kind: 'happening', ...entry, what: 'follow-accepted', replyToMicroblog: actor.id });
    });
    await this.microblog.drain();
    await this.fanOut.drain();
    await inParallel(count, sizes.rebuildsAtOnce, async (index) => {
      const person = people[index];
      if (person === undefined) throw new Error('no person');
      const reader = { shard: shardOf(person), person };
      await this.timelines.rebuild(reader, () => this.calls.call('microblog.snapshot', { person, before: null, limit: 800 }));
      this.readers.push(reader);
    });
  }

  /** Posts as the author; resolves with the id when it is accepted. */
  async post(): Promise<PostId> {
    const { log } = this;
    if (log === undefined) throw new Error('no author');
    const objectId = newObjectId(log.shard);
    const entry = createEntry('post', objectId, Date.now(), { type: 'Note', content: 'x'.repeat(140) });
    const { id } = await this.microblog.appender.append({ log, kind: 'post', ...entry, listed: true });
    this.posted.push(id);
    return id;
  }

  /** Deliveries per second of ids pushed straight at the port. These land in lists of the same persons in a store of its own. */
  async baseRate(posts: number): Promise<number> {
    const store = new MemoryTimelines();
    for (const reader of this.readers) await store.rebuild(reader, () => Promise.resolve({ ids: [], exactFrom: 0n as PostId }));
    const slices = Array.from({ length: Math.ceil(this.readers.length / fanOutLimits.sliceReadersMax) }, (_, slice) =>
      this.readers.slice(slice * fanOutLimits.sliceReadersMax, (slice + 1) * fanOutLimits.sliceReadersMax),
    );
    const begun = performance.now();
    let position = 0n;
    for (let post = 0; post < posts; post++) {
      const ids = [BigInt(post + 1) as PostId];
      for (const readers of slices) await store.push(0, ++position, [{ ids, readers }]);
    }
    const rate = (posts * this.readers.length * 1_000) / (performance.now() - begun);
    await store.close();
    return rate;
  }

  /** @throws if a home has not every post exactly once */
  async checkHomes(): Promise<void> {
    const expected = this.posted.toSorted((a, b) => (a > b ? -1 : 1)).slice(0, 400);
    for (const reader of this.readers) {
      const read = await this.timelines.read(reader);
      if (read.state !== 'present' || expected.some((id, index) => read.ids[index] !== id)) throw new Error(`the home of ${reader.person} is not what was posted`);
    }
  }

  async close(): Promise<void> {
    await this.fanOut.stop();
    await this.microblog.stop();
    await this.eventLog.close();
    await Promise.all(Object.values(this.databases).map((databases) => databases.close()));
  }

  private async signUp(handle: string): Promise<Person> {
    const names = { domain: domainIdOf(domain), handle, reservation: handle };
    const person = newPersonId();
    const microblog = newMicroblogId();
    const reserved: AnswerOf<'microblog.reserve-handle'> = await this.calls.call('microblog.reserve-handle', names);
    if (reserved.outcome !== 'reserved') throw new Error(`the handle ${handle} is ${reserved.outcome}`);
    await this.calls.call('microblog.create', { ...names, microblog, owner: person, personal: true, title: handle, locale: null });
    await this.calls.call('microblog.confirm-handle', { ...names, microblog });
    return { person, microblog };
  }
}

async function inParallel(count: number, atOnce: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let index = next++; index < count; index = next++) await work(index);
    }),
  );
}
