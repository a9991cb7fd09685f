/**
 * The Redis nodes of an installation, and the table that says which shard is on which.
 *
 *   nodes     N independent servers, in the order of the list: shard → node in contiguous ranges of the 1,024.
 *             The table never changes while a process runs. Changing the list leaves lists where nobody looks:
 *             they are absent where they are looked for, are rebuilt, and expire where they were.
 *   cluster   Redis Cluster: a shard is where the slot of its hash tag is. The table is asked of any node that
 *             answers (CLUSTER SLOTS), again when a node says MOVED, when a connection is lost, and every
 *             `tableMsMax`. A table is replaced as a whole and never changed, so whoever took one may go on with it.
 *
 * Nothing above knows the mode: it asks for the node of a shard, and sends again after a refresh what was
 * answered by MOVED.
 *
 * Redis away: no command waits in a queue. While a connection is down every command fails at once, and one that
 * has no reply within `commandMsMax` fails then: readers go to Postgres, pushes are repeated by their
 * consumer, limits and live events go on inside the process. Connections are tried again for ever. One line in the
 * log says that a node is away, one that it is back.
 */
import { Redis, type RedisOptions } from 'ioredis';
import { SHARD_COUNT } from '@dmb/protocol';
import { AppError, silentLogger, sleep, StartError, type Logger } from '@dmb/runtime';
import { redisLimits } from '../limits.ts';
import { marksKey, marksKeyOf, slotOf } from './keys.ts';

type Settings = RedisOptions & { readonly replyMapping: 'legacy' };

/** How several Redis servers share the work. */
export type RedisMode = 'nodes' | 'cluster';

export interface RedisNodesOptions {
  /** `redis://` or `rediss://` with user, password and database number where needed. Of a cluster: any of its nodes. */
  readonly urls: readonly string[];
  readonly mode?: RedisMode;
  readonly logger?: Logger;
  /** How long to wait for the first connections. */
  readonly openMsMax?: number;
}

/** One server. */
export class RedisNode {
  /** Host and port; for logs, and the name of a node in a cluster. */
  readonly name: string;
  /** For all commands but those of the hot path. */
  readonly commands: Redis;
  private readonly url: string;
  private readonly logger: Logger;
  private readonly opened = new Set<Redis>();

  constructor(url: string, logger: Logger) {
    this.url = url;
    this.name = addressOf(url);
    this.logger = logger;
    this.commands = this.connect({ reconnectOnError: (error) => /^(READONLY|LOADING|MASTERDOWN)/.test(error.message) });
    this.report(this.commands);
  }

  /** A further connection, which reconnects by itself and is closed with the node. */
  connect(options: Omit<Settings, 'replyMapping'> = {}): Redis {
    const { connectMsMax, commandMsMax, reconnectMsFirst, reconnectMsMax } = redisLimits;
    const settings: Settings = {
      replyMapping: 'legacy',
      connectTimeout: connectMsMax,
      commandTimeout: commandMsMax,
      // Nothing waits for Redis: what cannot be sent fails.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      disableClientInfo: true,
      retryStrategy: (times: number) => Math.min(reconnectMsFirst * 2 ** Math.min(times - 1, 10), reconnectMsMax) * (0.5 + Math.random() / 2),
      ...options,
    };
    const redis = new Redis(this.url, settings);
    // Every failure reaches whoever asked, or is reported by `report`; without a listener it would end the process.
    redis.on('error', () => undefined);
    this.opened.add(redis);
    return redis;
  }

  /** Closes a connection made by {@link connect}. */
  release(redis: Redis): void {
    this.opened.delete(redis);
    redis.disconnect();
  }

  /** Waits until commands can be sent, at most `ms`. */
  async ready(ms: number): Promise<boolean> {
    if (this.commands.status === 'ready') return true;
    return await new Promise((done) => {
      const limit = setTimeout(() => settle(false), ms);
      const settle = (ready: boolean): void => {
        clearTimeout(limit);
        this.commands.off('ready', onReady);
        done(ready);
      };
      const onReady = (): void => settle(true);
      this.commands.once('ready', onReady);
    });
  }

  close(): void {
    for (const redis of this.opened) redis.disconnect();
    this.opened.clear();
  }

  private report(redis: Redis): void {
    let away = false;
    let cause: unknown;
    redis.on('error', (error) => (cause = error));
    redis.on('close', () => {
      if (away || !this.opened.has(redis)) return;
      away = true;
      this.logger.warn('Redis is away; going on without it', { node: this.name, error: cause });
    });
    redis.on('ready', () => {
      if (away) this.logger.info('Redis is back', { node: this.name });
      away = false;
    });
  }
}

