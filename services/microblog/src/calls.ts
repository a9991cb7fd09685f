/** The calls that this service answers, each bound to what answers it. */
import { AppError, type Calls } from '@dmb/runtime';
import type { AnswerOf, Asker, Role } from '@dmb/events';
import type { LogId } from '@dmb/protocol';
import type { MicroblogCommands } from './commands/microblogs.ts';
import { readLimits } from './limits.ts';
import { Kept, type Unchanged } from './present/kept.ts';
import { presentLimits } from './present/limits.ts';
import type { Presenter } from './present/presenter.ts';
import type { LogStore } from './store/logs.ts';
import type { MicroblogStore } from './store/microblogs.ts';
import type { SnapshotStore } from './store/snapshot.ts';

/** What answers. */
export interface CallParts {
  readonly commands: MicroblogCommands;
  readonly microblogs: MicroblogStore;
  readonly logs: LogStore;
  readonly snapshots: SnapshotStore;
  readonly presenter: Presenter;
  readonly unchanged: Unchanged;
}

/** Binds every call of microblog. */
export function bindCalls(calls: Calls, { commands, microblogs, logs, snapshots, presenter, unchanged }: CallParts): void {
  calls.bind('microblog.reserve-handle', async (request) => ({ outcome: await commands.reserveHandle(request) }));
  calls.bind('microblog.create', async (request) => {
    await commands.create(request);
    return { microblog: request.microblog };
  });
  calls.bind('microblog.confirm-handle', async (request) => ({ confirmed: await commands.confirmHandle(request) }));
  calls.bind('microblog.contributions', async ({ person }) => ({ contributions: await microblogs.contributions(person) }));
  calls.bind('microblog.entries', (request) => logs.entries(request));
  calls.bind('microblog.heads', ({ database, after }) => logs.heads(database, after));
  calls.bind('microblog.snapshot', ({ person, before, above, limit, only }) => snapshots.home(person, above === undefined ? { before } : { above }, Math.min(limit, readLimits.snapshotIdsMax), only));
  calls.bind('microblog.merge-log', async ({ shard, log }) => {
    await logs.merge(shard, log);
    return { merged: true } as const;
  });
  calls.bind('microblog.merged-logs', async () => ({ logs: await logs.merged() }));
  calls.bind('microblog.own-posts', ({ microblog, before, above, limit }) => snapshots.ownPosts(microblog, above === undefined ? { before } : { above }, Math.min(limit, readLimits.snapshotIdsMax)));
  calls.bind('microblog.listening', ({ asker }) => listening(asker, microblogs, snapshots));
  const roles = new Kept<{ readonly role: Role | undefined }>(unchanged, presentLimits.rolesKeptMax);
  calls.bind('microblog.role', async ({ person, microblog }) => {
    const { role } = await roles.get(`${person} ${microblog}`, async () => ({ role: await microblogs.role(person, microblog) }));
    return role === undefined ? null : { role };
  });
  calls.bind('microblog.roles', async ({ contributions }) => {
    if (contributions.length > readLimits.rolesAskedMax) throw new AppError('bug', undefined, { detail: `${contributions.length} roles in one call` });
    return { roles: (await microblogs.rolesOf(contributions)).map((role) => role ?? null) };
  });
  calls.bind('microblog.present-live', ({ asks }) => presenter.live(asks));
  calls.bind('microblog.present', ({ asker, ids, context }) => presenter.statuses(asker, ids, context));
  calls.bind('microblog.present-notifications', async ({ asker, ids }) => ({ notifications: await presenter.notifications(asker, ids) }));
  calls.bind('microblog.account', async ({ asker, microblog }) => ({ account: (await presenter.account(asker, microblog)) ?? null }));
}

/** What a stream listens to: a person's followed logs, a group's own; null when the role is over. */
async function listening(asker: Asker, microblogs: MicroblogStore, snapshots: SnapshotStore): Promise<AnswerOf<'microblog.listening'>> {
  if (asker.kind !== 'person') return null;
  const [role, microblog, own] = await Promise.all([microblogs.role(asker.person, asker.microblog), microblogs.byId(asker.microblog), microblogs.logsOf(asker.microblog)]);
  if (role === undefined || microblog === undefined || own === undefined) return null;
  const personal = microblog.personalOf === asker.person;
  const home: LogId[] = personal ? (await snapshots.followedLogs(asker.person)).map(({ log }) => log) : [own.public.log, own.followers.log];
  return { home, notifications: own.own.log, personal };
}
