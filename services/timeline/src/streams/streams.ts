/**
 * Live streams: who listens to what, and what they are told.
 *
 *   live event ─► logs heard by viewers ─► pending of each viewer ─► a round for all of them ─► every connection
 *
 * A *connection* is one open stream of one client. A *viewer* is everybody who sees the same: the
 * connections of one person, acting as one microblog, with the same scopes. What waits for viewers is told in
 * *rounds*: up to `viewersPerRoundMax` of them at once, each with up to `batchMax` events, in a fixed number of calls however many
 * they are. Microblog reads the posts of a round once, decides for each viewer, and sends what several see alike once. (A call for
 * each viewer took seconds for a post that a thousand heard.) What comes meanwhile waits for the next round; a viewer is in
 * one round at a time, so its order stays. A viewer hears the logs that `microblog.listening` names: those of home, and the own log whose
 * happenings are notifications.
 *
 *   an entry of a log of home: 1 post, 4 boost     `update`         if `microblog.present` keeps it
 *                              2 edit              `status.update`  the post that it is about, likewise
 *                              3 delete, 5 unboost `delete`         the bare id of the post or boost
 *   a happening of the own log                     `notification`   if presenting makes one of it
 *   an entry marked late                           nothing: it is found when reading
 *
 * **May they still?** In each round, and every `lookMs` besides, the tokens of its viewers are resolved anew
 * (no cache) and their roles are asked for; whoever has lost either is closed with a code that says so. What
 * a viewer may see of an entry is decided by presenting, each time. A round that fails is tried again; one that goes on failing
 * closes the streams of its viewers.
 *
 * **What changes while asking.** When following changes, the logs are asked for again; what happens
 * meanwhile is in a ring of the last `recentMax` entries and is offered once the answer is there. Microblog
 * says that following has changed when its own projection has it, so whoever asks after that finds it;
 * a viewer asks one after the other, so an answer from before never replaces one from after.
 *
 * **Bounds.** Streams in all, per token and per address; what waits for one viewer; bytes that one client
 * leaves unread (then it is closed, not waited for); messages of a client; rounds at once, and what is in one. One timer
 * for all streams, and none while nobody listens. A client that is cut connects again and reads what it
 * missed: nothing here is a promise of delivery, so nothing is kept.
 */
import type { Asker, EntryRef, LogRef } from '@dmb/events';
import { ENTRY_KINDS, type LogId, type PersonId, type PostId } from '@dmb/protocol';
import { AppError, retry, toAppError, type Calls, type Logger } from '@dmb/runtime';
import type { PersonCaller } from '@dmb/runtime/http';
import type { LiveEvent, LiveEvents } from '@dmb/timelines';
import type { TimelineConfig } from '../config.ts';
import { carries, mayListen, type StreamEvent, type StreamName } from '../domain/stream-names.ts';
import { streamLimits } from '../limits.ts';
import { timelineMetrics } from '../metrics.ts';
import { AtMost, Counts, partsOf } from './bounds.ts';
import { cutReasonOf, type Closing, type Outlet } from './outlet.ts';

type PersonAsker = Extract<Asker, { readonly kind: 'person' }>;

/** Who wants to listen, and how to reach them once they may. */
export interface OpenRequest {
  readonly caller: PersonCaller;
  /** As presented: it is resolved again and again. */
  readonly token: string;
  /** The client's address, or its network. */
  readonly address: string;
  readonly streams: readonly StreamName[];
  /** Makes the outlet; undefined if the client has gone meanwhile. */
  connect(connection: Connection): Outlet | undefined;
}

/** One open stream. */
export class Connection {
  readonly token: string;
  readonly tokenId: string;
  readonly address: string;
  readonly streams: Set<StreamName>;
  readonly viewer: Viewer;
  outlet: Outlet | undefined;
  /** Set once goodbye was said. */
  isClosing = false;
  /** Looks since then. */
  looksClosing = 0;
  private readonly onClosed: () => void;

