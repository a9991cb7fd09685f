/**
 * Following: asked, accepted, rejected, ended; and how microblogs stand to each other.
 *
 * A follow changes grants, and grants change only with an entry of the followed microblog's own
 * log. So every command here is: read, plan (domain/follow-plan.ts), append the happening with an
 * effect that reads again under the log and goes on only if the plan is still the same; if it is not,
 * begin again. Counts of followers change in the same transaction.
 *
 * The person's own list (`following`) is a projection that our consumer writes from the happening.
 */
import { canSee, shardOf, type Shown } from '@dmb/protocol';
import type { LogId, MicroblogId, PersonId } from '@dmb/protocol';
import type { Databases, Transaction } from '@dmb/postgres';
import { AppError } from '@dmb/runtime';
import type { Role } from '@dmb/events';
import type { Appender } from '../append/appender.ts';
import { isSameStep, planAuthorize, planEnd, planFollow, planReject, type FollowFacts, type FollowPlanner, type PlannedStep } from '../domain/follow-plan.ts';
import { happening, refOf } from '../domain/happenings.ts';
import type { Actor, Appended, Grant, Microblog, MicroblogLogs, Relation } from '../domain/model.ts';
import { microblogLimits } from '../limits.ts';
import { lockGrants, putGrant, type GrantStore } from '../store/grants.ts';
import { lockMicroblog, lockRole, type MicroblogStore } from '../store/microblogs.ts';

/** How a follow may be made. */
export interface FollowOptions {
  /** Who may know; `owner` unless told otherwise. */
  readonly shown?: Shown;
}

/** The facts have changed between planning and the log: plan again. */
class StalePlan extends AppError {
  constructor() {
    super('conflict', undefined, { detail: 'the grants changed meanwhile' });
  }
}

/** One follower and one followed, as a change is made between them. */
interface Pair {
  readonly person: PersonId;
  readonly via: Microblog;
  readonly target: Microblog;
  readonly logs: MicroblogLogs;
  readonly shown: Shown;
  /** Who must still have a leading role in the target when the change is made. */
  readonly decider?: PersonId;
}

export class FollowCommands {
  readonly #databases: Databases;
  readonly #appender: Appender;
  readonly #microblogs: MicroblogStore;
  readonly #grants: GrantStore;
  readonly #now: () => number;

  constructor(parts: { readonly databases: Databases; readonly appender: Appender; readonly microblogs: MicroblogStore; readonly grants: GrantStore; readonly now?: () => number }) {
    this.#databases = parts.databases;
    this.#appender = parts.appender;
    this.#microblogs = parts.microblogs;
    this.#grants = parts.grants;
    this.#now = parts.now ?? Date.now;
  }

  /**
   * The actor's person follows the target, shown as their personal microblog. Following again is the same.
   * @throws AppError forbidden when acting as a group or towards oneself, not-found for a target that is not there
   */
  async follow(actor: Actor, target: MicroblogId, options: FollowOptions = {}): Promise<Relation> {
    const via = await this.#asPersonal(actor);
    if (target === actor.microblog) throw new AppError('forbidden', 'You cannot follow yourself');
    const followed = await this.#target(actor, target);
    const logs = await this.#logs(target);
    await this.#checkRoom(actor.person, logs);
    await this.#change({ person: actor.person, via, target: followed, logs, shown: options.shown ?? 'owner' }, planFollow);
    return await this.#relation(actor, target);
  }

  /** Ends a follow, or withdraws the request. */
  async unfollow(actor: Actor, target: MicroblogId): Promise<Relation> {
    const via = await this.#asPersonal(actor);
    if (target === actor.microblog) throw new AppError('forbidden', 'You cannot unfollow yourself');
    const followed = await this.#microblogs.byId(target);
    if (followed === undefined) throw new AppError('not-found');
    await this.#change({ person: actor.person, via, target: followed, logs: await this.#logs(target), shown: 'owner' }, planEnd);
    return await this.#relation(actor, target);
  }

  /** The follower, shown as that microblog, follows the actor's microblog no longer. Owner and editors. */
  async removeFollower(actor: Actor, follower: MicroblogId): Promise<Relation> {
    return await this.#decide(actor, follower, planEnd);
  }

  /** Accepts what that microblog asked. Owner and editors; decided already = the relation as it is. */
  async authorize(actor: Actor, requester: MicroblogId): Promise<Relation> {
    return await this.#decide(actor, requester, planAuthorize);
  }

