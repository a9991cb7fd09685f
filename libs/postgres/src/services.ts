/** Each service has a schema and a role of its own in every database; nobody else's SQL reaches them. */
import type { ServiceName } from '@dmb/events';

/** Schema of a service. */
export function schemaOf(service: ServiceName): string {
  return service.replaceAll('-', '_');
}

/** Role of a service. Roles are shared by all databases of one server, and by all installations on it. */
export function roleOf(service: ServiceName): string {
  return `dmb_${schemaOf(service)}`;
}

/** A database as a sentence may name it: without user and password. */
export function describeUrl(url: string): string {
  try {
    const { host, pathname, searchParams } = new URL(url.replace('@/', '@localhost/'));
    return `${pathname.slice(1)} at ${searchParams.get('host') ?? host}`;
  } catch {
    return 'a URL that cannot be read';
  }
}
