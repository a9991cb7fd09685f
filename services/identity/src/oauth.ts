/**
 * The programs' side of OAuth: registering, tokens, revoking, the metadata document.
 *
 * A small module of our own, in Mastodon's dialect (README: decisions). Clients write parameters in
 * every way there is and read few fields of the answers; which ones, and what breaks them, decided
 * the form of each answer here.
 */
import type { DomainId } from '@dmb/protocol';
import { AppError } from '@dmb/runtime';
import type { Apps } from './apps.ts';
import { isCodeVerifier } from './domain/authorization.ts';
import type { RegisteredApp } from './domain/client-ids.ts';
import { type Parameters, invalidRequest, oauthError, optionalText, requiredText, textOf } from './domain/parameters.ts';
import { parseRedirectUris } from './domain/redirect-uris.ts';
import { coversScopes, parseScopes, scopeNames } from './domain/scopes.ts';
import { secretKey } from './domain/secrets.ts';
import { cleanLine } from './domain/sign-up-form.ts';
import { textLimits } from './limits.ts';
import { countToken } from './metrics.ts';
import type { Rates } from './rates.ts';
import type { AppRow, IssuedToken, Tokens } from './store/tokens.ts';

/** What a client gets with a token. `scope` is there always: some break without it. */
export interface TokenBody {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  readonly scope: string;
  readonly created_at: number;
}

/** Texts that clients look into. */
const clientFailed = 'Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method.';
const grantInvalid =
  'The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client.';
const scopeInvalid = 'The requested scope is invalid, unknown, or malformed.';

export interface OAuthOptions {
  readonly apps: Apps;
  readonly tokens: Tokens;
  readonly rates: Rates;
  readonly baseUrl: string;
  readonly domain: DomainId;
}

export class OAuth {
  readonly #options: OAuthOptions;

  constructor(options: OAuthOptions) {
    this.#options = options;
  }

  /** `POST /api/v1/apps`. @throws {AppError} 422, 429 */
  async register(parameters: Parameters, addressBucket: string): Promise<Record<string, unknown>> {
    await this.#options.rates.attempt('appsByAddress', addressBucket);
    const name = cleanLine(textOf(parameters, 'client_name') ?? '');
    if (name === '') throw notValid("Name can't be blank");
    if ([...name].length > textLimits.appNameLengthMax) throw notValid(`Name is too long (at most ${textLimits.appNameLengthMax} characters)`);
    const redirectUris = parseRedirectUris(parameters['redirect_uris'] ?? parameters['redirect_uri']);
    if (redirectUris === undefined) throw notValid('Redirect URI must be an absolute URI: https, a scheme of the app’s own, or http on this machine; without fragment, user or unusual characters');
    const scopes = parseScopes(optionalText(parameters, 'scopes') ?? 'read');
    if (scopes === undefined || scopes.length === 0) throw notValid("Scopes doesn't match configured on the server.");
    const app = await this.#options.apps.register({ name, redirectUris, scopes, website: websiteOf(optionalText(parameters, 'website')) });
    return {
      ...appBody({ id: app.appId, name, website: app.website, redirectUris, scopes }),
      client_id: app.clientId,
      client_secret: app.clientSecret,
      client_secret_expires_at: 0,
    };
  }

  /** `POST /oauth/token`. @throws {AppError} with an OAuth code */
  async token(parameters: Parameters, authorization: string | undefined, addressBucket: string): Promise<TokenBody> {
    await this.#options.rates.attempt('tokensByAddress', addressBucket);
    const grant = requiredText(parameters, 'grant_type');
    if (grant !== 'authorization_code' && grant !== 'client_credentials') {
      throw oauthError('unsupported_grant_type', 'The authorization grant type is not supported by the authorization server.');
    }
    const client = await this.#client(parameters, authorization);
    const issued = grant === 'authorization_code' ? await this.#exchange(client, parameters) : await this.#forApp(client, parameters);
    countToken(grant);
    return tokenBody(issued);
  }

  /** `POST /oauth/revoke`: whatever it was, it is not valid afterwards; a token of another app stays. Never tells which. */
  async revoke(parameters: Parameters, authorization: string | undefined): Promise<Record<string, never>> {
    const client = await this.#client(parameters, authorization).catch(nobody);
    const key = secretKey(textOf(parameters, 'token'));
    // A client without a secret cannot prove more than to have the token, which is enough to end it.
    if (client !== undefined && key !== undefined) await this.#options.tokens.revoke(key, client.app.appId);
    return {};
  }

