/**
 * One consumer group on Kafka, as one process takes part in it.
 *
 * A {@link Member} fetches; each assigned partition has a {@link Lane} that holds what waits. A lane has at most one
 * batch with the handler, and all messages of a key are in one partition: that is the order per key,
 * and why concurrent calls never share one. A bounded number of lanes work at the same time. What a
 * lane has handled it says to the committer, which sends one commit at a time for all of them.
 *
 * **The position of a group** is the committed offset of each partition *with its metadata*, which we set to the
 * ids of the cluster and the topic (`<cluster id>/<topic id>`). An offset without it, with
 * another one, or outside what the partition still holds is no position: the topic was deleted and made again, the broker was
 * wiped, offsets have expired, events were removed before we came, the group is new. Then `onLost` is called, after
 * that the earliest offset is committed under the ids of now, and only then anything is handled. So a
 * group that dies before it has been told is told again, whatever process goes on; and a consumer that commits an old
 * number into a new topic does not deceive anybody, because it commits the old ids with it. (A
 * table of our own would have to be in every consumer's schema and kept equal by two systems.)
 *
 * **When that is looked at:** whenever partitions are assigned, and the ids alone every `verifyMs`. Nothing of a partition
 * is fetched before.
 *
 * **A rebalance** in the middle of a batch: running handlers may end (bounded) and are committed before the member joins again.
 * A handler that takes longer goes on while another member handles the same events; its result is not committed. Partitions that stay
 * with us begin again at the committed offset; what is below the lane's position is dropped.
 *
 * **A handler that rejects** holds up its lane, longer each time. **A consumer that dies** (broker away, kicked out,
 * a fault of the client) is replaced by another member, with pauses; after `unhealthyAfterMs` the group says so.
 * **A crash** brings back what was not committed.
 *
 * What is fetched and waits is bounded per partition and per group; beyond, partitions are held back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs';
import { AppError, type Logger } from '@dmb/runtime';
import type { TopicName } from '@dmb/events';
import { decode } from '../decode.ts';
import type { KafkaLimits } from '../limits.ts';
import type { LogEvent, PoisonEvent, SubscribeOptions, Subscription } from '../port.ts';
import { inConsumerSpan } from '../trace.ts';
import type { Identity, KafkaView } from './client.ts';
import { Lane } from './lane.ts';
import { Member, type Assignment } from './member.ts';
import { fromMessage } from './messages.ts';
import { committedOffsets, partitionBounds, tagOf } from './positions.ts';

export interface KafkaSubscriptionOptions {
  readonly subscribe: SubscribeOptions;
  readonly kafka: Kafka;
  readonly view: KafkaView;
  readonly groupId: string;
  /** Kafka's name of a topic, and what it is without prefix. */
  readonly topicNames: ReadonlyMap<string, string>;
  /** Makes what is not there. */
  readonly ensureTopics: () => Promise<void>;
  /** Resolves when the outboxes of this process have nothing left that was committed before the call. */
  readonly drainOutboxes: () => Promise<void>;
  readonly limits: KafkaLimits;
  readonly logger: Logger;
  readonly onStopped: () => void;
}

/** What one turn of a lane takes. */
interface Batch {
  readonly messages: readonly KafkaMessage[];
  readonly events: readonly LogEvent[];
  readonly poison: readonly PoisonEvent[];
}

/** A partition whose position is none. */
interface LostPosition {
  readonly lane: Lane;
  /** The earliest offset. */
  readonly low: bigint;
  /** Nothing was ever committed of this very topic, and nothing of it was removed. */
  readonly isNew: boolean;
}

