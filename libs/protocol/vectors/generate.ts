/**
 * Writes the test vectors, those files of them that are not there yet.
 *
 *   node libs/protocol/vectors/generate.ts
 *
 * A vector that was published is never written again: it is the truth that this library and every other
 * implementation are tested against, and a change of it would be a change of the protocol. New cases go into
 * new files. Byte strings are hexadecimal, times Unix milliseconds, bodies their text (`json`) where they are UTF-8.
 */
import { existsSync, writeFileSync } from 'node:fs';
import {
  type BodyOf,
  type CborValue,
  type Domain,
  type EntryKind,
  type EpochId,
  type LogId,
  type MicroblogId,
  type NewBody,
  type ObjectId,
  type PersonId,
  baseUrl,
  bodyHash,
  createEntry,
  decodeEnvelope,
  domainIdOf,
  encodeCbor,
  encodeEntry,
  envelopeHash,
  firstHeadHash,
  formatObjectId,
  formatPostId,
  makePostId,
  nextHeadHash,
  normaliseDomain,
  objectIdShard,
  objectUri,
  parseHandle,
  shardOf,
  shardOfKey,
  uuidToBytes,
} from '../src/index.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function write(name: string, about: string, content: object): void {
  const file = new URL(`${name}.json`, import.meta.url);
  if (!existsSync(file)) writeFileSync(file, `${JSON.stringify({ about, ...content }, null, 2)}\n`);
}

const zeros = '00000000-0000-0000-0000-000000000000';
const ones = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
const counting = '00010203-0405-0607-0809-0a0b0c0d0e0f';
const log = 'a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf' as LogId;
const followersLog = 'b0b1b2b3-b4b5-b6b7-b8b9-babbbcbdbebf' as LogId;
const epoch = 'e0e1e2e3-e4e5-e6e7-e8e9-eaebecedeeef' as EpochId;
const laterEpoch = 'f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff' as EpochId;
const news = '10111213-1415-1617-1819-1a1b1c1d1e1f' as MicroblogId;
const ann = '20212223-2425-2627-2829-2a2b2c2d2e2f' as MicroblogId;
const person = '30313233-3435-3637-3839-3a3b3c3d3e3f' as PersonId;
const objectId = (last: number): ObjectId => `c0c1c2c3-c4c5-c6c7-c8c9-cacbcccd${(0xce00 + last).toString(16)}` as ObjectId;
const salt = 'AAECAwQFBgcICQoLDA0ODw';
const digest = Buffer.from(bodyHash(utf8('a medium'))).toString('base64url');
const claimedMs = Date.UTC(2026, 10, 22, 13, 21, 26, 646);
const domain = 'example.org' as Domain;

write('ids', 'Ids: text and bytes; object ids: their URL form and shard; post ids: time, shard, counter and decimal form.', {
  ids: [zeros, ones, counting, log].map((id) => ({ id, bytes: hex(uuidToBytes(id as LogId)) })),
  refusedIds: ['', counting.toUpperCase(), counting.replaceAll('-', ''), `{${counting}}`, `${counting}0`, counting.slice(1), ` ${counting}`, `urn:uuid:${counting}`, `${counting}\n`],
  objectIds: [zeros, ones, counting, objectId(0), objectId(0x1ff)].map((id) => ({
    id,
    url: formatObjectId(id as ObjectId),
    shard: objectIdShard(id as ObjectId),
  })),
  refusedUrls: ['', counting, formatObjectId(ones as ObjectId).toUpperCase(), '0'.repeat(31), '0'.repeat(33), `${'0'.repeat(31)}g`],
  postIds: (
    [
      [Date.UTC(2000, 0, 1), 0, 0],
      [Date.UTC(2000, 0, 1), 0, 4095],
      [Date.UTC(2000, 0, 1), 1023, 0],
      [Date.UTC(2000, 0, 1) + 1, 0, 0],
      [claimedMs, 517, 1234],
      [Date.UTC(2000, 0, 1) + 2 ** 41 - 1, 1023, 4095],
    ] as const
  ).map(([unixMs, shard, counter]) => ({ unixMs, shard, counter, id: formatPostId(makePostId(unixMs, shard, counter)) })),
  refusedPostIds: ['', '-1', '+1', '01', '00', ' 1', '1 ', '1.0', '1e3', '0x1', '１', '9223372036854775808', '10000000000000000000', '99999999999999999999'],
});

