/**
 * Timelines on Redis: one list of ids for each present reader.
 *
 * **Pushing** turns pushes into the text of their commands, one text for each node, and hands each to the
 * {@link Link} of the node. A lane has at most `flushesOutMax` flushes out to a node, one behind the other on one connection, so that
 * the node never waits for us; what is pushed meanwhile waits, and goes out together as the next. A flush ends with its marks, in the
 * same text, hence applied after all of it:
 *   <lane>             the highest position of the lane, for whoever asks `applied`
 *   <lane>.<writer>    the last flush of this process there, numbered by the time; several processes push, each has its own
 * `RPUSHX` on an absent list does nothing, so no list is created by pushing.
 *
 * **Bulk** has a connection of its own. Redis reads 16 KiB from a connection before it turns to the next one, so whatever else
 * is pushed waits for some 150 commands of a million at most, however many of them are on their way.
 *
 * **Commands refused.** MOVED and ASK: the commands named by them are sent again, by the new table, or to the node
 * named. Anything else (out of memory, loading, read-only) fails the push: its consumer keeps its
 * position and pushes all of it again, and ids that were there already are doubles that reading drops. A node that
 * says that it only reads, or loads, loses its connection, so that the next one is looked at again.
 *
 * **A failover that lost the last writes** shows when a connection is made, and only then: whoever was promoted, or came
 * back with an older state, was not connected to us before. Each new connection compares our own marks with what we
 * flushed. All missing: it was emptied; what lists it has are removed. Lower: everything that was written after the moment that the
 * mark tells is gone, in the order in which it was written, and nothing before it. Before anything else is pushed there, whoever pushes
 * is asked (`onLoss`): it names the lists to be removed again, and pushes the rest again by and by; ids that come late, or
 * twice, are sorted when read. Without an answer all lists of the node are removed, and its readers rebuild from Postgres.
 *
 * **Reading** takes the whole list in one command, and sorts its unordered tail ({@link IdList}). Above
 * `readLengthFactor` times its length the list is cut in the background. One that is pushed to and never read is cut when a push
 * finds it `unreadLengthFactor` times too long.
 *
 * **Rebuilding**: `begin` takes the lock and places a building sentinel; then the snapshot; then `finish`
 * adds its ids if that sentinel is still there, else all starts again. A crash in between leaves the
 * sentinel for 30 s and the lock for 40; readers go to Postgres meanwhile. See scripts.ts.
 *
 * Memory is Redis's to bound: lists, locks and buckets all expire, marks do not, so a server with `maxmemory` and
 * `maxmemory-policy volatile-lru` forgets the timelines that were touched longest ago and nothing else. A list that was
 * evicted is absent.
 */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { PostId } from '@dmb/protocol';
import { IdList } from '../id-list.ts';
import { assertTimelineLimits, redisLimits, timelineLimits, type TimelineLimits } from '../limits.ts';
import type { LossAnswer, Push, PushOptions, Reader, StoreLoss, TimelineRead, Timelines, TimelineSnapshot } from '../ports.ts';
import { listKey, listPrefix, lockKey } from './keys.ts';
import { Link } from './link.ts';
import { isElsewhere, movedTo, unavailable, type NodeTable, type RedisNode, type RedisNodes } from './nodes.ts';
import { abortScript, beginScript, cutScript, cutUnreadScript, evaluate, finishScript, renewScript } from './scripts.ts';
import { commandsAt, markText, textsOf } from './texts.ts';

/** Commands for one node, and whoever waits for them. */
interface Part {
  readonly text: string;
  readonly commands: number;
  settle(result: PartResult): void;
}

/** What became of a part: places within it. */
type PartResult = { readonly errors: ReadonlyMap<number, string>; readonly long: readonly number[] } | { readonly failed: unknown };

/** One lane at one node. */
interface Lane {
  readonly name: string;
  readonly link: Link;
  waiting: Part[];
  /** Flushes on their way. */
  out: number;
}

/** What we do at one node. */
interface Pusher {
  readonly link: Link;
  /** Made when something large is pushed for the first time. */
  bulk: Link | undefined;
  readonly lanes: Map<string, Lane>;
}

/** Our flushes of one lane, as the marks of a node should have them. */
interface Flushed {
  readonly first: number;
  last: number;
}

