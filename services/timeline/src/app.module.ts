/** The composition root of timeline. */
import { Module, type BeforeApplicationShutdown, type DynamicModule, type OnApplicationBootstrap } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import type { Subscription } from '@dmb/event-log';
import { domainIdOf } from '@dmb/protocol';
import { Authenticator, AuthGuard } from '@dmb/runtime/http';
import type { TimelineContext } from './context.ts';
import { subscribeToPersons } from './events/persons.ts';
import { Home } from './home.ts';
import { MarkersController } from './http/markers.ts';
import { StreamingController } from './http/streaming.ts';
import { Origin, TimelinesController } from './http/timelines.ts';
import { observeTimelines } from './metrics.ts';
import { MarkerStore } from './store/markers.ts';
import { Streams } from './streams/streams.ts';
import { StreamUpgrades } from './streams/upgrades.ts';

/** Starts and stops the service with the application. */
export class TimelineLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly context: TimelineContext;
  private readonly markers: MarkerStore;
  private readonly streams: Streams;
  private subscription: Subscription | undefined;
  private stopObserving: () => void = () => undefined;

  constructor(context: TimelineContext, markers: MarkerStore, streams: Streams) {
    this.context = context;
    this.markers = markers;
    this.streams = streams;
  }

  async onApplicationBootstrap(): Promise<void> {
    this.stopObserving = observeTimelines(this.context.timelines);
    await this.streams.start();
    this.subscription = await subscribeToPersons({ ...this.context, markers: this.markers });
  }

  /** False while events of persons cannot be had or handled. */
  isHealthy(): boolean {
    return this.subscription?.isHealthy() ?? false;
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.streams.stop();
    await this.subscription?.stop();
    this.stopObserving();
  }
}

@Module({})
class TimelineModule {}

/**
 * The service as a module. `StreamUpgrades` is the provider for `upgrades` of `createServiceApp`;
 * `Streams.stop` ends every open stream and is to be called when draining begins, before the ingress
 * waits for requests to end.
 */
export function createTimelineModule(context: TimelineContext): DynamicModule {
  const { calls, timelines, live, limits, config, logger, databases, domain, baseUrl, trustedProxies = [] } = context;
  return {
    module: TimelineModule,
    controllers: [TimelinesController, MarkersController, StreamingController],
    providers: [
      { provide: Origin, useValue: baseUrl },
      { provide: Authenticator, useFactory: () => new Authenticator({ calls, domain: domainIdOf(domain), limiter: limits }) },
      { provide: APP_GUARD, useFactory: (authenticator: Authenticator) => new AuthGuard(authenticator), inject: [Authenticator] },
      { provide: Home, useFactory: () => new Home(timelines, calls, logger) },
      { provide: MarkerStore, useFactory: () => new MarkerStore(databases) },
      {
        provide: Streams,
        useFactory: (authenticator: Authenticator) => new Streams({ calls, live, config, logger, forgetPerson: (person) => authenticator.forgetPerson(person) }),
        inject: [Authenticator],
      },
      {
        provide: StreamUpgrades,
        useFactory: (streams: Streams, authenticator: Authenticator) =>
          new StreamUpgrades({ streams, authenticator, https: baseUrl.startsWith('https:'), trustedProxies, logger }),
        inject: [Streams, Authenticator],
      },
      {
        provide: TimelineLifecycle,
        useFactory: (markers: MarkerStore, streams: Streams) => new TimelineLifecycle(context, markers, streams),
        inject: [MarkerStore, Streams],
      },
    ],
    exports: [Streams, StreamUpgrades],
  };
}
