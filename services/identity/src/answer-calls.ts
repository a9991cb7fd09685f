/** The calls that identity answers. */
import type { AnswerOf, RequestOf } from '@dmb/events';
import type { DomainId } from '@dmb/protocol';
import { AppError, type Calls } from '@dmb/runtime';
import { secretKey } from './domain/secrets.ts';
import type { RegistrationInfo } from './registration.ts';
import type { Tokens } from './store/tokens.ts';

/** What a person hears who may not act yet: by every API call until the operator has decided. */
export const waitingMessage = 'Your sign-up is waiting for approval. This app works as soon as it is approved.';

interface Parts {
  readonly tokens: Tokens;
  readonly registration: RegistrationInfo;
  readonly domain: DomainId;
}

/** Binds `identity.*`. */
export function answerCalls(calls: Pick<Calls, 'bind'>, { tokens, registration, domain }: Parts): void {
  calls.bind('identity.token', (request) => resolveToken(tokens, request));
  calls.bind('identity.revoke', async ({ person, microblog }) => ({ revoked: await tokens.revokeOf(person, microblog) }));
  calls.bind('identity.registration', async (request) => {
    if (request.domain !== domain) throw new AppError('not-found');
    return await registration.answer();
  });
}

/** Who a token speaks for. @throws {AppError} `forbidden` while its person waits for approval */
async function resolveToken(tokens: Tokens, { token: secret }: RequestOf<'identity.token'>): Promise<AnswerOf<'identity.token'>> {
  const key = secretKey(secret);
  const token = key && (await tokens.find(key));
  if (token === undefined) return null;
  const { id, domain, person, microblog, scopes, app } = token;
  const rest = { id, app: { name: app.name, website: app.website }, createdAt: token.created.getTime() };
  if (person === null || microblog === null) return { ...rest, asker: { kind: 'app', domain, scopes } };
  switch (token.personState) {
    case 'active':
      return { ...rest, asker: { kind: 'person', domain, person, microblog, scopes } };
    case 'pending':
      throw new AppError('forbidden', waitingMessage);
    case 'creating':
    case 'suspended':
    case 'removed':
    case null:
      return null;
  }
}
