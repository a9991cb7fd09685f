/** The composition root of fan-out. */
import { Module, type BeforeApplicationShutdown, type DynamicModule, type OnApplicationBootstrap } from '@nestjs/common';
import type { FanOutContext } from './context.ts';
import { FanOut } from './fan-out.ts';

/** Starts and stops the service with the application. */
class FanOutLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly fanOut: FanOut;

  constructor(fanOut: FanOut) {
    this.fanOut = fanOut;
  }

  onApplicationBootstrap(): Promise<void> {
    return this.fanOut.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.fanOut.stop();
  }
}

@Module({})
class FanOutModule {}

/** The service as a module; `FanOut` is its one exported provider. */
export function createFanOutModule(context: FanOutContext): DynamicModule {
  return {
    module: FanOutModule,
    providers: [
      { provide: FanOut, useFactory: () => new FanOut(context) },
      { provide: FanOutLifecycle, useFactory: (fanOut: FanOut) => new FanOutLifecycle(fanOut), inject: [FanOut] },
    ],
    exports: [FanOut],
  };
}