  /** Rejects what that microblog asked. Owner and editors; decided already = the relation as it is. */
  async reject(actor: Actor, requester: MicroblogId): Promise<Relation> {
    return await this.#decide(actor, requester, planReject);
  }

  /** The relation to each target, in the order asked; unknown targets are left out. */
  async relations(actor: Actor, targets: readonly MicroblogId[]): Promise<Relation[]> {
    const [own, role, theirs, mine] = await Promise.all([
      this.#microblogs.byId(actor.microblog),
      this.#microblogs.role(actor.person, actor.microblog),
      this.#microblogs.logsOfMany(targets),
      this.#microblogs.logsOf(actor.microblog),
    ]);
    // As a group one follows nobody: whom its contributors follow is theirs.
    const follows = own?.personalOf === actor.person;
    const places = [...theirs.values()].flatMap((logs) => [logs.public, logs.followers]);
    const [given, taken] = await Promise.all([
      follows ? this.#grants.ofPerson(actor.person, places) : new Map<LogId, Grant>(),
      mine === undefined ? [] : this.#grants.followersAmong(mine, targets),
    ]);
    return targets.flatMap((target) => {
      const logs = theirs.get(target);
      if (logs === undefined) return [];
      const onPublic: Grant | undefined = given.get(logs.public.log);
      const onFollowers: Grant | undefined = given.get(logs.followers.log);
      const back = taken.filter(({ via }) => via === target);
      return [relationOf(target, target === actor.microblog ? undefined : onPublic, target === actor.microblog ? undefined : onFollowers, back, role)];
    });
  }

  async #relation(actor: Actor, target: MicroblogId): Promise<Relation> {
    const [relation] = await this.relations(actor, [target]);
    if (relation === undefined) throw new AppError('not-found');
    return relation;
  }

  async #decide(actor: Actor, follower: MicroblogId, planner: FollowPlanner): Promise<Relation> {
    const [own, role, via] = await Promise.all([this.#microblogs.byId(actor.microblog), this.#microblogs.role(actor.person, actor.microblog), this.#microblogs.byId(follower)]);
    if (own === undefined || !leads(role)) throw new AppError('forbidden');
    if (via === undefined) throw new AppError('not-found');
    const logs = await this.#logs(actor.microblog);
    const persons = new Map((await this.#grants.followersAmong(logs, [follower])).map((grant) => [grant.reader, grant.shown]));
    for (const [person, shown] of persons) await this.#change({ person, via, target: own, logs, shown, decider: actor.person }, planner);
    return await this.#relation(actor, follower);
  }

  /** Makes steps until the planner has none left. */
  async #change(pair: Pair, planner: FollowPlanner): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const step = planner(await this.#facts(pair));
      if (step === undefined) return;
      try {
        await this.#step(pair, planner, step);
      } catch (error) {
        if (!(error instanceof StalePlan) || attempt >= microblogLimits.changeAttemptsMax) throw error;
      }
    }
  }

  async #facts({ person, target, logs }: Pair): Promise<FollowFacts> {
    const [settings, grants, followersHead] = await Promise.all([this.#microblogs.byId(target.id), this.#grants.ofPerson(person, [logs.public, logs.followers]), this.#head(logs)]);
    return { settings: settings ?? target, public: grants.get(logs.public.log), followers: grants.get(logs.followers.log), followersHead };
  }

  async #head({ followers: { shard, log, epochNo } }: MicroblogLogs): Promise<bigint> {
    const [row] = await this.#databases
      .at(shard)
      .query<{ number: bigint | null }>('SELECT max(number) AS number FROM entry WHERE log_shard = $1 AND log_id = $2 AND epoch_no = $3', [shard, log, epochNo]);
    return row?.number ?? 0n;
  }

  async #step(pair: Pair, planner: FollowPlanner, step: PlannedStep): Promise<void> {
    const { person, via, target, logs, shown, decider } = pair;
    const grants = step.changes.map(({ audience, state, sees, from }) => ({ log: logs[audience].log, audience, state, sees, from: Number(from) }));
    const request = happening(logs.own, { what: step.what, actor: refOf(via), person, grants, shown }, this.#now());
    let locked: ReadonlyMap<string, Grant> = new Map();
    await this.#appender.append({
      ...request,
      effect: {
        check: async (tx) => {
          const settings = await lockMicroblog(tx, target.id);
          if (settings === undefined || (settings.state !== 'active' && step.what !== 'follow-ended')) throw new AppError('not-found');
          if (decider !== undefined && !leads(await lockRole(tx, decider, target.id))) throw new AppError('forbidden');
          locked = await lockGrants(tx, person, [logs.public, logs.followers]);
          const facts = { settings, public: locked.get(logs.public.log), followers: locked.get(logs.followers.log), followersHead: 0n };
          if (!isSameStep(planner(facts), step)) throw new StalePlan();
        },
        apply: async (tx, appended) => applyStep(tx, pair, step, locked, appended),
      },
    });
  }

  /** @throws AppError forbidden unless the actor acts as their personal microblog */
  async #asPersonal(actor: Actor): Promise<Microblog> {
    const own = await this.#microblogs.byId(actor.microblog);
    if (own?.state !== 'active' || own.personalOf !== actor.person) throw new AppError('forbidden', 'Log in with your personal microblog to follow');
    return own;
  }

  /** @throws AppError not-found for one that is not there, or not for this actor */
  async #target(actor: Actor, id: MicroblogId): Promise<Microblog> {
    const [target, facets, role] = await Promise.all([this.#microblogs.byId(id), this.#microblogs.facets([id]), this.#microblogs.role(actor.person, id)]);
    const exists =
      target !== undefined &&
      canSee(
        { kind: 'person', person: actor.person, microblog: actor.microblog },
        { kind: 'facet', facet: 'exists', audience: facets.get(id)?.get('exists'), relation: role === undefined ? {} : { role }, suspended: target.state !== 'active' },
      );
    if (!exists) throw new AppError('not-found');
    return target;
  }

  async #logs(id: MicroblogId): Promise<MicroblogLogs> {
    const logs = await this.#microblogs.logsOf(id);
    if (logs === undefined) throw new AppError('not-found');
    return logs;
  }

  /** @throws AppError limited when the person follows too many, or too many wait for a decision */
  async #checkRoom(person: PersonId, logs: MicroblogLogs): Promise<void> {
    const [follows, requests] = await Promise.all([
      this.#grants.followsCount(person),
      logs.own.microblog === null ? 0n : this.#grants.followRequestsCount(logs.own.microblog),
    ]);
    if (follows >= BigInt(microblogLimits.followsMax)) throw new AppError('invalid', `You cannot follow more than ${microblogLimits.followsMax} microblogs`);
    if (requests >= BigInt(microblogLimits.followRequestsMax)) throw new AppError('limited', 'Too many follow requests wait there');
  }
}

