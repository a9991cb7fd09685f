/**
 * Live events on Redis: sharded publish/subscribe, one channel for each range of 16 shards.
 *
 * An event goes once to the channel of its shard, however many read it. A process that has a handler
 * listens to all 64 channels, each at the node that its shard is on, on a connection of its own.
 *
 *   message   a JSON array of events: ["e", entry, traceparent?] · ["p", person event] · ["f", shard, person]
 *             entries and person events in the wire forms of their topics; an element that is not known is skipped
 *
 * A channel has one message out; what is published meanwhile goes together as the next. So events of one log stay in
 * order, also where their channel moves to another node, and a burst costs few messages.
 *
 * Nothing is kept for anybody. While a node is away, what is published reaches the handlers of this process
 * directly, and nobody else; listeners subscribe again when it is back, and what was published in between is gone
 * for them. If a message was sent and its answer lost, handlers of this process may hear it twice. `publish` does not reject:
 * no post must wait for who happens to look.
 */
import type { Redis } from 'ioredis';
import { entryRefSchema, entryRefWire, personEventSchema, personEventWire, type EntryRef } from '@dmb/events';
import type { PersonId } from '@dmb/protocol';
import { redisLimits } from '../limits.ts';
import { MemoryLiveEvents } from '../memory.ts';
import type { LiveEvent, LiveEvents } from '../ports.ts';
import { channelOf, channelShardOf, channelShards } from './keys.ts';
import type { RedisNode, RedisNodes } from './nodes.ts';

/** What waits to be published on one channel. */
interface Outgoing {
  waiting: { readonly event: LiveEvent; settle(): void }[];
  busy: boolean;
}

/** Live events among all processes of an installation. */
export class RedisLiveEvents implements LiveEvents {
  private readonly nodes: RedisNodes;
  /** The handlers of this process. */
  private readonly here: MemoryLiveEvents;
  private readonly outgoing = new Map<number, Outgoing>();
  private readonly subscribers = new Map<RedisNode, Redis>();
  private readonly stopListening: () => void;
  private retrying: NodeJS.Timeout | undefined;
  private isListening = false;
  private closed = false;

  /** @param options.onHandlerError told of what a handler threw; handlers must not. */
  constructor(options: { readonly nodes: RedisNodes; readonly onHandlerError?: (error: unknown) => void }) {
    this.nodes = options.nodes;
    this.here = new MemoryLiveEvents(options.onHandlerError);
    this.stopListening = this.nodes.onTable(() => void this.subscribe());
  }

  async publish(events: readonly LiveEvent[]): Promise<void> {
    await Promise.all(
      events.map(
        (event) =>
          new Promise<void>((settle) => {
            const shard = channelShardOf(event.type === 'entry' ? event.ref.shard : event.event.shard);
            let channel = this.outgoing.get(shard);
            if (channel === undefined) this.outgoing.set(shard, (channel = { waiting: [], busy: false }));
            channel.waiting.push({ event, settle });
            // After this turn, so that events published together are one message.
            if (!channel.busy) void this.send(shard, channel);
          }),
      ),
    );
  }

  /** Resolves when everything published from here on is heard; with a node away, when that has been tried. */
  async listen(handler: (event: LiveEvent) => void): Promise<{ stop(): Promise<void> }> {
    const handle = await this.here.listen(handler);
    this.isListening = true;
    await this.subscribe();
    return handle;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.stopListening();
    clearTimeout(this.retrying);
    for (const [node, redis] of this.subscribers) node.release(redis);
    this.subscribers.clear();
    await this.here.close();
  }

  /** Sends what waits on a channel until nothing does. Never throws. */
  private async send(shard: number, channel: Outgoing): Promise<void> {
    channel.busy = true;
    await Promise.resolve();
    while (channel.waiting.length > 0) {
      const batch = channel.waiting.splice(0, redisLimits.eventsPerMessageMax);
      const events = batch.map(({ event }) => event);
      try {
        const message = JSON.stringify(events.map(wireOf));
        await this.nodes.run(shard, (redis) => redis.spublish(channelOf(shard), message));
      } catch (error) {
        this.nodes.logger.debug('live events reach this process only', { error });
        await this.here.publish(events);
      }
      for (const { settle } of batch) settle();
    }
    channel.busy = false;
  }

  /** Subscribes to every channel where it is now, and again later to those where that failed. Never throws. */
  private async subscribe(): Promise<void> {
    if (!this.isListening || this.closed) return;
    const { byShard, nodes } = this.nodes.table;
    for (const [node, redis] of this.subscribers) {
      if (nodes.includes(node)) continue;
      this.subscribers.delete(node);
      node.release(redis);
    }
    const subscribed = await Promise.allSettled(
      nodes.map(async (node) => {
        const redis = this.subscribers.get(node) ?? this.connect(node);
        await connected(redis);
        // One by one: in a cluster a command must not name channels of two slots.
        await Promise.all(channelShards.filter((shard) => byShard[shard] === node).map((shard) => redis.ssubscribe(channelOf(shard))));
      }),
    );
    if (nodes.length > 0 && subscribed.every(({ status }) => status === 'fulfilled')) return;
    clearTimeout(this.retrying);
    this.retrying = setTimeout(() => void this.nodes.refresh().then(() => this.subscribe()), redisLimits.reconnectMsMax).unref();
  }

  private connect(node: RedisNode): Redis {
    const redis = node.connect({ connectionName: 'dmb-live' });
    this.subscribers.set(node, redis);
    redis.on('smessage', (_channel: string, message: string) => void this.here.publish(this.eventsOf(message)));
    // The first time it is subscribed by whoever waits for it.
    redis.once('ready', () => redis.on('ready', () => void this.subscribe()));
    // A channel has left this node.
    redis.on('moved', () => void this.nodes.refresh().then(() => this.subscribe()));
    return redis;
  }

  private eventsOf(message: string): LiveEvent[] {
    try {
      return (JSON.parse(message) as unknown[]).flatMap((wire) => eventOf(wire) ?? []);
    } catch (error) {
      this.nodes.logger.warn('a live event cannot be read', { error });
      return [];
    }
  }
}

async function connected(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((ready, failed) => {
    const limit = setTimeout(() => settle(false), redisLimits.connectMsMax);
    const settle = (is: boolean): void => {
      clearTimeout(limit);
      redis.off('ready', onReady);
      redis.off('close', onClose);
      if (is) ready();
      else failed(new Error('no connection'));
    };
    const onReady = (): void => settle(true);
    const onClose = (): void => settle(false);
    redis.once('ready', onReady);
    redis.once('close', onClose);
  });
}

function wireOf(event: LiveEvent): readonly unknown[] {
  if (event.type === 'entry') return ['e', entryRefWire(event.ref), ...(event.traceparent === undefined ? [] : [event.traceparent])];
  if (event.event.what === 'following-changed') return ['f', event.event.shard, event.event.person];
  return ['p', personEventWire(event.event)];
}

/** The event of a wire form; undefined for kinds that a later release may have. @throws when one of ours is malformed */
function eventOf(wire: unknown): LiveEvent | undefined {
  const [kind, first, second] = wire as readonly unknown[];
  switch (kind) {
    case 'e':
      return { type: 'entry', ref: entryRefSchema.parse(first) as EntryRef, ...(typeof second === 'string' ? { traceparent: second } : {}) };
    case 'p':
      return { type: 'person', event: personEventSchema.parse(first) };
    case 'f':
      return { type: 'person', event: { shard: Number(first), person: String(second) as PersonId, what: 'following-changed' } };
    default:
      return undefined;
  }
}
