/**
 * OAuth scopes, as Mastodon clients know them: `read` covers `read:statuses`, `follow` covers
 * reading and changing follows, blocks and mutes. A token echoes exactly the scopes that were asked,
 * in their order, because clients compare the text.
 */
import { textLimits } from '../limits.ts';

const things = ['accounts', 'blocks', 'bookmarks', 'favourites', 'filters', 'follows', 'lists', 'mutes', 'notifications', 'search', 'statuses'] as const;
const written = [...things.filter((thing) => thing !== 'search'), 'conversations', 'media', 'reports'] as const;
const followed = ['blocks', 'follows', 'mutes'] as const;

/** Every scope there is. */
export const scopeNames: readonly string[] = ['profile', 'read', 'write', 'follow', 'push', ...things.map((thing) => `read:${thing}`), ...written.map((thing) => `write:${thing}`)];

const known = new Set(scopeNames);
/** What a follow scope stands for. */
const follow = new Set(followed.flatMap((thing) => [`read:${thing}`, `write:${thing}`]));

/** Scopes out of a text separated by blanks (or `+`, which some clients leave in); undefined if one is unknown. Repetitions go. */
export function parseScopes(text: string): readonly string[] | undefined {
  if (text.length > textLimits.scopesLengthMax) return undefined;
  const scopes = [...new Set(text.split(/[\s+]+/).filter((scope) => scope !== ''))];
  return scopes.every((scope) => known.has(scope)) ? scopes : undefined;
}

/** Whether who has `granted` may do what `needed` says. */
export function coversScope(granted: readonly string[], needed: string): boolean {
  if (granted.includes(needed)) return true;
  if (granted.includes('follow') && follow.has(needed)) return true;
  const [verb = '', thing] = needed.split(':', 2);
  return thing !== undefined && granted.includes(verb);
}

/** Whether every one of `needed` is covered. */
export function coversScopes(granted: readonly string[], needed: readonly string[]): boolean {
  return needed.every((scope) => coversScope(granted, scope));
}

/** What scopes mean, in sentences for the person who is asked. */
export function describeScopes(scopes: readonly string[]): readonly string[] {
  const sentences: string[] = [];
  const has = (scope: string): boolean => scopes.includes(scope);
  if (has('read')) sentences.push('See everything that you see here: your home, posts, lists, follows and notifications');
  else {
    const read = scopes.filter((scope) => scope.startsWith('read:')).map((scope) => scope.slice(5));
    if (read.length > 0) sentences.push(`See your ${list(read)}`);
    if (has('profile') && read.length === 0) sentences.push('See which microblog this is');
  }
  if (has('write')) sentences.push('Write, change and delete in your name: posts, the profile, follows, lists and settings of reading');
  else {
    const write = scopes.filter((scope) => scope.startsWith('write:')).map((scope) => scope.slice(6));
    if (write.length > 0) sentences.push(`Change your ${list(write)}`);
  }
  if (has('follow') && !(has('read') && has('write'))) sentences.push('See and change whom you follow, block and mute');
  if (has('push')) sentences.push('Receive your notifications as push messages');
  return sentences;
}

function list(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1) ?? ''}`;
}