export interface RedisTimelinesOptions {
  readonly nodes: RedisNodes;
  readonly limits?: Partial<Pick<TimelineLimits, 'idsPerTimelineMax' | 'idleMsMax' | 'sentinelMsMax' | 'rebuildLockMsMax' | 'rebuildAttemptsMax'>>;
}

/** The lane of removals. It has no position: only its flushes are counted. */
const removals = 'r';
/** Flushes are numbered by the millisecond, with room for several in one. */
const flushesPerMs = 1_024;
const nonce = (): string => randomBytes(3).toString('base64url');

/** Timelines in Redis, shared by all processes of an installation. */
export class RedisTimelines implements Timelines {
  private readonly nodes: RedisNodes;
  private readonly limits: TimelineLimits;
  /** Names this process among those that push. Begins with the time, so that the oldest sorts first. */
  private readonly writer = `${Date.now().toString(36)}${randomBytes(4).toString('hex')}`;
  private readonly pushers = new Map<RedisNode, Pusher>();
  /** Which of our flushes each field of the marks should tell of, by place of the marks. */
  private readonly flushed = new Map<string, Map<string, Flushed>>();
  /** New connections to a node are looked at one after the other. */
  private readonly looking = new Map<RedisNode, Promise<void>>();
  private answerLoss: ((loss: StoreLoss) => Promise<LossAnswer>) | undefined;
  private readonly highest = new Map<string, bigint>();
  /** When this process renewed the expiry of a list, the one renewed longest ago first. */
  private readonly renewed = new Map<string, number>();
  /** Readers whose lists a push found too long. */
  private readonly cuts = new Map<string, Reader>();
  private readonly background = new Set<Promise<unknown>>();
  private readonly stopListening: () => void;
  private flushes = 0;
  private rebuilds = 0;
  private cutting = false;

  constructor(options: RedisTimelinesOptions) {
    this.nodes = options.nodes;
    this.limits = { ...timelineLimits, ...options.limits };
    assertTimelineLimits(this.limits);
    this.stopListening = this.nodes.onTable(() => this.forgetNodes());
  }

  async push(lane: number, position: bigint, pushes: readonly Push[], { bulk = false }: PushOptions = {}): Promise<void> {
    const name = String(lane);
    const highest = this.highest.get(name);
    if (highest === undefined || highest < position) this.highest.set(name, position);
    await this.deliver(
      name,
      pushes.filter(({ ids }) => ids.length > 0),
      bulk,
    );
  }

  onLoss(answer: (loss: StoreLoss) => Promise<LossAnswer>): void {
    this.answerLoss = answer;
  }

  async applied(lane: number): Promise<bigint | undefined> {
    const { nodes, marks } = this.nodes.table;
    try {
      if (nodes.length === 0) throw new Error('no node is known');
      const found = await Promise.all(nodes.map((node) => node.commands.hget(marks.get(node) ?? '', String(lane))));
      // A node without a mark was emptied: there is nothing to repeat.
      const positions = found.filter((mark) => mark !== null).map(BigInt);
      return positions.length === 0 ? undefined : positions.reduce((least, position) => (position < least ? position : least));
    } catch (error) {
      throw unavailable(error);
    }
  }

  async read(reader: Reader): Promise<TimelineRead> {
    return this.answer(reader, await this.nodes.run(reader.shard, (redis) => redis.lrange(listKey(reader.shard, reader.person), 0, -1)));
  }

  async rebuild(reader: Reader, load: () => Promise<TimelineSnapshot>): Promise<TimelineRead> {
    const token = randomBytes(9).toString('base64url');
    const { rebuildLockMsMax, sentinelMsMax, rebuildAttemptsMax } = this.limits;
    let begun = false;
    try {
      for (let attempt = 1; attempt <= rebuildAttemptsMax; attempt++) {
        const placed = await this.script(reader, beginScript, [token, rebuildLockMsMax, sentinelMsMax]);
        if (placed === 2) return await this.read(reader);
        if (placed !== 1) return { state: 'rebuilding' };
        if (!begun) this.rebuilds++;
        begun = true;
        const found = await this.finish(reader, token, await load());
        if (found.length > 0) return this.answer(reader, found);
      }
      await this.script(reader, abortScript, [token]);
      return { state: 'absent' };
    } catch (error) {
      // Should this fail too, what is left expires; the first error is what the caller needs to know.
      if (begun) await this.script(reader, abortScript, [token]).catch(() => undefined);
      throw error;
    }
  }

