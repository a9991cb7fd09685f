/** The calls that identity answers. */
import type { TokenAnswer } from '@dmb/events';
import type { DomainId } from '@dmb/protocol';
import { AppError, type Calls } from '@dmb/runtime';
import { secretKey } from './domain/secrets.ts';
import type { RegistrationInfo } from './registration.ts';
import { listLimits } from './limits.ts';
import type { Token, Tokens } from './store/tokens.ts';

/** What a person hears who may not act yet: by every API call until the operator has decided. */
export const waitingMessage = 'Your sign-up is waiting for approval. This app works as soon as it is approved.';

interface Parts {
  readonly tokens: Tokens;
  readonly registration: RegistrationInfo;
  readonly domain: DomainId;
}

/** Binds `identity.*`. */
export function answerCalls(calls: Pick<Calls, 'bind'>, { tokens, registration, domain }: Parts): void {
  calls.bind('identity.token', async ({ token }) => {
    const [found] = await findTokens(tokens, [token]);
    if (found?.personState === 'pending') throw new AppError('forbidden', waitingMessage);
    return answerOf(found);
  });
  calls.bind('identity.tokens', async (request) => {
    if (request.tokens.length > listLimits.tokensAskedMax) throw new AppError('bug', undefined, { detail: `${request.tokens.length} tokens in one call` });
    return { answers: (await findTokens(tokens, request.tokens)).map(answerOf) };
  });
  calls.bind('identity.revoke', async ({ person, microblog }) => ({ revoked: await tokens.revokeOf(person, microblog) }));
  calls.bind('identity.registration', async (request) => {
    if (request.domain !== domain) throw new AppError('not-found');
    return await registration.answer();
  });
}

async function findTokens(tokens: Tokens, secrets: readonly string[]): Promise<(Token | undefined)[]> {
  const keys = secrets.map(secretKey);
  const found = await tokens.findMany(keys.flatMap((key) => key ?? []));
  return keys.map((key) => (key === undefined ? undefined : found.shift()));
}

/** Who a token speaks for; null for one that is good for nothing. */
function answerOf(token: Token | undefined): TokenAnswer | null {
  if (token === undefined) return null;
  const { id, domain, person, microblog, scopes, app } = token;
  const rest = { id, app: { name: app.name, website: app.website }, createdAt: token.created.getTime() };
  if (person === null || microblog === null) return { ...rest, asker: { kind: 'app', domain, scopes } };
  return token.personState === 'active' ? { ...rest, asker: { kind: 'person', domain, person, microblog, scopes } } : null;
}
