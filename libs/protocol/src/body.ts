/**
 * The bodies: what entries say, one form per kind.
 *
 * A body is a JSON object in UTF-8 with property names of ActivityStreams 2.0 where that has one, and without
 * `@context`: nobody processes it as linked data. Its exact bytes are hashed into the envelope, stored and
 * passed on; nobody encodes a received body again.
 *
 *   salt      22 base64url characters, 128 random bits, in every body. Once a body is erased, its hash
 *             in the envelope stays; without the salt, anybody could find a short text by trying.
 *   unknown   properties that are not listed here are kept (the bytes are) and have no effect
 *   I-JSON    RFC 7493, so that all readers read the same: valid UTF-8, no name twice in one object, no half
 *             surrogates; further no U+0000 (Postgres text cannot hold it), no byte order mark, at most 16
 *             levels and 32 KiB
 *   ids       lower-case hyphenated UUID text; hashes and salts base64url without padding; numbers of entries
 *             JSON integers of at most 2^53 − 1
 *
 * Which ids stand in a body depends on who reads it. In logs that leave the server, a log or a microblog has the id that
 * its own domain gave it. In `direct` and `own` logs it has the id that this server uses (its alias, for
 * remote ones): their readers are this server's tables.
 *
 * Not all of ActivityStreams fits, and where it does not the simplest form was taken: `language` (a BCP 47
 * tag) instead of a `contentMap` that says everything twice; `unlisted: true` instead of a choice between
 * `to` and `cc`, for the audience is the log, and unlisted is a wish about search and public timelines, not a
 * permission; `content` is the text as written, and HTML is made by whoever presents it.
 *
 * `parseBody` answers `malformed` for what breaks the rules here. A malformed body of the right hash is not an
 * error of the log: the entry keeps its number, and has no effect.
 */
import { randomBytes } from 'node:crypto';
import { type Domain, isHandle, normaliseDomain, parseHandle, formatHandle } from './domains.ts';
import { type EntryKind } from './envelope.ts';
import { ENTRY_NUMBER_MAX } from './head-hash.ts';
import { type EpochId, type LogId, type MicroblogId, type ObjectId, type PersonId, parseUuid } from './ids.ts';
import { type JsonObject, parseJsonObject } from './i-json.ts';
import { type Facet, type FacetAudience, type Role, type Shown, FACET_AUDIENCES, FACETS, ROLES, SHOWN } from './see.ts';

/** The largest body. */
export const BODY_BYTES_MAX = 32 * 1024;

/** Elements of a list in a body: tags, recipients. */
export const BODY_LIST_MAX = 100;

/** Attachments of a post, fields of a profile. */
export const ATTACHMENTS_MAX = 16;

/** Entries that one erase names: the longest that surely fits a body. */
export const ERASE_ENTRIES_MAX = 500;

/** UTF-8 bytes of a title, a field's name or a media type. */
export const NAME_BYTES_MAX = 1024;

/** Characters of a URI, all of them printable ASCII. */
export const URI_CHARS_MAX = 2048;

/** What happened to a microblog: the closed table of happenings. */
export const HAPPENINGS = [
  'follow-asked',
  'follow-accepted',
  'follow-rejected',
  'follow-ended',
  'favourite',
  'unfavourite',
  'reply',
  'mention',
  'boost',
  'unboost',
  'report',
  'contributor-changed',
  'subscription-changed',
] as const;

export type What = (typeof HAPPENINGS)[number];

interface Salted {
  /** 128 random bits, base64url. */
  readonly salt: string;
}

/** A microblog as named in a body. */
export interface MicroblogRef {
  readonly id: MicroblogId;
  /** `news@example.org`, in its one spelling, with the domain for local ones too. */
  readonly handle: string;
}

/** An entry as named in a happening. */
export interface PostRef {
  readonly log: LogId;
  readonly epoch: EpochId;
  readonly number: number;
  readonly id: ObjectId;
}

/** An entry as named to everybody: enough to find it anywhere and to prove that it is the one that was meant. */
export interface EntryRef extends PostRef {
  /** The domain of its log. */
  readonly domain: Domain;
  /** SHA-256 of its envelope, base64url. */
  readonly hash: string;
}

/** Something that a text refers to. Readers skip types that they do not know. */
export interface Tag {
  /** `Mention`, `Hashtag`, or what later versions bring. */
  readonly type: string;
  /** Mention: `@news@example.org`. Hashtag: `#` and the tag as written. */
  readonly name: string;
  /** Mention: the address of the microblog's page, always there. */
  readonly href?: string;
}

/** A medium, named by its content. Where its bytes are found is not a part of this version. */
export interface Attachment {
  /** `Image`, `Video`, `Audio` or `Document`. */
  readonly type: string;
  readonly mediaType: string;
  /** SHA-256 of the medium's bytes, base64url. */
  readonly digest: string;
  /** What it shows, for those who do not see it. */
  readonly name?: string;
}

/** A line of a profile. */
export interface ProfileField {
  readonly type: 'PropertyValue';
  readonly name: string;
  readonly value: string;
}