/** Writes the grants as the step leaves them, and counts. */
async function applyStep(tx: Transaction, { person, via, target, logs, shown }: Pair, step: PlannedStep, before: ReadonlyMap<string, Grant>, { id, number }: Appended): Promise<void> {
  let counted = 0;
  for (const { audience, state, sees, from } of step.changes) {
    const log = logs[audience];
    const old = before.get(log.log);
    await putGrant(tx, {
      shard: log.shard,
      log: log.log,
      reader: person,
      readerShard: shardOf(person),
      via: via.id,
      domainId: via.domainId,
      state,
      sees,
      shown: state === 'ended' ? (old?.shown ?? shown) : shown,
      isOwner: false,
      fromNumber: from,
      id: state === 'ended' ? (old?.id ?? id) : id,
      rev: number,
      since: new Date(),
    });
    if (audience === 'public') counted = Number(state === 'active') - Number(old?.state === 'active');
  }
  if (counted === 0) return;
  await tx.execute(
    `INSERT INTO statistics AS s (log_shard, microblog_id, followers) VALUES ($1, $2, greatest($3::int8, 0))
     ON CONFLICT (log_shard, microblog_id) DO UPDATE SET followers = greatest(s.followers + $3::int8, 0)`,
    [target.shard, target.id, counted],
  );
}

function leads(role: Role | undefined): boolean {
  return role === 'owner' || role === 'editor';
}

/** What the actor may know of how the two stand to each other. */
function relationOf(target: MicroblogId, onPublic: Grant | undefined, onFollowers: Grant | undefined, back: readonly Grant[], role: Role | undefined): Relation {
  const shownToActor = ({ shown }: Grant): boolean => shown === 'everybody' || (shown !== 'none' && leads(role));
  const asked = [onPublic, onFollowers].some((grant) => grant?.state === 'asked');
  return {
    target,
    following: onPublic?.state === 'active',
    requested: asked,
    followersLog: onFollowers === undefined ? null : onFollowers.state,
    shown: onPublic === undefined || onPublic.state === 'ended' ? null : onPublic.shown,
    followedBy: back.some((grant) => grant.state === 'active' && shownToActor(grant)),
    requestedBy: leads(role) && back.some((grant) => grant.state === 'asked'),
  };
}