  constructor(request: OpenRequest, viewer: Viewer, onClosed: (connection: Connection) => void) {
    this.token = request.token;
    this.tokenId = request.caller.token.id;
    this.address = request.address;
    this.streams = new Set(request.streams);
    this.viewer = viewer;
    let told = false;
    this.onClosed = () => {
      if (told) return;
      told = true;
      onClosed(this);
    };
  }

  /** Adds a stream; false where the token does not suffice. */
  subscribe(stream: StreamName): boolean {
    if (!mayListen(stream, this.viewer.asker.scopes)) return false;
    this.streams.add(stream);
    return true;
  }

  unsubscribe(stream: StreamName): void {
    this.streams.delete(stream);
  }

  /** To be called when the client has gone. */
  closed(): void {
    this.onClosed();
  }
}

/** Something to be told, before it is presented. */
type Pending =
  | { readonly event: 'update' | 'notification'; readonly id: PostId }
  /** The id of what an edit, a delete or an unboost is about: looked up once for all viewers. */
  | { readonly event: 'status.update' | 'delete'; readonly subject: () => Promise<PostId | undefined> };

/** A {@link Pending} that is ready. */
interface Told {
  readonly event: StreamEvent;
  readonly payload: string;
}

/** What is told at once, and to whom. */
type Round = ReadonlyMap<Viewer, readonly Pending[]>;

/** Posts or happenings that are to be presented for a viewer. */
interface Ask {
  readonly viewer: Viewer;
  readonly ids: readonly PostId[];
}

class Viewer {
  readonly key: string;
  readonly asker: PersonAsker;
  readonly connections = new Set<Connection>();
  home: ReadonlySet<LogId> = new Set();
  notifications: LogId | undefined;
  pending: Pending[] = [];
  /** Connections, and those that are being opened. */
  holders = 0;
  /** It is in a round. */
  isTelling = false;
  failedLooks = 0;
  looks = 0;
  /** What is followed could not be asked for, and is again at the next look. */
  isStale = false;
  ready: Promise<boolean> = Promise.resolve(true);
  /** The asking for logs that has begun last, and the one that waits for its end. */
  asking: Promise<boolean> | undefined;
  askingNext: Promise<boolean> | undefined;

  constructor(key: string, asker: PersonAsker) {
    this.key = key;
    this.asker = asker;
  }
}

export interface StreamsParts {
  readonly calls: Pick<Calls, 'call'>;
  readonly live: LiveEvents;
  readonly config: TimelineConfig;
  readonly logger: Logger;
  /** Whatever remembers what a token was good for. */
  readonly forgetPerson: (person: PersonId) => void;
}

export class Streams {
  private readonly parts: StreamsParts;
  private readonly viewers = new Map<string, Viewer>();
  private readonly byPerson = new Map<PersonId, Set<Viewer>>();
  private readonly byHomeLog = new Map<LogId, Set<Viewer>>();
  private readonly byOwnLog = new Map<LogId, Set<Viewer>>();
  private readonly connections = new Set<Connection>();
  private readonly opening = new Counts();
  private readonly byToken = new Counts();
  private readonly byAddress = new Counts();
  /** Viewers for whom something is pending, and who are in no round. */
  private readonly waiting = new Set<Viewer>();
  private rounds = 0;
  private isRoundDue = false;
  private readonly recent: { readonly sequence: number; readonly ref: EntryRef }[] = [];
  private sequence = 0;
  private subscription: { stop(): Promise<void> } | undefined;
  private timer: NodeJS.Timeout | undefined;
  private looks = 0;
  private isLooking = false;
  private isStopping = false;

  constructor(parts: StreamsParts) {
    this.parts = parts;
  }

  /** Begins to hear live events. */
  async start(): Promise<void> {
    this.subscription = await this.parts.live.listen((event) => this.hear(event));
  }

  /** Streams open now. */
  get open(): number {
    return this.connections.size;
  }