/** A running group. */
export class KafkaSubscription implements Subscription {
  readonly name: string;
  readonly #options: KafkaSubscriptionOptions;
  readonly #limits: KafkaLimits;
  readonly #logger: Logger;
  readonly #wanted: ReadonlySet<TopicName>;
  readonly #topics: readonly string[];
  readonly #lanes = new Map<string, Lane>();
  readonly #queue: Lane[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  /** After what runs has ended and is committed. */
  readonly #leaving = new AbortController();
  readonly #uncommitted = new Set<Lane>();
  #member: Member | undefined;
  #assigned: readonly Lane[] = [];
  /** Counts assignments: what was begun under an earlier one is not finished under the next. */
  #assignment = 0;
  #isJoining = false;
  #committing: Promise<void> | undefined;
  #settling: Promise<void> = Promise.resolve();
  #recovering: Promise<void> | undefined;
  #recoveringSince: number | undefined;
  /** Topics, by their ids, that this process was told of after they had been made. */
  readonly #heard = new Set<string>();
  /** Since when nothing can be handled, because the group is not joined or not verified. */
  #outSince: number | undefined = Date.now();
  #isTold = false;
  #life: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;

  constructor(options: KafkaSubscriptionOptions) {
    this.#options = options;
    this.name = options.subscribe.group;
    this.#limits = options.limits;
    this.#logger = options.logger;
    this.#wanted = new Set(options.subscribe.topics);
    this.#topics = [...options.topicNames.keys()];
  }

  /** Begins to take part; goes on trying while the broker is away. */
  start(): void {
    this.#life = this.#live();
  }

