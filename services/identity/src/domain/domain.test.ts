import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCodeVerifier, readAuthorizationRequest } from './authorization.ts';
import { type RegisteredApp, isClientSecret, newMacKey, readClientId, registerApp } from './client-ids.ts';
import { flagOf, textOf, toParameters } from './parameters.ts';
import { Passwords, isPassword } from './passwords.ts';
import { describeRedirect, isRedirectUri, outOfBand, parseRedirectUris, redirectTo } from './redirect-uris.ts';
import { coversScopes, describeScopes, parseScopes, scopeNames } from './scopes.ts';
import { newSecret, secretKey } from './secrets.ts';
import { checkSignUp, cleanLine } from './sign-up-form.ts';

const registration = { domain: 'example.org', name: 'Elk', redirectUris: ['https://elk.zone/api/example.org/oauth/https%3A%2F%2Felk.zone'], scopes: ['read', 'write'], website: null, created: 1 };

describe('secrets', () => {
  it('carry their shard and are found by their hash', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1023 }), (shard) => {
        const made = newSecret(shard);
        expect(made.secret).toHaveLength(46);
        expect(secretKey(made.secret)).toEqual({ shard, hash: made.hash });
      }),
    );
  });
  it('are none if they have another form, another spelling of the same bytes, or no shard', () => {
    const { secret } = newSecret(5);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(secret.at(-1) ?? '');
    expect(secretKey(secret.slice(0, -1) + alphabet[last ^ 1])).toBeUndefined();
    for (const text of [undefined, '', 'x', `${secret} `, `${secret}A`, secret.replace(/^../, '__')]) expect(secretKey(text)).toBeUndefined();
  });
});

describe('client ids', () => {
  const key = newMacKey();
  const made = registerApp(key, registration);
  if (made === undefined) throw new Error('not made');

  it('say what was registered, to whoever has the key', () => {
    expect(readClientId([newMacKey(), key], made.clientId)).toEqual({ ...registration, clientId: made.clientId, appId: made.appId });
    expect(isClientSecret([key], made.clientId, made.clientSecret)).toBe(true);
  });
  it('are refused when a single character differs, and without their key', () => {
    for (let at = 0; at < made.clientId.length; at += 7) {
      const other = made.clientId[at] === 'A' ? 'B' : 'A';
      expect(readClientId([key], made.clientId.slice(0, at) + other + made.clientId.slice(at + 1))).toBeUndefined();
    }
    expect(readClientId([newMacKey()], made.clientId)).toBeUndefined();
    expect(readClientId([key], 'A'.repeat(100_000))).toBeUndefined();
    expect(isClientSecret([key], made.clientId, made.clientSecret.slice(0, -2))).toBe(false);
  });
  it('are unique for equal registrations, and not made if clients could not carry them', () => {
    expect(registerApp(key, registration)?.appId).not.toBe(made.appId);
    expect(registerApp(key, { ...registration, redirectUris: [`https://x.example/${'a'.repeat(1_200)}`] })).toBeUndefined();
  });
});