write('shards', 'The shard of an id, and of the key of a directory row.', {
  ids: [zeros, ones, counting, log, news, person].map((id) => ({ id, shard: shardOf(id as LogId) })),
  keys: ['', 'news@example.org', 'https://example.org/objects/000102030405060708090a0b0c0d0e0f', 'müller', '🐦'].map((key) => ({ key, shard: shardOfKey(key) })),
});

const names = ['example.org', 'EXAMPLE.Org', 'example.org.', 'example.org:443', 'example.org:8443', 'münchen.example', 'MÜNCHEN.example', 'xn--mnchen-3ya.example', 'straße.example', 'example。org', 'ab--cd.example', 'a.b.c.d.example', 'localhost', 'localhost:80', 'LocalHost:3000', 'a.localhost', 'a.localhost:3000', 'a.localhost:443'];
write('domains', 'Domains: what is written, its one spelling, its id and base address. Handles and object URIs.', {
  domains: names.map((text) => {
    const normalised = normaliseDomain(text);
    if (normalised === undefined) throw new Error(text);
    return { text, domain: normalised, id: domainIdOf(normalised), base: baseUrl(normalised) };
  }),
  refusedDomains: ['', '.', 'example', 'example.org..', '.example.org', 'a..example', '127.0.0.1', '127.0.0.1.', '127.1', '0x7f.1', '2130706433', '１２７.０.０.１', '1.2.3.4.5', 'a.0x1', '[::1]', '::1', '[::1]:80', 'a_b.example', '-a.example', 'a-.example', 'a b.example', ' example.org', 'example.org\n', 'ex\tample.org', 'ex%61mple.org', 'user@example.org', 'example.org/', 'example.org?', 'example.org#', 'https://example.org', 'a\\b.example', 'xn--a.example', 'xn--.example', 'xn--abc-.example', 'xn--zz--.example', '\u200db.example', `${'a'.repeat(64)}.example`, `${'a.'.repeat(126)}example`, 'example.org:', 'example.org:0', 'example.org:080', 'example.org:65536', 'example.org:80a', 'example.org:80:80', 'example.org:-1'],
  handles: ['@News@Example.org', 'news@example.org', '@news', 'news', 'a_1@a.localhost:3000', '@x@münchen.example'].map((text) => {
    const handle = parseHandle(text);
    if (handle === undefined) throw new Error(text);
    return { text, name: handle.name, domain: handle.domain ?? null };
  }),
  refusedHandles: ['', '@', '@@', 'news@', '@@example.org', '@news@@example.org', 'news@example.org@example.org', 'n-ews', 'n.ews@example.org', 'néws', 'ſnews', '\u212Aate@example.org', `${'a'.repeat(31)}`, 'news@127.0.0.1', 'news ', ' news', 'news@example'],
  objectUris: [
    { domain, objectId: counting, uri: objectUri(domain, counting as ObjectId) },
    { domain: 'a.localhost:3000', objectId: ones, uri: objectUri('a.localhost:3000' as Domain, ones as ObjectId) },
  ],
  refusedObjectUris: ['http://example.org/objects/000102030405060708090a0b0c0d0e0f', 'https://a.localhost/objects/000102030405060708090a0b0c0d0e0f', 'https://Example.org/objects/000102030405060708090a0b0c0d0e0f', 'https://example.org/objects/000102030405060708090A0B0C0D0E0F', 'https://example.org:443/objects/000102030405060708090a0b0c0d0e0f', 'https://example.org/objects/000102030405060708090a0b0c0d0e0f/', 'https://example.org//objects/000102030405060708090a0b0c0d0e0f', `https://example.org/objects/${counting}`],
});

const newsRef = { id: news, handle: 'news@example.org' };
const annRef = { id: ann, handle: 'ann@a.localhost:3000' };
const post = { log, epoch, number: 41, id: objectId(41) };
const boost = { log: followersLog, epoch, number: 7, id: objectId(7) };

