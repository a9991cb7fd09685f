/** The composition root of microblog. */
import { Module, type BeforeApplicationShutdown, type DynamicModule, type OnApplicationBootstrap } from '@nestjs/common';
import type { MicroblogContext } from './context.ts';
import { clientApi } from './http/client-api.ts';
import { Microblog } from './microblog.ts';

/** Starts and stops the service with the application. */
class MicroblogLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly microblog: Microblog;

  constructor(microblog: Microblog) {
    this.microblog = microblog;
  }

  onApplicationBootstrap(): Promise<void> {
    return this.microblog.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.microblog.stop();
  }
}

@Module({})
class MicroblogModule {}

/** The service as a module; `Microblog` is its one exported provider. */
export function createMicroblogModule(context: MicroblogContext): DynamicModule {
  const microblog = new Microblog(context);
  const { stores, commands, appender, presenter } = microblog;
  const api = clientApi({ stores, commands, appender, calls: context.calls, presenter, limiter: context.limits });
  return {
    module: MicroblogModule,
    controllers: api.controllers,
    providers: [...api.providers, { provide: Microblog, useFactory: () => microblog }, { provide: MicroblogLifecycle, useFactory: () => new MicroblogLifecycle(microblog) }],
    exports: [Microblog],
  };
}
