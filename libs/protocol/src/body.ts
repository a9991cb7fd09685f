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
 * Which ids stand in a body depends on who reads it. In logs that leave the server, a log or a microblog
 * has the id that its own domain gave it. In `direct` and `own` logs it has the id that this server uses
 * (its alias, for remote ones): their readers are this server's tables.
 *
 * Not all of ActivityStreams fits, and where it does not the simplest form was taken: `language` (a BCP 47
 * tag) instead of a `contentMap` that says everything twice; `unlisted: true` instead of a choice between
 * `to` and `cc`, for the audience is the log, and unlisted is a wish about search and public timelines, not a
 * permission; `content` is the text as written, and HTML is made by whoever presents it.
 *
 * Here are the forms; body-codec.ts checks them.
 */
import { type Domain } from './domains.ts';
import { type EntryKind } from './envelope.ts';
import { type EpochId, type LogId, type MicroblogId, type ObjectId, type PersonId } from './ids.ts';
import { type Facet, type FacetAudience, type Role, type Shown } from './see.ts';

/** The largest body. */
export const BODY_BYTES_MAX = 32 * 1024;

/** Elements of a list in a body: tags, recipients. */
export const BODY_LIST_MAX = 100;

/** Attachments of a post, fields of a profile. */
export const ATTACHMENTS_MAX = 16;

/** Entries that one erase names: the longest that surely fits a body. */
export const ERASE_ENTRIES_MAX = 500;

/** UTF-8 bytes of a title, or of a field's name or value. */
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

/** What every body has. */
export interface Salted {
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

/** What a post and an edit have in common. */
export interface TextBody extends Salted {
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

export interface PostBody extends TextBody {
  /** The object URI of the post that it answers. */
  readonly inReplyTo?: string;
  /** Not for search, tags and public timelines. In public logs only. */
  readonly unlisted?: boolean;
  /** The recipients: in direct logs only, and there fixed for ever. */
  readonly to?: readonly MicroblogRef[];
}

/** The whole new text of a post. What it answers, who receives it and whether it is listed stay as they were. */
export interface EditBody extends TextBody {
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
