/**
 * Making microblogs and changing their profile.
 *
 * Sign-up is three calls of identity, each in shards of its own and each repeatable, in this order:
 *
 *   reserve   a row in the directory of handles holds the name for ten minutes
 *   create    the microblog, its four logs with their first epochs, facets; then, by its own log, the
 *             owner, and for a personal microblog the grants of its person; then what the person has
 *             of it (contribution, following) in the person's shard
 *   confirm   the handle is the microblog's for good
 *
 * Died in between: the same calls again go on. Nobody called again: the handle is free after ten
 * minutes, and a microblog without a handle remains that nobody can find.
 *
 * The person of a personal microblog follows it implicitly: an active grant on its public and its
 * followers log, neither shown nor counted, told by a happening like any other, so that every reader of
 * own logs learns of it in the one way there is.
 */
import { createEntry, newEpochId, newLogId, newObjectId, shardOf, type Domain, type DomainId, type Facet, type IdSource, type LogId, type PersonId, type ProfileBody } from '@dmb/protocol';
import type { RequestOf } from '@dmb/events';
import { isUniqueViolation, type Databases, type Transaction } from '@dmb/postgres';
import { AppError } from '@dmb/runtime';
import type { Appender } from '../append/appender.ts';
import { judgeHandle } from '../domain/handles.ts';
import { happening, refOf } from '../domain/happenings.ts';
import type { AccessAudience, Actor, Appended, Microblog, MicroblogLogs, ProfileField, Visibility } from '../domain/model.ts';
import { microblogLimits } from '../limits.ts';
import { putGrant } from '../store/grants.ts';
import { handleShard, lockMicroblog, lockRole, type MicroblogStore } from '../store/microblogs.ts';
import { putContribution, putFollowing } from '../store/person.ts';

/** What an owner may change; what is absent stays. */
export interface ProfileChanges {
  readonly title?: string;
  readonly summary?: string;
  readonly fields?: readonly ProfileField[];
  readonly locked?: boolean;
  readonly discoverable?: boolean;
  readonly defaultVisibility?: Visibility;
  readonly defaultSensitive?: boolean;
  readonly defaultLanguage?: string | null;
}

/** Who may see what of a new microblog. Lists of people are for those who have a part in it. */
export const firstFacets: Readonly<Record<Facet, AccessAudience>> = {
  exists: 'everybody',
  profile: 'everybody',
  history: 'everybody',
  counts: 'everybody',
  'last-activity': 'everybody',
  feeds: 'everybody',
  search: 'everybody',
  followers: 'contributors',
  following: 'contributors',
  contributors: 'contributors',
};

type CreateRequest = RequestOf<'microblog.create'>;
type ReserveRequest = RequestOf<'microblog.reserve-handle'>;

export class MicroblogCommands {
  readonly #databases: Databases;
  readonly #appender: Appender;
  readonly #microblogs: MicroblogStore;
  readonly #ids: IdSource;
  readonly #domains: ReadonlyMap<DomainId, Domain>;
  readonly #now: () => number;

  constructor(parts: {
    readonly databases: Databases;
    readonly appender: Appender;
    readonly microblogs: MicroblogStore;
    readonly ids: IdSource;
    /** The domains that this installation hosts. */
    readonly domains: ReadonlyMap<DomainId, Domain>;
    readonly now?: () => number;
  }) {
    this.#databases = parts.databases;
    this.#appender = parts.appender;
    this.#microblogs = parts.microblogs;
    this.#ids = parts.ids;
    this.#domains = parts.domains;
    this.#now = parts.now ?? Date.now;
  }

