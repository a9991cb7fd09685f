/** Following: asked, accepted, rejected, ended; and how microblogs stand to each other. */
import type { MicroblogId } from '@dmb/protocol';
import type { Actor, Relation, Shown } from '../domain/model.ts';

const notYet = (): never => {
  throw new Error('not written yet');
};

export interface FollowOptions {
  /** Who may know; `owner` unless told otherwise. */
  readonly shown?: Shown;
}

export class FollowCommands {
  /**
   * The asker's person follows the target as their personal microblog. Following again is the same.
   * @throws AppError forbidden when acting as a group, not-found for a target that is not there
   */
  follow(actor: Actor, target: MicroblogId, options?: FollowOptions): Promise<Relation> {
    return notYet();
  }
  /** Ends a follow, or withdraws the request. */
  unfollow(actor: Actor, target: MicroblogId): Promise<Relation> {
    return notYet();
  }
  /** The follower, shown as that microblog, follows the actor's microblog no longer. Owner and editors. */
  removeFollower(actor: Actor, follower: MicroblogId): Promise<Relation> {
    return notYet();
  }
  /** Accepts what that microblog asked. Owner and editors; decided already = the relation as it is. */
  authorize(actor: Actor, requester: MicroblogId): Promise<Relation> {
    return notYet();
  }
  reject(actor: Actor, requester: MicroblogId): Promise<Relation> {
    return notYet();
  }
  /** The relation to each target, in the order asked; unknown targets are left out. */
  relations(actor: Actor, targets: readonly MicroblogId[]): Promise<Relation[]> {
    return notYet();
  }
}