type Case = { [K in EntryKind]: { readonly name: string; readonly kind: K; readonly body: NewBody<BodyOf<K>> } }[EntryKind];
const cases: readonly Case[] = [
  { name: 'the shortest post', kind: 'post', body: { type: 'Note', content: '', salt } },
  { name: '140 ASCII characters', kind: 'post', body: { type: 'Note', content: 'The quick brown fox jumps over the lazy dog. '.repeat(4).slice(0, 140), language: 'en', salt } },
  {
    name: 'a post with everything',
    kind: 'post',
    body: {
      type: 'Note',
      content: 'Grüße an @ann@a.localhost:3000 🐦 #Vögel\n"2 < 3"',
      summary: 'Vögel',
      sensitive: true,
      language: 'de-CH',
      inReplyTo: objectUri(domain, counting as ObjectId),
      unlisted: true,
      tag: [
        { type: 'Mention', name: '@ann@a.localhost:3000', href: 'http://a.localhost:3000/@ann' },
        { type: 'Hashtag', name: '#Vögel' },
        { type: 'Emoji', name: ':bird:' },
      ],
      attachment: [{ type: 'Image', mediaType: 'image/png', digest, name: 'a bird' }],
      salt,
    },
  },
  { name: 'a direct post', kind: 'post', body: { type: 'Note', content: 'psst', to: [annRef], salt } },
  { name: 'an edit', kind: 'edit', body: { type: 'Note', content: 'better', language: 'en', about: objectId(41), salt } },
  { name: 'a delete', kind: 'delete', body: { about: objectId(41), salt } },
  { name: 'a boost', kind: 'boost', body: { object: { domain, ...post, hash: digest }, salt } },
  { name: 'an unboost', kind: 'unboost', body: { about: objectId(7), salt } },
  {
    name: 'a profile',
    kind: 'profile',
    body: {
      type: 'Group',
      preferredUsername: 'news',
      name: 'News',
      summary: 'What is new',
      locked: true,
      discoverable: true,
      icon: { type: 'Image', mediaType: 'image/webp', digest },
      attachment: [{ type: 'PropertyValue', name: 'Web', value: 'https://example.org' }],
      facets: { exists: 'everybody', profile: 'everybody', followers: 'contributors' },
      salt,
    },
  },
  { name: 'closed', kind: 'closed', body: { summary: 'Farewell', salt } },
  { name: 'moved', kind: 'moved', body: { target: annRef, epoch, number: 99, hash: digest, salt } },
  {
    name: 'a follow that waits, in an own log',
    kind: 'happening',
    body: {
      what: 'follow-asked',
      actor: annRef,
      person,
      grants: [
        { log, audience: 'public', state: 'active', sees: true, from: 0 },
        { log: followersLog, audience: 'followers', state: 'asked', sees: false, from: 0 },
      ],
      shown: 'followers',
      salt,
    },
  },
  { name: 'a follow that waits, by mail', kind: 'happening', body: { what: 'follow-asked', target: newsRef, actor: annRef, salt } },
  { name: 'a follow that nobody sees', kind: 'happening', body: { what: 'follow-accepted', person, grants: [{ log, audience: 'public', state: 'active', sees: true, from: 12 }], shown: 'none', salt } },
  { name: 'a follow rejected', kind: 'happening', body: { what: 'follow-rejected', actor: annRef, salt } },
  { name: 'a follow ended', kind: 'happening', body: { what: 'follow-ended', actor: annRef, salt } },
  { name: 'a favourite', kind: 'happening', body: { what: 'favourite', actor: annRef, post, salt } },
  { name: 'an unfavourite', kind: 'happening', body: { what: 'unfavourite', actor: annRef, post, salt } },
  { name: 'a reply', kind: 'happening', body: { what: 'reply', actor: annRef, post, salt } },
  { name: 'a mention', kind: 'happening', body: { what: 'mention', actor: annRef, post, salt } },
  { name: 'a boost happening', kind: 'happening', body: { what: 'boost', actor: annRef, post, cause: boost, salt } },
  { name: 'an unboost happening', kind: 'happening', body: { what: 'unboost', actor: annRef, post, cause: boost, salt } },
  { name: 'a report', kind: 'happening', body: { what: 'report', target: newsRef, domain, post, content: 'spam', salt } },
  { name: 'a contributor', kind: 'happening', body: { what: 'contributor-changed', actor: annRef, person, role: 'editor', salt } },
  { name: 'no contributor any more', kind: 'happening', body: { what: 'contributor-changed', person, role: 'none', salt } },
  { name: 'a subscription', kind: 'happening', body: { what: 'subscription-changed', domain, state: 'active', salt } },
  { name: 'an erase', kind: 'erase', body: { entries: [[epoch, 40], [laterEpoch, Number.MAX_SAFE_INTEGER]], salt } },
];
const made = cases.map(({ name, kind, body }, i) => ({ name, kind, entry: createEntry(kind, objectId(i), claimedMs + i, body as never) }));

