/**
 * Many microblogs and follows at once, for load tests: by COPY, and exactly as the commands leave them once
 * every consumer has caught up.
 *
 * What a command does in one transaction with an entry (commands/microblogs.ts, commands/follows.ts) and what
 * our consumer makes of the entry afterwards is written here together: the same happenings, made by the same
 * functions, with numbers that go on where the log ends; grants, counts, lists by person; and our cursor,
 * which is at the head again. Entries of own logs have no head hashes and need no rows besides. The outbox is left out:
 * what fan-out would have heard is told to its own loader ({@link LoadedOwnLog}). A test compares the rows of every
 * table with those that the commands and consumers wrote.
 *
 * **Beside a running server.** The number of an entry is the lock of its log here too: a load and an append that
 * meet make one of them fail or begin again, never a hole. A log whose consumer has not caught up is refused. A person who has
 * read already keeps a timeline without what is loaded here until it is rebuilt: load before anybody reads.
 *
 * **Crash.** A microblog is in one transaction with everything in its shard; so are its new followers. What lies
 * with persons (following, contribution) comes after that: a load that breaks in between is begun again
 * on empty databases. Bounded: {@link loadLimits} says how much is in one transaction.
 */
import { ENTRY_KINDS, IdSource, domainIdOf, formatHandle, newEpochId, newLogId, shardOf, type Domain, type HappeningBody, type LogId, type MicroblogId, type NewBody, type PersonId, type PostId } from '@dmb/protocol';
import type { LogRef } from '@dmb/events';
import type { CopyValue, Databases, Queryable, Transaction } from '@dmb/postgres';
import { AppError } from '@dmb/runtime';
import { firstFacets } from './commands/microblogs.ts';
import { judgeHandle } from './domain/handles.ts';
import { happening } from './domain/happenings.ts';
import { planFollow } from './domain/follow-plan.ts';
import type { AppendRequest, Microblog, MicroblogLogs } from './domain/model.ts';
import { loadLimits } from './limits.ts';
import { MicroblogStore, handleShard } from './store/microblogs.ts';

/** A personal microblog to be made, as identity's loader names it. */
export interface MicroblogToLoad {
  readonly microblog: MicroblogId;
  readonly handle: string;
  readonly reservation: string;
  readonly person: PersonId;
}

/** `person`, shown as `via`, follows `target`. */
export interface FollowToLoad {
  readonly target: MicroblogId;
  readonly person: PersonId;
  readonly via: { readonly id: MicroblogId; readonly handle: string };
}

/** A microblog that is there now. */
export interface LoadedMicroblog {
  readonly microblog: MicroblogId;
  /** Its id in the client API. */
  readonly accountId: PostId;
}

/** What was written into one own log: whatever fan-out has to know to be where it would be. */
export interface LoadedOwnLog extends LogRef {
  /** Head before. */
  readonly from: bigint;
  readonly to: bigint;
  readonly readers: readonly { readonly log: LogId; readonly person: PersonId; readonly via: MicroblogId; readonly ownNumber: bigint }[];
}

/** The same, with what lies with the persons. */
interface FollowedOwnLog extends LoadedOwnLog {
  readonly following: readonly FollowingRow[];
}

export interface LoaderOptions {
  /** Opened as the service `microblog`. */
  readonly databases: Databases;
  readonly domain: Domain;
  readonly now?: () => number;
}

/** A microblog that is there, and who is to follow it. */
interface FollowedMicroblog {
  readonly microblog: Microblog;
  readonly logs: MicroblogLogs;
  readonly follows: readonly FollowToLoad[];
}

/** Where an own log ends, and the followers log of the same microblog. */
interface OwnHead {
  readonly number: bigint;
  readonly id: PostId | undefined;
  readonly followers: bigint;
  /** Our consumer has applied all of it. */
  readonly isCaughtUp: boolean;
}

/** An entry with the place that it has been given. */
interface PlacedEntry {
  readonly request: AppendRequest;
  readonly number: bigint;
  readonly id: PostId;
}

/** A microblog with everything that is drawn for it. */
interface NewMicroblog extends MicroblogToLoad {
  readonly shard: number;
  readonly accountId: PostId;
  readonly logs: Readonly<Record<(typeof audiences)[number], LogId>>;
  readonly owner: PlacedEntry;
  readonly follow: PlacedEntry;
}