  isHealthy(): boolean {
    const now = Date.now();
    const since = [this.#recoveringSince, this.#outSince, ...this.#assigned.map(({ failingSince }) => failingSince)].filter((at) => at !== undefined);
    if (now - Math.min(now, ...since) >= this.#limits.unhealthyAfterMs) return false;
    // A loop of the client that has come to a stop tells nobody.
    return this.#member === undefined || this.#member.isAlive || now - this.#member.aliveAt < this.#limits.unhealthyAfterMs;
  }

  async drain(): Promise<void> {
    await this.#options.drainOutboxes();
    let identity: string | undefined;
    let ends = new Map<string, bigint>();
    for (;;) {
      if (this.#stopping.signal.aborted) throw new AppError('unavailable', undefined, { detail: `group ${this.name} was stopped before it had handled everything` });
      try {
        const now = await this.#options.view.identity(this.#topics);
        const tags = this.#topics.map((topic) => tagOf(now, topic)).join();
        if (tags !== identity) {
          ends = await this.#ends(now);
          identity = tags;
        }
        if (await this.#hasReached(ends, now)) return;
      } catch (error) {
        this.#logger.debug('draining: the broker does not answer', { error });
      }
      await sleep(this.#limits.drainPollMs);
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    for (const { retryTimer } of this.#lanes.values()) clearTimeout(retryTimer);
    const isLate = await isLaterThan(this.#limits.stopTimeoutMs, Promise.all([...this.#running, this.#recovering]));
    if (isLate) this.#logger.warn('a handler did not end in time; its events come again', { group: this.name });
    await isLaterThan(this.#limits.disconnectTimeoutMs, this.#commit());
    this.#leaving.abort();
    await this.#life;
    this.#options.onStopped();
  }

  /** One member after the other, until we stop. */
  async #live(): Promise<void> {
    for (let failures = 0; !this.#stopping.signal.aborted; ) {
      const begun = Date.now();
      const error = await this.#liveOnce().catch((failure: unknown) => failure);
      if (this.#stopping.signal.aborted) return;
      this.#outSince ??= Date.now();
      // One that went well for a while begins anew.
      failures = Date.now() - begun > this.#limits.unhealthyAfterMs ? 1 : failures + 1;
      if (!this.#isTold) this.#logger.warn('the consumer of the event log has died; trying again', { group: this.name, error });
      this.#isTold = true;
      await sleep(this.#pauseMs(failures, this.#limits.rejoinDelayMsMax), undefined, { signal: this.#stopping.signal, ref: false }).catch(() => undefined);
    }
  }

  /** A member from its first connection to its death, which is what it resolves with. */
  async #liveOnce(): Promise<unknown> {
    await this.#options.ensureTopics();
    if (this.#stopping.signal.aborted) return undefined;
    this.#isJoining = false;
    const member = new Member(this.#options.kafka, this.#options.groupId, this.#limits, {
      beforeJoin: () => this.#beforeJoin(),
      onAssigned: (assignment) => this.#onAssigned(member, assignment),
      onBatch: (batch) => this.#onBatch(member, batch),
    });
    this.#member = member;
    const verify = setInterval(() => void this.#verify(member), this.#limits.verifyMs).unref();
    try {
      const started = member.start(this.#topics);
      started.catch(() => undefined);
      const left = aborted(this.#leaving.signal);
      return (await Promise.race([member.died, left, started])) ?? (await Promise.race([member.died, left, this.#fallsSilent(member)]));
    } finally {
      clearInterval(verify);
      this.#closeLanes();
      await member.end();
    }
  }

  /** Resolves when the group has not heard of the member for longer than any join takes. */
  async #fallsSilent(member: Member): Promise<Error> {
    const limitMs = this.#limits.rebalanceTimeoutMs + this.#limits.sessionTimeoutMs;
    while (this.#member === member && !this.#leaving.signal.aborted && Date.now() - member.aliveAt < limitMs) {
      await sleep(this.#limits.sessionTimeoutMs, undefined, { signal: this.#leaving.signal, ref: false }).catch(() => undefined);
    }
    return new Error('the consumer has fallen silent');
  }

  /** Lets what runs end, and says how far it came. Bounded, since no heartbeat is sent meanwhile. */
  async #beforeJoin(): Promise<void> {
    this.#isJoining = true;
    await isLaterThan(this.#limits.quiesceMs, Promise.all(this.#running));
    await isLaterThan(this.#limits.heartbeatMs, this.#commit());
  }

  #onAssigned(member: Member, assignment: Assignment): void {
    if (member !== this.#member || this.#stopping.signal.aborted) return;
    this.#isJoining = false;
    this.#closeLanes();
    this.#assigned = Object.entries(assignment).flatMap(([topic, partitions]) => partitions.map((partition) => this.#lane(topic, partition)));
    if (this.#assigned.length > 0) member.consumer.pause(placesOf(this.#assigned));
    this.#settle(member);
  }

  #lane(topic: string, partition: number): Lane {
    const key = `${topic} ${partition}`;
    const lane = this.#lanes.get(key) ?? new Lane(topic, partition);
    this.#lanes.set(key, lane);
    return lane;
  }

  /** Nothing of what was fetched is handed over any more; handlers that run go on. */
  #closeLanes(): void {
    this.#assignment++;
    for (const lane of this.#assigned) lane.close();
    this.#queue.length = 0;
    for (const lane of this.#lanes.values()) if (lane.phase === 'queued') lane.phase = 'idle';
    this.#assigned = [];
  }

  /** The topics of now are compared with those that our positions were counted in. */
  async #verify(member: Member): Promise<void> {
    if (member !== this.#member || this.#assigned.some(({ isOpen }) => !isOpen)) return;
    const assignment = this.#assignment;
    const identity = await this.#options.view.identity(this.#topics).catch(() => undefined);
    if (identity === undefined || assignment !== this.#assignment || this.#stopping.signal.aborted) return;
    if (this.#assigned.every(({ topic, tag }) => tagOf(identity, topic) === tag)) return;
    const lanes = this.#assigned;
    this.#closeLanes();
    this.#assigned = lanes;
    member.consumer.pause(placesOf(lanes));
    this.#settle(member);
  }

  /** Finds out about each assigned partition, recovers what has no position, and opens them all. */
  #settle(member: Member): void {
    const assignment = this.#assignment;
    const isCurrent = (): boolean => assignment === this.#assignment && member === this.#member && !this.#stopping.signal.aborted;
    this.#outSince ??= Date.now();
    // One after the other: an earlier one may be about to tell of the same loss.
    this.#settling = this.#settling.then(async () => {
      for (let failures = 0; isCurrent(); failures++) {
        try {
          await this.#settleOnce(member, isCurrent);
          return;
        } catch (error) {
          this.#logger.debug('the positions of a group could not be read; trying again', { group: this.name, error });
          await sleep(this.#pauseMs(failures, this.#limits.rejoinDelayMsMax), undefined, { signal: this.#stopping.signal, ref: false }).catch(() => undefined);
        }
      }
    });
  }

  async #settleOnce(member: Member, isCurrent: () => boolean): Promise<void> {
    const { view, groupId, ensureTopics } = this.#options;
    const identity = await view.identity(this.#topics);
    if (this.#topics.some((topic) => !identity.topicIds.has(topic))) {
      await ensureTopics();
      throw new Error('a topic had to be made');
    }
    // Positions before bounds: what is committed is below an end that is read later.
    const committed = await committedOffsets(view, groupId, this.#topics);
    const bounds = await partitionBounds(view, this.#topics);
    if (!isCurrent()) return;
    const lost: LostPosition[] = [];
    for (const lane of this.#assigned) {
      const key = `${lane.topic} ${lane.partition}`;
      const [position, bound] = [committed.get(key), bounds.get(key)];
      if (bound === undefined) throw new Error(`nothing is known of ${key}`);
      const isOfToday = position?.tag === tagOf(identity, lane.topic);
      const isGood = position !== undefined && isOfToday && position.offset >= bound.low && position.offset <= bound.high;
      if (!isGood) lost.push({ lane, low: bound.low, isNew: !isOfToday && bound.low === 0n });
    }
    if (lost.length > 0) await this.#recover(member, identity, lost, isCurrent);
    if (!isCurrent()) return;
    const isLost = new Map(lost.map(({ lane, low }) => [lane, low]));
    for (const lane of this.#assigned) {
      const low = isLost.get(lane);
      // Counted anew, even if the ids are those of before.
      if (low !== undefined) lane.tag = '';
      const offset = low ?? committed.get(`${lane.topic} ${lane.partition}`)?.offset ?? 0n;
      lane.open(tagOf(identity, lane.topic), offset);
      if (low !== undefined) member.consumer.seek({ topic: lane.topic, partition: lane.partition, offset: String(low) });
      if (lane.position > offset) this.#uncommitted.add(lane);
    }
    if (this.#assigned.length > 0) member.consumer.resume(placesOf(this.#assigned));
    if (this.#isTold) this.#logger.info('the consumer of the event log works again', { group: this.name });
    this.#isTold = false;
    this.#outSince = undefined;
    if (this.#uncommitted.size > 0) void this.#commit();
  }

  /** Says that positions are lost until that has been heard, then sets them to the earliest event. */
  async #recover(member: Member, identity: Identity, lost: readonly LostPosition[], isCurrent: () => boolean): Promise<void> {
    // Of a partition that holds all it ever held nothing is missing but what an earlier topic held, and of that we have heard.
    // (The client sees the partitions of a new topic one after the other, and joins again for each few.)
    const news = lost.filter(({ lane, isNew }) => !isNew || !this.#heard.has(tagOf(identity, lane.topic)));
    if (news.length > 0) {
      await this.#tellOf(news.length);
      for (const topic of this.#topics) this.#heard.add(tagOf(identity, topic));
    }
    if (!isCurrent()) return;
    await member.consumer.commitOffsets(lost.map(({ lane: { topic, partition }, low }) => ({ topic, partition, offset: String(low), metadata: tagOf(identity, topic) })));
  }

  async #tellOf(partitions: number): Promise<void> {
    this.#recoveringSince ??= Date.now();
    this.#logger.info('the consumer group is new in the event log, or its position is gone: events may be missing', { group: this.name, partitions });
    this.#recovering = this.#tell();
    try {
      await this.#recovering;
    } finally {
      this.#recovering = undefined;
      this.#recoveringSince = undefined;
    }
  }

  async #tell(): Promise<void> {
    for (let failures = 0; !this.#stopping.signal.aborted; failures++) {
      try {
        await this.#options.subscribe.onLost();
        return;
      } catch (error) {
        const pauseMs = this.#pauseMs(failures);
        this.#logger.error('what a lost position asks for failed; trying again', { group: this.name, pauseMs, error });
        await sleep(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      }
    }
  }

  #onBatch(member: Member, { batch, resolveOffset }: EachBatchPayload): void {
    const lane = this.#lanes.get(`${batch.topic} ${batch.partition}`);
    const last = batch.messages.at(-1);
    // What is not taken is not resolved: it is fetched again.
    if (member !== this.#member || lane?.isOpen !== true || last === undefined) return;
    const bytes = lane.push(batch.messages);
    resolveOffset(last.offset);
    if (bytes === 0) {
      // All of it was handled before; whoever reads the position should know.
      this.#uncommitted.add(lane);
      void this.#commit();
    }
    if (!lane.isPaused && (lane.waitingBytes > this.#limits.waitingBytesMax || this.#waitingBytes() > this.#limits.waitingBytesGroupMax)) {
      lane.isPaused = true;
      member.consumer.pause(placesOf([lane]));
    }
    this.#enqueue(lane);
  }

  #waitingBytes(): number {
    return this.#assigned.reduce((sum, { waitingBytes }) => sum + waitingBytes, 0);
  }

  #enqueue(lane: Lane): void {
    if (lane.phase !== 'idle' || !lane.isOpen || !lane.hasWork) return;
    lane.phase = 'queued';
    this.#queue.push(lane);
    this.#work();
  }

  #work(): void {
    while (!this.#stopping.signal.aborted && !this.#isJoining && this.#recovering === undefined && this.#running.size < this.#limits.partitionsInParallelMax) {
      const lane = this.#queue.shift();
      if (lane === undefined) return;
      lane.phase = 'working';
      const run = this.#turn(lane).finally(() => {
        this.#running.delete(run);
        this.#work();
      });
      this.#running.add(run);
    }
  }

  /** One batch of a lane, and what comes of it. Never rejects. */
  async #turn(lane: Lane): Promise<void> {
    const { tag } = lane;
    const assignment = this.#assignment;
    const batch = this.#next(lane);
    try {
      await this.#handle(batch);
      lane.handled(batch.messages, tag);
      lane.failures = 0;
      lane.failingSince = undefined;
      lane.phase = 'idle';
      this.#uncommitted.add(lane);
      void this.#commit();
      this.#unpause(lane);
      this.#enqueue(lane);
    } catch (error) {
      lane.phase = 'idle';
      if (assignment !== this.#assignment) return this.#enqueue(lane);
      this.#wait(lane, error);
    }
  }

  #wait(lane: Lane, error: unknown): void {
    const pauseMs = this.#pauseMs(lane.failures);
    lane.failures++;
    lane.failingSince ??= Date.now();
    this.#logger.warn('events were not handled; trying again', { group: this.name, topic: lane.topic, partition: lane.partition, failures: lane.failures, pauseMs, error });
    if (this.#stopping.signal.aborted) return;
    lane.phase = 'waiting';
    lane.retryTimer = setTimeout(() => {
      lane.phase = 'idle';
      this.#enqueue(lane);
    }, pauseMs).unref();
  }

  #unpause(lane: Lane): void {
    if (!lane.isPaused || !lane.isOpen || lane.waitingBytes > this.#limits.waitingBytesMax / 2) return;
    lane.isPaused = false;
    this.#member?.consumer.resume(placesOf([lane]));
  }

  /** The first messages that wait, as many as a handler takes at once. */
  #next(lane: Lane): Batch {
    const batch: { messages: KafkaMessage[]; events: LogEvent[]; poison: PoisonEvent[] } = { messages: [], events: [], poison: [] };
    const noun = this.#options.topicNames.get(lane.topic) ?? lane.topic;
    for (const message of lane.waiting) {
      const { events, poison } = decode(fromMessage(message, noun), this.#wanted);
      if (batch.events.length + events.length > this.#limits.batchEventsMax && batch.messages.length > 0) break;
      batch.messages.push(message);
      batch.events.push(...events);
      batch.poison.push(...poison);
    }
    return batch;
  }

  async #handle({ events, poison }: Batch): Promise<void> {
    for (let from = 0; from < events.length; from += this.#limits.batchEventsMax) {
      const some = events.slice(from, from + this.#limits.batchEventsMax);
      await inConsumerSpan(this.name, some, () => this.#options.subscribe.handle(some));
    }
    for (const event of poison) {
      this.#logger.error('an event cannot be read', { group: this.name, topic: event.topic, error: event.cause });
      await this.#options.subscribe.onPoison(event);
    }
  }

  /** Commits what there is to commit, one request at a time. Never rejects: what failed is tried at the next occasion. */
  async #commit(): Promise<void> {
    this.#committing ??= Promise.resolve().then(() => this.#commitAll());
    await this.#committing;
  }

  async #commitAll(): Promise<void> {
    try {
      while (await this.#commitOnce());
    } finally {
      // In the same step as the last look: who comes next is not forgotten.
      this.#committing = undefined;
    }
  }

  /** Whether there may be more to commit. */
  async #commitOnce(): Promise<boolean> {
    // Of a partition that is somebody else's we say nothing.
    const lanes = [...this.#uncommitted].filter((lane) => lane.isOpen);
    this.#uncommitted.clear();
    const { consumer } = this.#member ?? {};
    if (lanes.length === 0 || consumer === undefined) return false;
    const assignment = this.#assignment;
    try {
      await consumer.commitOffsets(lanes.map(({ topic, partition, position, tag }) => ({ topic, partition, offset: String(position), metadata: tag })));
    } catch (error) {
      this.#logger.debug('positions could not be committed', { group: this.name, error });
      // Who gets the partitions next begins at what is committed; if it is us, our positions say what is missing there.
      if (assignment !== this.#assignment) return true;
      for (const lane of lanes) this.#uncommitted.add(lane);
      if (this.#stopping.signal.aborted || this.#isJoining) return false;
      await sleep(this.#pauseMs(0), undefined, { ref: false });
    }
    return true;
  }

  async #ends(identity: Identity): Promise<Map<string, bigint>> {
    const ends = new Map([...(await partitionBounds(this.#options.view, this.#topics))].map(([key, { high }]) => [key, high]));
    for (const topic of this.#topics) {
      // Of a topic that is just being made the client may know less than there is.
      const count = [...ends.keys()].filter((key) => key.startsWith(`${topic} `)).length;
      if (count === 0 || count !== identity.partitions.get(topic)) throw new Error(`not all of ${topic} is known yet`);
    }
    return ends;
  }

  async #hasReached(ends: ReadonlyMap<string, bigint>, identity: Identity): Promise<boolean> {
    const committed = await committedOffsets(this.#options.view, this.#options.groupId, this.#topics);
    return [...ends].every(([key, end]) => {
      const position = committed.get(key);
      return position !== undefined && position.offset >= end && position.tag === tagOf(identity, key.slice(0, key.indexOf(' ')));
    });
  }

  /** Doubling, and varied by half either way. */
  #pauseMs(failures: number, maxMs = this.#limits.retryDelayMsMax): number {
    return Math.round(Math.min(this.#limits.retryDelayMs * 2 ** failures, maxMs) * (0.5 + Math.random()));
  }
}

function placesOf(lanes: readonly Lane[]): { topic: string; partitions: number[] }[] {
  return [...Map.groupBy(lanes, ({ topic }) => topic)].map(([topic, ofTopic]) => ({ topic, partitions: ofTopic.map(({ partition }) => partition) }));
}

/** Waits for `work`, but no longer than `ms`; true if it took longer. */
async function isLaterThan(ms: number, work: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController();
  const late = sleep(ms, true, { signal: timer.signal, ref: false }).catch(() => false);
  const isLate = await Promise.race([late, work.then(() => false)]);
  timer.abort();
  return isLate;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
}
