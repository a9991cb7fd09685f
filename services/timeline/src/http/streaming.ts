/** `/api/v1/streaming`: Server-Sent Events. WebSockets are in streams/upgrades.ts. */
import { Controller, Get, Header, Inject, Query, Req, Res } from '@nestjs/common';
import { AppError } from '@dmb/runtime';
import { addressBucket, beginStream, CalledBy, clientAddress, presentedToken, type PersonCaller } from '@dmb/runtime/http';
import { type FastifyReply, type FastifyRequest } from 'fastify';
import type { StreamName } from '../domain/stream-names.ts';
import { SseOutlet } from '../streams/sse.ts';
import { Streams } from '../streams/streams.ts';
import { askedStream } from '../streams/upgrades.ts';

@Controller('api/v1/streaming')
export class StreamingController {
  private readonly streams: Streams;

  constructor(@Inject(Streams) streams: Streams) {
    this.streams = streams;
  }

  /** Some clients compare the body with these two letters. */
  @Get('health')
  @Header('content-type', 'text/plain; charset=utf-8')
  health(): string {
    return 'OK';
  }

  @Get()
  async named(@CalledBy() caller: PersonCaller, @Query('stream') stream: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    if (stream === undefined) throw new AppError('not-found', 'No stream was named');
    await this.open(caller, askedStream(stream), request, reply);
  }

  @Get('user')
  async user(@CalledBy() caller: PersonCaller, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await this.open(caller, 'user', request, reply);
  }

  @Get('user/notification')
  async notifications(@CalledBy() caller: PersonCaller, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await this.open(caller, 'user:notification', request, reply);
  }

  private async open(caller: PersonCaller, stream: StreamName, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const token = presentedToken(request.headers, request.query, true);
    if (token === undefined) throw new AppError('unauthenticated');
    await this.streams.connect({
      caller,
      token,
      address: addressBucket(clientAddress(request)),
      streams: [stream],
      connect: (connection) => {
        if (reply.raw.destroyed) return undefined;
        return new SseOutlet(beginStream(reply, 'text/event-stream'), () => connection.closed());
      },
    });
  }
}
