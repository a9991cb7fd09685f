/** Changing what was posted: edit and delete. */
import type { BodyOf, NewBody } from '@dmb/protocol';
import type { Actor, Appended, EntryRow } from '../domain/model.ts';

const notYet = (): never => {
  throw new Error('not written yet');
};

export class EntryCommands {
  /**
   * Appends a new version of a post of the actor's microblog. Authors their own posts, editors and owners all.
   * @throws AppError not-found when it is not there (any more), forbidden when the role does not allow it
   */
  edit(actor: Actor, post: EntryRow, body: NewBody<BodyOf<'edit'>>): Promise<Appended> {
    return notYet();
  }
  /** Deletes a post: its bodies are erased in the same transaction. Same rule and errors. */
  delete(actor: Actor, post: EntryRow): Promise<Appended> {
    return notYet();
  }
}