const note = { type: 'Note', content: 'x', salt };
const unknown = { ...note, 'x:later': { deep: [1, 2.5, null, true] }, published: 'whatever' };
const ref = { domain, ...post, hash: digest };
const textOf = (value: unknown): { readonly json: string } => ({ json: JSON.stringify(value) });
const saltEnd = `"salt":"${salt}"}`;
write('bodies', 'Bodies: the text of each, whose UTF-8 is the body, and its SHA-256; texts and bytes that are refused.', {
  accepted: [
    ...made.map(({ name, kind, entry }) => ({ name, kind, json: new TextDecoder().decode(entry.body), sha256: hex(bodyHash(entry.body)) })),
    ...(
      [
        ['properties of another version', JSON.stringify(unknown)],
        ['spaces and escapes', ` { "salt" : "${salt}" ,\n"content":"\\u00fc\\ud83d\\udc26\\/","type":"Note"}\n`],
        ['colons and quotes in text', `{"type":"Note","content":"a:\\":\\\\","a:b":":",${saltEnd}`],
        ['16 levels', `{"type":"Note","content":"","d":${'['.repeat(15)}${']'.repeat(15)},${saltEnd}`],
      ] as const
    ).map(([name, json]) => ({ name, kind: 'post', json, sha256: hex(bodyHash(utf8(json))) })),
  ],
  refused: [
    ...(
      [
        ['nothing', ''],
        ['an array', '[]'],
        ['null', 'null'],
        ['text', '"x"'],
        ['not JSON', '{type:"Note"}'],
        ['a comma too many', `{"type":"Note","content":"",${saltEnd.replace('}', ',}')}`],
        ['bytes after the end', `${JSON.stringify(note)}{}`],
        ['a byte order mark', `\ufeff${JSON.stringify(note)}`],
        ['U+0000', `{"type":"Note","content":"\\u0000",${saltEnd}`],
        ['U+0000 in an unknown property', `{"type":"Note","content":"","y":["\\u0000"],${saltEnd}`],
        ['U+0000 in a name', `{"type":"Note","content":"","\\u0000":1,${saltEnd}`],
        ['the first half of a surrogate pair', `{"type":"Note","content":"\\ud83d",${saltEnd}`],
        ['the second half of a surrogate pair', `{"type":"Note","content":"\\udc26",${saltEnd}`],
        ['a name twice', `{"type":"Note","content":"a","content":"b",${saltEnd}`],
        ['a name twice, once escaped', `{"type":"Note","content":"a","c\\u006fntent":"b",${saltEnd}`],
        ['a name twice, deep', `{"type":"Note","content":"a","y":[{"z":1,"z":1}],${saltEnd}`],
        ['a number out of range', `{"type":"Note","content":"a","y":1e999,${saltEnd}`],
        ['17 levels', `{"type":"Note","content":"","d":${'['.repeat(16)}${']'.repeat(16)},${saltEnd}`],
        ['no salt', '{"type":"Note","content":"x"}'],
        ['a short salt', JSON.stringify({ ...note, salt: salt.slice(1) })],
        ['a salt with spare bits', JSON.stringify({ ...note, salt: `${salt.slice(0, 21)}x` })],
        ['a salt with padding', JSON.stringify({ ...note, salt: `${salt}==` })],
        ['no type', JSON.stringify({ content: 'x', salt })],
        ['another type', JSON.stringify({ ...note, type: 'Article' })],
        ['no content', JSON.stringify({ type: 'Note', salt })],
        ['content of null', JSON.stringify({ ...note, content: null })],
        ['a summary of null', JSON.stringify({ ...note, summary: null })],
        ['sensitive as text', JSON.stringify({ ...note, sensitive: 'true' })],
        ['unlisted as a number', JSON.stringify({ ...note, unlisted: 1 })],
        ['a language with a space', JSON.stringify({ ...note, language: 'de ch' })],
        ['a reply to a script', JSON.stringify({ ...note, inReplyTo: 'javascript:alert(1)' })],
        ['a reply to a URI with a space', JSON.stringify({ ...note, inReplyTo: 'https://example.org/ a' })],
        ['a tag that is text', JSON.stringify({ ...note, tag: ['#x'] })],
        ['101 tags', JSON.stringify({ ...note, tag: Array.from({ length: 101 }, () => ({ type: 'Hashtag', name: '#x' })) })],
        ['a mention without address', JSON.stringify({ ...note, tag: [{ type: 'Mention', name: '@ann@example.org' }] })],
        ['a mention without domain', JSON.stringify({ ...note, tag: [{ type: 'Mention', name: '@ann', href: 'https://example.org/@ann' }] })],
        ['a mention in capitals', JSON.stringify({ ...note, tag: [{ type: 'Mention', name: '@Ann@example.org', href: 'https://example.org/@ann' }] })],
        ['a mention with a script', JSON.stringify({ ...note, tag: [{ type: 'Mention', name: '@ann@example.org', href: 'javascript:x' }] })],
        ['a hashtag without its sign', JSON.stringify({ ...note, tag: [{ type: 'Hashtag', name: 'x' }] })],
        ['a hashtag of two words', JSON.stringify({ ...note, tag: [{ type: 'Hashtag', name: '#x y' }] })],
        ['no recipients', JSON.stringify({ ...note, to: [] })],
        ['a recipient without domain', JSON.stringify({ ...note, to: [{ id: ann, handle: 'ann' }] })],
        ['17 attachments', JSON.stringify({ ...note, attachment: Array.from({ length: 17 }, () => ({ type: 'Image', mediaType: 'image/png', digest })) })],
        ['an attachment without digest', JSON.stringify({ ...note, attachment: [{ type: 'Image', mediaType: 'image/png' }] })],
      ] as const
    ).map(([name, json]) => ({ name, kind: 'post', json })),
    { name: 'bytes that are no UTF-8', kind: 'post', hex: hex(Buffer.concat([utf8('{"type":"Note","content":"'), Uint8Array.of(0xff), utf8(`",${saltEnd}`)])) },
    { name: 'half a surrogate pair in UTF-8', kind: 'post', hex: hex(Buffer.concat([utf8('{"type":"Note","content":"'), Uint8Array.of(0xed, 0xa0, 0xbd), utf8(`",${saltEnd}`)])) },
    { name: 'an edit of nothing', kind: 'edit', ...textOf(note) },
    { name: 'an edit of an id in capitals', kind: 'edit', ...textOf({ ...note, about: objectId(41).toUpperCase() }) },
    { name: 'a delete of an id in URL form', kind: 'delete', ...textOf({ about: formatObjectId(objectId(41)), salt }) },
    { name: 'an unboost of nothing', kind: 'unboost', ...textOf({ salt }) },
    { name: 'a boost of nothing', kind: 'boost', ...textOf({ salt }) },
    { name: 'a boost without hash', kind: 'boost', ...textOf({ object: { domain, ...post }, salt }) },
    { name: 'a boost with a hash in hexadecimal', kind: 'boost', ...textOf({ object: { ...ref, hash: hex(bodyHash(utf8('x'))) }, salt }) },
    { name: 'a boost with spare bits in the hash', kind: 'boost', ...textOf({ object: { ...ref, hash: `${digest.slice(0, 42)}B` }, salt }) },
    { name: 'a boost of number 0', kind: 'boost', ...textOf({ object: { ...ref, number: 0 }, salt }) },
    { name: 'a boost of half a number', kind: 'boost', ...textOf({ object: { ...ref, number: 1.5 }, salt }) },
    { name: 'a boost of a number in text', kind: 'boost', ...textOf({ object: { ...ref, number: '41' }, salt }) },
    { name: 'a boost of number 2^53', kind: 'boost', json: `{"object":${JSON.stringify(ref).replace(':41,', ':9007199254740992,')},${saltEnd}` },
    { name: 'a boost from a domain in capitals', kind: 'boost', ...textOf({ object: { ...ref, domain: 'Example.org' }, salt }) },
    { name: 'a profile without name', kind: 'profile', ...textOf({ type: 'Person', preferredUsername: 'news', salt }) },
    { name: 'a profile of an application', kind: 'profile', ...textOf({ type: 'Application', preferredUsername: 'news', name: 'News', salt }) },
    { name: 'a profile with a bad user name', kind: 'profile', ...textOf({ type: 'Person', preferredUsername: 'new-s', name: 'News', salt }) },
    { name: 'a profile with a title of 1,025 bytes', kind: 'profile', ...textOf({ type: 'Person', preferredUsername: 'news', name: `a${'ü'.repeat(512)}`, salt }) },
    { name: 'a profile with an unknown audience', kind: 'profile', ...textOf({ type: 'Person', preferredUsername: 'news', name: 'News', facets: { exists: 'all' }, salt }) },
    { name: 'moved to nowhere', kind: 'moved', ...textOf({ epoch, number: 99, hash: digest, salt }) },
    { name: 'something unknown happened', kind: 'happening', ...textOf({ what: 'poke', actor: annRef, salt }) },
    { name: 'a follow by nobody', kind: 'happening', ...textOf({ what: 'follow-asked', salt }) },
    { name: 'a favourite of nothing', kind: 'happening', ...textOf({ what: 'favourite', actor: annRef, salt }) },
    { name: 'a boost happening without the boost', kind: 'happening', ...textOf({ what: 'boost', actor: annRef, post, salt }) },
    { name: 'a contributor without role', kind: 'happening', ...textOf({ what: 'contributor-changed', person, salt }) },
    { name: 'a subscription of no domain', kind: 'happening', ...textOf({ what: 'subscription-changed', state: 'active', salt }) },
    { name: 'a grant on a direct log', kind: 'happening', ...textOf({ what: 'follow-asked', person, grants: [{ log, audience: 'direct', state: 'active', sees: true, from: 0 }], salt }) },
    { name: 'an erase of nothing', kind: 'erase', ...textOf({ entries: [], salt }) },
    { name: 'an erase of 501 entries', kind: 'erase', ...textOf({ entries: Array.from({ length: 501 }, (_, i) => [epoch, i + 1]), salt }) },
    { name: 'an erase without epoch', kind: 'erase', ...textOf({ entries: [41], salt }) },
  ],
});

