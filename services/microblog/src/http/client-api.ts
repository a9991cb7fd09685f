/**
 * The HTTP rim of this service as one piece: its controllers, and the providers that they want.
 * The composition root hands over what it has built and puts the result into its module.
 */
import type { Provider, Type } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import type { Calls } from '@dmb/runtime';
import { Authenticator, AuthGuard, type RateLimiter } from '@dmb/runtime/http';
import type { Appender } from '../append/appender.ts';
import { type EntryCommands } from '../commands/entries.ts';
import { FollowCommands } from '../commands/follows.ts';
import { MicroblogCommands } from '../commands/microblogs.ts';
import { Pictures } from '../pages/pictures.ts';
import { Posts } from '../posts/posts.ts';
import { Presenter } from '../present/presenter.ts';
import { EntryStore } from '../store/entries.ts';
import { GrantStore } from '../store/grants.ts';
import { MicroblogStore } from '../store/microblogs.ts';
import { AccountsController } from './accounts.ts';
import { FollowsController } from './follows.ts';
import { CALLS, InstanceController } from './instance.ts';
import { Lookups } from './lookups.ts';
import { MeController } from './me.ts';
import { NotificationsController } from './notifications.ts';
import { OpenApiController } from './openapi.ts';
import { PagesController } from './pages.ts';
import { SearchController } from './search.ts';
import { StatusesController } from './statuses.ts';
import { TimelinesController } from './timelines.ts';

export interface ClientApiParts {
  readonly stores: { readonly microblogs: MicroblogStore; readonly entries: EntryStore; readonly grants: GrantStore };
  readonly commands: { readonly entries: EntryCommands; readonly follows: FollowCommands; readonly microblogs: MicroblogCommands };
  readonly appender: Pick<Appender, 'append'>;
  /** `identity.token`, `identity.registration`, `microblog.role` are asked for. */
  readonly calls: Pick<Calls, 'call'>;
  readonly presenter: Presenter;
  /** The port of limits; without it nothing is limited. */
  readonly limiter?: RateLimiter | undefined;
  /** Requests of one token in five minutes, if not Mastodon's 300. */
  readonly requestsMax?: number | undefined;
}

/** Controllers and providers of the client API and the pages, and the authenticator among them, which is to be told of revoked tokens. */
export function clientApi(parts: ClientApiParts): { readonly controllers: Type[]; readonly providers: Provider[]; readonly authenticator: Authenticator } {
  const { stores, commands, appender, calls, presenter, limiter, requestsMax } = parts;
  const authenticator = new Authenticator({ calls, domain: presenter.site.domainId, limiter, requestsMax });
  return {
    authenticator,
    controllers: [
      InstanceController,
      OpenApiController,
      MeController,
      SearchController,
      AccountsController,
      FollowsController,
      StatusesController,
      TimelinesController,
      NotificationsController,
      PagesController,
    ],
    providers: [
      { provide: MicroblogStore, useValue: stores.microblogs },
      { provide: EntryStore, useValue: stores.entries },
      { provide: GrantStore, useValue: stores.grants },
      { provide: FollowCommands, useValue: commands.follows },
      { provide: MicroblogCommands, useValue: commands.microblogs },
      { provide: Presenter, useValue: presenter },
      { provide: Posts, useValue: new Posts({ ...stores, appender, commands: commands.entries, presenter }) },
      { provide: Pictures, useValue: new Pictures(limiter) },
      { provide: CALLS, useValue: calls },
      { provide: Authenticator, useValue: authenticator },
      { provide: APP_GUARD, useClass: AuthGuard },
      Lookups,
    ],
  };
}