  /** Holds a handle for ten minutes. Reserving again with the same reservation is the same. */
  async reserveHandle({ domain, handle, reservation }: ReserveRequest): Promise<'reserved' | 'taken' | 'invalid' | 'reserved-name'> {
    const judged = judgeHandle(handle);
    if (judged !== 'fine') return judged;
    const shard = handleShard(domain, handle);
    const rows = await this.#databases.at(shard).query<{ mine: boolean }>(
      `INSERT INTO handle AS h (handle_shard, domain_id, handle, state, reservation, reserved_until) VALUES ($1, $2, $3, 'reserved', $4, now() + make_interval(mins => $5::int4))
       ON CONFLICT (handle_shard, domain_id, handle) DO UPDATE
         SET reservation = excluded.reservation, reserved_until = CASE WHEN h.state = 'reserved' THEN excluded.reserved_until ELSE h.reserved_until END
         WHERE h.reservation = excluded.reservation OR (h.state = 'reserved' AND h.reserved_until < now())
       RETURNING true AS mine`,
      [shard, domain, handle, reservation, microblogLimits.reservationMinutes],
    );
    return rows.length > 0 ? 'reserved' : 'taken';
  }

  /**
   * Makes a microblog under a reserved handle. Idempotent by its id.
   * @throws AppError conflict unless the handle is reserved for this reservation
   */
  async create(request: CreateRequest): Promise<void> {
    const domain = this.#domains.get(request.domain);
    if (domain === undefined) throw new AppError('invalid', undefined, { detail: `the domain ${request.domain} is not hosted here` });
    await this.#checkReservation(request);
    if ((await this.#microblogs.logsOf(request.microblog)) === undefined) await this.#insert(request, domain);
    const [microblog, logs] = await Promise.all([this.#microblogs.byId(request.microblog), this.#microblogs.logsOf(request.microblog)]);
    if (microblog === undefined || logs === undefined) throw new AppError('bug', undefined, { detail: `the microblog ${request.microblog} was made and is not there` });
    if (microblog.handle !== request.handle || microblog.domainId !== request.domain) throw new AppError('conflict', undefined, { detail: `the microblog ${request.microblog} has another handle` });
    await this.#makeOwner(microblog, logs, request.owner);
    if (request.personal) await this.#makeImplicitFollow(microblog, logs, request.owner);
  }

  /** Makes the handle the microblog's for good; false when somebody else has it by now. */
  async confirmHandle({ domain, handle, reservation, microblog }: RequestOf<'microblog.confirm-handle'>): Promise<boolean> {
    const shard = handleShard(domain, handle);
    const changed = await this.#databases.at(shard).execute(
      `UPDATE handle SET state = 'confirmed', microblog_id = $5, reserved_until = NULL WHERE (handle_shard, domain_id, handle) = ($1, $2, $3) AND reservation = $4 AND (state = 'reserved' OR (state = 'confirmed' AND microblog_id = $5))`,
      [shard, domain, handle, reservation, microblog],
    );
    return changed > 0;
  }

  /**
   * Changes the profile. What others may see is an entry of the public log; settings that nobody else sees are not.
   * @throws AppError forbidden unless the actor is the owner
   */
  async updateProfile(actor: Actor, changes: ProfileChanges): Promise<Microblog> {
    const [microblog, logs, role] = await Promise.all([this.#microblogs.byId(actor.microblog), this.#microblogs.logsOf(actor.microblog), this.#microblogs.role(actor.person, actor.microblog)]);
    if (microblog === undefined || logs === undefined || role !== 'owner') throw new AppError('forbidden', 'Only the owner can change the profile');
    const next = { ...microblog, ...changes };
    const isTold = (['title', 'summary', 'fields', 'locked'] as const).some((name) => JSON.stringify(next[name]) !== JSON.stringify(microblog[name]));
    if (isTold) {
      const objectId = newObjectId(logs.public.shard);
      const entry = createEntry('profile', objectId, this.#now(), profileBody(next));
      await this.#appender.append({
        ...entry,
        log: { shard: logs.public.shard, log: logs.public.log, epochNo: logs.public.epochNo },
        kind: 'profile',
        person: actor.person,
        effect: {
          check: async (tx) => {
            if ((await lockRole(tx, actor.person, actor.microblog)) !== 'owner') throw new AppError('forbidden');
          },
          apply: async (tx) => putProfile(tx, microblog, changes),
        },
      });
    } else {
      await this.#databases.at(microblog.shard).transaction((tx) => putProfile(tx, microblog, changes));
    }
    return (await this.#microblogs.byId(actor.microblog)) ?? next;
  }

  async #checkReservation({ domain, handle, reservation, microblog }: CreateRequest): Promise<void> {
    const shard = handleShard(domain, handle);
    const [row] = await this.#databases.at(shard).query<{ holds: boolean }>(
      `SELECT reservation = $4 AND (state = 'reserved' OR (state = 'confirmed' AND microblog_id = $5)) AS holds FROM handle WHERE (handle_shard, domain_id, handle) = ($1, $2, $3)`,
      [shard, domain, handle, reservation, microblog],
    );
    if (row?.holds !== true) throw new AppError('conflict', undefined, { detail: 'the handle is not reserved' });
  }

  /** All rows of a new microblog that need no entry, in one transaction. */
  async #insert(request: CreateRequest, domain: Domain): Promise<void> {
    const shard = shardOf(request.microblog);
    for (let attempt = 1; ; attempt++) {
      const draw = this.#ids.draw(shard, undefined, this.#now());
      if (draw.outcome === 'ahead') throw new AppError('unavailable', undefined, { detail: 'no id can be drawn now', retryAfterSeconds: 1 });
      try {
        await this.#databases.at(shard).transaction((tx) => insertMicroblog(tx, request, domain, shard, draw.id));
        return;
      } catch (error) {
        if (isUniqueViolation(error, 'microblog_key')) return;
        if (!isUniqueViolation(error, 'microblog_account') || attempt >= microblogLimits.changeAttemptsMax) throw error;
      }
    }
  }

  async #makeOwner(microblog: Microblog, logs: MicroblogLogs, person: PersonId): Promise<void> {
    const personal = microblog.kind === 'personal';
    await this.#appender.append({
      ...happening(logs.own, { what: 'contributor-changed', person, role: 'owner' }, this.#now()),
      key: { scope: logs.own.log, key: 'created:owner', expires: 'never' },
      effect: {
        check: async (tx) => {
          if ((await lockMicroblog(tx, microblog.id)) === undefined) throw new AppError('not-found');
        },
        apply: async (tx) => {
          await tx.execute(
            `INSERT INTO contributor (log_shard, microblog_id, person_id, person_shard, role) VALUES ($1, $2, $3, $4, 'owner') ON CONFLICT (log_shard, microblog_id, person_id) DO UPDATE SET role = 'owner'`,
            [microblog.shard, microblog.id, person, shardOf(person)],
          );
        },
      },
    });
    await putContribution(this.#databases.at(shardOf(person)), { person, microblog: microblog.id, role: 'owner', personal });
  }

  async #makeImplicitFollow(microblog: Microblog, logs: MicroblogLogs, person: PersonId): Promise<void> {
    const grants = (['public', 'followers'] as const).map((audience) => ({ log: logs[audience].log, audience, state: 'active' as const, sees: true, from: 0 }));
    const appended = await this.#appender.append({
      ...happening(logs.own, { what: 'follow-accepted', actor: refOf(microblog), person, grants, shown: 'none' }, this.#now()),
      key: { scope: logs.own.log, key: 'created:follow', expires: 'never' },
      effect: {
        check: () => Promise.resolve(),
        apply: async (tx, { id, number }) => {
          for (const audience of ['public', 'followers'] as const) await putGrant(tx, implicitGrant(microblog, logs[audience].log, person, { id, number }));
        },
      },
    });
    await putFollowing(this.#databases.at(shardOf(person)), [
      {
        person,
        microblog: microblog.id,
        publicLog: logs.public.log,
        followersLog: logs.followers.log,
        via: microblog.id,
        state: 'active',
        seesFollowers: true,
        shown: 'none',
        isOwner: true,
        id: appended.id,
        rev: appended.number,
      },
    ]);
  }
}