  /** RFC 8414; null where our addresses are not https: libraries refuse it there and do well without. */
  metadata(): Record<string, unknown> | null {
    const { baseUrl } = this.#options;
    if (!baseUrl.startsWith('https://')) return null;
    return {
      issuer: baseUrl,
      authorization_endpoint: `${baseUrl}/oauth/authorize`,
      token_endpoint: `${baseUrl}/oauth/token`,
      app_registration_endpoint: `${baseUrl}/api/v1/apps`,
      revocation_endpoint: `${baseUrl}/oauth/revoke`,
      scopes_supported: scopeNames,
      response_types_supported: ['code'],
      response_modes_supported: ['query'],
      grant_types_supported: ['authorization_code', 'client_credentials'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
      revocation_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
    };
  }

  /** The client of a request: known for sure, and with its secret if it sent one. @throws {AppError} `invalid_client` */
  async #client(parameters: Parameters, authorization: string | undefined): Promise<Client> {
    const basic = basicCredentials(authorization);
    const clientId = basic?.id ?? textOf(parameters, 'client_id');
    const secret = basic?.secret ?? optionalText(parameters, 'client_secret');
    const app = await this.#options.apps.read(clientId);
    if (app === undefined) throw oauthError('invalid_client', clientFailed);
    if (secret === undefined) return { app, isAuthenticated: undefined };
    if (!(await this.#options.apps.isSecret(app, secret))) throw oauthError('invalid_client', clientFailed);
    return { app, isAuthenticated: true };
  }

  async #exchange({ app, isAuthenticated }: Client, parameters: Parameters): Promise<IssuedToken> {
    const key = secretKey(requiredText(parameters, 'code'));
    const redirectUri = textOf(parameters, 'redirect_uri');
    const verifier = optionalText(parameters, 'code_verifier');
    const exchange = key && (await this.#options.tokens.exchange(key, app.appId, (code) => {
      if (code.isExpired) return 'expired';
      if (code.codeChallenge === null) {
        if (isAuthenticated !== true) return 'client';
        if (verifier !== undefined || redirectUri !== code.redirectUri) return 'mismatch';
        return undefined;
      }
      if (verifier === undefined || !isCodeVerifier(code.codeChallenge, verifier)) return 'mismatch';
      return redirectUri === undefined || redirectUri === code.redirectUri ? undefined : 'mismatch';
    }));
    if (exchange?.outcome === 'issued') return exchange.token;
    if (exchange?.outcome === 'refused' && exchange.reason === 'client') throw oauthError('invalid_client', clientFailed);
    throw oauthError('invalid_grant', grantInvalid);
  }

  async #forApp({ app, isAuthenticated }: Client, parameters: Parameters): Promise<IssuedToken> {
    if (isAuthenticated !== true) throw oauthError('invalid_client', clientFailed);
    const asked = optionalText(parameters, 'scope');
    const scopes = asked === undefined ? (coversScopes(app.scopes, ['read']) ? ['read'] : app.scopes) : parseScopes(asked);
    if (scopes === undefined || !coversScopes(app.scopes, scopes)) throw oauthError('invalid_scope', scopeInvalid);
    return await this.#options.tokens.issueForApp(app, scopes);
  }
}

interface Client {
  readonly app: RegisteredApp;
  /** Undefined: no secret was sent. */
  readonly isAuthenticated: true | undefined;
}

/** Revoking tells nobody why it did nothing, but lets through what is no matter of the client. */
function nobody(error: unknown): undefined {
  if (error instanceof AppError && error.kind === 'unauthenticated') return undefined;
  throw error;
}

const notValid = (text: string): AppError => new AppError('invalid', `Validation failed: ${text}`);

/** RFC 6749 §2.3.1: both parts are written as in a form. */
function basicCredentials(authorization: string | undefined): { readonly id: string; readonly secret: string } | undefined {
  const [, encoded] = /^Basic +([A-Za-z0-9+/_-]+={0,2}) *$/i.exec(authorization ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) return undefined;
  try {
    return { id: decodeURIComponent(text.slice(0, colon)), secret: decodeURIComponent(text.slice(colon + 1)) };
  } catch {
    throw invalidRequest('The Authorization header is malformed');
  }
}

/** A website is shown as a link, so it is http or https or nothing. */
function websiteOf(text: string | undefined): string | null {
  if (text === undefined || text.length > textLimits.websiteLengthMax || !URL.canParse(text)) return null;
  const { protocol, username, password } = new URL(text);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '' ? text : null;
}

/** A token as clients get it. */
export function tokenBody({ secret, scopes, created }: IssuedToken): TokenBody {
  return { access_token: secret, token_type: 'Bearer', scope: scopes.join(' '), created_at: Math.floor(created.getTime() / 1_000) };
}

/** An app as clients see it. Its id is a number made of ours, as all ids of this API are. */
export function appBody({ id, name, website, redirectUris, scopes }: AppRow): Record<string, unknown> {
  return {
    id: (BigInt(`0x${id.replaceAll('-', '').slice(0, 16)}`) >> 1n).toString(),
    name,
    website,
    scopes,
    redirect_uris: redirectUris,
    redirect_uri: redirectUris.join('\n'),
    vapid_key: '',
  };
}