  /**
   * Opens a stream: resolves when it hears everything from here on.
   * @throws {AppError} 401 when the role has ended, 403 scope, 429 too many streams, 503 while stopping
   */
  async connect(request: OpenRequest): Promise<void> {
    const { asker, token } = request.caller;
    for (const stream of request.streams) {
      if (!mayListen(stream, asker.scopes)) throw new AppError('forbidden', 'This action is outside the authorized scopes');
    }
    this.admit(token.id, request.address);
    let viewer: Viewer | undefined;
    let connection: Connection | undefined;
    try {
      viewer = await this.viewerOf(asker);
      if (this.isStopping) throw this.refusal();
      connection = new Connection(request, viewer, (closed) => this.leave(closed));
      connection.outlet = request.connect(connection);
      if (connection.outlet === undefined) return;
      this.connections.add(connection);
      viewer.connections.add(connection);
      timelineMetrics.streamOpened(connection.outlet.kind);
      this.timer ??= setInterval(() => void this.look(), streamLimits.lookMs).unref();
    } finally {
      this.opening.remove('all');
      if (connection?.outlet === undefined) {
        this.byToken.remove(token.id);
        this.byAddress.remove(request.address);
        if (viewer !== undefined) this.release(viewer);
      }
    }
  }

  /** Says goodbye to everybody and takes nobody new; clients connect again, elsewhere or later. */
  async stop(): Promise<void> {
    this.isStopping = true;
    await this.subscription?.stop();
    this.subscription = undefined;
    for (const connection of this.connections) this.cut(connection, 'stopping');
    for (let waited = 0; this.connections.size > 0 && waited < 1_000; waited += 20) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const connection of this.connections) connection.outlet?.destroy();
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** Looks after every stream once: heartbeats, slow readers, tokens and roles. The timer does it; tests may. */
  async look(): Promise<void> {
    this.looks++;
    const beats = this.looks % streamLimits.looksPerHeartbeat === 0;
    for (const connection of this.connections) this.lookAt(connection, beats);
    if (this.isLooking) return;
    this.isLooking = true;
    try {
      for (const part of partsOf([...this.viewers.values()], streamLimits.viewersPerRoundMax)) await this.lookAfter(part);
    } finally {
      this.isLooking = false;
    }
  }

  private refusal(): AppError {
    return new AppError('unavailable', undefined, { retryAfterSeconds: 5 });
  }

  private admit(tokenId: string, address: string): void {
    const { streamsPerToken, streamsPerAddress } = this.parts.config;
    if (this.isStopping || this.connections.size + this.opening.of('all') >= streamLimits.streamsMax) throw this.refusal();
    if (this.byToken.of(tokenId) >= streamsPerToken || this.byAddress.of(address) >= streamsPerAddress) {
      throw new AppError('limited', 'Too many open streams', { retryAfterSeconds: 30 });
    }
    this.opening.add('all');
    this.byToken.add(tokenId);
    this.byAddress.add(address);
  }