const sha = bodyHash(utf8(JSON.stringify(note)));
const fields = (...more: readonly (readonly [number | string, CborValue])[]): Map<number | string, CborValue> =>
  new Map<number | string, CborValue>([[1, 1], [2, uuidToBytes(objectId(1))], [3, 848_000_000_000], [4, sha], ...more]);
const encoded = hex(encodeCbor(fields()));
const change = (from: string, to: string): string => {
  if (!encoded.includes(from)) throw new Error(`nothing to change: ${from}`);
  return encoded.replace(from, to);
};
const foreign = (name: string, value: CborValue): object => {
  const envelope = encodeCbor(value);
  const { result, ...rest } = decodeEnvelope(envelope);
  return { name, bytes: hex(envelope), result, ...('unknownFlags' in rest ? rest : {}) };
};
const idHex = hex(uuidToBytes(objectId(1)));
const shaHex = hex(sha);
write('envelopes', 'Envelopes: of every kind; of other versions, with what reading them comes to; bytes that are refused.', {
  accepted: made.map(({ name, kind, entry }, i) => ({
    name,
    kind,
    objectId: objectId(i),
    claimedMs: claimedMs + i,
    bodyHash: hex(bodyHash(entry.body)),
    criticalFlags: kind === 'erase' ? [1] : [],
    bytes: hex(entry.envelope),
    sha256: hex(envelopeHash(entry.envelope)),
  })),
  foreign: [
    foreign('fields more', fields([6, 'more'], [100, new Map<string, CborValue>([['b', [null, true, 2n ** 64n - 1n]], ['aa', Uint8Array.of(1)]])], [-1, -5])),
    foreign('field 0', fields([0, false])),
    foreign('the largest and smallest key', fields([2 ** 31 - 1, 0], [-(2 ** 31), 0])),
    foreign('eight levels', fields([6, [[[[[[[]]]]]]]])),
    foreign('the beginning of 2000', fields([3, 0])),
    foreign('the last time', fields([3, 2 ** 48 - 1])),
    foreign('kind 11', fields([1, 11])),
    foreign('kind 65535', fields([1, 65_535])),
    foreign('an unknown flag', fields([5, [2]])),
    foreign('an erase with an unknown flag', fields([1, 10], [5, [1, 7, 65_535]])),
    foreign('an unknown flag and kind', fields([1, 11], [5, [9]])),
  ],
  refused: [
    ['nothing', ''],
    ['a number', '01'],
    ['an array', '80'],
    ['an empty map', 'a0'],
    ['bytes after the end', `${encoded}00`],
    ['a byte missing', encoded.slice(0, -2)],
    ['no kind', `a3${encoded.slice(6)}`],
    ['kind 0', change('a40101', 'a40100')],
    ['kind 65536', hex(encodeCbor(fields([1, 65_536])))],
    ['a kind in text', change('a40101', 'a4016131')],
    ['a kind in a long form', change('a40101', 'a4011801')],
    ['a kind as a float', change('a40101', 'a401f93c00')],
    ['a key in a long form', change('a40101', 'a4180101')],
    ['a map head in a long form', `b804${encoded.slice(2)}`],
    ['a map of indefinite length', `bf${encoded.slice(2)}ff`],
    ['keys out of order', change(`01010250${idHex}`, `0250${idHex}0101`)],
    ['a key twice', `a5${encoded.slice(2, 6)}${encoded.slice(2)}`],
    ['an extension before field 1', `a50600${encoded.slice(2)}`],
    ['negative before positive keys', `a6${encoded.slice(2)}2000186400`],
    ['text keys', hex(encodeCbor(fields(['a', 1])))],
    ['a key of more than 32 bits', hex(encodeCbor(fields([2 ** 31, 1])))],
    ['an object id of 15 bytes', change(`50${idHex}`, `4f${idHex.slice(2)}`)],
    ['an object id in text', change(`50${idHex}`, `70${'61'.repeat(16)}`)],
    ['an object id of indefinite length', change(`50${idHex}`, `5f50${idHex}ff`)],
    ['a negative time', hex(encodeCbor(fields([3, -1])))],
    ['a time past the last', hex(encodeCbor(fields([3, 2 ** 48])))],
    ['a time as a float', change('1b000000c570bd2000', 'fb4268ae17a4000000')],
    ['a hash of 31 bytes', change(`5820${shaHex}`, `581f${shaHex.slice(2)}`)],
    ['no hash', `a3${encoded.slice(2, -70)}`],
    ['no flags in the list', hex(encodeCbor(fields([5, []])))],
    ['flags that are no list', hex(encodeCbor(fields([5, 1])))],
    ['flags that fall', hex(encodeCbor(fields([5, [3, 2]])))],
    ['a flag twice', hex(encodeCbor(fields([5, [2, 2]])))],
    ['flag 0', hex(encodeCbor(fields([5, [0]])))],
    ['flag 65536', hex(encodeCbor(fields([5, [65_536]])))],
    ['17 flags', hex(encodeCbor(fields([5, Array.from({ length: 17 }, (_, i) => i + 1)])))],
    ['a post with the flag erase', hex(encodeCbor(fields([5, [1]])))],
    ['an erase without its flag', hex(encodeCbor(fields([1, 10])))],
    ['kind 11 with the flag erase', hex(encodeCbor(fields([1, 11], [5, [1]])))],
    ['a tag', `a5${encoded.slice(2)}06c100`],
    ['undefined', `a5${encoded.slice(2)}06f7`],
    ['a simple value', `a5${encoded.slice(2)}06e0`],
    ['a float', `a5${encoded.slice(2)}06f93e00`],
    ['minus zero', `a5${encoded.slice(2)}06f98000`],
    ['not a number', `a5${encoded.slice(2)}06f97e00`],
    ['text that is no UTF-8', `a5${encoded.slice(2)}0661ff`],
    ['text with half a surrogate pair', `a5${encoded.slice(2)}0663eda0bd`],
    ['an array of indefinite length', `a5${encoded.slice(2)}069fff`],
    ['keys out of order, deep', `a5${encoded.slice(2)}06a202000100`],
    ['a key twice, deep', `a5${encoded.slice(2)}06a201000100`],
    ['a list as a key, deep', `a5${encoded.slice(2)}06a18000`],
    ['nine levels', `a5${encoded.slice(2)}06${'81'.repeat(7)}80`],
    ['1,025 bytes', `a5${encoded.slice(2)}065903bb${'00'.repeat(955)}`],
  ].map(([name, envelope]) => ({ name, bytes: envelope })),
});

