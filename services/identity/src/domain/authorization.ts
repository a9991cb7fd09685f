/**
 * Reading an authorization request: what is asked, or what is wrong and to whom that may be told.
 *
 * The order is the rule. First the client and its redirect URI, byte for byte: until that matches,
 * nobody is redirected anywhere, because the address may be an attacker's. Everything after is told
 * to the client by a redirect with `error`, `state` and `iss` (RFC 9207), or, out of band, on a page.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { textLimits } from '../limits.ts';
import type { RegisteredApp } from './client-ids.ts';
import { type Parameters, flagOf, optionalText, textOf } from './parameters.ts';
import { outOfBand, redirectTo } from './redirect-uris.ts';
import { coversScopes, parseScopes } from './scopes.ts';

/** A request that may be put before a person. */
export interface AuthorizationRequest {
  readonly app: RegisteredApp;
  readonly redirectUri: string;
  readonly scopes: readonly string[];
  readonly state: string | undefined;
  readonly codeChallenge: string | undefined;
  /** The client holds an account here already and wants another: show the whole choice again. */
  readonly forceLogin: boolean;
}

export type ReadRequest =
  | { readonly outcome: 'asked'; readonly request: AuthorizationRequest }
  /** Told to the person on a page; nobody is redirected. */
  | { readonly outcome: 'refused'; readonly message: string }
  /** Told to the client at its own address. */
  | { readonly outcome: 'redirect'; readonly location: string };

const CODE_CHALLENGE = /^[A-Za-z0-9_-]{43}$/;
const CODE_VERIFIER = /^[A-Za-z0-9\-._~]{43,128}$/;

/** Reads the parameters of GET and POST /oauth/authorize. */
export function readAuthorizationRequest(parameters: Parameters, issuer: string, appOf: (clientId: string | undefined) => RegisteredApp | undefined): ReadRequest {
  const app = appOf(textOf(parameters, 'client_id'));
  if (app === undefined) return { outcome: 'refused', message: 'The app that sent you here is not registered at this server. Remove the account from the app and add it again.' };
  const redirectUri = textOf(parameters, 'redirect_uri');
  if (redirectUri === undefined || !app.redirectUris.includes(redirectUri)) {
    return { outcome: 'refused', message: 'The app wants its answer sent to an address that it did not register. Nothing was sent there.' };
  }
  const state = optionalText(parameters, 'state');
  const fail = (error: string, description: string): ReadRequest =>
    redirectUri === outOfBand
      ? { outcome: 'refused', message: description }
      : { outcome: 'redirect', location: redirectTo(redirectUri, { error, error_description: description, state: keptState(state), iss: issuer }) };

  if (state !== undefined && Buffer.byteLength(state) > textLimits.stateBytesMax) return fail('invalid_request', 'The parameter state is too long');
  if (textOf(parameters, 'response_type') !== 'code') return fail('unsupported_response_type', 'Only response_type=code is supported');
  const scopes = parseScopes(optionalText(parameters, 'scope') ?? 'read');
  if (scopes === undefined || scopes.length === 0 || !coversScopes(app.scopes, scopes)) {
    return fail('invalid_scope', 'The requested scope is invalid, unknown, or not one that the app registered');
  }
  const codeChallenge = optionalText(parameters, 'code_challenge');
  const method = optionalText(parameters, 'code_challenge_method');
  if (codeChallenge === undefined && method !== undefined) return fail('invalid_request', 'code_challenge_method was sent without code_challenge');
  if (codeChallenge !== undefined && method !== 'S256') return fail('invalid_request', 'Only code_challenge_method=S256 is supported');
  if (codeChallenge !== undefined && !CODE_CHALLENGE.test(codeChallenge)) return fail('invalid_request', 'The code_challenge is not one of S256');
  return { outcome: 'asked', request: { app, redirectUri, scopes, state, codeChallenge, forceLogin: flagOf(parameters, 'force_login') } };
}

const keptState = (state: string | undefined): string | undefined => (state !== undefined && Buffer.byteLength(state) <= textLimits.stateBytesMax ? state : undefined);

/** Whether a verifier is the one that the challenge was made of (RFC 7636, S256). */
export function isCodeVerifier(challenge: string, verifier: string): boolean {
  if (!CODE_VERIFIER.test(verifier)) return false;
  const made = createHash('sha256').update(verifier, 'ascii').digest();
  const wanted = Buffer.from(challenge, 'base64url');
  return wanted.length === made.length && timingSafeEqual(made, wanted);
}
