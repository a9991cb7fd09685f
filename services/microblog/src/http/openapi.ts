/** The OpenAPI document of the routes of this service, made from their schemas when it is first asked for. */
import { Controller, Get, Inject, Res, type INestApplication } from '@nestjs/common';
import { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { publicCache } from '@dmb/runtime/http';
import type { FastifyReply } from 'fastify';
import { programVersion } from './instance.ts';

@Controller()
export class OpenApiController {
  private readonly modules: ModulesContainer;
  private readonly config: ApplicationConfig;
  private readonly adapter: HttpAdapterHost;
  private made: Promise<object> | undefined;

  constructor(@Inject(ModulesContainer) modules: ModulesContainer, @Inject(ApplicationConfig) config: ApplicationConfig, @Inject(HttpAdapterHost) adapter: HttpAdapterHost) {
    this.modules = modules;
    this.config = config;
    this.adapter = adapter;
  }

  @Get('/api/openapi.json')
  async document(@Res({ passthrough: true }) reply: FastifyReply): Promise<object> {
    this.made ??= this.make();
    publicCache(reply);
    return this.made;
  }

  /** The library is large and seldom needed: it is loaded here, not at start. It wants an application; these are the parts that it reads of one. */
  private async make(): Promise<object> {
    const { DocumentBuilder, SwaggerModule } = await import('@nestjs/swagger');
    const application = {
      container: { getModules: () => this.modules, isGlobalModule: () => false },
      config: this.config,
      getHttpAdapter: () => this.adapter.httpAdapter,
    } as unknown as INestApplication;
    const head = new DocumentBuilder().setTitle('DMB: the Mastodon client API').setVersion(programVersion).addBearerAuth().build();
    const document = SwaggerModule.createDocument(application, head);
    const paths = Object.entries(document.paths).filter(([path]) => /^\/(api|\.well-known|nodeinfo)\//.test(path));
    return { ...document, paths: Object.fromEntries(paths) };
  }
}
