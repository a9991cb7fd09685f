/**
 * The OpenAPI document of all routes for programs, made when it is first asked for: from the table of
 * routes, and for those that this service answers also from the schemas that check their requests.
 */
import { Controller, Get, Inject, Res, type INestApplication } from '@nestjs/common';
import { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { routes, type Method, type Route, type RouteAuth } from '@dmb/events';
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
    const head = new DocumentBuilder().setTitle('DMB: the Mastodon client API').setVersion(programVersion).addOAuth2({ type: 'oauth2', flows }, 'oauth2').build();
    const document = SwaggerModule.createDocument(application, head);
    const paths: Record<string, Record<string, object>> = {};
    for (const route of routes.filter(isForPrograms)) {
      const path = route.path.replace(/:(\w+)/g, '{$1}');
      const method = route.method.toLowerCase();
      const fromHandler = (document.paths[path] as Record<string, object> | undefined)?.[method];
      (paths[path] ??= {})[method] = { ...withoutHandler(route), ...fromHandler, ...told(route) };
    }
    return { ...document, paths };
  }
}

/** Whether programs call it; the rest is pages and their files. */
const isForPrograms = ({ path }: Route): boolean => /^\/(?:api|\.well-known|nodeinfo)\/|^\/oauth\/(?:token|revoke)$/.test(path);

const scopes = Object.fromEntries(routes.flatMap(({ scope }) => (scope === undefined ? [] : [[scope, `Also granted by ${scope.split(':')[0] ?? scope}`]])));
const flows = {
  authorizationCode: { authorizationUrl: '/oauth/authorize', tokenUrl: '/oauth/token', scopes },
  clientCredentials: { tokenUrl: '/oauth/token', scopes: {} },
};

const verbs: Readonly<Record<Method, string>> = { GET: 'Get', POST: 'Post to', PUT: 'Replace', PATCH: 'Change', DELETE: 'Delete' };
const audiences: Readonly<Record<RouteAuth, string>> = {
  none: 'Takes no token into account.',
  optional: 'Answers without a token too, with what is public.',
  token: 'Needs a token, of an app or of a person.',
  person: 'Needs a token of a person.',
  session: 'A page.',
};

/** What stands in for a handler in another service. */
function withoutHandler({ method, path }: Route): object {
  return {
    operationId: `${method.toLowerCase()}${path.replace(/[^A-Za-z0-9]+/g, '_')}`,
    parameters: [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
    responses: { 200: { description: '' } },
  };
}

/** What the table tells of every route. */
function told(route: Route): object {
  const { method, path, service, auth, stream } = route;
  const names = path.split('/').filter((part) => part !== '' && part !== 'api' && !/^v\d$|^:/.test(part));
  return {
    summary: `${verbs[method]} ${names.join(' / ')}`,
    description: stream === true ? `${audiences[auth]} Kept open: Server-Sent Events, or a WebSocket.` : audiences[auth],
    tags: [service],
    security: securityOf(route),
  };
}

function securityOf({ auth, scope }: Route): readonly object[] {
  const token = { oauth2: scope === undefined ? [] : [scope] };
  if (auth === 'none' || auth === 'session') return [];
  return auth === 'optional' ? [token, {}] : [token];
}
