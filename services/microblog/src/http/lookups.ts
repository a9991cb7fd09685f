/** What a request names (an id, a handle, an address) as a microblog that the asker may know of; anything else is a 404. */
import { Inject, Injectable } from '@nestjs/common';
import type { Asker } from '@dmb/events';
import { parseHandle, type PostId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import { parseId } from '@dmb/runtime/http';
import type { Microblog } from '../domain/model.ts';
import { Presenter } from '../present/presenter.ts';
import { MicroblogStore } from '../store/microblogs.ts';

@Injectable()
export class Lookups {
  private readonly microblogs: MicroblogStore;
  private readonly presenter: Presenter;

  constructor(@Inject(MicroblogStore) microblogs: MicroblogStore, @Inject(Presenter) presenter: Presenter) {
    this.microblogs = microblogs;
    this.presenter = presenter;
  }

  /** By an account id as it came. @throws {AppError} 404 */
  async byAccountId(asker: Asker, text: unknown): Promise<Microblog> {
    const id = parseId(typeof text === 'number' ? String(text) : text);
    return this.visible(asker, id === undefined ? undefined : await this.microblogs.byAccountId(id as PostId));
  }

  /** By account ids, in the order asked; what is unknown or hidden is left out. */
  async byAccountIds(asker: Asker, texts: readonly unknown[]): Promise<Microblog[]> {
    const ids = texts.flatMap((text) => (parseId(typeof text === 'number' ? String(text) : text) as PostId | undefined) ?? []);
    if (ids.length === 0) return [];
    const found = await this.microblogs.byAccountIds(ids);
    const sight = await this.presenter.look(asker, { microblogs: [...found.values()].map(({ id }) => id) });
    return [...new Set(ids)].flatMap((id) => {
      const microblog = found.get(id);
      return microblog !== undefined && sight.facet(microblog.id, 'exists') ? [microblog] : [];
    });
  }

  /** By a handle as somebody writes it: with or without `@` and our domain, in any case. Undefined for none. */
  async byHandle(asker: Asker, text: string): Promise<Microblog | undefined> {
    const handle = parseHandle(text.trim());
    const { site } = this.presenter;
    if (handle === undefined || (handle.domain !== undefined && handle.domain !== site.domain)) return undefined;
    const microblog = await this.microblogs.byHandle(site.domainId, handle.name);
    return microblog !== undefined && (await this.presenter.sees(asker, microblog.id, 'exists')) ? microblog : undefined;
  }

  private async visible(asker: Asker, microblog: Microblog | undefined): Promise<Microblog> {
    if (microblog === undefined || !(await this.presenter.sees(asker, microblog.id, 'exists'))) throw new AppError('not-found');
    return microblog;
  }
}

/** A post id out of a path. @throws {AppError} 404 for what can be no id */
export function postIdOf(text: unknown): PostId {
  const id = parseId(typeof text === 'number' ? String(text) : text);
  if (id === undefined) throw new AppError('not-found');
  return id as PostId;
}
