/**
 * Whether a post reaches the people of a microblog that it names.
 *
 * Grants are the only authority: being named in a private post lets nobody in. So a mention of somebody
 * who may not read it stays text: it is no link, stands in no list of mentions and notifies nobody. Were it shown
 * as a mention, its author would take them for told. Who is to be reached beyond the followers is
 * written to directly: the recipients of a direct post are named in it for ever.
 */
import { canSee, type MicroblogId, type PersonId } from '@dmb/protocol';
import type { Audience, LogRef } from '@dmb/events';
import type { Microblog } from '../domain/model.ts';
import type { GrantStore } from '../store/grants.ts';
import type { MicroblogStore } from '../store/microblogs.ts';

export interface ReachStores {
  readonly grants: Pick<GrantStore, 'ofPerson'>;
  readonly microblogs: Pick<MicroblogStore, 'contributors' | 'role'>;
}

/** A post, or one that is to be. */
export interface Reaching {
  readonly log: LogRef;
  readonly audience: Audience;
  /** Number of the entry; one that is not there yet comes after all that are. */
  readonly number: bigint;
  readonly author: MicroblogId;
  readonly recipients: readonly MicroblogId[];
}

/** Above every number. */
export const numberToBe = 2n ** 63n - 1n;

/** Whether the people of a microblog may see a post: its person, or one of a group's owner and editors. */
export async function reaches({ grants, microblogs }: ReachStores, { log, audience, number, author, recipients }: Reaching, target: Microblog): Promise<boolean> {
  if (audience === 'public') return true;
  if (audience === 'direct') return recipients.includes(target.id);
  const persons: readonly PersonId[] =
    target.personalOf === null ? (await microblogs.contributors(target.id)).filter(({ role }) => role !== 'author').map(({ person }) => person) : [target.personalOf];
  for (const person of persons) {
    const [granted, role] = await Promise.all([grants.ofPerson(person, [log]), microblogs.role(person, author)]);
    const grant = granted.get(log.log);
    const relation = { ...(grant === undefined ? {} : { grant }), ...(role === undefined ? {} : { role }) };
    if (canSee({ kind: 'person', person, microblog: target.id }, { kind: 'entry', audience, number, relation, withheld: false, suspended: false })) return true;
  }
  return false;
}
