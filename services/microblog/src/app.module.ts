/** The composition root of microblog. */
import { Module, type BeforeApplicationShutdown, type DynamicModule, type OnApplicationBootstrap } from '@nestjs/common';
import { type Authenticator, type PersonNews } from '@dmb/runtime/http';
import type { MicroblogContext } from './context.ts';
import { clientApi } from './http/client-api.ts';
import { Microblog } from './microblog.ts';

/** Starts and stops the service with the application. */
class MicroblogLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly microblog: Microblog;
  private readonly authenticator: Authenticator;
  private readonly live: PersonNews | undefined;
  private listening: { stop(): Promise<void> } | undefined;

  constructor(microblog: Microblog, authenticator: Authenticator, live: PersonNews | undefined) {
    this.microblog = microblog;
    this.authenticator = authenticator;
    this.live = live;
  }

  async onApplicationBootstrap(): Promise<void> {
    this.listening = this.live && (await this.authenticator.listen(this.live));
    await this.microblog.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.microblog.stop();
    await this.listening?.stop();
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
    providers: [...api.providers, { provide: Microblog, useFactory: () => microblog }, { provide: MicroblogLifecycle, useFactory: () => new MicroblogLifecycle(microblog, api.authenticator, context.live) }],
    exports: [Microblog],
  };
}
