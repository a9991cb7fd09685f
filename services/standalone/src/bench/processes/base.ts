/**
 * What the HTTP benchmarks compare with, in a process of its own: told what to be, it answers with
 * its port.
 */
import 'reflect-metadata';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { Body, Controller, Get, HttpCode, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';

export type BaseTask =
  /** `node:http` that returns these bytes to whatever is asked. */
  | { readonly kind: 'raw'; readonly headers: Readonly<Record<string, string>>; readonly body: string }
  /** Nest on Fastify with a handler that reads its body and does nothing. */
  | { readonly kind: 'nest' };

process.on('message', (task: BaseTask) => void listen(task).then((port) => process.send?.(port)));
process.on('disconnect', () => process.exit());

async function listen(task: BaseTask): Promise<number> {
  if (task.kind === 'nest') return await listenNest();
  const body = Buffer.from(task.body);
  const headers = { ...task.headers, 'content-length': body.length };
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, headers).end(body);
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  return (server.address() as AddressInfo).port;
}

@Controller()
class EmptyController {
  @Get('health/live')
  live(): object {
    return {};
  }

  @Post('api/v1/statuses')
  @HttpCode(200)
  create(@Body() body: unknown): object {
    void body;
    return {};
  }
}

@Module({ controllers: [EmptyController] })
class EmptyModule {}

async function listenNest(): Promise<number> {
  const app = await NestFactory.create<NestFastifyApplication>(EmptyModule, new FastifyAdapter(), { logger: false });
  await app.listen(0, '127.0.0.1');
  return (app.getHttpServer().address() as AddressInfo).port;
}
