/**
 * Writing and reading bodies (body.ts has their forms).
 *
 * A rule is a function from a value to what is wrong with it; a shape has one rule for each property of a
 * type, and the compiler sees to it that none is missing. Properties that no shape names are let through:
 * they belong to other versions.
 *
 * Reading has two outcomes. `malformed` is no error of the log: if the hash in the envelope is right, these
 * are the bytes that the origin published, the entry keeps its number, and has no effect. Writing goes
 * through reading, so nothing leaves that we would not take ourselves.
 */
import { randomBytes } from 'node:crypto';
import {
  type Attachment,
  type BodyOf,
  type BoostBody,
  type ClosedBody,
  type DeleteBody,
  type EditBody,
  type EntryRef,
  type EraseBody,
  type GrantChange,
  type HappeningBody,
  type MicroblogRef,
  type MovedBody,
  type NewBody,
  type PostBody,
  type PostRef,
  type ProfileBody,
  type ProfileField,
  type Tag,
  type TextBody,
  type UnboostBody,
  type What,
  ATTACHMENTS_MAX,
  BODY_BYTES_MAX,
  BODY_LIST_MAX,
  ERASE_ENTRIES_MAX,
  HAPPENINGS,
  NAME_BYTES_MAX,
  URI_CHARS_MAX,
} from './body.ts';
import { formatHandle, isHandle, normaliseDomain, parseHandle } from './domains.ts';
import { type EntryKind } from './envelope.ts';
import { ENTRY_NUMBER_MAX } from './head-hash.ts';
import { type JsonObject, parseJsonObject } from './i-json.ts';
import { parseUuid } from './ids.ts';
import { FACETS, FACET_AUDIENCES, ROLES, SHOWN } from './see.ts';

/** What reading a body came to. */
export type ParsedBody<K extends EntryKind> =
  | { readonly result: 'body'; readonly body: BodyOf<K> }
  | { readonly result: 'malformed'; readonly detail: string };

/** A rule says what is wrong with a value, or undefined. */
type Rule = (value: unknown) => string | undefined;

/** A rule for each property of T, no more and no fewer; `optional` marks those that may be absent. */
type Shape<T> = { readonly [Name in keyof T]-?: undefined extends T[Name] ? OptionalRule : Rule };

interface OptionalRule {
  readonly optional: Rule;
}

const optional = (rule: Rule): OptionalRule => ({ optional: rule });

const matches =
  (pattern: RegExp, what: string): Rule =>
  (value) =>
    typeof value === 'string' && pattern.test(value) ? undefined : `is no ${what}`;

const oneOf =
  (values: readonly string[]): Rule =>
  (value) =>
    typeof value === 'string' && values.includes(value) ? undefined : `is none of ${values.join(', ')}`;

const text: Rule = (value) => (typeof value === 'string' ? undefined : 'is no text');

const name: Rule = (value) =>
  typeof value === 'string' && Buffer.byteLength(value) <= NAME_BYTES_MAX ? undefined : `is no text of at most ${NAME_BYTES_MAX} bytes`;

const flag: Rule = (value) => (typeof value === 'boolean' ? undefined : 'is neither true nor false');

const uuid: Rule = (value) => (typeof value === 'string' && parseUuid(value) !== undefined ? undefined : 'is no id');

const entryNumber: Rule = (value) =>
  Number.isSafeInteger(value) && Number(value) >= 1 && Number(value) <= Number(ENTRY_NUMBER_MAX) ? undefined : 'is no number of an entry';

const domain: Rule = (value) => (typeof value === 'string' && normaliseDomain(value) === value ? undefined : 'is no domain in its one spelling');

const handle: Rule = (value) => (typeof value === 'string' && isFullHandle(value) ? undefined : 'is no handle in its one spelling');

const handleName: Rule = (value) => (typeof value === 'string' && isHandle(value) ? undefined : 'is no name of a handle');

