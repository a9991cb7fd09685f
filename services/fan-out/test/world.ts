/**
 * A microblog service of a page, for testing what reads from it: logs in memory, behind the calls that
 * the real one answers, and an event log whose every event the test holds in its hand.
 */
import type { EventLog, LogEvent, SubscribeOptions } from '@dmb/event-log';
import type { Audience, EntryAnswer, EntryRef, LogRef } from '@dmb/events';
import { AppError, type Calls } from '@dmb/runtime';
import { ENTRY_KINDS, IdSource, newLogId, newMicroblogId, newObjectId, shardOf, type EntryKind, type LogId, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';

interface Log extends LogRef {
  readonly audience: Audience;
  readonly microblog: MicroblogId;
  readonly entries: EntryAnswer[];
  floor: bigint;
}

export interface FakeMicroblog {
  readonly id: MicroblogId;
  readonly public: Log;
  readonly followers: Log;
  readonly direct: Log;
  readonly own: Log;
}

export class FakeMicroblogs {
  readonly logs = new Map<LogId, Log>();
  /** Who follows which logs, as microblog's own projection has it. */
  readonly following = new Map<PersonId, Set<LogId>>();
  /** Logs that were said to be merged when reading. */
  readonly merged = new Set<LogId>();
  /** Set to keep the projection behind the logs. */
  isBehind = false;
  private readonly lateFollows: (() => void)[] = [];
  /** Set to make every call fail. */
  isDown = false;
  calls = 0;
  private readonly ids = new IdSource();

  bind(calls: Calls): void {
    calls.bind('microblog.entries', ({ log, after, limit }) => {
      const { entries, floor } = this.answer(log);
      const page = entries.filter(({ number }) => number > after).slice(0, limit);
      return Promise.resolve({ entries: page, head: entries.at(-1)?.number ?? 0n, floor });
    });
    calls.bind('microblog.heads', ({ after }) => {
      if (this.isDown) return Promise.reject(new AppError('unavailable'));
      const all = [...this.logs.values()].toSorted((left, right) => (left.log < right.log ? -1 : 1)).filter(({ log }) => after === null || log > after.log);
      const page = all.slice(0, 7);
      const last = page.at(-1);
      return Promise.resolve({
        logs: page.map(({ shard, log, epochNo, audience, microblog, entries, floor }) => ({ shard, log, epochNo, audience, microblog, floor, head: entries.at(-1)?.number ?? floor })),
        next: page.length < all.length && last !== undefined ? { shard: last.shard, log: last.log } : null,
        databases: 1,
      });
    });
    calls.bind('microblog.contributions', ({ person }) => {
      const microblog = person as string as MicroblogId;
      return Promise.resolve({ contributions: [{ microblog, handle: 'ann', domain: 'dmb.test', title: '', role: 'owner' as const, personal: true }] });
    });
    calls.bind('microblog.listening', ({ asker }) => {
      const home = asker.kind === 'person' ? [...(this.following.get(asker.person) ?? [])] : [];
      return Promise.resolve({ home, notifications: null, personal: true });
    });
    calls.bind('microblog.merge-log', ({ log }) => {
      this.merged.add(log);
      return Promise.resolve({ merged: true });
    });
    calls.bind('microblog.snapshot', ({ person, before, limit }) => {
      const ids = this.homeOf(person).filter((id) => before === null || id < before);
      const page = ids.slice(0, limit);
      return Promise.resolve({ ids: page, exactFrom: page.length < ids.length ? page.at(-1)! : (0n as PostId) });
    });
  }

  create(): FakeMicroblog {
    const id = newMicroblogId();
    const make = (audience: Audience): Log => {
      const log: Log = { shard: shardOf(id), log: newLogId(), epochNo: 1, audience, microblog: id, entries: [], floor: 0n };
      this.logs.set(log.log, log);
      return log;
    };
    return { id, public: make('public'), followers: make('followers'), direct: make('direct'), own: make('own') };
  }

  append(log: Log, kind: EntryKind, body: Readonly<Record<string, unknown>> | null = {}, options: { readonly agoMs?: number; readonly about?: bigint } = {}): EntryRef {
    const head = log.entries.at(-1);
    const drawn = this.ids.draw(log.shard, head?.id, Date.now());
    if (drawn.outcome !== 'drawn') throw new Error('ids ran ahead of the clock');
    const entry: EntryAnswer = {
      shard: log.shard,
      log: log.log,
      epochNo: log.epochNo,
      number: (head?.number ?? log.floor) + 1n,
      kind: ENTRY_KINDS[kind],
      id: drawn.id,
      audience: log.audience,
      microblog: log.microblog,
      late: false,
      objectId: newObjectId(log.shard),
      about: options.about ?? null,
      body,
    };
    log.entries.push(entry);
    return refOf(entry);
  }

  post(log: Log): EntryRef {
    return this.append(log, 'post', { content: 'hello' });
  }

  /** A follow, or its end, with its happening in the own log. */
  follow(person: PersonId, of: FakeMicroblog, reads = true): EntryRef {
    const project = (): void => {
      const logs = this.following.get(person) ?? new Set();
      this.following.set(person, logs);
      for (const { log } of [of.public, of.followers]) {
        if (reads) logs.add(log);
        else logs.delete(log);
      }
    };
    if (this.isBehind) this.lateFollows.push(project);
    else project();
    const grants = [of.public, of.followers].map(({ log, audience }) => ({ log, audience, state: reads ? 'active' : 'ended', sees: reads, from: 0 }));
    return this.append(of.own, 'happening', { what: reads ? 'follow-accepted' : 'follow-ended', person, actor: { id: of.id, handle: 'a@dmb.test' }, grants });
  }

  /** The projection has caught up. */
  project(): void {
    for (const late of this.lateFollows.splice(0)) late();
  }

  /** Ids in the home of a person, falling. */
  homeOf(person: PersonId): PostId[] {
    return [...(this.following.get(person) ?? [])]
      .flatMap((log) => this.logs.get(log)!.entries)
      .filter(({ kind }) => kind === ENTRY_KINDS.post || kind === ENTRY_KINDS.boost)
      .map(({ id }) => id)
      .toSorted((left, right) => (left < right ? 1 : -1));
  }

  private answer(log: LogId): Log {
    this.calls++;
    if (this.isDown) throw new AppError('unavailable');
    const found = this.logs.get(log);
    if (found === undefined) throw new AppError('not-found');
    return found;
  }
}

const refOf = ({ shard, log, epochNo, number, kind, id, audience, microblog, late }: EntryRef): EntryRef => ({ shard, log, epochNo, number, kind, id, audience, microblog, late });

/** An event log in which nothing moves by itself. */
export class ScriptedEventLog implements Pick<EventLog, 'subscribe'> {
  private readonly groups = new Map<string, SubscribeOptions>();

  subscribe(options: SubscribeOptions) {
    this.groups.set(options.group, options);
    return Promise.resolve({ isHealthy: () => true, drain: () => Promise.resolve(), stop: () => Promise.resolve(void this.groups.delete(options.group)) });
  }

  /** Hands events over once, as one batch. @throws what the handler threw */
  async deliver(refs: readonly EntryRef[]): Promise<void> {
    const events = refs.map((payload): LogEvent<'microblog.entry.v1'> => ({ topic: 'microblog.entry.v1', key: payload.microblog ?? payload.log, payload, headers: {}, producedAt: Date.now() }));
    for (const group of this.groups.values()) await group.handle(events);
  }

  async lose(): Promise<void> {
    for (const group of this.groups.values()) await group.onLost();
  }
}
