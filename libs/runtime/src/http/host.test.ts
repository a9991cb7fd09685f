import 'reflect-metadata';
import { Body, Controller, Delete, Get, Module, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { silentLogger } from '../log.ts';
import { publicCache, retryHeaders } from './answers.ts';
import { createServiceApp, type ServiceApp } from './host.ts';
import { looseBoolean, looseList } from './parameters.ts';

const newPost = z.object({ status: z.string().max(500), sensitive: looseBoolean.optional(), media_ids: looseList(z.string(), 4).optional() });

@Controller()
class TestController {
  @Post('api/v1/statuses')
  post(@Body({ schema: newPost }) body: z.infer<typeof newPost>) {
    return { got: body };
  }

  @Post('api/v1/echo')
  echo(@Body() body: unknown) {
    return { got: body };
  }

  @Get('api/v1/echo')
  query(@Query() query: unknown) {
    return { got: query };
  }

  @Delete('api/v1/nothing')
  nothing() {
    return undefined;
  }

  @Get('api/v1/things/:id')
  thing(@Param('id') id: string) {
    return { id };
  }

  @Get('api/v1/bug')
  bug() {
    throw new TypeError('secret inside /srv/dmb/x.ts');
  }

  @Post('api/v1/accounts')
  signUp() {
    throw new AppError('invalid', 'Validation failed: Username is taken', { details: { username: [{ error: 'ERR_TAKEN', description: 'is taken' }] } });
  }

  @Get('api/v1/limited')
  limited() {
    throw new AppError('limited', undefined, { retryAfterSeconds: 12 });
  }

  @Post('oauth/token')
  token() {
    throw new AppError('invalid', 'The code was used already', { code: 'invalid_grant' });
  }

  @Get('oauth/authorize')
  authorize() {
    throw new AppError('invalid', 'The redirect URI is <b>not</b> registered', { status: 400 });
  }

  @Get('public')
  page(@Res({ passthrough: true }) reply: FastifyReply) {
    publicCache(reply, 300);
    void reply.header('content-type', 'text/html; charset=utf-8');
    return '<p>hello</p>';
  }
}

@Module({ controllers: [TestController] })
class TestModule {}

let app: ServiceApp;
const inject = (method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS', url: string, extra: { headers?: Record<string, string>; payload?: string | Buffer } = {}) =>
  app.fastify.inject({ method, url, ...extra, headers: { host: 'example.org', ...extra.headers } });
const json = { 'content-type': 'application/json' };
const form = { 'content-type': 'application/x-www-form-urlencoded' };

beforeAll(async () => {
  app = await createServiceApp(TestModule, { name: 'test', logger: silentLogger, isKnownHost: (host) => host === 'example.org', https: true });
});
afterAll(() => app.close());

describe('one object from every way of writing', () => {
  const wanted = { status: 'Grüße', sensitive: true, media_ids: ['1', '2'] };

  it('reads JSON, forms and multipart alike', async () => {
    const multipart = ['status', 'Grüße', 'sensitive', '1', 'media_ids[]', '1', 'media_ids[]', '2'].reduce(
      (text, part, index) => (index % 2 === 0 ? `${text}--x\r\nContent-Disposition: form-data; name="${part}"\r\n\r\n` : `${text}${part}\r\n`),
      '',
    );
    const answers = await Promise.all([
      inject('POST', '/api/v1/statuses', { headers: json, payload: JSON.stringify(wanted) }),
      inject('POST', '/api/v1/statuses', { headers: form, payload: 'status=Gr%C3%BC%C3%9Fe&sensitive=1&media_ids[]=1&media_ids%5B%5D=2' }),
      inject('POST', '/api/v1/statuses', { headers: { 'content-type': 'multipart/form-data; boundary=x' }, payload: `${multipart}--x--\r\n` }),
      inject('POST', '/api/v1/statuses?status=Gr%C3%BC%C3%9Fe&sensitive=true&media_ids[]=1&media_ids[]=2'),
    ]);
    for (const answer of answers) {
      expect(answer.json()).toEqual({ got: wanted });
      expect(answer.statusCode).toBe(200);
    }
  });

  it('takes parameters of GET and DELETE from a body too', async () => {
    const answer = await inject('GET', '/api/v1/echo?limit=5', { headers: form, payload: 'id[]=7' });
    expect(answer.json()).toEqual({ got: { limit: '5', id: ['7'] } });
    const typed = await inject('GET', '/api/v1/echo', { headers: { 'content-type': 'text/plain' } });
    expect(typed.statusCode).toBe(200);
  });

  it('takes an empty body of any announced type for no parameters', async () => {
    for (const headers of [json, form, { 'content-type': 'text/plain' }, {}]) {
      const answer = await inject('POST', '/api/v1/echo', { headers });
      expect(answer.json()).toEqual({ got: {} });
    }
  });
});

describe('bad input', () => {
  it.each([
    ['malformed JSON', json, '{"status":', 400],
    ['JSON that is not UTF-8', json, Buffer.from([0x22, 0xff, 0x22]), 400],
    ['NUL in JSON', json, '{"status":"a\\u0000b"}', 422],
    ['half a surrogate pair in JSON', json, '{"status":"\\ud83d"}', 422],
    ['NUL in a form', form, 'status=a%00b', 422],
    ['a form that is not UTF-8', form, Buffer.from([0x61, 0x3d, 0xff]), 400],
    ['a form whose text is not UTF-8', form, 'status=%ff', 422],
    ['half a surrogate pair in a form', form, 'status=%ED%A0%80', 422],
    ['the wrong type', json, '{"status":5}', 422],
    ['a missing field', json, '{}', 422],
    ['no object', json, '"text"', 422],
    ['nesting without end', json, `${'['.repeat(10_000)}${']'.repeat(10_000)}`, 422],
    ['more than a megabyte', json, `{"status":"${'x'.repeat(1_048_577)}"}`, 413],
    ['an unknown content type', { 'content-type': 'text/csv' }, 'a,b', 415],
    ['broken multipart', { 'content-type': 'multipart/form-data; boundary=x' }, 'nothing', 400],
    ['multipart without a boundary', { 'content-type': 'multipart/form-data' }, 'nothing', 400],
  ])('answers %s in the format of clients', async (_what, headers: Record<string, string>, payload, status) => {
    const answer = await inject('POST', '/api/v1/statuses', { headers, payload });
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.headers['access-control-allow-origin']).toBe('*');
    expect(Object.keys(answer.json<object>())).toEqual(['error']);
  });

  it('says which field is wrong', async () => {
    const answer = await inject('POST', '/api/v1/statuses', { headers: json, payload: '{"status":5}' });
    expect(answer.json<{ error: string }>().error).toMatch(/^Validation failed: status: /);
  });

  it.each([
    ['/api/v1/echo?x=%00', 422],
    ['/api/v1/echo?x=%ff', 422],
    ['/api/v1/things/%00', 404],
    ['/api/v1/things/%ff', 400],
    ['/api/v1/things/(too long)', 414],
  ])('answers GET %s with JSON', async (written, status) => {
    const url = written.replace('(too long)', '9'.repeat(600));
    const answer = await inject('GET', url);
    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toHaveProperty('error');
    expect(answer.headers['access-control-allow-origin']).toBe('*');
  });
});

describe('errors by the kind of caller', () => {
  it('answers unknown API paths with JSON that clients take for "none"', async () => {
    const answer = await inject('GET', '/api/v1/push/subscription');
    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toEqual({ error: 'Not found' });
  });

  it('shows nothing of a bug but the request id', async () => {
    const answer = await inject('GET', '/api/v1/bug');
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain('secret');
    expect(answer.headers['x-request-id']).toMatch(/^[\w-]+$/);
  });

  it('gives details of a refused sign-up, Retry-After and the OAuth code', async () => {
    expect((await inject('POST', '/api/v1/accounts')).json()).toMatchObject({ details: { username: [{ error: 'ERR_TAKEN' }] } });
    expect((await inject('GET', '/api/v1/limited')).headers['retry-after']).toBe('12');
    expect(retryHeaders(new AppError('unavailable'))).toEqual({ 'retry-after': '1' });
    expect(retryHeaders(new AppError('unavailable', undefined, { retryAfterSeconds: 4.2 }))).toEqual({ 'retry-after': '5' });
    expect(retryHeaders(new AppError('not-found'))).toEqual({});
    const token = await inject('POST', '/oauth/token', { headers: form, payload: 'oauth_info=1&oauth_info=2' });
    expect(token.statusCode).toBe(400);
    expect(token.json()).toEqual({ error: 'invalid_grant', error_description: 'The code was used already' });
  });

  it('shows people an escaped page, without CORS', async () => {
    const answer = await inject('GET', '/oauth/authorize', { headers: { accept: 'text/html' } });
    expect(answer.statusCode).toBe(400);
    expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(answer.body).toContain('&#60;b&#62;not');
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    expect(answer.headers['content-security-policy']).toContain("form-action 'self'");
  });

  it('tells programs on other paths by problem details', async () => {
    const answer = await inject('GET', '/dmb/1/heads');
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(answer.json()).toMatchObject({ status: 404 });
    expect((await inject('GET', '/@nobody', { headers: { accept: 'application/activity+json' } })).headers['content-type']).toContain('application/problem+json');
  });
});

describe('headers', () => {
  it('answers preflights where scripts may call and nowhere else', async () => {
    const allowed = await inject('OPTIONS', '/api/v1/whatever/', { headers: { origin: 'https://elk.zone', 'access-control-request-method': 'PUT' } });
    expect(allowed.statusCode).toBe(204);
    expect(allowed.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers': 'Authorization, Content-Type, Idempotency-Key',
      'access-control-max-age': '7200',
    });
    for (const path of ['/oauth/token', '/oauth/revoke', '/.well-known/nodeinfo', '/nodeinfo/2.0']) {
      expect((await inject('OPTIONS', path)).headers['access-control-allow-origin']).toBe('*');
    }
    for (const path of ['/oauth/authorize', '/oauth/authorize/', '/@news', '/']) {
      expect((await inject('OPTIONS', path)).headers['access-control-allow-origin']).toBeUndefined();
    }
  });

  it('accepts a trailing slash and answers 200 with {} for nothing', async () => {
    expect((await inject('GET', '/api/v1/things/7/')).json()).toEqual({ id: '7' });
    const answer = await inject('DELETE', '/api/v1/nothing');
    expect([answer.statusCode, answer.body]).toEqual([200, '{}']);
  });

  it('keeps what is not public out of caches', async () => {
    expect((await inject('GET', '/api/v1/things/7')).headers['cache-control']).toBe('private, no-store');
    expect((await inject('GET', '/public')).headers).toMatchObject({ 'cache-control': 'public, max-age=60', vary: 'Authorization, Cookie, Accept' });
    expect((await inject('GET', '/public', { headers: { cookie: 'a=b' } })).headers['cache-control']).toBe('private, no-store');
  });

  it('refuses a Host that is none of ours', async () => {
    const answer = await inject('GET', '/api/v1/things/7', { headers: { host: 'evil.example' } });
    expect(answer.statusCode).toBe(421);
    expect(answer.json()).toHaveProperty('error');
  });
});
