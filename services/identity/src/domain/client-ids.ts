/**
 * Registered apps that nobody stores.
 *
 * Anybody may register any number of apps, and clients keep what they got for ever (Phanpy in the
 * browser's storage, without a way to repair it). So the registration *is* the client_id:
 *
 *   client_id     = base64url(key id (4) ‖ CBOR {1: domain, 2: name, 3: [redirect URIs], 4: scopes,
 *                   5: website or null, 6: created (Unix seconds), 7: 16 random bytes} ‖ MAC (32))
 *   MAC           = HMAC-SHA256(id key, 'DMB client id\0' ‖ key id ‖ CBOR)
 *   client_secret = base64url(HMAC-SHA256(secret key, 'DMB client secret\0' ‖ bytes of the client_id))
 *   app id        = first 16 bytes of SHA-256('DMB app\0' ‖ bytes of the client_id)
 *
 * A registration costs no row; one appears when a person first agrees. It survives a restore,
 * and it cannot be changed, only made anew. The keys are kept for ever: without them every client
 * of every person would be refused. id and secret together are at most 1,500 characters, since
 * clients send both in a header.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type CborValue, type Uuid, bytesToUuid, decodeCbor, encodeCbor } from '@dmb/protocol';
import { textLimits } from '../limits.ts';

/** What an app says about itself. Nothing of it is verified but that the redirect URIs are its own. */
export interface Registration {
  readonly domain: string;
  readonly name: string;
  readonly redirectUris: readonly string[];
  readonly scopes: readonly string[];
  readonly website: string | null;
  /** Unix seconds. */
  readonly created: number;
}

/** A registration that was proven to be one of ours. */
export interface RegisteredApp extends Registration {
  readonly appId: Uuid<'app'>;
  readonly clientId: string;
}

/** Keys of one age. */
export interface MacKey {
  /** 4 bytes. */
  readonly keyId: Buffer;
  readonly idKey: Buffer;
  readonly secretKey: Buffer;
}

const KEY_ID_BYTES = 4;
const MAC_BYTES = 32;
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** New keys. */
export function newMacKey(): MacKey {
  return { keyId: randomBytes(KEY_ID_BYTES), idKey: randomBytes(32), secretKey: randomBytes(32) };
}

/** Registers: id and secret; undefined if they would be longer than clients can carry. */
export function registerApp(key: MacKey, registration: Registration): (RegisteredApp & { readonly clientSecret: string }) | undefined {
  const { domain, name, redirectUris, scopes, website, created } = registration;
  const content = new Map<number, CborValue>([
    [1, domain],
    [2, name],
    [3, redirectUris],
    [4, scopes.join(' ')],
    [5, website],
    [6, created],
    [7, randomBytes(16)],
  ]);
  const body = Buffer.concat([key.keyId, encodeCbor(content)]);
  const bytes = Buffer.concat([body, macOf(key, body)]);
  const clientId = bytes.toString('base64url');
  const clientSecret = secretOf(key, bytes).toString('base64url');
  if (clientId.length + clientSecret.length > textLimits.clientCredentialsLengthMax) return undefined;
  return { ...registration, clientId, clientSecret, appId: appIdOf(bytes) };
}

/** The app of a client_id that we gave; undefined for anything else. */
export function readClientId(keys: readonly MacKey[], clientId: string | undefined): RegisteredApp | undefined {
  const bytes = bytesOf(clientId);
  const key = bytes && keyOf(keys, bytes);
  if (clientId === undefined || bytes === undefined || key === undefined) return undefined;
  const body = bytes.subarray(0, -MAC_BYTES);
  if (!timingSafeEqual(macOf(key, body), bytes.subarray(-MAC_BYTES))) return undefined;
  const decoded = decodeCbor(body.subarray(KEY_ID_BYTES), textLimits.clientCredentialsLengthMax);
  if (decoded.result !== 'value' || !(decoded.value instanceof Map)) return undefined;
  const content = decoded.value as ReadonlyMap<number, CborValue>;
  return {
    domain: content.get(1) as string,
    name: content.get(2) as string,
    redirectUris: content.get(3) as readonly string[],
    scopes: (content.get(4) as string).split(' ').filter((scope) => scope !== ''),
    website: content.get(5) as string | null,
    created: content.get(6) as number,
    clientId,
    appId: appIdOf(bytes),
  };
}

/** Whether the secret belongs to the client_id. */
export function isClientSecret(keys: readonly MacKey[], clientId: string, secret: string): boolean {
  const bytes = bytesOf(clientId);
  const key = bytes && keyOf(keys, bytes);
  if (bytes === undefined || key === undefined || !/^[A-Za-z0-9_-]{43}$/.test(secret)) return false;
  const given = Buffer.from(secret, 'base64url');
  return given.length === MAC_BYTES && timingSafeEqual(given, secretOf(key, bytes));
}

function bytesOf(clientId: string | undefined): Buffer | undefined {
  if (clientId === undefined || clientId.length > textLimits.clientCredentialsLengthMax || !BASE64URL.test(clientId)) return undefined;
  const bytes = Buffer.from(clientId, 'base64url');
  return bytes.length > KEY_ID_BYTES + MAC_BYTES && bytes.toString('base64url') === clientId ? bytes : undefined;
}

const keyOf = (keys: readonly MacKey[], bytes: Buffer): MacKey | undefined => keys.find(({ keyId }) => keyId.equals(bytes.subarray(0, KEY_ID_BYTES)));
const macOf = (key: MacKey, body: Buffer): Buffer => createHmac('sha256', key.idKey).update('DMB client id\0').update(body).digest();
const secretOf = (key: MacKey, bytes: Buffer): Buffer => createHmac('sha256', key.secretKey).update('DMB client secret\0').update(bytes).digest();
const appIdOf = (bytes: Buffer): Uuid<'app'> => bytesToUuid(createHash('sha256').update('DMB app\0').update(bytes).digest().subarray(0, 16)) as Uuid<'app'>;
