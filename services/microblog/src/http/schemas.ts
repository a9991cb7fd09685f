/**
 * What requests may hold. These schemas check every request, and the OpenAPI document is made of
 * them. Paging never fails: clients make up bounds, and every number is one.
 */
import { looseBoolean, looseList } from '@dmb/runtime/http';
import { z } from 'zod';

/** A text; '' is as if it had not been sent. */
const emptyIsAbsent = <Schema extends z.ZodType>(schema: Schema) => z.preprocess((value) => (value === '' || value === null ? undefined : value), schema.optional());

const bound = z.union([z.string(), z.number()]).optional().catch(undefined);
/** A switch that a client got wrong is off. */
const flag = looseBoolean.optional().catch(undefined);
const text = z.string().nullish();

export const pagingQuery = z.object({ max_id: bound, since_id: bound, min_id: bound, limit: bound });
export type PagingQuery = z.infer<typeof pagingQuery>;

export const accountStatusesQuery = pagingQuery.extend({
  pinned: flag,
  exclude_replies: flag,
  exclude_reblogs: flag,
  only_media: flag,
  tagged: z.string().optional().catch(undefined),
});
export type AccountStatusesQuery = z.infer<typeof accountStatusesQuery>;

export const publicTimelineQuery = pagingQuery.extend({ local: flag, remote: flag, only_media: flag });
export type PublicTimelineQuery = z.infer<typeof publicTimelineQuery>;

const names = looseList(z.string(), 100).optional();
export const notificationsQuery = pagingQuery.extend({ types: names, exclude_types: names, account_id: bound });
export type NotificationsQuery = z.infer<typeof notificationsQuery>;

export const idsQuery = z.object({ id: looseList(z.union([z.string(), z.number()]), 200).optional() });
export type IdsQuery = z.infer<typeof idsQuery>;

export const lookupQuery = z.object({ acct: z.string().optional() });
export type LookupQuery = z.infer<typeof lookupQuery>;

export const searchQuery = z.object({ q: z.string().optional(), type: z.string().optional().catch(undefined), limit: bound, offset: bound, resolve: flag, following: flag });
export type SearchQuery = z.infer<typeof searchQuery>;

const visibility = z.enum(['public', 'unlisted', 'private', 'direct']);

/** Of a new post, and of an edit as far as it applies. */
export const newStatus = z.object({
  status: text,
  spoiler_text: text,
  sensitive: emptyIsAbsent(looseBoolean),
  language: text,
  visibility: emptyIsAbsent(visibility),
  in_reply_to_id: emptyIsAbsent(z.union([z.string(), z.number()])),
  media_ids: z.unknown().optional(),
  poll: z.unknown().optional(),
  scheduled_at: z.unknown().optional(),
  quoted_status_id: z.unknown().optional(),
});
export type NewStatus = z.infer<typeof newStatus>;

export const statusEdit = newStatus.pick({ status: true, spoiler_text: true, sensitive: true, language: true, media_ids: true, poll: true });
export type StatusChanges = z.infer<typeof statusEdit>;

const field = z.object({ name: z.string().nullish(), value: z.string().nullish() });

/** Fields come as a list, or as an object whose keys are numbers. */
const fields = z.preprocess((value) => (typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.values(value) : value), z.array(field).max(50));

export const credentialsUpdate = z.object({
  display_name: z.string().optional(),
  note: z.string().optional(),
  locked: emptyIsAbsent(looseBoolean),
  discoverable: emptyIsAbsent(looseBoolean),
  fields_attributes: fields.optional(),
  source: z
    .object({ privacy: emptyIsAbsent(visibility), sensitive: emptyIsAbsent(looseBoolean), language: z.string().nullish() })
    .optional(),
  avatar: z.unknown().optional(),
  header: z.unknown().optional(),
});
export type CredentialsUpdate = z.infer<typeof credentialsUpdate>;

export const followOptions = z.object({ reblogs: flag, notify: flag });
export type FollowOptions = z.infer<typeof followOptions>;

export const webfingerQuery = z.object({ resource: z.string().optional() });
export type WebfingerQuery = z.infer<typeof webfingerQuery>;
