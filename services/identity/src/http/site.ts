import type { DomainId } from '@dmb/protocol';

/** What this server is called and where it is. */
export class Site {
  constructor(
    readonly name: string,
    readonly baseUrl: string,
    readonly domain: DomainId,
  ) {}
}