const first = made[0];
if (first === undefined) throw new Error('no cases');
const wire = hex(encodeEntry(first.entry));
const erased = hex(encodeEntry({ envelope: first.entry.envelope, body: null }));
const envelopeHex = hex(first.entry.envelope);
write('entries', 'Entries on the wire: frame, envelope and body; bytes that are refused.', {
  accepted: [
    ...made.map(({ name, kind, entry }) => ({ name, kind, bytes: hex(encodeEntry(entry)), envelope: hex(entry.envelope), body: hex(entry.body) })),
    { name: 'an erased body', kind: first.kind, bytes: erased, envelope: envelopeHex, body: null },
  ],
  refused: [
    ['nothing', ''],
    ['the envelope alone', envelopeHex],
    ['an array of one', `81${wire.slice(2)}`],
    ['an array of three', `83${wire.slice(2)}f6`],
    ['an array in a long form', `9802${wire.slice(2)}`],
    ['an array of indefinite length', `9f${wire.slice(2)}ff`],
    ['bytes after a body', `${wire}00`],
    ['bytes after null', `${erased}00`],
    ['a byte missing', wire.slice(0, -2)],
    ['no body', erased.slice(0, -2)],
    ['a body of undefined', `${erased.slice(0, -2)}f7`],
    ['a body of text', `${erased.slice(0, -2)}60`],
    ['an empty body', `${erased.slice(0, -2)}40`],
    ['another body', `${wire.slice(0, -4)}7e7d`],
    ['the envelope in a long form', wire.replace('825842', '82590042')],
    ['the envelope in four bytes of length', wire.replace('825842', '825a00000042')],
    ['the envelope of indefinite length', wire.replace(`825842${envelopeHex}`, `825f5842${envelopeHex}ff`)],
    ['a bad envelope', wire.replace('a40101', 'a40100')],
  ].map(([name, entry]) => ({ name, bytes: entry })),
});

let head = firstHeadHash(log, epoch);
const chain = made.slice(0, 8).map(({ entry }, i) => {
  head = nextHeadHash(head, BigInt(i + 1), entry.envelope);
  return { number: String(i + 1), envelope: hex(entry.envelope), head: hex(head) };
});
const forked = firstHeadHash(log, laterEpoch);
write('head-hashes', 'Head hashes: the first eight of an epoch; an epoch that forks at number 5 and begins with 6; a large number.', {
  log,
  epoch,
  first: hex(firstHeadHash(log, epoch)),
  chain,
  fork: {
    epoch: laterEpoch,
    at: '5',
    first: hex(forked),
    chain: [{ number: '6', envelope: envelopeHex, head: hex(nextHeadHash(forked, 6n, first.entry.envelope)) }],
  },
  large: { number: '9007199254740991', previous: hex(head), envelope: envelopeHex, head: hex(nextHeadHash(head, 9_007_199_254_740_991n, first.entry.envelope)) },
});