  private leave(connection: Connection): void {
    if (!this.connections.delete(connection)) return;
    const { viewer, outlet } = connection;
    viewer.connections.delete(connection);
    this.byToken.remove(connection.tokenId);
    this.byAddress.remove(connection.address);
    if (outlet !== undefined) timelineMetrics.streamClosed(outlet.kind);
    this.release(viewer);
    if (this.connections.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }

  /** The viewer of an asker, held for one connection. */
  private async viewerOf(asker: PersonAsker): Promise<Viewer> {
    const key = [asker.person, asker.microblog, ...asker.scopes.toSorted()].join(' ');
    let viewer = this.viewers.get(key);
    if (viewer === undefined) {
      viewer = new Viewer(key, asker);
      this.viewers.set(key, viewer);
      addTo(this.byPerson, asker.person, viewer);
      viewer.ready = this.refresh(viewer);
    }
    viewer.holders++;
    try {
      if (!(await viewer.ready)) throw new AppError('unauthenticated', 'The access token was revoked');
      return viewer;
    } catch (error) {
      this.release(viewer);
      throw error;
    }
  }

  private release(viewer: Viewer): void {
    if (--viewer.holders > 0) return;
    this.viewers.delete(viewer.key);
    removeFrom(this.byPerson, viewer.asker.person, viewer);
    this.hearOnly(viewer, new Set(), undefined);
    viewer.pending = [];
    this.waiting.delete(viewer);
  }

  /** Asks what a viewer listens to, when what was asked before is answered; false if it may not any more. */
  private refresh(viewer: Viewer): Promise<boolean> {
    // One that has not begun finds everything that is so by now.
    viewer.askingNext ??= this.refreshAfter(viewer, viewer.asking, this.sequence);
    return viewer.askingNext;
  }

  private async refreshAfter(viewer: Viewer, before: Promise<boolean> | undefined, since: number): Promise<boolean> {
    await before?.catch(() => undefined);
    viewer.askingNext = undefined;
    viewer.asking = this.refreshNow(viewer, since);
    return await viewer.asking;
  }

  private async refreshNow(viewer: Viewer, since: number): Promise<boolean> {
    const listening = await this.parts.calls.call('microblog.listening', { asker: viewer.asker });
    if (this.viewers.get(viewer.key) !== viewer) return true;
    if (listening === null) {
      this.cutAll(viewer, 'revoked');
      return false;
    }
    const before = viewer.home;
    this.hearOnly(viewer, new Set(listening.home), listening.notifications ?? undefined);
    for (const { sequence, ref } of this.recent) {
      if (sequence > since && viewer.home.has(ref.log) && !before.has(ref.log)) this.offer(viewer, pendingOf(ref, this.subjectOf(ref)));
    }
    return true;
  }

  private hearOnly(viewer: Viewer, home: ReadonlySet<LogId>, notifications: LogId | undefined): void {
    for (const log of viewer.home) if (!home.has(log)) removeFrom(this.byHomeLog, log, viewer);
    for (const log of home) if (!viewer.home.has(log)) addTo(this.byHomeLog, log, viewer);
    if (viewer.notifications !== notifications) {
      if (viewer.notifications !== undefined) removeFrom(this.byOwnLog, viewer.notifications, viewer);
      if (notifications !== undefined) addTo(this.byOwnLog, notifications, viewer);
    }
    viewer.home = home;
    viewer.notifications = notifications;
  }

  /** A live event: must not throw, and does nothing that waits. */
  private hear(event: LiveEvent): void {
    switch (event.type) {
      case 'entry':
        this.hearEntry(event.ref);
        return;
      case 'person':
        this.hearPerson(event.event.person, event.event.what);
    }
  }

  private hearEntry(ref: EntryRef): void {
    if (ref.late || this.viewers.size === 0) return;
    if (ref.audience === 'own') {
      if (ref.kind !== ENTRY_KINDS.happening) return;
      for (const viewer of this.byOwnLog.get(ref.log) ?? []) this.offer(viewer, { event: 'notification', id: ref.id });
      return;
    }
    if (ref.audience !== 'public' && ref.audience !== 'followers') return;
    this.recent.push({ sequence: ++this.sequence, ref });
    if (this.recent.length > streamLimits.recentMax) this.recent.shift();
    const viewers = this.byHomeLog.get(ref.log);
    if (viewers === undefined) return;
    const pending = pendingOf(ref, this.subjectOf(ref));
    for (const viewer of viewers) this.offer(viewer, pending);
  }

  private hearPerson(person: PersonId, what: string): void {
    if (what !== 'following-changed') this.parts.forgetPerson(person);
    for (const viewer of this.byPerson.get(person) ?? []) {
      this.quietly(viewer, what === 'following-changed' ? this.refresh(viewer) : this.verify([viewer]));
    }
  }

  private offer(viewer: Viewer, pending: Pending | undefined): void {
    if (pending === undefined) return;
    if (viewer.pending.length >= streamLimits.pendingMax) {
      viewer.pending = [];
      this.cutAll(viewer, 'failed');
      return;
    }
    viewer.pending.push(pending);
    if (!viewer.isTelling) this.wait(viewer);
  }

  private wait(viewer: Viewer): void {
    this.waiting.add(viewer);
    this.beginRound();
  }

  /** Lets whatever is being heard right now come in first, so that all who hear it are in one round. */
  private beginRound(): void {
    if (this.isRoundDue || this.rounds >= streamLimits.roundsAtOnce) return;
    this.isRoundDue = true;
    queueMicrotask(() => {
      this.isRoundDue = false;
      void this.tellWaiting();
    });
  }

  private async tellWaiting(): Promise<void> {
    this.rounds++;
    for (let round = this.nextRound(); round.size > 0; round = this.nextRound()) {
      if (this.waiting.size > 0) this.beginRound();
      await this.tellRound(round);
    }
    this.rounds--;
  }

  /** Those who have waited longest, and what is told to each. */
  private nextRound(): Round {
    const round = new Map<Viewer, readonly Pending[]>();
    let events = 0;
    for (const viewer of this.waiting) {
      // Nobody is there yet, and whoever comes hears what comes later.
      if (viewer.connections.size === 0) viewer.pending = [];
      events += Math.min(viewer.pending.length, streamLimits.batchMax);
      if (round.size >= streamLimits.viewersPerRoundMax || events > streamLimits.eventsPerRoundMax) break;
      this.waiting.delete(viewer);
      if (viewer.pending.length === 0) continue;
      viewer.isTelling = true;
      round.set(viewer, viewer.pending.splice(0, streamLimits.batchMax));
    }
    return round;
  }

  private async tellRound(round: Round): Promise<void> {
    try {
      const told = await retry(() => this.prepare(round), { attemptsMax: streamLimits.presentAttemptsMax });
      for (const [viewer, events] of told) this.tell(viewer, events);
    } catch (error) {
      this.parts.logger.warn('events could not be presented; the streams concerned are closed', { error });
      for (const viewer of round.keys()) {
        viewer.pending = [];
        this.cutAll(viewer, 'failed');
      }
    } finally {
      for (const viewer of round.keys()) {
        viewer.isTelling = false;
        if (viewer.pending.length > 0) this.wait(viewer);
      }
    }
  }

  /** Presents for those of a round who still may listen. */
  private async prepare(round: Round): Promise<Map<Viewer, Told[]>> {
    const may = await this.verify([...round.keys()]);
    const batches = [...round].filter(([viewer]) => may.has(viewer));
    // Those who hear the same entry have the same object pending.
    const ids = new Map<Pending, PostId | undefined>();
    await Promise.all([...new Set(batches.flatMap(([, batch]) => batch))].map(async (pending) => ids.set(pending, 'subject' in pending ? await pending.subject() : pending.id)));
    const asks = (...events: readonly StreamEvent[]): Ask[] =>
      batches.flatMap(([viewer, batch]) => {
        const wanted = new Set(batch.flatMap((pending) => (events.includes(pending.event) ? (ids.get(pending) ?? []) : [])));
        return wanted.size === 0 ? [] : [{ viewer, ids: [...wanted] }];
      });
    const [statuses, notifications] = await Promise.all([this.statuses(asks('update', 'status.update')), this.notifications(asks('notification'))]);
    return new Map(
      batches.map(([viewer, batch]) => [
        viewer,
        batch.flatMap((pending): Told[] => {
          const { event } = pending;
          const id = ids.get(pending)?.toString();
          if (id === undefined) return [];
          const payload = event === 'delete' ? id : (event === 'notification' ? notifications : statuses).get(viewer)?.get(id);
          return payload === undefined ? [] : [{ event, payload }];
        }),
      ]),
    );
  }

  private tell(viewer: Viewer, told: readonly Told[]): void {
    let written = 0;
    for (const connection of viewer.connections) {
      const { outlet } = connection;
      if (outlet === undefined || connection.isClosing) continue;
      for (const { event, payload } of told) {
        for (const stream of connection.streams) {
          if (!carries(stream, event, viewer.asker.scopes)) continue;
          outlet.send(stream, event, payload);
          written++;
        }
      }
      if (outlet.bufferedBytes > streamLimits.bufferBytesMax) this.cut(connection, 'slow');
    }
    if (written > 0) timelineMetrics.told(written);
  }

  /** What each viewer may see of the posts that it asks for, as text by id. */
  private async statuses(asks: readonly Ask[]): Promise<Map<Viewer, Map<string, string>>> {
    if (asks.length === 0) return new Map();
    const began = performance.now();
    const { statuses, seen } = await this.parts.calls.call('microblog.present-live', { asks: asks.map(({ viewer, ids }) => ({ asker: viewer.asker, ids })) });
    timelineMetrics.presented('stream', (performance.now() - began) / 1_000);
    const texts = statuses.map((status) => [status.id, JSON.stringify(status)] as const);
    return new Map(asks.map(({ viewer }, place) => [viewer, new Map((seen[place] ?? []).flatMap((index) => (texts[index] === undefined ? [] : [texts[index]])))]));
  }

  /** The same for notifications: hardly two viewers share one, so each is asked for by itself. */
  private async notifications(asks: readonly Ask[]): Promise<Map<Viewer, Map<string, string>>> {
    const asking = new AtMost(streamLimits.notificationCallsAtOnce);
    const answers = asks.map(({ viewer, ids }) =>
      asking.run(async () => {
        const began = performance.now();
        const { notifications } = await this.parts.calls.call('microblog.present-notifications', { asker: viewer.asker, ids });
        timelineMetrics.presented('notification', (performance.now() - began) / 1_000);
        return [viewer, new Map(notifications.map((notification) => [notification.id, JSON.stringify(notification)]))] as const;
      }),
    );
    return new Map(await Promise.all(answers));
  }

  /** Looks up, once for everybody, the id of what an entry is about. */
  private subjectOf(ref: EntryRef): () => Promise<PostId | undefined> {
    let subject: Promise<PostId | undefined> | undefined;
    return () => {
      subject ??= this.findSubject(ref).catch((error: unknown) => {
        subject = undefined;
        throw error;
      });
      return subject;
    };
  }

  private async findSubject({ shard, log, epochNo, number }: LogRef & { readonly number: bigint }): Promise<PostId | undefined> {
    const at = async (wanted: bigint) => {
      const { entries } = await this.parts.calls.call('microblog.entries', { shard, log, epochNo, after: wanted - 1n, limit: 1 });
      return entries.find((entry) => entry.number === wanted);
    };
    const about = (await at(number))?.about ?? null;
    return about === null ? undefined : (await at(about))?.id;
  }

  /** Those of whom anybody may go on; connections that may not are closed. */
  private async verify(viewers: readonly Viewer[]): Promise<ReadonlySet<Viewer>> {
    const { calls } = this.parts;
    // One that is opened meanwhile has been checked by whoever opens it.
    const asked = viewers.flatMap((viewer) => [...viewer.connections]);
    const tokens = [...new Set(asked.map(({ token }) => token))];
    const contributions = viewers.map(({ asker: { person, microblog } }) => ({ person, microblog }));
    const [roles, answers] = await Promise.all([
      inParts(contributions, async (part) => (await calls.call('microblog.roles', { contributions: part })).roles),
      inParts(tokens, async (part) => (await calls.call('identity.tokens', { tokens: part })).answers),
    ]);
    const roleOf = new Map(viewers.map((viewer, place) => [viewer, roles[place] ?? null]));
    const askerOf = new Map(tokens.map((token, place) => [token, answers[place]?.asker]));
    const may = new Set<Viewer>();
    for (const connection of asked) {
      const { viewer } = connection;
      const asker = askerOf.get(connection.token);
      const { person, microblog } = viewer.asker;
      if (roleOf.get(viewer) !== null && asker?.kind === 'person' && asker.person === person && asker.microblog === microblog) may.add(viewer);
      else this.cut(connection, 'revoked');
    }
    return may;
  }

  private async lookAfter(viewers: readonly Viewer[]): Promise<void> {
    const failed = (viewer: Viewer, error: unknown): void => {
      this.parts.logger.debug('a stream could not be looked after', { error });
      if (++viewer.failedLooks >= streamLimits.failedLooksMax) this.cutAll(viewer, 'failed');
    };
    try {
      await this.verify(viewers);
    } catch (error) {
      for (const viewer of viewers) failed(viewer, error);
      return;
    }
    const refreshing = new AtMost(streamLimits.refreshesAtOnce);
    const refreshIfDue = async (viewer: Viewer): Promise<void> => {
      viewer.looks++;
      if (!viewer.isStale && viewer.looks % streamLimits.looksPerRefresh !== 0) return;
      viewer.isStale = false;
      await refreshing.run(() => this.refresh(viewer));
    };
    await Promise.all(
      viewers.map((viewer) =>
        refreshIfDue(viewer).then(
          () => (viewer.failedLooks = 0),
          (error: unknown) => failed(viewer, error),
        ),
      ),
    );
  }

  private lookAt(connection: Connection, beats: boolean): void {
    const { outlet } = connection;
    if (outlet === undefined) return;
    if (connection.isClosing) {
      // The goodbye stands behind everything that it has not read yet.
      if (++connection.looksClosing >= streamLimits.goodbyeLooks) outlet.destroy();
      return;
    }
    outlet.allowMessages?.();
    if (outlet.bufferedBytes > streamLimits.bufferBytesMax) this.cut(connection, 'slow');
    else if (beats && !outlet.heartbeat()) outlet.destroy();
  }

  private cutAll(viewer: Viewer, closing: Closing): void {
    for (const connection of viewer.connections) this.cut(connection, closing);
  }

  private cut(connection: Connection, closing: Closing): void {
    if (connection.isClosing) return;
    connection.isClosing = true;
    timelineMetrics.streamCut(cutReasonOf(closing));
    connection.outlet?.close(closing);
  }

  private quietly(viewer: Viewer, work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.parts.logger.debug('a stream could not be looked after at once; the next look does it', { error: toAppError(error) });
      viewer.isStale = true;
    });
  }
}

