/** `GET /api/v1/timelines/home`, and the lists that are empty here. */
import { Controller, Get, Inject, Req, Res } from '@nestjs/common';
import { CalledBy, linkHeader, parsePaging, type PersonCaller } from '@dmb/runtime/http';
import { type FastifyReply, type FastifyRequest } from 'fastify';
import { Home } from '../home.ts';
import { statusesJson } from './json.ts';

/** Scheme and authority for the addresses in Link headers. */
export const Origin = Symbol('Origin');

@Controller()
export class TimelinesController {
  private readonly reading: Home;
  private readonly origin: string;

  constructor(@Inject(Home) reading: Home, @Inject(Origin) origin: string) {
    this.reading = reading;
    this.origin = origin;
  }

  @Get('api/v1/timelines/home')
  async home(@CalledBy() caller: PersonCaller, @Req() request: FastifyRequest, @Res({ passthrough: true }) reply: FastifyReply): Promise<Buffer> {
    const { rows, next, prev } = await this.reading.page(caller.asker, parsePaging(request.query as Record<string, unknown>));
    const link = linkHeader({ origin: this.origin, target: request.url, next, prev });
    if (link !== undefined) void reply.header('link', link);
    void reply.type('application/json; charset=utf-8');
    return statusesJson(rows);
  }

  /** Not served yet: an empty list keeps clients content. */
  @Get(['api/v1/lists', 'api/v2/filters', 'api/v1/followed_tags'])
  none(): readonly never[] {
    return [];
  }
}