/** The last character of base64url holds spare bits, and only zeros are let through: one spelling for each value. */
const salt = matches(/^[A-Za-z0-9_-]{21}[AQgw]$/, 'salt');
const hash = matches(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, 'SHA-256 in base64url');
const language = matches(/^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}$/, 'language');
const typeName = matches(/^[A-Za-z][A-Za-z0-9:]{0,63}$/, 'type');
const mediaType = matches(/^[a-z0-9][a-z0-9.+-]{0,63}\/[a-z0-9][a-z0-9.+-]{0,126}$/, 'media type');
const uri: Rule = (value) =>
  typeof value === 'string' && value.length <= URI_CHARS_MAX && /^https?:\/\/[\u0021-\u007e]+$/.test(value) ? undefined : 'is no http URI';

function isFullHandle(value: string): boolean {
  const parsed = parseHandle(value);
  return parsed?.domain !== undefined && formatHandle(parsed.name, parsed.domain) === value;
}

const list =
  (rule: Rule, from: number, to: number): Rule =>
  (value) => {
    if (!Array.isArray(value) || value.length < from || value.length > to) return `is no list of ${from} to ${to}`;
    for (const [i, element] of value.entries()) {
      const fault = rule(element);
      if (fault !== undefined) return `[${i}] ${fault}`;
    }
    return undefined;
  };

