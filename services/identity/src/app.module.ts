/** The composition root of identity: every object is built here and nowhere else. */
import { type DynamicModule, Module, type OnApplicationBootstrap, type OnApplicationShutdown, type Type } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { domainIdOf, isLocalhost } from '@dmb/protocol';
import { Background } from '@dmb/runtime';
import { AuthGuard, Authenticator } from '@dmb/runtime/http';
import { answerCalls } from './answer-calls.ts';
import { Apps } from './apps.ts';
import type { IdentityContext } from './context.ts';
import { Passwords } from './domain/passwords.ts';
import { AccountsController } from './http/accounts.ts';
import { AuthorizePagesController } from './http/authorize-pages.ts';
import { Browser } from './http/browser.ts';
import { EnterPagesController } from './http/enter-pages.ts';
import { OAuthController } from './http/oauth.ts';
import { OperatorPagesController } from './http/operator-pages.ts';
import { SettingsPagesController } from './http/settings-pages.ts';
import { Site } from './http/site.ts';
import { ages } from './limits.ts';
import { LogIns } from './log-ins.ts';
import { OAuth } from './oauth.ts';
import { Rates } from './rates.ts';
import { RegistrationInfo } from './registration.ts';
import { SignUps } from './sign-ups.ts';
import { Directory } from './store/directory.ts';
import { Domains } from './store/domains.ts';
import { PersonEvents } from './store/person-events.ts';
import { Persons } from './store/persons.ts';
import { Sessions } from './store/sessions.ts';
import { Tokens } from './store/tokens.ts';

@Module({})
class IdentityModule {}

/** Builds identity and binds its calls. */
export function createIdentityModule(context: IdentityContext): DynamicModule {
  const { databases, calls, limits, logger, domain, baseUrl } = context;
  const domainId = domainIdOf(domain);
  const isOwnMachine = isLocalhost(domain);

  const events = new PersonEvents(context.eventLog, context.live, logger);
  const directory = new Directory(databases, domainId);
  const persons = new Persons(databases, domainId, events);
  const sessions = new Sessions(databases, domainId, events);
  const tokens = new Tokens(databases, domainId, events);
  const domains = new Domains(databases, domain, domainId);

  const passwords = new Passwords();
  const rates = new Rates(limits, isOwnMachine);
  const registration = new RegistrationInfo(domains, persons, context.config.registration ?? (isOwnMachine ? 'open' : 'approval'));
  const signUps = new SignUps({ directory, persons, passwords, calls, domain: domainId, logger });
  const logIns = new LogIns({ directory, persons, passwords, rates, signUps });
  const apps = new Apps(domains, domain);
  const oauth = new OAuth({ apps, tokens, rates, baseUrl, domain: domainId });
  const browser = new Browser({ sessions, site: domain, baseUrl });
  const authenticator = new Authenticator({ calls, domain: domainId, limiter: limits });
  const site = new Site(domain, baseUrl, domainId);
  const background = new Background({ logger });

  answerCalls(calls, { tokens, registration, domain: domainId });
  background.every('identity housekeeping', { intervalMs: ages.housekeepingMs, firstAfterMs: ages.housekeepingFirstMs }, async () => {
    await signUps.repair();
    await tokens.sweep();
    await sessions.sweep();
  });

  const objects: readonly object[] = [
    persons, sessions, tokens, domains, passwords, rates, registration, signUps, logIns, apps, oauth, browser, authenticator, site, calls,
  ];
  let listening: { stop(): Promise<void> } | undefined;
  const lifecycle: OnApplicationBootstrap & OnApplicationShutdown = {
    onApplicationBootstrap: async () => {
      listening = context.live && (await authenticator.listen(context.live));
    },
    onApplicationShutdown: async () => {
      await listening?.stop();
      await background.stop();
    },
  };
  return {
    module: IdentityModule,
    controllers: [OAuthController, AccountsController, EnterPagesController, AuthorizePagesController, SettingsPagesController, OperatorPagesController],
    providers: [
      // Each object is known by its class.
      ...objects.map((object) => ({ provide: object.constructor as Type, useFactory: () => object })),
      { provide: APP_GUARD, useFactory: () => new AuthGuard(authenticator) },
      { provide: Background, useFactory: () => lifecycle },
    ],
  };
}

/** The address of a new one-time link that makes its opener the operator, ending the one before; undefined once there is an operator. */
export async function operatorLink({ databases, domain, baseUrl }: Pick<IdentityContext, 'databases' | 'domain' | 'baseUrl'>): Promise<string | undefined> {
  const secret = await new Domains(databases, domain, domainIdOf(domain)).newOperatorLink();
  return secret && `${baseUrl}/operator/${secret}`;
}