interface Text extends Salted {
  readonly type: 'Note';
  /** The text as written: plain text, not HTML. Empty only beside attachments, by custom. */
  readonly content: string;
  /** A warning that is shown instead of the content until the reader asks. */
  readonly summary?: string;
  /** The attachments are hidden until the reader asks. */
  readonly sensitive?: boolean;
  /** BCP 47. */
  readonly language?: string;
  readonly tag?: readonly Tag[];
  readonly attachment?: readonly Attachment[];
}

export interface PostBody extends Text {
  /** The object URI of the post that it answers. */
  readonly inReplyTo?: string;
  /** Not for search, tags and public timelines. In public logs only. */
  readonly unlisted?: boolean;
  /** The recipients: in direct logs only, and there fixed for ever. */
  readonly to?: readonly MicroblogRef[];
}

/** The whole new text of a post. What it answers, who receives it and whether it is listed stay as they were. */
export interface EditBody extends Text {
  /** The post's object id, in this log. */
  readonly about: ObjectId;
}

export interface DeleteBody extends Salted {
  /** The post's object id, in this log. */
  readonly about: ObjectId;
}

export interface BoostBody extends Salted {
  /** The original. */
  readonly object: EntryRef;
}

export interface UnboostBody extends Salted {
  /** The boost's object id, in this log. */
  readonly about: ObjectId;
}

/** The whole profile; the newest one counts. */
export interface ProfileBody extends Salted {
  /** Of one person, of several, or of a machine. */
  readonly type: 'Person' | 'Group' | 'Service';
  /** The handle without its domain. A claim, like everything here: WebFinger decides. */
  readonly preferredUsername: string;
  /** The title. */
  readonly name: string;
  /** The description: plain text. */
  readonly summary?: string;
  /** Follow requests wait for approval. */
  readonly locked?: boolean;
  /** It would like to be suggested to others. */
  readonly discoverable?: boolean;
  readonly icon?: Attachment;
  readonly image?: Attachment;
  readonly attachment?: readonly ProfileField[];
  /** Who may see which facet. At other domains whatever is not `everybody`, or not here, is seen by nobody. */
  readonly facets?: Readonly<Partial<Record<Facet, FacetAudience>>>;
}

export interface ClosedBody extends Salted {
  /** A last word: plain text. */
  readonly summary?: string;
}

export interface MovedBody extends Salted {
  /** Where the microblog lives from here on. */
  readonly target: MicroblogRef;
  /** A checkpoint of this log before the move: epoch, number, and the head hash there, base64url. */
  readonly epoch: EpochId;
  readonly number: number;
  readonly hash: string;
}

/** What a follow, or its end, made of the follower's access to one log. The newest one counts. */
export interface GrantChange {
  readonly log: LogId;
  readonly audience: 'public' | 'followers';
  readonly state: 'asked' | 'active' | 'ended';
  readonly sees: boolean;
  /** Sees entries of this number and above. */
  readonly from: number;
}

/** What happened to a microblog. It carries a state, not a step, wherever it can: applying it twice changes nothing. */
export interface HappeningBody extends Salted {
  readonly what: What;
  /** The microblog that it happened to: in mail logs only; an own log says it by itself. */
  readonly target?: MicroblogRef;
  /** The microblog that did it, as shown: the one that follows, favours, replies, boosts, or the contributor's. */
  readonly actor?: MicroblogRef;
  /** The person who did it, or the contributor: in own logs only, and only persons of this server. */
  readonly person?: PersonId;
  /** The domain that did it, where no microblog is named: a subscriber, or the one a report comes from. */
  readonly domain?: Domain;
  /** The post to be shown: for `reply` and `mention` the actor's; otherwise the one that it happened to. */
  readonly post?: PostRef;
  /** For `boost` and `unboost`: the boost, in the actor's log. */
  readonly cause?: PostRef;
  /** For `follow-…` in own logs: what it made of each log's access. */
  readonly grants?: readonly GrantChange[];
  /** For `follow-…`: who may see that the actor follows. */
  readonly shown?: Shown;
  /** For `contributor-changed`: the role from here on. */
  readonly role?: Role | 'none';
  /** For `subscription-changed`: whether the domain subscribes from here on. */
  readonly state?: 'active' | 'ended';
  /** For `report`: what the reporter wrote. A report never says who that is: at most the domain that it comes from. */
  readonly content?: string;
}

export interface EraseBody extends Salted {
  /** Epoch and number of each entry of this log whose body goes. Never an erase. */
  readonly entries: readonly (readonly [EpochId, number])[];
}

interface Bodies {
  readonly post: PostBody;
  readonly edit: EditBody;
  readonly delete: DeleteBody;
  readonly boost: BoostBody;
  readonly unboost: UnboostBody;
  readonly profile: ProfileBody;
  readonly closed: ClosedBody;
  readonly moved: MovedBody;
  readonly happening: HappeningBody;
  readonly erase: EraseBody;
}

/** The body of an entry of that kind. */
export type BodyOf<K extends EntryKind> = Bodies[K];

/** A body before it has its salt: `NewBody<BodyOf<'post'>>`. */
export type NewBody<B extends Salted> = Omit<B, 'salt'> & Partial<Salted>;

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
      const found = Object.hasOwn(value, property) ? value[property] : undefined;
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

const textShape: Shape<Text> = {
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
 * The bytes of a new body, with a new salt unless it brings one. Properties that this version does not know are written too.
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