describe('redirect URIs', () => {
  it.each([
    'https://elk.zone/api/mas.to/oauth/https%3A%2F%2Felk.zone', 'http://localhost:1234/x', 'http://127.0.0.1:9/', 'http://[::1]:7/cb', 'com.keylesspalace.tusky://oauth', 'tut:/back', outOfBand, 'https://x.example/?a=b&c=',
  ])('may be %s', (uri) => expect(isRedirectUri(uri)).toBe(true));
  it.each([
    'javascript:alert(1)', 'JavaScript:alert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc/passwd', 'blob:https://x', 'about:blank', 'http://evil.example/', 'http://127.0.0.1.evil.example/', 'https://user@x.example/', 'app://user@host',
    'https://x.example/#f', 'https://x.example/\n', 'https://x.example/\u0000', 'https://x.example/ü', 'https://x.example/<script>', 'https://', 'https:///x', '//x.example', '/x', '', 'https:x.example\\@evil', `https://x.example/${'a'.repeat(700)}`,
  ])('may not be %j', (uri) => expect(isRedirectUri(uri)).toBe(false));
  it('come as one text, a list of lines, or an array', () => {
    const both = ['https://a.example/', outOfBand];
    expect(parseRedirectUris('https://a.example/')).toEqual(['https://a.example/']);
    expect(parseRedirectUris(both.join('\r\n'))).toEqual(both);
    expect(parseRedirectUris(both)).toEqual(both);
    for (const wrong of [undefined, 5, [], '', [5], ['https://a.example/', 'javascript:x'], { a: 1 }]) expect(parseRedirectUris(wrong)).toBeUndefined();
  });
  it('keep every byte when parameters are added', () => {
    expect(redirectTo('https://elk.zone/x/https%3A%2F%2Felk.zone', { code: 'a b', state: undefined, iss: 'https://e' })).toBe('https://elk.zone/x/https%3A%2F%2Felk.zone?code=a+b&iss=https%3A%2F%2Fe');
    expect(redirectTo('https://x.example/?a=b', { code: 'c' })).toBe('https://x.example/?a=b&code=c');
    expect(describeRedirect('https://x.example:8443/?a')).toBe('x.example:8443');
  });
});

describe('scopes', () => {
  it('cover what they contain', () => {
    expect(coversScopes(['read'], ['read:statuses', 'read'])).toBe(true);
    expect(coversScopes(['follow'], ['write:follows', 'read:blocks'])).toBe(true);
    expect(coversScopes(['read:statuses'], ['read'])).toBe(false);
    expect(coversScopes(['write'], ['read:statuses'])).toBe(false);
  });
  it('are echoed in their order, once each, and refused if unknown', () => {
    expect(parseScopes('read write follow push read')).toEqual(['read', 'write', 'follow', 'push']);
    expect(parseScopes('read+write')).toEqual(['read', 'write']);
    expect(parseScopes('read admin:everything')).toBeUndefined();
  });
  it('all have a meaning that can be told', () => {
    for (const scope of scopeNames) expect(describeScopes([scope])).not.toEqual([]);
  });
});

describe('parameters', () => {
  it('are read whatever junk stands beside them', () => {
    const parameters = toParameters({ oauth_info: ['a', 'b'], code: 'x' }, null, 'junk', { code: ['y', 'y'] });
    expect(textOf(parameters, 'code')).toBe('y');
    expect(textOf(parameters, 'toString')).toBeUndefined();
  });
  it('are refused when different values are sent for one, or text that is none', () => {
    expect(() => textOf({ code: ['a', 'b'] }, 'code')).toThrow('more than once');
    expect(() => textOf({ code: 'a\0' }, 'code')).toThrow('well-formed');
    expect(() => textOf({ code: '\ud800' }, 'code')).toThrow('well-formed');
  });
  it('takes what Python prints for false as false', () => {
    for (const value of ['False', 'false', '0', 'None', '', 'no', undefined]) expect(flagOf({ force_login: value }, 'force_login')).toBe(false);
    for (const value of ['True', 'true', '1', true]) expect(flagOf({ force_login: value }, 'force_login')).toBe(true);
  });
});