function object<T>(shape: Shape<T>): Rule {
  const rules = Object.entries<Rule | OptionalRule>(shape);
  return (value) => {
    if (!isObject(value)) return 'is no object';
    for (const [property, rule] of rules) {
      const found = value[property];
      if (typeof rule !== 'function' && found === undefined) continue;
      const fault = found === undefined ? 'is missing' : (typeof rule === 'function' ? rule : rule.optional)(found);
      if (fault !== undefined) return `${property} ${fault}`;
    }
    return undefined;
  };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const microblogRef = object<MicroblogRef>({ id: uuid, handle });

const postRefShape: Shape<PostRef> = { log: uuid, epoch: uuid, number: entryNumber, id: uuid };
const postRef = object<PostRef>(postRefShape);

const anyTag = object<Tag>({ type: typeName, name, href: optional(uri) });
const mention = object<Tag & { readonly href: string }>({
  type: typeName,
  name: (value) => (typeof value === 'string' && value.startsWith('@') && isFullHandle(value.slice(1)) ? undefined : 'is no mention'),
  href: uri,
});
const hashtag = object<Tag>({ type: typeName, name: matches(/^#[^\p{White_Space}#]{1,100}$/u, 'hashtag'), href: optional(uri) });
const tag: Rule = (value) => {
  const type = isObject(value) ? value['type'] : undefined;
  return (type === 'Mention' ? mention : type === 'Hashtag' ? hashtag : anyTag)(value);
};

const attachment = object<Attachment>({ type: typeName, mediaType, digest: hash, name: optional(text) });
const profileField = object<ProfileField>({ type: oneOf(['PropertyValue']), name, value: name });

/** Facets of other versions are kept and mean nothing. */
const facets: Rule = (value) => {
  if (!isObject(value)) return 'is no object';
  const audience = oneOf(FACET_AUDIENCES);
  const bad = FACETS.find((facet) => Object.hasOwn(value, facet) && audience(value[facet]) !== undefined);
  return bad === undefined ? undefined : `${bad} ${audience(value[bad])}`;
};

const grantChange = object<GrantChange>({
  log: uuid,
  audience: oneOf(['public', 'followers']),
  state: oneOf(['asked', 'active', 'ended']),
  sees: flag,
  from: (value) => (value === 0 ? undefined : entryNumber(value)),
});

const erased: Rule = (value) =>
  Array.isArray(value) && value.length === 2 ? (uuid(value[0]) ?? entryNumber(value[1])) : 'is no epoch and number';

const textShape: Shape<TextBody> = {
  type: oneOf(['Note']),
  content: text,
  summary: optional(text),
  sensitive: optional(flag),
  language: optional(language),
  tag: optional(list(tag, 0, BODY_LIST_MAX)),
  attachment: optional(list(attachment, 0, ATTACHMENTS_MAX)),
  salt,
};

const happening = object<HappeningBody>({
  what: oneOf(HAPPENINGS),
  target: optional(microblogRef),
  actor: optional(microblogRef),
  person: optional(uuid),
  domain: optional(domain),
  post: optional(postRef),
  cause: optional(postRef),
  grants: optional(list(grantChange, 1, 2)),
  shown: optional(oneOf(SHOWN)),
  role: optional(oneOf([...ROLES, 'none'])),
  state: optional(oneOf(['active', 'ended'])),
  content: optional(text),
  salt,
});

/** What each happening cannot do without: at least one property of each group. */
const HAPPENING_NEEDS: Readonly<Record<What, readonly (readonly (keyof HappeningBody)[])[]>> = {
  'follow-asked': [['actor', 'person']],
  'follow-accepted': [['actor', 'person']],
  'follow-rejected': [['actor', 'person']],
  'follow-ended': [['actor', 'person']],
  favourite: [['actor'], ['post']],
  unfavourite: [['actor'], ['post']],
  reply: [['actor'], ['post']],
  mention: [['actor'], ['post']],
  boost: [['actor'], ['post'], ['cause']],
  unboost: [['actor'], ['post'], ['cause']],
  report: [],
  'contributor-changed': [['actor', 'person'], ['role']],
  'subscription-changed': [['domain'], ['state']],
};

const wholeHappening: Rule = (value) => {
  const fault = happening(value);
  if (fault !== undefined || !isObject(value)) return fault;
  const needs = HAPPENING_NEEDS[value['what'] as What];
  const missing = needs.find((group) => !group.some((property) => Object.hasOwn(value, property)));
  return missing === undefined ? undefined : `${missing.join(' or ')} is missing`;
};

const RULES: Readonly<Record<EntryKind, Rule>> = {
  post: object<PostBody>({
    ...textShape,
    inReplyTo: optional(uri),
    unlisted: optional(flag),
    to: optional(list(microblogRef, 1, BODY_LIST_MAX)),
  }),
  edit: object<EditBody>({ ...textShape, about: uuid }),
  delete: object<DeleteBody>({ about: uuid, salt }),
  boost: object<BoostBody>({ object: object<EntryRef>({ ...postRefShape, domain, hash }), salt }),
  unboost: object<UnboostBody>({ about: uuid, salt }),
  profile: object<ProfileBody>({
    type: oneOf(['Person', 'Group', 'Service']),
    preferredUsername: handleName,
    name,
    summary: optional(text),
    locked: optional(flag),
    discoverable: optional(flag),
    icon: optional(attachment),
    image: optional(attachment),
    attachment: optional(list(profileField, 0, ATTACHMENTS_MAX)),
    facets: optional(facets),
    salt,
  }),
  closed: object<ClosedBody>({ summary: optional(text), salt }),
  moved: object<MovedBody>({ target: microblogRef, epoch: uuid, number: entryNumber, hash, salt }),
  happening: wholeHappening,
  erase: object<EraseBody>({ entries: list(erased, 1, ERASE_ENTRIES_MAX), salt }),
};

/** A new salt: 128 random bits, 22 base64url characters. */
export function newSalt(): string {
  return randomBytes(16).toString('base64url');
}

/**
 * The bytes of a new body, with a new salt unless it brings one. Properties that this version does not know
 * are written too.
 * @throws RangeError if `parseBody` would refuse them.
 */
export function encodeBody<K extends EntryKind>(kind: K, body: NewBody<BodyOf<K>>): Uint8Array {
  const bytes = new TextEncoder().encode(JSON.stringify({ ...body, salt: body.salt ?? newSalt() }));
  const parsed = parseBody(kind, bytes);
  if (parsed.result === 'malformed') throw new RangeError(`a ${kind} whose body ${parsed.detail}`);
  return bytes;
}

/** Reads a body of that kind. Properties of other versions are in the answer too. Never throws. */
export function parseBody<K extends EntryKind>(kind: K, bytes: Uint8Array): ParsedBody<K> {
  const json = parseJsonObject(bytes, BODY_BYTES_MAX);
  if (json.result === 'malformed') return json;
  const fault = RULES[kind](json.value);
  return fault === undefined
    ? { result: 'body', body: json.value as unknown as BodyOf<K> }
    : { result: 'malformed', detail: fault };
}