/** What an entry of a log of home is to those who hear it. */
function pendingOf({ kind, id }: EntryRef, subject: () => Promise<PostId | undefined>): Pending | undefined {
  switch (kind) {
    case ENTRY_KINDS.post:
    case ENTRY_KINDS.boost:
      return { event: 'update', id };
    case ENTRY_KINDS.edit:
      return { event: 'status.update', subject };
    case ENTRY_KINDS.delete:
    case ENTRY_KINDS.unboost:
      return { event: 'delete', subject };
    default:
      return undefined;
  }
}

/** Asks in calls of a bounded size; the answers are in the order of `asked`. */
async function inParts<Asked, Answer>(asked: readonly Asked[], ask: (part: readonly Asked[]) => Promise<readonly Answer[]>): Promise<Answer[]> {
  return (await Promise.all(partsOf(asked, streamLimits.viewersPerRoundMax).map(ask))).flat();
}

function addTo<Key>(index: Map<Key, Set<Viewer>>, key: Key, viewer: Viewer): void {
  const there = index.get(key);
  if (there === undefined) index.set(key, new Set([viewer]));
  else there.add(viewer);
}

function removeFrom<Key>(index: Map<Key, Set<Viewer>>, key: Key, viewer: Viewer): void {
  const there = index.get(key);
  if (there?.delete(viewer) === true && there.size === 0) index.delete(key);
}
