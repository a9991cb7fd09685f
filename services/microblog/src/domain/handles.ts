/**
 * Handles that nobody gets: names of our paths (a microblog's page is `/@handle`, but other software
 * puts it at `/handle`), of the addresses that certificates and mail are proved with, and names that
 * would be taken for the server speaking.
 */
import { isHandle } from '@dmb/protocol';

const reserved: ReadonlySet<string> = new Set([
  // Proof of control over a domain and its mail (RFC 2142, CA/Browser Forum)
  ...['abuse', 'admin', 'administrator', 'hostmaster', 'info', 'is', 'it', 'mis', 'noc', 'postmaster', 'root', 'security', 'ssladmin', 'ssladministrator', 'sslwebmaster', 'support', 'sysadmin', 'webmaster'],
  // The server and who runs it
  ...['dmb', 'official', 'operator', 'owner', 'moderator', 'moderation', 'mod', 'staff', 'team', 'system', 'server', 'service', 'help', 'contact', 'legal', 'privacy', 'terms', 'about', 'announcements', 'no_reply', 'noreply', 'mailer_daemon', 'null', 'undefined', 'anonymous', 'everyone', 'all', 'here', 'channel', 'me', 'you', 'nobody', 'instance_actor', 'relay'],
  // Paths, ours and those that other servers use
  ...['accounts', 'activity', 'actor', 'api', 'app', 'apps', 'assets', 'auth', 'authorize', 'authorize_interaction', 'explore', 'favicon', 'feed', 'feeds', 'followers', 'following', 'home', 'inbox', 'interact', 'list', 'lists', 'log_in', 'log_out', 'login', 'logout', 'media', 'nodeinfo', 'notifications', 'oauth', 'objects', 'outbox', 'public', 'register', 'robots', 'search', 'settings', 'share', 'sign_up', 'signup', 'static', 'status', 'statuses', 'streaming', 'tags', 'timelines', 'user', 'users', 'web', 'webfinger', 'well_known', 'www'],
]);

/** Whether a handle may be given to somebody, by its name alone. */
export function judgeHandle(handle: string): 'fine' | 'invalid' | 'reserved-name' {
  if (!isHandle(handle)) return 'invalid';
  return reserved.has(handle) ? 'reserved-name' : 'fine';
}
