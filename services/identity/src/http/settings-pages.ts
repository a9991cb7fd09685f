/** Pages: settings of a person. Everything here needs a session; what matters most, the password again. */
import { Controller, Get, Inject, Post, Req, Res } from '@nestjs/common';
import { AppError, Calls } from '@dmb/runtime';
import { parseUuid } from '@dmb/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { textOf, toParameters } from '../domain/parameters.ts';
import { Passwords, isPassword } from '../domain/passwords.ts';
import { textLimits } from '../limits.ts';
import { LogIns } from '../log-ins.ts';
import { doneTexts, settingsMain } from '../pages/settings.ts';
import type { PageError } from '../pages/parts.ts';
import { Domains } from '../store/domains.ts';
import { type FoundSession, Sessions } from '../store/sessions.ts';
import { Tokens } from '../store/tokens.ts';
import { Browser, type Visit, formTokenField } from './browser.ts';
import { Site } from './site.ts';

@Controller()
export class SettingsPagesController {
  constructor(
    @Inject(Browser) private readonly browser: Browser,
    @Inject(Sessions) private readonly sessions: Sessions,
    @Inject(Tokens) private readonly tokens: Tokens,
    @Inject(LogIns) private readonly logIns: LogIns,
    @Inject(Passwords) private readonly passwords: Passwords,
    @Inject(Domains) private readonly domains: Domains,
    @Inject(Calls) private readonly calls: Calls,
    @Inject(Site) private readonly site: Site,
  ) {}

  @Get('/settings')
  async settings(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const visit = await this.browser.visit(request, reply);
    if (visit.session === undefined) {
      this.browser.redirect(reply, '/log-in?next=%2Fsettings');
      return;
    }
    const done = textOf(toParameters(request.query), 'done') ?? '';
    await this.show(reply, visit, visit.session, Object.hasOwn(doneTexts, done) ? (done as keyof typeof doneTexts) : undefined, []);
  }

  @Post('/settings/password')
  async password(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { visit, session, fields } = await this.submission(request, reply);
    const password = textOf(fields, 'password') ?? '';
    const errors: PageError[] = [];
    if (!isPassword(password)) errors.push({ field: 'password', text: `The new password must have ${textLimits.passwordLengthMin} to ${textLimits.passwordLengthMax.toLocaleString('en')} characters.` });
    else if (!(await this.logIns.confirmPassword(session.person, textOf(fields, 'current') ?? ''))) errors.push({ field: 'current', text: 'This is not your current password.' });
    if (errors.length > 0) return await this.show(reply, visit, session, undefined, errors, 422);
    await this.sessions.changePassword(session, await this.passwords.hash(password));
    this.browser.redirect(reply, '/settings?done=password');
  }

  @Post('/settings/sessions/end')
  async endSession(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { session, fields } = await this.submission(request, reply);
    const which = textOf(fields, 'session') ?? '';
    const id = parseUuid(which);
    if (which === 'others') await this.sessions.endOf(session.person.id, { allBut: session.id });
    else if (id !== undefined && id !== session.id) await this.sessions.endOf(session.person.id, { id });
    this.browser.redirect(reply, '/settings?done=sessions');
  }

  @Post('/settings/apps/revoke')
  async revokeApp(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { session, fields } = await this.submission(request, reply);
    const app = parseUuid(textOf(fields, 'app') ?? '');
    if (app !== undefined) await this.tokens.revokeApp(session.person.id, app);
    this.browser.redirect(reply, '/settings?done=app');
  }

  private async submission(request: FastifyRequest, reply: FastifyReply): Promise<{ visit: Visit; session: FoundSession; fields: Readonly<Record<string, unknown>> }> {
    const { fields, ...visit } = await this.browser.submission(request, reply);
    if (visit.session === undefined) throw new AppError('forbidden', 'You are not logged in any more.');
    return { visit, session: visit.session, fields };
  }

  private async show(reply: FastifyReply, visit: Visit, session: FoundSession, done: keyof typeof doneTexts | undefined, errors: readonly PageError[], status = 200): Promise<void> {
    const { person } = session;
    const [sessions, apps, isOperator, { contributions }] = await Promise.all([
      this.sessions.list(person.id),
      this.tokens.connectedApps(person.id),
      this.domains.isOperator(person.id),
      person.state === 'active' ? this.calls.call('microblog.contributions', { person: person.id }) : { contributions: [] },
    ]);
    const main = settingsMain({ formToken: formTokenField(visit.formToken), person, domain: this.site.name, contributions, sessions, currentSession: session.id, apps, isOperator, done, errors });
    this.browser.send(reply, visit, { title: errors.length > 0 ? 'Error: Settings' : 'Settings', main }, { status });
  }
}
