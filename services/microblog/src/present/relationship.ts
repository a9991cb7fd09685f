/** How two microblogs stand to each other, as the client API says it; pure. */
import type { Relationship } from '@dmb/events';
import { formatPostId, type PostId } from '@dmb/protocol';
import type { Relation } from '../domain/model.ts';

export function toRelationship(accountId: PostId, relation: Relation): Relationship {
  return {
    id: formatPostId(accountId),
    following: relation.following,
    showing_reblogs: relation.following,
    notifying: false,
    languages: [],
    followed_by: relation.followedBy,
    blocking: false,
    blocked_by: false,
    muting: false,
    muting_notifications: false,
    requested: relation.requested,
    requested_by: relation.requestedBy,
    domain_blocking: false,
    endorsed: false,
    note: '',
  };
}
