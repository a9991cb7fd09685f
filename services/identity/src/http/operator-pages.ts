/** Pages: the one-time link that makes an operator, and what operators decide. Who is none hears that there is no such page. */
import { Controller, Get, Inject, Param, Post, Req, Res } from '@nestjs/common';
import { AppError } from '@dmb/runtime';
import { type PersonId, parseUuid } from '@dmb/protocol';
import { addressBucket, clientAddress } from '@dmb/runtime/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { textOf, toParameters } from '../domain/parameters.ts';
import { type SecretKey, secretKey } from '../domain/secrets.ts';
import { deadLinkMain, decisionTexts, linkMain, operatorMain } from '../pages/operator.ts';
import { Rates } from '../rates.ts';
import { RegistrationInfo } from '../registration.ts';
import { SignUps } from '../sign-ups.ts';
import { Domains } from '../store/domains.ts';
import { Persons } from '../store/persons.ts';
import { type FoundSession } from '../store/sessions.ts';
import { Browser, type Visit, formTokenField } from './browser.ts';
import { Site } from './site.ts';

type Decision = keyof typeof decisionTexts;

@Controller()
export class OperatorPagesController {
  constructor(
    @Inject(Browser) private readonly browser: Browser,
    @Inject(Domains) private readonly domains: Domains,
    @Inject(Persons) private readonly persons: Persons,
    @Inject(SignUps) private readonly signUps: SignUps,
    @Inject(RegistrationInfo) private readonly registration: RegistrationInfo,
    @Inject(Rates) private readonly rates: Rates,
    @Inject(Site) private readonly site: Site,
  ) {}

  @Get('/operator')
  async overview(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const visit = await this.browser.visit(request, reply);
    if (visit.session === undefined) {
      this.browser.redirect(reply, '/log-in?next=%2Foperator');
      return;
    }
    await this.requireOperator(visit.session);
    const [mode, { active, waiting }, registrations] = await Promise.all([this.registration.mode(), this.persons.count(), this.persons.waiting()]);
    const done = textOf(toParameters(request.query), 'done') ?? '';
    const main = operatorMain({
      formToken: formTokenField(visit.formToken), site: this.site.name, mode, active, waiting, registrations,
      done: Object.hasOwn(decisionTexts, done) ? (done as Decision) : undefined,
    });
    this.browser.send(reply, visit, { title: `Run ${this.site.name}`, main });
  }

  @Post('/operator/registrations')
  async decide(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { session, fields } = await this.browser.submission(request, reply);
    if (session === undefined) throw new AppError('forbidden', 'You are not logged in any more.');
    await this.requireOperator(session);
    const id = parseUuid(textOf(fields, 'person') ?? '') as PersonId | undefined;
    const done = await this.applyDecision(id, textOf(fields, 'decision'), session.person.id);
    this.registration.changed();
    this.browser.redirect(reply, `/operator?done=${done}`);
  }

  @Get('/operator/:link')
  async link(@Param('link') link: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const visit = await this.browser.visit(request, reply);
    if ((await this.keyOf(request, link)) === undefined) {
      this.dead(reply, visit);
      return;
    }
    const person = visit.session?.person.state === 'active' ? visit.session.person : undefined;
    this.browser.send(reply, visit, { title: `Run ${this.site.name}`, width: 'narrow', main: linkMain({ formToken: formTokenField(visit.formToken), link, person, site: this.site.name }) });
  }

  @Post('/operator/:link')
  async useLink(@Param('link') link: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { session, formToken } = await this.browser.submission(request, reply);
    if (session?.person.state !== 'active') throw new AppError('forbidden', 'Log in first, then open the link again.');
    const key = await this.keyOf(request, link);
    const { id, microblog } = session.person;
    if (key === undefined || !(await this.domains.useOperatorLink(key, id, microblog))) {
      this.dead(reply, { session, formToken });
      return;
    }
    this.registration.changed();
    this.browser.redirect(reply, '/operator?done=operator');
  }

  private async applyDecision(id: PersonId | undefined, decision: string | undefined, operator: PersonId): Promise<Decision> {
    const person = id && (await this.persons.find(id));
    if (person?.state !== 'pending') return 'gone';
    switch (decision) {
      case 'approve':
        try {
          await this.signUps.approve(person, operator);
          return 'approved';
        } catch (error) {
          if (error instanceof AppError && error.kind === 'invalid') return 'taken';
          throw error;
        }
      case 'reject':
        await this.signUps.reject(person);
        return 'rejected';
      default:
        throw new AppError('invalid', 'Approve or reject: nothing else can be decided.');
    }
  }

  private async keyOf(request: FastifyRequest, link: string): Promise<SecretKey | undefined> {
    await this.rates.attempt('operatorLinkByAddress', addressBucket(clientAddress(request)));
    const key = secretKey(link);
    return key !== undefined && (await this.domains.isOperatorLink(key)) ? key : undefined;
  }

  private async requireOperator({ person }: FoundSession): Promise<void> {
    if (person.state !== 'active' || !(await this.domains.isOperator(person.id))) throw new AppError('not-found', 'There is no such page.');
  }

  private dead(reply: FastifyReply, visit: Visit): void {
    this.browser.send(reply, visit, { title: 'This link does not work any more', width: 'narrow', main: deadLinkMain() }, { status: 404 });
  }
}