/** Which shard is on which node, at one time. */
export interface NodeTable {
  /** By shard; undefined while a cluster has nobody for it. */
  readonly byShard: readonly (RedisNode | undefined)[];
  readonly nodes: readonly RedisNode[];
  /** Where each node keeps its marks. */
  readonly marks: ReadonlyMap<RedisNode, string>;
}

export class RedisNodes {
  readonly mode: RedisMode;
  readonly logger: Logger;
  private readonly urls: readonly string[];
  private current: NodeTable = { byShard: [], nodes: [], marks: new Map() };
  private readonly listeners = new Set<() => void>();
  private refreshing: Promise<void> | undefined;
  private readonly timer: NodeJS.Timeout | undefined;
  private closed = false;

  private constructor(options: Required<Omit<RedisNodesOptions, 'openMsMax'>>) {
    this.mode = options.mode;
    this.urls = options.urls;
    this.logger = options.logger;
    if (this.mode === 'nodes') {
      const nodes = this.urls.map((url) => new RedisNode(url, this.logger));
      const byShard = Array.from({ length: SHARD_COUNT }, (_, shard) => nodes[Math.floor((shard * nodes.length) / SHARD_COUNT)]);
      this.current = { byShard, nodes, marks: new Map(nodes.map((node) => [node, marksKey])) };
    } else {
      this.timer = setInterval(() => void this.refresh(), redisLimits.tableMsMax).unref();
    }
  }

  /**
   * Connects, and resolves when all nodes answer or `openMsMax` has passed: Redis away is no reason not to start.
   * @throws {StartError} when the list of URLs cannot be used
   */
  static async open(options: RedisNodesOptions): Promise<RedisNodes> {
    const { urls, mode = 'nodes', logger = silentLogger, openMsMax = redisLimits.openMsMax } = options;
    assertUrls(urls, mode);
    const nodes = new RedisNodes({ urls, mode, logger });
    const end = Date.now() + openMsMax;
    if (mode === 'cluster') {
      for (await nodes.refresh(); nodes.table.nodes.length === 0 && Date.now() < end; await nodes.refresh()) await sleep(redisLimits.tableMsMin);
    }
    await Promise.all(nodes.table.nodes.map((node) => node.ready(end - Date.now())));
    return nodes;
  }

  /** The table of this moment. */
  get table(): NodeTable {
    return this.current;
  }

  /** Whether every shard has a node that can be asked. */
  get ready(): boolean {
    const { byShard, nodes } = this.current;
    return byShard.length === SHARD_COUNT && byShard.every((node) => node !== undefined) && nodes.every(({ commands }) => commands.status === 'ready');
  }

  /** Calls `listener` after each change of the table. */
  onTable(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Runs commands on the node of a shard, again where the shard has moved.
   * @throws {AppError} unavailable, whatever Redis said
   */
  async run<T>(shard: number, work: (redis: Redis) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const node = this.current.byShard[shard];
      try {
        if (node === undefined) throw new Error(`no node has shard ${shard}`);
        return await work(node.commands);
      } catch (error) {
        if (this.mode === 'nodes' || attempt > redisLimits.redirectsMax || !isElsewhere(error)) throw unavailable(error, node);
        if (attempt > 1) await sleep(redisLimits.redirectPauseMs * attempt);
        await this.refresh(movedTo(error));
      }
    }
  }

  /**
   * Asks the cluster for its table; those who ask while it is being asked share the answer. Never throws.
   * @param first the node to ask first: what MOVED named knows best
   */
  refresh(first?: string): Promise<void> {
    if (this.mode === 'nodes' || this.closed) return Promise.resolve();
    this.refreshing ??= this.ask(first).finally(() => {
      // Whoever finds an old table just now waits for the next one.
      const pause = setTimeout(() => (this.refreshing = undefined), redisLimits.tableMsMin);
      pause.unref();
    });
    return this.refreshing;
  }

