/** Signing up by the client API: an app asks with its own token, and gets one of the new person. */
import { Body, Controller, Inject, Post, Req } from '@nestjs/common';
import { AppError } from '@dmb/runtime';
import { addressBucket, clientAddress, presentedToken } from '@dmb/runtime/http';
import type { FastifyRequest } from 'fastify';
import { flagOf, textOf, toParameters } from '../domain/parameters.ts';
import { secretKey } from '../domain/secrets.ts';
import { checkSignUp, signUpError } from '../domain/sign-up-form.ts';
import { type TokenBody, tokenBody } from '../oauth.ts';
import { Rates } from '../rates.ts';
import { RegistrationInfo } from '../registration.ts';
import { SignUps } from '../sign-ups.ts';
import { Tokens } from '../store/tokens.ts';

@Controller()
export class AccountsController {
  readonly #signUps: SignUps;
  readonly #tokens: Tokens;
  readonly #registration: RegistrationInfo;
  readonly #rates: Rates;

  constructor(@Inject(SignUps) signUps: SignUps, @Inject(Tokens) tokens: Tokens, @Inject(RegistrationInfo) registration: RegistrationInfo, @Inject(Rates) rates: Rates) {
    this.#signUps = signUps;
    this.#tokens = tokens;
    this.#registration = registration;
    this.#rates = rates;
  }

  @Post('/api/v1/accounts')
  async signUp(@Body() body: unknown, @Req() request: FastifyRequest): Promise<TokenBody> {
    const key = secretKey(presentedToken(request.headers, request.query, false));
    const token = key && (await this.#tokens.find(key));
    if (token === undefined) throw new AppError('unauthenticated');
    if (token.person !== null) throw new AppError('forbidden', 'Signing up needs the token of an app, not of a person');
    const mode = await this.#registration.mode();
    if (mode === 'closed') throw new AppError('forbidden', 'This server takes no new registrations');
    await this.#rates.attempt('signUpByAddress', addressBucket(clientAddress(request)));
    const parameters = toParameters(body);
    const checked = checkSignUp(
      {
        handle: textOf(parameters, 'username'),
        password: textOf(parameters, 'password'),
        email: textOf(parameters, 'email'),
        reason: textOf(parameters, 'reason'),
        locale: textOf(parameters, 'locale'),
        agreement: flagOf(parameters, 'agreement'),
      },
      { reasonNeeded: false },
    );
    if (checked.outcome === 'wrong') throw signUpError(checked.errors);
    const person = await this.#signUps.signUp(checked.signUp, mode === 'open' ? 'active' : 'pending');
    this.#registration.changed();
    return tokenBody(await this.#tokens.issue(token.app, { person: person.id, microblog: person.microblog, scopes: token.app.scopes }));
  }
}
