/** The streams there are, and what clients call them. */
import { hasScope } from '@dmb/runtime/http';

export const streamNames = ['user', 'user:notification'] as const;
export type StreamName = (typeof streamNames)[number];

/** Streams of Mastodon that are not served yet: asking for one is no mistake of the client. */
const notServed = ['public', 'public:media', 'public:local', 'public:local:media', 'public:remote', 'public:remote:media', 'hashtag', 'hashtag:local', 'list', 'direct'];

export type ParsedStreamName = { readonly kind: 'served'; readonly name: StreamName } | { readonly kind: 'not-served' } | { readonly kind: 'unknown' };

export function parseStreamName(name: unknown): ParsedStreamName {
  const served = streamNames.find((known) => known === name);
  if (served !== undefined) return { kind: 'served', name: served };
  return typeof name === 'string' && notServed.includes(name) ? { kind: 'not-served' } : { kind: 'unknown' };
}

/** What happens in streams. */
export type StreamEvent = 'update' | 'status.update' | 'delete' | 'notification';

/** Whether a stream carries such events to a token of these scopes. */
export function carries(stream: StreamName, event: StreamEvent, scopes: readonly string[]): boolean {
  if (event === 'notification') return hasScope(scopes, 'read:notifications');
  return stream === 'user' && hasScope(scopes, 'read:statuses');
}

/** Whether a token of these scopes may ask for a stream at all. */
export function mayListen(stream: StreamName, scopes: readonly string[]): boolean {
  return hasScope(scopes, stream === 'user' ? 'read:statuses' : 'read:notifications');
}