interface FollowingRow {
  readonly person: PersonId;
  readonly microblog: MicroblogId;
  readonly publicLog: LogId;
  readonly followersLog: LogId;
  readonly via: MicroblogId;
  readonly shown: 'owner' | 'none';
  readonly isOwner: boolean;
  readonly id: PostId;
  readonly rev: bigint;
}

const audiences = ['public', 'followers', 'direct', 'own'] as const;
const followed = ['public', 'followers'] as const;

/** Loads for one installation. One at a time: its ids are drawn by itself. */
export class MicroblogLoader {
  readonly #databases: Databases;
  readonly #domain: Domain;
  readonly #microblogs: MicroblogStore;
  readonly #ids = new IdSource();
  readonly #now: () => number;

  constructor({ databases, domain, now = Date.now }: LoaderOptions) {
    this.#databases = databases;
    this.#domain = domain;
    this.#microblogs = new MicroblogStore(databases);
    this.#now = now;
  }

  /**
   * Makes personal microblogs with their handles, owners and implicit follows.
   * @throws {AppError} invalid for a handle that nobody may have
   */
  async microblogs(wanted: readonly MicroblogToLoad[]): Promise<{ readonly microblogs: readonly LoadedMicroblog[]; readonly ownLogs: readonly LoadedOwnLog[] }> {
    const wrong = wanted.find(({ handle }) => judgeHandle(handle) !== 'fine');
    if (wrong !== undefined) throw new AppError('invalid', undefined, { detail: `nobody may have the handle ${wrong.handle}` });
    const made = wanted.map((each) => this.#draw(each));
    const domainId = domainIdOf(this.#domain);
    const size = loadLimits.microblogsPerTransactionMax;
    await this.#inParts(made, ({ handle }) => handleShard(domainId, handle), size, (tx, part) => this.#copyHandles(tx, part));
    await this.#inParts(made, ({ shard }) => shard, size, (tx, part) => this.#copyMicroblogs(tx, part));
    await this.#inParts(made, ({ person }) => shardOf(person), size, copyOwned);
    return {
      microblogs: made.map(({ microblog, accountId }) => ({ microblog, accountId })),
      ownLogs: made.map(({ shard, logs, person, microblog, follow }) => ({
        shard, log: logs.own, epochNo: 1, from: 0n, to: follow.number,
        readers: followed.map((audience) => ({ log: logs[audience], person, via: microblog, ownNumber: follow.number })),
      })),
    };
  }

  /**
   * Makes follows that are accepted at once, shown to the owner: what `POST …/follow` makes.
   * @throws {AppError} conflict where a follow would have to be asked, or a consumer is behind; DatabaseError for one that is there already
   */
  async follows(wanted: readonly FollowToLoad[]): Promise<readonly LoadedOwnLog[]> {
    const byTarget = Map.groupBy(wanted, ({ target }) => target);
    const ids = [...byTarget.keys()];
    const [microblogs, logs] = await Promise.all([this.#microblogs.many(ids), this.#microblogs.logsOfMany(ids)]);
    const targets = [...byTarget].map(([target, follows]): FollowedMicroblog => {
      const microblog = microblogs.get(target);
      const four = logs.get(target);
      if (microblog === undefined || four === undefined) throw new AppError('not-found', undefined, { detail: `the microblog ${target} is not there` });
      return { microblog, logs: four, follows };
    });
    const ownLogs: FollowedOwnLog[] = [];
    await this.#inParts(targets, ({ microblog }) => microblog.shard, loadLimits.followedPerTransactionMax, async (tx, part) => {
      ownLogs.push(...(await this.#follow(tx, part)));
    });
    const following = ownLogs.flatMap(({ following: rows }) => rows);
    await this.#inParts(following, ({ person }) => shardOf(person), loadLimits.followingPerTransactionMax, copyFollowing);
    return ownLogs;
  }

  async #follow(tx: Transaction, targets: readonly FollowedMicroblog[]): Promise<FollowedOwnLog[]> {
    const domainId = domainIdOf(this.#domain);
    const heads = await headsOf(tx, targets);
    const placed = targets.map((target, index) => this.#place(target, heads[index]));
    await copyEntries(tx, placed.flatMap(({ entries }) => entries));
    await tx.copyIn({
      table: 'grants',
      columns: grantColumns,
      rows: placed.flatMap(({ logs, changes, entries }) =>
        entries.flatMap((entry) =>
          changes.map((change) => grantRow(entry, { ...logs[change.audience], person: entry.follow.person, via: entry.follow.via.id, domainId, shown: 'owner', isOwner: false, fromNumber: change.from })),
        ),
      ),
    });
    const granted = placed.flatMap(({ logs, entries }) => followed.map((audience) => ({ ...logs[audience], count: entries.length })));
    await tx.execute(
      `INSERT INTO acl AS a (log_shard, log_id, domain_id, acl_rev) SELECT log_shard, log_id, $4, count FROM unnest($1::int2[], $2::uuid[], $3::int8[]) AS t(log_shard, log_id, count)
       ON CONFLICT (log_shard, log_id, domain_id) DO UPDATE SET acl_rev = a.acl_rev + EXCLUDED.acl_rev`,
      [granted.map(({ shard }) => shard), granted.map(({ log }) => log), granted.map(({ count }) => count), domainId],
    );
    await tx.execute(
      `UPDATE statistics s SET followers = s.followers + t.count FROM unnest($1::int2[], $2::uuid[], $3::int8[]) AS t(log_shard, microblog_id, count) WHERE (s.log_shard, s.microblog_id) = (t.log_shard, t.microblog_id)`,
      [placed.map(({ microblog }) => microblog.shard), placed.map(({ microblog }) => microblog.id), placed.map(({ entries }) => entries.length)],
    );
    await tx.execute(
      `UPDATE cursor c SET number = t.number FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[]) AS t(log_shard, log_id, epoch_no, number) WHERE (c.log_shard, c.log_id, c.epoch_no) = (t.log_shard, t.log_id, t.epoch_no)`,
      [placed.map(({ logs }) => logs.own.shard), placed.map(({ logs }) => logs.own.log), placed.map(({ logs }) => logs.own.epochNo), placed.map(({ to }) => to)],
    );
    return placed.map(({ microblog, logs, from, to, entries }) => ({
      shard: logs.own.shard,
      log: logs.own.log,
      epochNo: logs.own.epochNo,
      from,
      to,
      readers: entries.flatMap(({ follow: { person, via }, number }) => followed.map((audience) => ({ log: logs[audience].log, person, via: via.id, ownNumber: number }))),
      following: entries.map(({ follow: { person, via }, id, number }): FollowingRow => ({
        person, microblog: microblog.id, publicLog: logs.public.log, followersLog: logs.followers.log, via: via.id, shown: 'owner', isOwner: false, id, rev: number,
      })),
    }));
  }

  /** The happenings of the new follows of one microblog, with their places in its own log. */
  #place({ microblog, logs, follows }: FollowedMicroblog, head: OwnHead | undefined) {
    if (head?.isCaughtUp !== true) throw new AppError('conflict', undefined, { detail: `entries of the own log of ${microblog.handle} have not had their effects yet` });
    const step = planFollow({ settings: microblog, public: undefined, followers: undefined, followersHead: head.followers });
    const changes = step?.what === 'follow-accepted' && step.changes.length === followed.length ? step.changes : undefined;
    if (changes === undefined) throw new AppError('conflict', undefined, { detail: `a follow of ${microblog.handle} has to be asked for` });
    const grants = changes.map(({ audience, state, sees, from }) => ({ log: logs[audience].log, audience, state, sees, from: Number(from) }));
    let { number, id } = head;
    const entries = follows.map((follow) => {
      const body = { what: 'follow-accepted', actor: this.#refOf(follow.via), person: follow.person, grants, shown: 'owner' } as const satisfies NewBody<HappeningBody>;
      number += 1n;
      id = this.#drawId(microblog.shard, id);
      return { follow, request: happening(logs.own, body, this.#now()), number, id };
    });
    return { microblog, logs, changes, entries, from: head.number, to: number };
  }

  #draw(wanted: MicroblogToLoad): NewMicroblog {
    const shard = shardOf(wanted.microblog);
    const logs = { public: newLogId(), followers: newLogId(), direct: newLogId(), own: newLogId() };
    const own = { shard, log: logs.own, epochNo: 1 };
    const accountId = this.#drawId(shard, undefined);
    const grants = followed.map((audience) => ({ log: logs[audience], audience, state: 'active' as const, sees: true, from: 0 }));
    const owner = { request: happening(own, { what: 'contributor-changed', person: wanted.person, role: 'owner' }, this.#now()), number: 1n, id: this.#drawId(shard, undefined) };
    const actor = this.#refOf({ id: wanted.microblog, handle: wanted.handle });
    const follow = { request: happening(own, { what: 'follow-accepted', actor, person: wanted.person, grants, shown: 'none' }, this.#now()), number: 2n, id: this.#drawId(shard, owner.id) };
    return { ...wanted, shard, accountId, logs, owner, follow };
  }

  /** @throws {AppError} unavailable if more are drawn for one shard than the clock allows */
  #drawId(shard: number, head: PostId | undefined): PostId {
    const draw = this.#ids.draw(shard, head, this.#now());
    if (draw.outcome === 'ahead') throw new AppError('unavailable', undefined, { detail: `ids of shard ${shard} are ${draw.byMs} ms ahead of the clock` });
    return draw.id;
  }

  #refOf({ id, handle }: { readonly id: MicroblogId; readonly handle: string }) {
    return { id, handle: formatHandle(handle, this.#domain) };
  }

  /** Parts of one database each, at most so many items, each in a transaction of its own. */
  async #inParts<T>(items: readonly T[], shard: (item: T) => number, size: number, work: (tx: Transaction, part: readonly T[]) => Promise<void>): Promise<void> {
    for (const [database, group] of this.#databases.group(items, shard)) {
      for (let from = 0; from < group.length; from += size) {
        await database.transaction((tx) => work(tx, group.slice(from, from + size)));
      }
    }
  }

  async #copyHandles(tx: Transaction, made: readonly NewMicroblog[]): Promise<void> {
    const domainId = domainIdOf(this.#domain);
    await tx.copyIn({
      table: 'handle',
      columns: ['handle_shard', 'domain_id', 'handle', 'state', 'reservation', 'microblog_id'],
      rows: made.map(({ handle, reservation, microblog }) => [handleShard(domainId, handle), domainId, handle, 'confirmed', reservation, microblog]),
    });
  }

  /** Everything in the shards of the microblogs. */
  async #copyMicroblogs(tx: Transaction, made: readonly NewMicroblog[]): Promise<void> {
    const domainId = domainIdOf(this.#domain);
    const logs = made.flatMap((each) => audiences.map((audience) => ({ ...each, audience, log: each.logs[audience] })));
    await tx.copyIn({
      table: 'microblog',
      columns: ['log_shard', 'microblog_id', 'domain_id', 'domain', 'handle', 'account_id', 'kind', 'personal_of', 'title'],
      rows: made.map(({ shard, microblog, handle, accountId, person }) => [shard, microblog, domainId, this.#domain, handle, accountId, 'personal', person, handle]),
    });
    await tx.copyIn({ table: 'log', columns: ['log_shard', 'log_id', 'origin_log_id', 'domain_id', 'microblog_id', 'audience'], rows: logs.map(({ shard, log, microblog, audience }) => [shard, log, log, domainId, microblog, audience]) });
    await tx.copyIn({ table: 'epoch', columns: ['log_shard', 'log_id', 'epoch_no', 'epoch'], rows: logs.map(({ shard, log }) => [shard, log, 1, newEpochId()]) });
    await tx.copyIn({ table: 'access', columns: ['log_shard', 'microblog_id', 'facet', 'audience'], rows: made.flatMap(({ shard, microblog }) => Object.entries(firstFacets).map(([facet, audience]) => [shard, microblog, facet, audience])) });
    await tx.copyIn({ table: 'statistics', columns: ['log_shard', 'microblog_id'], rows: made.map(({ shard, microblog }) => [shard, microblog]) });
    await copyEntries(tx, made.flatMap(({ owner, follow }) => [owner, follow]));
    await tx.copyIn({
      table: 'append_key',
      columns: ['log_shard', 'scope', 'key', 'log_id', 'epoch_no', 'number', 'id'],
      rows: made.flatMap(({ shard, logs: { own }, owner, follow }) => [[shard, own, 'created:owner', own, 1, owner.number, owner.id], [shard, own, 'created:follow', own, 1, follow.number, follow.id]]),
    });
    await tx.copyIn({ table: 'contributor', columns: ['log_shard', 'microblog_id', 'person_id', 'person_shard', 'role'], rows: made.map(({ shard, microblog, person }) => [shard, microblog, person, shardOf(person), 'owner']) });
    const granted = made.flatMap((each) => followed.map((audience) => ({ ...each, log: each.logs[audience] })));
    await tx.copyIn({ table: 'grants', columns: grantColumns, rows: granted.map(({ shard, log, person, microblog, follow }) => grantRow(follow, { shard, log, person, via: microblog, domainId, shown: 'none', isOwner: true, fromNumber: 0n })) });
    await tx.copyIn({ table: 'acl', columns: ['log_shard', 'log_id', 'domain_id'], rows: granted.map(({ shard, log }) => [shard, log, domainId]) });
    await tx.copyIn({ table: 'cursor', columns: ['log_shard', 'log_id', 'epoch_no', 'number'], rows: made.map(({ shard, logs: { own }, follow }) => [shard, own, 1, follow.number]) });
  }
}

/** What lies with the owners. */
async function copyOwned(tx: Transaction, made: readonly NewMicroblog[]): Promise<void> {
  await tx.copyIn({
    table: 'contribution',
    columns: ['person_shard', 'person_id', 'microblog_id', 'log_shard', 'role', 'personal'],
    rows: made.map(({ person, microblog, shard }) => [shardOf(person), person, microblog, shard, 'owner', true]),
  });
  await copyFollowing(tx, made.map(({ person, microblog, logs, follow }) => ({ person, microblog, publicLog: logs.public, followersLog: logs.followers, via: microblog, shown: 'none', isOwner: true, id: follow.id, rev: follow.number })));
}

async function copyFollowing(tx: Transaction, rows: readonly FollowingRow[]): Promise<void> {
  await tx.copyIn({
    table: 'following',
    columns: ['person_shard', 'person_id', 'microblog_id', 'log_shard', 'public_log', 'followers_log', 'via', 'state', 'sees_followers', 'shown', 'is_owner', 'id', 'rev'],
    rows: rows.map(({ person, microblog, publicLog, followersLog, via, shown, isOwner, id, rev }) => [shardOf(person), person, microblog, shardOf(microblog), publicLog, followersLog, via, 'active', true, shown, isOwner, id, rev]),
  });
}

async function copyEntries(tx: Transaction, entries: readonly PlacedEntry[]): Promise<void> {
  await tx.copyIn({
    table: 'entry',
    columns: ['log_shard', 'log_id', 'epoch_no', 'number', 'id', 'kind', 'object_id', 'envelope', 'body', 'what', 'reply_to_microblog'],
    rows: entries.map(({ request: { log, kind, objectId, envelope, body, what, replyToMicroblog }, number, id }) => [log.shard, log.log, log.epochNo, number, id, ENTRY_KINDS[kind], objectId, envelope, body, what ?? null, replyToMicroblog ?? null]),
  });
}

const grantColumns = ['log_shard', 'log_id', 'reader_kind', 'reader_id', 'reader_shard', 'via', 'via_shard', 'domain_id', 'state', 'sees', 'shown', 'is_owner', 'from_number', 'id', 'rev'];

function grantRow(
  { id, number }: Pick<PlacedEntry, 'id' | 'number'>,
  grant: { readonly shard: number; readonly log: LogId; readonly person: PersonId; readonly via: MicroblogId; readonly domainId: string; readonly shown: string; readonly isOwner: boolean; readonly fromNumber: bigint },
): CopyValue[] {
  const { shard, log, person, via, domainId, shown, isOwner, fromNumber } = grant;
  return [shard, log, 'person', person, shardOf(person), via, shardOf(via), domainId, 'active', true, shown, isOwner, fromNumber, id, number];
}

/** Where the own logs of these microblogs end, in their order; their cursors are locked. */
async function headsOf(tx: Queryable, targets: readonly FollowedMicroblog[]): Promise<OwnHead[]> {
  const last = (audience: 'own' | 'followers') => {
    const logs = targets.map((target) => target.logs[audience]);
    return tx.query<{ number: bigint; id: PostId | null; cursor: bigint | null }>(
      `SELECT coalesce(h.number, 0) AS number, h.id, c.number AS cursor
       FROM unnest($1::int2[], $2::uuid[], $3::int4[]) WITH ORDINALITY AS t(log_shard, log_id, epoch_no, ord)
       LEFT JOIN LATERAL (SELECT number, id FROM entry e WHERE (e.log_shard, e.log_id, e.epoch_no) = (t.log_shard, t.log_id, t.epoch_no) ORDER BY number DESC LIMIT 1) h ON true
       LEFT JOIN LATERAL (SELECT number FROM cursor c WHERE (c.log_shard, c.log_id, c.epoch_no) = (t.log_shard, t.log_id, t.epoch_no) FOR UPDATE) c ON true
       ORDER BY t.ord`,
      [logs.map(({ shard }) => shard), logs.map(({ log }) => log), logs.map(({ epochNo }) => epochNo)],
    );
  };
  const followers = await last('followers');
  return (await last('own')).map(({ number, id, cursor }, index) => ({ number, id: id ?? undefined, followers: followers[index]?.number ?? 0n, isCaughtUp: cursor === number }));
}