describe('an authorization request', () => {
  const app = { ...registration, clientId: 'id', appId: '00000000-0000-0000-0000-000000000000' } as unknown as RegisteredApp;
  const good = { client_id: 'id', redirect_uri: registration.redirectUris[0], response_type: 'code', scope: 'read', state: 's' };
  const read = (change: Record<string, unknown>) => readAuthorizationRequest({ ...good, ...change }, 'https://example.org', (id) => (id === 'id' ? app : undefined));

  it('is what was asked', () => {
    expect(read({ state: 'None', lang: 'None', force_login: 'False' })).toMatchObject({ outcome: 'asked', request: { scopes: ['read'], state: 'None', forceLogin: false } });
  });
  it('never redirects before client and redirect URI are known, byte by byte', () => {
    for (const change of [{ client_id: 'other' }, { client_id: undefined }, { redirect_uri: `${good.redirect_uri ?? ''}/` }, { redirect_uri: good.redirect_uri?.replace('%3A', '%3a') }, { redirect_uri: decodeURIComponent(good.redirect_uri ?? '') }, { redirect_uri: undefined }]) {
      expect(read({ ...change, response_type: 'token' }).outcome).toBe('refused');
    }
  });
  it.each([
    [{ response_type: 'token' }, 'unsupported_response_type'], [{ scope: 'push' }, 'invalid_scope'], [{ scope: 'nonsense' }, 'invalid_scope'], [{ code_challenge: 'a'.repeat(43), code_challenge_method: 'plain' }, 'invalid_request'],
    [{ code_challenge: 'a'.repeat(43) }, 'invalid_request'], [{ code_challenge_method: 'S256' }, 'invalid_request'], [{ code_challenge: 'short', code_challenge_method: 'S256' }, 'invalid_request'], [{ state: 'x'.repeat(3_000) }, 'invalid_request'],
  ])('tells the client of %j', (change, error) => {
    const result = read(change);
    if (result.outcome !== 'redirect') throw new Error(result.outcome);
    const answer = new URL(result.location);
    expect(answer.searchParams.get('error')).toBe(error);
    expect(answer.searchParams.get('iss')).toBe('https://example.org');
    expect(result.location.startsWith(good.redirect_uri ?? 'x')).toBe(true);
  });
  it('proves a challenge by its verifier only', () => {
    const verifier = 'v'.repeat(43);
    const challenge = createHash('sha256').update(verifier).digest('base64url');
    expect(isCodeVerifier(challenge, verifier)).toBe(true);
    for (const wrong of ['w'.repeat(43), 'v'.repeat(42), challenge, '', `${verifier}ü`]) expect(isCodeVerifier(challenge, wrong)).toBe(false);
  });
});

describe('passwords', () => {
  it('have 8 to 1,024 characters, counted as people count', () => {
    for (const good of ['12345678', 'ä'.repeat(8), '😀'.repeat(8), 'x'.repeat(1_024), '😀'.repeat(1_024)]) expect(isPassword(good)).toBe(true);
    for (const bad of ['', '1234567', '😀'.repeat(7), 'x'.repeat(1_025), '12345678\0', 'abcdefg\ud800']) expect(isPassword(bad)).toBe(false);
  });
  it('are recognised by their hash, however their letters are composed', async () => {
    const passwords = new Passwords();
    const stored = await passwords.hash('pässwörter');
    expect(await passwords.verify('pässwörter'.normalize('NFD'), stored)).toBe(true);
    expect(await passwords.verify('passworter', stored)).toBe(false);
    expect(await passwords.verify('anything at all', undefined)).toBe(false);
  });
  it('are hashed few at a time, and refused when too many wait', async () => {
    const passwords = new Passwords({ concurrencyMax: 1, waitingMax: 2 });
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => passwords.verify('12345678', undefined)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(await passwords.verify('12345678', undefined)).toBe(false);
  });
});

describe('the sign-up form', () => {
  const good = { handle: 'news', password: '12345678', agreement: true };
  const fieldsOf = (change: object) => {
    const checked = checkSignUp({ ...good, ...change }, { reasonNeeded: false });
    return checked.outcome === 'good' ? [] : checked.errors.map(({ field, error }) => `${field} ${error}`);
  };

  it('tells of every mistake by its field', () => {
    expect(fieldsOf({})).toEqual([]);
    expect(fieldsOf({ handle: '', password: '', agreement: false, email: 'x' })).toEqual(['username ERR_BLANK', 'password ERR_BLANK', 'email ERR_INVALID', 'agreement ERR_ACCEPTED']);
    for (const handle of ['News', 'a-b', 'ä', 'a b', '<script>', 'a@b', 'a\u200bb', '.']) expect(fieldsOf({ handle })).toEqual(['username ERR_INVALID']);
    expect(fieldsOf({ handle: 'a'.repeat(31) })).toEqual(['username ERR_TOO_LONG']);
    expect(fieldsOf({ password: 'x'.repeat(1_025) })).toEqual(['password ERR_TOO_LONG']);
  });
  it('drops what makes names look like others', () => {
    expect(cleanLine('\u202eevil\u202c  Al\u200bice\n\u0007')).toBe('evil Al ice');
  });
});
