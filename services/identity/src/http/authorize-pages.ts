/**
 * Pages: a person lets an app in.
 *
 * The consent is a form that is checked like every other, for every app, however well known; the
 * request is read anew when it is sent, and what the person may act as is asked anew, so that what
 * was on the page decides nothing.
 */
import { Controller, Get, Inject, Post, Req, Res } from '@nestjs/common';
import type { Contribution } from '@dmb/events';
import type { PersonId } from '@dmb/protocol';
import { AppError, Calls } from '@dmb/runtime';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Apps } from '../apps.ts';
import { type AuthorizationRequest, readAuthorizationRequest } from '../domain/authorization.ts';
import { type Parameters, textOf, toParameters } from '../domain/parameters.ts';
import { outOfBand, redirectTo } from '../domain/redirect-uris.ts';
import { secretKey } from '../domain/secrets.ts';
import { authorizeMain, codeMain, refusedMain, waitingMain } from '../pages/authorize.ts';
import { Tokens } from '../store/tokens.ts';
import { Browser, type Visit, formTokenField } from './browser.ts';
import { Site } from './site.ts';

/** Parameters that are sent again with the consent. */
const repeated = ['response_type', 'client_id', 'redirect_uri', 'scope', 'state', 'code_challenge', 'code_challenge_method', 'force_login'] as const;

@Controller()
export class AuthorizePagesController {
  constructor(
    @Inject(Browser) private readonly browser: Browser,
    @Inject(Apps) private readonly apps: Apps,
    @Inject(Tokens) private readonly tokens: Tokens,
    @Inject(Calls) private readonly calls: Calls,
    @Inject(Site) private readonly site: Site,
  ) {}

  @Get('/oauth/authorize')
  async ask(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const visit = await this.browser.visit(request, reply);
    const parameters = toParameters(request.query);
    const asked = await this.read(reply, visit, parameters);
    if (asked === undefined) return;
    const repeat = Object.fromEntries(repeated.map((name) => [name, textOf(parameters, name)]).filter((pair): pair is [string, string] => pair[1] !== undefined));
    const self = `/oauth/authorize?${new URLSearchParams(repeat).toString()}`;
    if (visit.session === undefined) {
      this.browser.redirect(reply, `/log-in?next=${encodeURIComponent(self)}`);
      return;
    }
    const { person } = visit.session;
    if (person.state !== 'active') {
      this.browser.send(reply, visit, { title: 'Nearly there', width: 'narrow', main: waitingMain() });
      return;
    }
    const contributions = await this.contributions(person.id);
    const main = authorizeMain({ formToken: formTokenField(visit.formToken), request: asked, parameters: repeat, login: person.login, contributions, self });
    this.browser.send(reply, visit, { title: `Let ${asked.app.name} in?`, width: 'narrow', main }, { forClient: true, inWindow: true });
  }

  @Post('/oauth/authorize')
  async decide(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { fields, ...visit } = await this.browser.submission(request, reply);
    const asked = await this.read(reply, visit, fields);
    if (asked === undefined) return;
    const { app, redirectUri, scopes, state, codeChallenge } = asked;
    const answer = (parameters: Record<string, string>): void => {
      this.browser.redirect(reply, redirectTo(redirectUri, { ...parameters, state, iss: this.site.baseUrl }));
    };
    if (textOf(fields, 'decision') !== 'allow') {
      if (redirectUri === outOfBand) this.browser.redirect(reply, '/settings');
      else answer({ error: 'access_denied', error_description: 'The resource owner or authorization server denied the request.' });
      return;
    }
    if (visit.session?.person.state !== 'active') throw new AppError('forbidden', 'You are not logged in any more. Begin again in the app.');
    const { person } = visit.session;
    const chosen = textOf(fields, 'microblog');
    const contribution = (await this.contributions(person.id)).find(({ microblog }) => microblog === chosen);
    if (contribution === undefined) throw new AppError('forbidden', 'You cannot act as this microblog.');
    const code = await this.tokens.createCode(app, { person: person.id, microblog: contribution.microblog, scopes }, redirectUri, codeChallenge);
    if (redirectUri === outOfBand) this.browser.redirect(reply, `/oauth/authorize/native?code=${code}`);
    else answer({ code });
  }

  @Get('/oauth/authorize/native')
  async code(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const visit = await this.browser.visit(request, reply);
    const code = textOf(toParameters(request.query), 'code');
    const isCode = secretKey(code) !== undefined;
    this.browser.send(reply, visit, { title: isCode ? 'Your code' : 'No code', width: 'narrow', main: codeMain(isCode ? code : undefined) }, { status: isCode ? 200 : 400 });
  }

  /** The request, or undefined when it has been answered already. */
  private async read(reply: FastifyReply, visit: Visit, parameters: Parameters): Promise<AuthorizationRequest | undefined> {
    const app = await this.apps.read(textOf(parameters, 'client_id'));
    const read = readAuthorizationRequest(parameters, this.site.baseUrl, () => app);
    switch (read.outcome) {
      case 'asked':
        return read.request;
      case 'refused':
        this.browser.send(reply, visit, { title: 'This does not work', width: 'narrow', main: refusedMain(read.message) }, { status: 400 });
        return undefined;
      case 'redirect':
        this.browser.redirect(reply, read.location);
        return undefined;
    }
  }

  private async contributions(person: PersonId): Promise<readonly Contribution[]> {
    const { contributions } = await this.calls.call('microblog.contributions', { person });
    if (contributions.length === 0) throw new AppError('forbidden', 'There is no microblog that you could act as.');
    return contributions;
  }
}

