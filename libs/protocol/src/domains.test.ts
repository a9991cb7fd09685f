import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readVectors, seed } from '../test/vectors.ts';
import { type Domain, baseUrl, domainIdOf, formatHandle, isHandle, isLocalhost, normaliseDomain, objectUri, parseHandle, parseObjectUri } from './domains.ts';
import { type ObjectId } from './ids.ts';

const vectors = readVectors<{
  readonly domains: readonly { readonly text: string; readonly domain: string; readonly id: string; readonly base: string }[];
  readonly refusedDomains: readonly string[];
  readonly handles: readonly { readonly text: string; readonly name: string; readonly domain: string | null }[];
  readonly refusedHandles: readonly string[];
  readonly objectUris: readonly { readonly domain: string; readonly objectId: string; readonly uri: string }[];
  readonly refusedObjectUris: readonly string[];
}>('domains');

describe('domains', () => {
  it.each(vectors.domains)('spells $text as $domain, with its id and address', ({ text, domain, id, base }) => {
    const normalised = normaliseDomain(text) ?? ('' as Domain);
    expect(normalised).toBe(domain);
    expect(normaliseDomain(normalised)).toBe(normalised);
    expect(domainIdOf(normalised)).toBe(id);
    expect(baseUrl(normalised)).toBe(base);
  });

  it.each(vectors.refusedDomains)('refuses %j', (text) => {
    expect(normaliseDomain(text)).toBeUndefined();
  });

  it('spells whatever it accepts as a URL does, and never twice', () => {
    const text = fc.oneof(
      fc.domain(),
      fc.stringMatching(/^[A-Za-z0-9ßü。\u00ad.:%_-]{1,30}$/),
      fc.string({ unit: 'binary', maxLength: 20 }).map((label) => `${label}.example`),
      fc.stringMatching(/^xn--[a-z0-9-]{1,12}$/).map((label) => `${label}.example`),
    );
    let accepted = 0;
    fc.assert(
      fc.property(text, (written) => {
        const domain = normaliseDomain(written);
        if (domain === undefined) return;
        accepted += 1;
        expect(normaliseDomain(domain)).toBe(domain);
        expect(new URL(baseUrl(domain)).host).toBe(domain);
        expect(new URL(baseUrl(domain)).href).toBe(`${baseUrl(domain)}/`);
      }),
      { seed, numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(500);
  });

  it.each([
    ['localhost', true],
    ['localhost:3000', true],
    ['a.localhost', true],
    ['a.b.localhost:3000', true],
    ['notlocalhost.example', false],
    ['localhost.example', false],
    ['alocalhost', false],
  ])('knows whether %s is localhost or below', (domain, is) => {
    expect(isLocalhost(domain as Domain)).toBe(is);
  });
});

describe('handles', () => {
  it.each(vectors.handles)('reads $text', ({ text, name, domain }) => {
    expect(parseHandle(text)).toEqual({ name, domain: domain ?? undefined });
    if (domain !== null) expect(parseHandle(formatHandle(name, domain as Domain))).toEqual({ name, domain });
  });

  it.each(vectors.refusedHandles)('refuses %j', (text) => {
    expect(parseHandle(text)).toBeUndefined();
  });

  it('has names of 1 to 30 of a to z, 0 to 9 and _', () => {
    expect(['a', '_', '0', 'a'.repeat(30)].map(isHandle)).toEqual([true, true, true, true]);
    expect(['', 'A', 'a-b', 'a.b', 'ü', 'a\n', 'a'.repeat(31)].map(isHandle)).toEqual(Array.from({ length: 7 }, () => false));
  });
});

describe('object URIs', () => {
  it.each(vectors.objectUris)('is $uri', ({ domain, objectId, uri }) => {
    expect(objectUri(domain as Domain, objectId as ObjectId)).toBe(uri);
    expect(parseObjectUri(uri)).toEqual({ domain, objectId });
  });

  it.each(vectors.refusedObjectUris)('refuses %s', (uri) => {
    expect(parseObjectUri(uri)).toBeUndefined();
  });
});
