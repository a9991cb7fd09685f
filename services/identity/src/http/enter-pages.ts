/** Pages: sign up, log in, log out. */
import { Controller, Get, Inject, Post, Req, Res } from '@nestjs/common';
import { AppError } from '@dmb/runtime';
import { addressBucket, clientAddress, retryHeaders } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Parameters, flagOf, textOf, toParameters } from '../domain/parameters.ts';
import { secretKey } from '../domain/secrets.ts';
import { checkSignUp } from '../domain/sign-up-form.ts';
import { LogIns } from '../log-ins.ts';
import { Rates } from '../rates.ts';
import { RegistrationInfo } from '../registration.ts';
import { SignUps } from '../sign-ups.ts';
import { closedMain, logInMain, signUpMain } from '../pages/enter.ts';
import { type PageError, pageError } from '../pages/parts.ts';
import { Domains } from '../store/domains.ts';
import { Browser, type Visit, formTokenField } from './browser.ts';
import { Site } from './site.ts';

@Controller()
export class EnterPagesController {
  constructor(
    @Inject(Browser) private readonly browser: Browser,
    @Inject(SignUps) private readonly signUps: SignUps,
    @Inject(LogIns) private readonly logIns: LogIns,
    @Inject(RegistrationInfo) private readonly registration: RegistrationInfo,
    @Inject(Domains) private readonly domains: Domains,
    @Inject(Rates) private readonly rates: Rates,
    @Inject(Site) private readonly site: Site,
  ) {}

  @Get('/log-in')
  async logInPage(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const visit = await this.browser.visit(request, reply);
    const query = toParameters(request.query);
    const next = this.nextIn(query);
    if (visit.session !== undefined && !flagOf(query, 'switch')) {
      this.browser.redirect(reply, next ?? '/settings');
      return;
    }
    await this.showLogIn(reply, visit, { next, name: '', errors: [] });
  }

  @Post('/log-in')
  async logIn(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { fields, ...visit } = await this.browser.submission(request, reply);
    const next = this.nextIn(fields);
    const name = textOf(fields, 'username') ?? '';
    try {
      const person = await this.logIns.logIn(name, textOf(fields, 'password') ?? '', addressBucket(clientAddress(request)));
      await this.browser.logIn(request, reply, person);
      this.browser.redirect(reply, next ?? '/settings');
    } catch (error) {
      const { text, status } = shownError(error, reply);
      await this.showLogIn(reply, visit, { next, name, errors: [{ field: '', text }] }, status);
    }
  }

  @Post('/log-out')
  async logOut(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { session } = await this.browser.submission(request, reply);
    if (session) await this.browser.logOut(session, reply);
    this.browser.redirect(reply, '/');
  }

  @Get('/sign-up')
  async signUpPage(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const visit = await this.browser.visit(request, reply);
    const query = toParameters(request.query);
    const next = this.nextIn(query);
    if (visit.session !== undefined) {
      this.browser.redirect(reply, next ?? '/settings');
      return;
    }
    await this.showSignUp(reply, visit, { next, link: textOf(query, 'link'), values: {}, errors: [] });
  }

  @Post('/sign-up')
  async signUp(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { fields, ...visit } = await this.browser.submission(request, reply);
    const next = this.nextIn(fields);
    const link = textOf(fields, 'link');
    const values = Object.fromEntries(['username', 'display_name', 'email', 'reason'].map((name) => [name, textOf(fields, name)]));
    const again = (errors: readonly PageError[], status = 422): Promise<void> => this.showSignUp(reply, visit, { next, link, values, errors }, status);
    const admission = await this.admission(link);
    if (admission === 'closed') return await again([], 403);
    const checked = checkSignUp(
      { handle: values['username'], password: textOf(fields, 'password'), title: values['display_name'], email: values['email'], reason: values['reason'], locale: request.headers['accept-language']?.split(/[,;]/)[0], agreement: true },
      { reasonNeeded: admission === 'approval' },
    );
    if (checked.outcome === 'wrong') return await again(checked.errors.map(pageError));
    try {
      await this.rates.attempt('signUpByAddress', addressBucket(clientAddress(request)));
      const person = await this.signUps.signUp(checked.signUp, admission === 'approval' ? 'pending' : 'active');
      this.registration.changed();
      await this.browser.logIn(request, reply, person);
      this.browser.redirect(reply, person.state === 'pending' ? '/settings?done=waiting' : (next ?? '/settings?done=welcome'));
    } catch (error) {
      const { text, status } = shownError(error, reply);
      const errors = error instanceof AppError && error.details !== undefined ? Object.entries(error.details).flatMap(([field, all]) => all.map(({ description }) => pageError({ field, description }))) : [{ field: '', text }];
      await again(errors, status);
    }
  }

  /** Whether somebody may sign up, and how; a link for the operator opens every door. */
  private async admission(link: string | undefined): Promise<'open' | 'approval' | 'closed'> {
    const key = secretKey(link);
    if (key !== undefined && (await this.domains.isOperatorLink(key))) return 'open';
    return await this.registration.mode();
  }

  private async showLogIn(reply: FastifyReply, visit: Visit, { next, name, errors }: { readonly next: string | undefined; readonly name: string; readonly errors: readonly PageError[] }, status = 200): Promise<void> {
    const canSignUp = (await this.registration.mode()) !== 'closed';
    const main = logInMain({ formToken: formTokenField(visit.formToken), next, name, errors, current: visit.session?.person.login, canSignUp, site: this.site.name });
    this.browser.send(reply, visit, { title: errors.length > 0 ? 'Error: Log in' : 'Log in', width: 'narrow', main }, { status, inWindow: true });
  }

  private async showSignUp(
    reply: FastifyReply,
    visit: Visit,
    state: { readonly next: string | undefined; readonly link: string | undefined; readonly values: Readonly<Record<string, string | undefined>>; readonly errors: readonly PageError[] },
    status = 200,
  ): Promise<void> {
    const admission = await this.admission(state.link);
    const main =
      admission === 'closed'
        ? closedMain(this.site.name)
        : signUpMain({ ...state, formToken: formTokenField(visit.formToken), needsApproval: admission === 'approval', site: this.site.name });
    this.browser.send(reply, visit, { title: state.errors.length > 0 ? 'Error: Sign up' : 'Sign up', width: 'narrow', main }, { status, inWindow: true });
  }

  private nextIn(parameters: Parameters): string | undefined {
    const next = this.browser.nextOf(textOf(parameters, 'next'), '');
    return next === '' ? undefined : next;
  }
}

/** What a form shows of an error, and in headers when to try again; what nobody foresaw goes on to the error page and the log. */
function shownError(error: unknown, reply: FastifyReply): { readonly text: string; readonly status: number } {
  if (!(error instanceof AppError) || error.kind === 'bug') throw error;
  reply.headers(retryHeaders(error));
  return { text: error.message, status: error.status === 401 ? 422 : error.status };
}
