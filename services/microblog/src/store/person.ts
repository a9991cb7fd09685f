/**
 * What lies with a person: projections of what own logs tell, written by our consumer (and at
 * sign-up at once). `rev` is the number of the happening in its own log: an older one, come late or
 * again, changes nothing.
 */
import { shardOf, type LogId, type MicroblogId, type PersonId, type PostId, type Shown } from '@dmb/protocol';
import type { Role } from '@dmb/events';
import { statement, type Queryable } from '@dmb/postgres';
import type { GrantState } from '../domain/model.ts';

/** A person's role, as it is from now on; null: none any more. */
export interface ContributionChange {
  readonly person: PersonId;
  readonly microblog: MicroblogId;
  readonly role: Role | null;
  readonly personal: boolean;
}

/** A follow as a happening left it; a state that is null was not changed by it. */
export interface FollowingChange {
  readonly person: PersonId;
  readonly microblog: MicroblogId;
  readonly publicLog: LogId;
  readonly followersLog: LogId;
  readonly via: MicroblogId | null;
  readonly state: GrantState | null;
  readonly seesFollowers: boolean | null;
  readonly shown: Shown;
  readonly isOwner: boolean;
  readonly id: PostId;
  readonly rev: bigint;
}

/** Writes a role. Roles change so rarely that a late one is put right by reading the authority, which everybody does. */
export async function putContribution(database: Queryable, { person, microblog, role, personal }: ContributionChange): Promise<void> {
  if (role === null) {
    await database.execute(statement('DELETE FROM contribution WHERE (person_shard, person_id, microblog_id) = ($1, $2, $3)'), [shardOf(person), person, microblog]);
    return;
  }
  await database.execute(
    statement(`INSERT INTO contribution (person_shard, person_id, microblog_id, log_shard, role, personal) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (person_shard, person_id, microblog_id) DO UPDATE SET role = excluded.role`),
    [shardOf(person), person, microblog, shardOf(microblog), role, personal],
  );
}

/** Writes follows of persons in one database; at most one change per person and microblog. Repeating it changes nothing. */
export async function putFollowing(database: Queryable, changes: readonly FollowingChange[]): Promise<void> {
  if (changes.length === 0) return;
  const sorted = changes.toSorted((a, b) => (`${a.person}${a.microblog}` < `${b.person}${b.microblog}` ? -1 : 1));
  const params = [
    sorted.map(({ person }) => shardOf(person)),
    sorted.map(({ person }) => person),
    sorted.map(({ microblog }) => microblog),
    sorted.map(({ microblog }) => shardOf(microblog)),
    sorted.map(({ publicLog }) => publicLog),
    sorted.map(({ followersLog }) => followersLog),
    sorted.map(({ via }) => via),
    sorted.map(({ state }) => state),
    sorted.map(({ seesFollowers }) => seesFollowers),
    sorted.map(({ shown }) => shown),
    sorted.map(({ isOwner }) => isOwner),
    sorted.map(({ id }) => id),
    sorted.map(({ rev }) => rev),
  ];
  const given = `unnest($1::int2[], $2::uuid[], $3::uuid[], $4::int2[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::bool[], $10::text[], $11::bool[], $12::int8[], $13::int8[])
    AS t(person_shard, person_id, microblog_id, log_shard, public_log, followers_log, via, state, sees, shown, is_owner, id, rev)`;
  // First the rows that are missing, older than any happening; then what the happenings say.
  await database.execute(
    statement(`INSERT INTO following (person_shard, person_id, microblog_id, log_shard, public_log, followers_log, via, state, sees_followers, shown, is_owner, id, rev)
     SELECT person_shard, person_id, microblog_id, log_shard, public_log, followers_log, via, coalesce(state, 'asked'), coalesce(sees, false), shown, is_owner, id, 0 FROM ${given}
     ON CONFLICT (person_shard, person_id, microblog_id) DO NOTHING`),
    params,
  );
  await database.execute(
    statement(`UPDATE following f SET via = t.via, state = coalesce(t.state, f.state), sees_followers = coalesce(t.sees, f.sees_followers), shown = t.shown,
       id = CASE WHEN t.state IS NULL THEN f.id ELSE t.id END, rev = t.rev
     FROM ${given} WHERE (f.person_shard, f.person_id, f.microblog_id) = (t.person_shard, t.person_id, t.microblog_id) AND f.rev < t.rev`),
    params,
  );
}
