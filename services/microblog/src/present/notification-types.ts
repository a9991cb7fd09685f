/** Happenings of an own log as types of notifications of the client API; pure. */
import type { HappeningBody, What } from '@dmb/protocol';

/** Types that are served so far. */
export type NotificationType = 'mention' | 'follow' | 'follow_request';

const typeOf: Partial<Readonly<Record<What, NotificationType>>> = {
  mention: 'mention',
  reply: 'mention',
  'follow-accepted': 'follow',
  'follow-asked': 'follow_request',
};

/** The happenings of a type, or of all that are served. */
export function happeningsOf(types: readonly NotificationType[]): What[] {
  return (Object.keys(typeOf) as What[]).filter((what) => types.includes(typeOf[what] as NotificationType));
}

export const notificationTypes: readonly NotificationType[] = ['mention', 'follow', 'follow_request'];

/** The type of a happening; undefined for what notifies nobody. */
export function notificationTypeOf({ what }: Pick<HappeningBody, 'what'>): NotificationType | undefined {
  return typeOf[what];
}

/** Whether it tells of a follow or of a request, and so depends on how that stands now. */
export function isAboutFollowing({ what }: Pick<HappeningBody, 'what'>): boolean {
  return what === 'follow-accepted' || what === 'follow-asked';
}