  close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    for (const node of this.current.nodes) node.close();
    this.listeners.clear();
    return Promise.resolve();
  }

  private async ask(first: string | undefined): Promise<void> {
    const known = this.current.nodes.toSorted((left, right) => Number(right.name === first) - Number(left.name === first));
    const seeds = this.urls.filter((url) => known.every(({ name }) => name !== addressOf(url)));
    for (const from of [...known, ...seeds]) {
      const node = typeof from === 'string' ? new RedisNode(from, silentLogger) : from;
      try {
        if (!(await node.ready(typeof from === 'string' ? redisLimits.connectMsMax : 0))) continue;
        this.take((await node.commands.call('CLUSTER', 'SLOTS')) as SlotRange[], node.name);
        return;
      } catch (error) {
        this.logger.debug('a node did not tell the table of the cluster', { node: node.name, error });
      } finally {
        if (typeof from === 'string') node.close();
      }
    }
  }

  private take(ranges: readonly SlotRange[], told: string): void {
    if (this.closed) return;
    const before = new Map(this.current.nodes.map((node) => [node.name, node]));
    const nodes = new Map<string, RedisNode>();
    const marks = new Map<RedisNode, string>();
    const bySlot = (slot: number): RedisNode | undefined => {
      const master = ranges.find(([first, last]) => slot >= first && slot <= last)?.[2];
      if (master === undefined) return undefined;
      // A node that does not know its own address says nothing: it is the one that was asked.
      const name = master[0] ? `${bracketed(master[0])}:${master[1]}` : `${told.slice(0, told.lastIndexOf(':'))}:${master[1]}`;
      const node = nodes.get(name) ?? before.get(name) ?? new RedisNode(urlAt(this.urls[0]!, name), this.logger);
      nodes.set(name, node);
      return node;
    };
    const byShard = Array.from({ length: SHARD_COUNT }, (_, shard) => {
      const node = bySlot(slotOf(shard));
      if (node !== undefined && !marks.has(node)) marks.set(node, marksKeyOf(shard));
      return node;
    });
    const isSame = byShard.length === this.current.byShard.length && byShard.every((node, shard) => node === this.current.byShard[shard]);
    if (isSame) return;
    this.current = { byShard, nodes: [...nodes.values()], marks };
    // Who has nothing any more is forgotten with its connections: should it get shards again, it is met as a stranger.
    for (const [name, node] of before) if (!nodes.has(name)) node.close();
    for (const listener of this.listeners) listener();
  }
}

type SlotRange = readonly [first: number, last: number, master: readonly [host: string | null, port: number, ...unknown[]], ...replicas: unknown[]];

/** Whether another node has to be asked: the shard moved, or its node is gone. */
export function isElsewhere(error: unknown): boolean {
  const message = error instanceof Error ? error.message : '';
  return /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|READONLY) |^no node has shard|Connection is closed|isn't writeable|aborted due to connection close/.test(message);
}

/** The node that a MOVED names. */
export const movedTo = (error: unknown): string | undefined => /^MOVED \d+ (\S+)/.exec(error instanceof Error ? error.message : String(error))?.[1];

/** What callers see of any failure of Redis. */
export function unavailable(error: unknown, node?: { readonly name: string }): AppError {
  if (error instanceof AppError) return error;
  const what = error instanceof Error ? error.message : String(error);
  return new AppError('unavailable', undefined, { detail: `Redis${node === undefined ? '' : ` at ${node.name}`}: ${what}`, cause: error });
}

const bracketed = (host: string): string => (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host);

function addressOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port === '' ? '6379' : port}`;
}

/** The URL of another node of the same cluster: same scheme, user and password. */
function urlAt(seed: string, address: string): string {
  const url = new URL(seed);
  const colon = address.lastIndexOf(':');
  url.hostname = address.slice(0, colon);
  url.port = address.slice(colon + 1);
  return url.href;
}

function assertUrls(urls: readonly string[], mode: RedisMode): void {
  if (urls.length === 0) throw new StartError('REDIS_URLS names no server.');
  if (urls.length > SHARD_COUNT) throw new StartError(`REDIS_URLS names more than ${SHARD_COUNT} servers.`);
  for (const [index, url] of urls.entries()) {
    if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
      // The URL may hold a password: it is not repeated.
      throw new StartError(`URL number ${index + 1} of REDIS_URLS is not of the form redis://host:port or rediss://host:port.`);
    }
  }
  if (new Set(urls).size < urls.length) throw new StartError('REDIS_URLS names a server twice.');
  if (mode === 'cluster' && urls.some((url) => !['', '/', '/0'].includes(new URL(url).pathname))) {
    throw new StartError('A Redis Cluster has no databases with numbers: REDIS_URLS must not name one.');
  }
}
