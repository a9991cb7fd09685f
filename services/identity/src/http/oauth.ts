/** The programs' end of OAuth over HTTP. Bodies of any kind arrive here as one object. */
import { Body, Controller, Get, Headers, Inject, Post, Req } from '@nestjs/common';
import { AppError } from '@dmb/runtime';
import { addressBucket, clientAddress, presentedToken } from '@dmb/runtime/http';
import type { FastifyRequest } from 'fastify';
import { toParameters } from '../domain/parameters.ts';
import { secretKey } from '../domain/secrets.ts';
import { OAuth, type TokenBody, appBody } from '../oauth.ts';
import { Tokens } from '../store/tokens.ts';

@Controller()
export class OAuthController {
  readonly #oauth: OAuth;
  readonly #tokens: Tokens;

  constructor(@Inject(OAuth) oauth: OAuth, @Inject(Tokens) tokens: Tokens) {
    this.#oauth = oauth;
    this.#tokens = tokens;
  }

  @Post('/api/v1/apps')
  async register(@Body() body: unknown, @Req() request: FastifyRequest): Promise<unknown> {
    return await this.#oauth.register(toParameters(body), addressBucket(clientAddress(request)));
  }

  @Get('/api/v1/apps/verify_credentials')
  async verify(@Req() request: FastifyRequest): Promise<unknown> {
    const key = secretKey(presentedToken(request.headers, request.query, false));
    const token = key && (await this.#tokens.find(key));
    if (token === undefined) throw new AppError('unauthenticated');
    return appBody(token.app);
  }

  @Post('/oauth/token')
  async token(@Body() body: unknown, @Headers('authorization') authorization: string | undefined, @Req() request: FastifyRequest): Promise<TokenBody> {
    // Some write the parameters into the address; the body counts where both have one.
    return await this.#oauth.token(toParameters(request.query, body), authorization, addressBucket(clientAddress(request)));
  }

  @Post('/oauth/revoke')
  async revoke(@Body() body: unknown, @Headers('authorization') authorization: string | undefined, @Req() request: FastifyRequest): Promise<unknown> {
    return await this.#oauth.revoke(toParameters(request.query, body), authorization);
  }

  @Get('/.well-known/oauth-authorization-server')
  metadata(): unknown {
    const document = this.#oauth.metadata();
    if (document === null) throw new AppError('not-found');
    return document;
  }
}
