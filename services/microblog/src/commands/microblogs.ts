/** Making microblogs and changing their profile. */
import type { Actor, Microblog, ProfileField, Visibility } from '../domain/model.ts';

const notYet = (): never => {
  throw new Error('not written yet');
};

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

export class MicroblogCommands {
  /**
   * Changes the profile with an entry on the public log (settings that nobody else sees: without one).
   * @throws AppError forbidden unless the actor is the owner
   */
  updateProfile(actor: Actor, changes: ProfileChanges): Promise<Microblog> {
    return notYet();
  }
}