function implicitGrant(microblog: Microblog, log: LogId, person: PersonId, { id, number }: Pick<Appended, 'id' | 'number'>): Parameters<typeof putGrant>[1] {
  return {
    shard: microblog.shard,
    log,
    reader: person,
    readerShard: shardOf(person),
    via: microblog.id,
    domainId: microblog.domainId,
    state: 'active',
    sees: true,
    shown: 'none',
    isOwner: true,
    fromNumber: 0n,
    id,
    rev: number,
    since: new Date(),
  };
}

async function insertMicroblog(tx: Transaction, request: CreateRequest, domain: Domain, shard: number, accountId: bigint): Promise<void> {
  await tx.execute(
    `INSERT INTO microblog (log_shard, microblog_id, domain_id, domain, handle, account_id, kind, personal_of, title, default_language) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [shard, request.microblog, request.domain, domain, request.handle, accountId, request.personal ? 'personal' : 'group', request.personal ? request.owner : null, request.title, request.locale],
  );
  for (const audience of ['public', 'followers', 'direct', 'own'] as const) {
    const log = newLogId();
    await tx.execute('INSERT INTO log (log_shard, log_id, origin_log_id, domain_id, microblog_id, audience) VALUES ($1, $2, $2, $3, $4, $5)', [shard, log, request.domain, request.microblog, audience]);
    await tx.execute('INSERT INTO epoch (log_shard, log_id, epoch_no, epoch) VALUES ($1, $2, 1, $3)', [shard, log, newEpochId()]);
  }
  await tx.execute('INSERT INTO access (log_shard, microblog_id, facet, audience) SELECT $1, $2, facet, audience FROM unnest($3::text[], $4::text[]) AS t(facet, audience)', [
    shard,
    request.microblog,
    Object.keys(firstFacets),
    Object.values(firstFacets),
  ]);
  await tx.execute('INSERT INTO statistics (log_shard, microblog_id) VALUES ($1, $2)', [shard, request.microblog]);
}

function profileBody({ kind, handle, title, summary, fields, locked }: Microblog): Omit<ProfileBody, 'salt'> {
  return {
    type: kind === 'personal' ? 'Person' : 'Group',
    preferredUsername: handle,
    name: title,
    summary,
    locked,
    attachment: fields.map(({ name, value }) => ({ type: 'PropertyValue', name, value })),
  };
}

const profileColumns = {
  title: 'title',
  summary: 'summary',
  fields: 'fields',
  locked: 'locked',
  discoverable: 'discoverable',
  defaultVisibility: 'default_visibility',
  defaultSensitive: 'default_sensitive',
  defaultLanguage: 'default_language',
} as const satisfies Record<keyof ProfileChanges, string>;

async function putProfile(tx: Transaction, { shard, id }: Microblog, changes: ProfileChanges): Promise<void> {
  const given = (Object.keys(profileColumns) as (keyof ProfileChanges)[]).filter((name) => changes[name] !== undefined);
  if (given.length === 0) return;
  const values = given.map((name) => (name === 'fields' ? JSON.stringify(changes.fields) : changes[name]));
  await tx.execute(`UPDATE microblog SET ${given.map((name, index) => `${profileColumns[name]} = $${index + 3}`).join(', ')} WHERE (log_shard, microblog_id) = ($1, $2)`, [shard, id, ...values]);
}