  async remove(readers: readonly Reader[]): Promise<void> {
    if (readers.length > 0) await this.deliver(removals, [{ ids: [], readers }]);
  }

  async clear(): Promise<void> {
    this.flushed.clear();
    this.highest.clear();
    this.renewed.clear();
    const { nodes, marks } = this.nodes.table;
    try {
      for (const node of nodes) {
        await removeLists(node.commands);
        await node.commands.del(marks.get(node) ?? '');
      }
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** An estimate where there are many lists: of all processes together, but the rebuilds of this one. */
  async statistics(): Promise<{ readonly present: number; readonly ids: number; readonly rebuilds: number }> {
    try {
      const counts = await Promise.all(this.nodes.table.nodes.map(({ commands }) => countLists(commands)));
      const sum = (of: 'present' | 'ids'): number => Math.round(counts.reduce((total, count) => total + count[of], 0));
      return { present: sum('present'), ids: sum('ids'), rebuilds: this.rebuilds };
    } catch (error) {
      throw unavailable(error);
    }
  }

  async close(): Promise<void> {
    this.stopListening();
    this.cuts.clear();
    await Promise.allSettled(this.background);
    for (const { link, bulk } of this.pushers.values()) for (const each of [link, bulk]) each?.close();
    const { nodes, marks } = this.nodes.table;
    // Nobody compares them any more. Should Redis be away, they go with those of the oldest writers.
    const removed = nodes.map(async (node) => {
      const fields = [...(this.flushed.get(this.marksAt(node)) ?? new Map<string, Flushed>()).keys()];
      if (fields.length > 0) await node.commands.hdel(marks.get(node) ?? '', ...fields);
    });
    await Promise.allSettled(removed);
    this.pushers.clear();
    this.flushed.clear();
  }

  /** Sends the commands of `work` until each was applied; a push without ids removes. */
  private async deliver(lane: string, work: readonly Push[], bulk = false): Promise<void> {
    let rest = work;
    for (let attempt = 1; ; attempt++) {
      const { table } = this.nodes;
      const texts = textsOf(table, rest);
      // Every node gets the mark, so that the marks of a lane agree; a repetition goes where there is something to do.
      const targets = table.nodes.filter((node) => (attempt === 1 && lane !== removals) || texts.has(node));
      const results = await Promise.all(targets.map((node) => this.enqueue(node, lane, bulk, texts.get(node))));
      const again = this.nodes.mode === 'nodes' ? [] : commandsAt(table, rest, undefined).map(({ command }) => command);
      let moved: string | undefined;
      for (const [index, result] of results.entries()) {
        const node = targets[index]!;
        if ('failed' in result) {
          void this.nodes.refresh();
          throw unavailable(result.failed, node);
        }
        for (const { command } of commandsAt(table, rest, node, new Set(result.long))) this.cutLater(command.readers[0]!);
        if (result.errors.size === 0) continue;
        for (const { place, command } of commandsAt(table, rest, node, result.errors)) {
          const error = new Error(result.errors.get(place));
          if (this.nodes.mode === 'nodes' || !isElsewhere(error)) throw unavailable(error, node);
          moved ??= movedTo(error);
          if (!(await this.isAsked(error.message, command))) again.push(command);
        }
      }
      if (again.length === 0 && table.nodes.length > 0) return;
      if (attempt > redisLimits.redirectsMax) throw unavailable(new Error('no node has the shard'));
      if (attempt > 1) await new Promise((resolve) => setTimeout(resolve, redisLimits.redirectPauseMs * attempt));
      await this.nodes.refresh(moved);
      rest = again;
    }
  }

  /** While a slot moves, absent keys are asked for at its new node; whether that was said, and done. */
  private async isAsked(error: string, { ids, readers: [reader] }: Push): Promise<boolean> {
    const name = /^ASK \d+ (\S+)/.exec(error)?.[1];
    const node = this.nodes.table.nodes.find((each) => each.name === name);
    if (node === undefined || reader === undefined) return false;
    const key = listKey(reader.shard, reader.person);
    const asked = node.commands.pipeline().call('ASKING');
    const replies = await (ids.length === 0 ? asked.unlink(key) : asked.rpushx(key, ...ids.map(String))).exec();
    return replies?.every(([failed]) => failed === null) ?? false;
  }

  private enqueue(node: RedisNode, name: string, bulk: boolean, work: { readonly text: string; readonly commands: number } = { text: '', commands: 0 }): Promise<PartResult> {
    return new Promise((settle) => {
      const pusher = this.pusherOf(node);
      let lane = pusher.lanes.get(name);
      if (lane === undefined) pusher.lanes.set(name, (lane = { name, link: bulk ? this.bulkLink(node, pusher) : pusher.link, waiting: [], out: 0 }));
      lane.waiting.push({ ...work, settle });
      if (lane.out < redisLimits.flushesOutMax) void this.flushLane(node, lane);
    });
  }

  /** Flushes what waits in a lane until nothing does. Never throws. */
  private async flushLane(node: RedisNode, lane: Lane): Promise<void> {
    lane.out++;
    while (lane.waiting.length > 0) {
      let bytes = 0;
      const end = lane.waiting.findIndex(({ text }) => (bytes += text.length) > redisLimits.flushBytesMax);
      const parts = lane.waiting.splice(0, end < 0 ? lane.waiting.length : Math.max(end, 1));
      try {
        await this.flushParts(node, lane.link, lane.name, parts);
      } catch (error) {
        for (const { settle } of parts) settle({ failed: error });
      }
    }
    lane.out--;
  }

  private async flushParts(node: RedisNode, link: Link, lane: string, parts: readonly Part[]): Promise<void> {
    const commands = parts.reduce((sum, part) => sum + part.commands, 0);
    const field = `${lane}.${this.writer}`;
    const flush = (this.flushes = Math.max(this.flushes + 1, Date.now() * flushesPerMs));
    const highest = this.highest.get(lane);
    const marks = this.nodes.table.marks.get(node);
    if (marks === undefined) throw new Error('no node has shard: this one has left');
    const mark = markText(marks, highest === undefined ? [[field, flush]] : [[lane, highest], [field, flush]]);
    const longAbove = Math.ceil(redisLimits.unreadLengthFactor * this.limits.idsPerTimelineMax);
    const { errors, long } = await link.flush(parts.map(({ text }) => text).join('') + mark, commands + 1, longAbove);
    const [isRefused] = [...errors.values()].filter((error) => /^(READONLY|LOADING|MASTERDOWN)/.test(error));
    // Somebody else is at that address, or what was there is no longer itself: the next connection is looked at again.
    if (isRefused !== undefined) link.abandon(new Error(isRefused));
    const markError = errors.get(commands);
    if (markError === undefined) {
      this.noteFlush(node, field, flush);
    } else if (!isElsewhere(new Error(markError))) {
      throw new Error(markError);
    }
    let first = 0;
    for (const part of parts) {
      const within = (place: number): boolean => place >= first && place < first + part.commands;
      part.settle({
        errors: new Map([...errors].filter(([place]) => within(place)).map(([place, error]) => [place - first, error])),
        long: long.filter(within).map((place) => place - first),
      });
      first += part.commands;
    }
  }

  private noteFlush(node: RedisNode, field: string, flush: number): void {
    const place = this.marksAt(node);
    let fields = this.flushed.get(place);
    if (fields === undefined) this.flushed.set(place, (fields = new Map()));
    const known = fields.get(field);
    if (known === undefined) fields.set(field, { first: flush, last: flush });
    else known.last = Math.max(known.last, flush);
  }

  private pusherOf(node: RedisNode): Pusher {
    let pusher = this.pushers.get(node);
    if (pusher === undefined) {
      pusher = { link: new Link(node, (redis) => this.prepare(node, redis)), bulk: undefined, lanes: new Map() };
      this.pushers.set(node, pusher);
    }
    return pusher;
  }

  private bulkLink(node: RedisNode, pusher: Pusher): Link {
    return (pusher.bulk ??= new Link(node, (redis) => this.prepare(node, redis)));
  }

  /** Looks at who answers on a new connection: a master that has everything that we flushed there. */
  private async prepare(node: RedisNode, redis: Redis): Promise<void> {
    const before = this.looking.get(node);
    const looked = (async () => {
      await before?.catch(() => undefined);
      const [role] = (await redis.role()) as [string];
      if (role !== 'master') throw new Error('READONLY it is a replica');
      const marks = this.nodes.table.marks.get(node);
      if (marks === undefined) return;
      await this.compare(node, redis, marks);
      await removeOldWriters(redis, marks);
    })();
    this.looking.set(node, looked);
    await looked;
  }

  /** Compares the marks of a node with what we flushed there, and mends what is missing. */
  private async compare(node: RedisNode, redis: Redis, marks: string): Promise<void> {
    const expected = this.flushed.get(this.marksAt(node));
    if (expected === undefined || expected.size === 0) return;
    const found = await redis.hmget(marks, ...expected.keys());
    const lost = [...expected.values()].flatMap(({ first, last }, index) => {
      const mark = found[index];
      if (mark === null || mark === undefined) return [first - 1];
      return Number(mark) < last ? [Number(mark)] : [];
    });
    if (lost.length === 0) return;
    const sinceMs = Math.floor(Math.min(...lost) / flushesPerMs);
    const wasEmptied = found.every((mark) => mark === null);
    const holds = (shard: number): boolean => this.nodes.table.byShard[shard] === node;
    const answer = wasEmptied ? undefined : await this.answerLoss?.({ sinceMs, holds });
    const { logger } = this.nodes;
    if (answer === undefined || answer === 'remove all') {
      const removed = await removeLists(redis);
      logger.warn('Redis came back without what was written last; its timelines are rebuilt as they are read', { node: node.name, removed });
    } else {
      const removed = answer.removed.filter(({ shard }) => holds(shard));
      await unlinkAll(redis, removed.map(({ shard, person }) => listKey(shard, person)));
      logger.warn('Redis came back without what was written last; it is written again', { node: node.name, sinceMs, removed: removed.length });
    }
    expected.clear();
  }

  /** Where the marks of a node are compared: its place in the list, or a shard of it, whoever has that now. */
  private marksAt(node: RedisNode): string {
    return this.nodes.mode === 'nodes' ? node.name : (this.nodes.table.marks.get(node) ?? '');
  }

  private forgetNodes(): void {
    const { nodes } = this.nodes.table;
    for (const [node, { link, bulk }] of this.pushers) {
      if (nodes.includes(node)) continue;
      this.pushers.delete(node);
      this.looking.delete(node);
      for (const each of [link, bulk]) each?.close();
    }
  }

  private async finish(reader: Reader, token: string, snapshot: TimelineSnapshot): Promise<readonly string[]> {
    const { idsPerTimelineMax, idleMsMax } = this.limits;
    const ids = snapshot.ids.slice(0, idsPerTimelineMax);
    const exactFrom = snapshot.ids.length > ids.length ? ids.at(-1)! : snapshot.exactFrom;
    // Rising, as what is pushed will go on.
    const found = await this.script(reader, finishScript, [token, sentinelOf(exactFrom), idleMsMax, ...ids.toReversed().map(String)]);
    this.remember(reader);
    return found as string[];
  }

  private script(reader: Reader, script: string, args: readonly (string | number)[]): Promise<unknown> {
    const { shard, person } = reader;
    return this.nodes.run(shard, (redis) => evaluate(redis, script, [listKey(shard, person), lockKey(shard, person)], args));
  }

  /** What a reader is told who finds these elements. */
  private answer(reader: Reader, found: readonly string[]): TimelineRead {
    const [head] = found;
    if (head?.startsWith('b') === true) return { state: 'rebuilding' };
    const above = /^=(-?\d+)\./.exec(head ?? '')?.[1];
    // A list without a sentinel is none of ours; a rebuild replaces it.
    if (head === undefined || above === undefined) return { state: 'absent' };
    const { idsPerTimelineMax } = this.limits;
    const list = new IdList(idsPerTimelineMax, Math.max(found.length - idsPerTimelineMax, 0));
    list.raiseExactFrom(BigInt(above) + 1n);
    for (let index = 1; index < found.length; index++) list.add(BigInt(found[index]!));
    const ids = list.read() as readonly PostId[];
    const exactFrom = list.exactFrom as PostId;
    if (found.length - 1 > redisLimits.readLengthFactor * idsPerTimelineMax) this.inBackground(this.cut(reader, found, ids, exactFrom));
    else this.renew(reader, head);
    return { state: 'present', ids, exactFrom };
  }

  /** Cuts a list to what a read of it has shown. */
  private async cut(reader: Reader, found: readonly string[], ids: readonly PostId[], exactFrom: PostId): Promise<void> {
    const head = found.length - 1 - this.limits.idsPerTimelineMax;
    const kept = new Set(found.slice(head + 1));
    const shown = new Set(ids.map(String));
    const rescued = [...new Set(found.slice(1, head + 1))].filter((id) => shown.has(id) && !kept.has(id));
    await this.script(reader, cutScript, [found[0]!, sentinelOf(exactFrom), head, ...rescued]);
  }

  /** Has a list cut that a push found too long, unless too many wait. */
  private cutLater(reader: Reader): void {
    if (this.cuts.size >= redisLimits.cutsWaitingMax) return;
    this.cuts.set(reader.person, reader);
    if (!this.cutting) this.inBackground(this.cutUnread());
  }

  private async cutUnread(): Promise<void> {
    const { idsPerTimelineMax } = this.limits;
    this.cutting = true;
    try {
      for (const [person, reader] of this.cuts) {
        this.cuts.delete(person);
        await this.script(reader, cutUnreadScript, [idsPerTimelineMax, Math.ceil(redisLimits.unreadLengthFactor * idsPerTimelineMax), nonce()]);
      }
    } finally {
      this.cutting = false;
    }
  }

  /** Moves the expiry of a list that is read, now and then. */
  private renew(reader: Reader, head: string): void {
    const before = this.renewed.get(reader.person);
    if (before !== undefined && Date.now() - before < redisLimits.renewEveryMs) return;
    this.remember(reader);
    this.inBackground(this.script(reader, renewScript, [head, this.limits.idleMsMax]));
  }

  private remember({ person }: Reader): void {
    this.renewed.delete(person);
    this.renewed.set(person, Date.now());
    if (this.renewed.size <= redisLimits.renewedMax) return;
    const [oldest] = this.renewed.keys();
    this.renewed.delete(oldest!);
  }

  /** Work that may fail: the next read does it again. */
  private inBackground(work: Promise<unknown>): void {
    const settled = work.catch((error: unknown) => this.nodes.logger.debug('tending a timeline failed', { error })).finally(() => this.background.delete(settled));
    this.background.add(settled);
  }
}

const sentinelOf = (exactFrom: bigint): string => `=${exactFrom - 1n}.${nonce()}`;

/** Goes through the lists of one server, `scanKeys` at a time, until `visit` has seen enough. */
async function scanLists(redis: Redis, visit: (keys: readonly string[]) => Promise<boolean | void>): Promise<void> {
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', `${listPrefix}*`, 'COUNT', redisLimits.scanKeys);
    if ((await visit(keys)) === true) return;
    cursor = next;
  } while (cursor !== '0');
}

/** Removes every list of one server; answers how many. */
async function removeLists(redis: Redis): Promise<number> {
  let removed = 0;
  await scanLists(redis, async (keys) => {
    await unlinkAll(redis, keys);
    removed += keys.length;
  });
  return removed;
}

async function unlinkAll(redis: Redis, keys: readonly string[]): Promise<void> {
  for (let from = 0; from < keys.length; from += redisLimits.scanKeys) {
    const pipeline = redis.pipeline();
    // One by one: in a cluster a command must not name keys of two slots.
    for (const key of keys.slice(from, from + redisLimits.scanKeys)) pipeline.unlink(key);
    for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
  }
}

/** How many lists one server has, and how many ids in them. */
async function countLists(redis: Redis): Promise<{ readonly present: number; readonly ids: number }> {
  const size = await redis.dbsize();
  const { scanKeys, countKeysMax, countLengthsMax } = redisLimits;
  let looked = 0;
  let present = 0;
  const lengths: number[] = [];
  await scanLists(redis, async (keys) => {
    present += keys.length;
    looked += scanKeys;
    const sample = keys.slice(0, countLengthsMax - lengths.length);
    lengths.push(...(await Promise.all(sample.map((key) => redis.llen(key)))));
    return looked >= countKeysMax;
  });
  const share = looked >= countKeysMax ? Math.max(size / looked, 1) : 1;
  const ids = lengths.reduce((sum, length) => sum + Math.max(length - 1, 0), 0) / Math.max(lengths.length, 1);
  return { present: present * share, ids: ids * present * share };
}

/** Removes the marks of writers that began long ago, while there are too many. */
async function removeOldWriters(redis: Redis, marks: string): Promise<void> {
  const fields = await redis.hkeys(marks);
  const writers = [...new Set(fields.flatMap((field) => field.split('.')[1] ?? []))].toSorted();
  const old = new Set(writers.slice(0, Math.max(writers.length - redisLimits.writersMax, 0)));
  const removed = fields.filter((field) => old.has(field.split('.')[1] ?? ''));
  if (removed.length > 0) await redis.hdel(marks, ...removed);
}
