/**
 * The nouns of the microblog service, as its own code sees them: what the tables hold, and what
 * the store, the appender and the commands take and give. Numbers and ids are bigint, ids are
 * branded, times are Date (or Unix milliseconds where the name says so), absent values are null.
 */
import type { Audience, LogRef, Role } from '@dmb/events';
import type { DomainId, EntryKind, EpochId, FacetAudience, LogId, MicroblogId, ObjectId, PersonId, PostId, Shown } from '@dmb/protocol';
import type { Transaction } from '@dmb/postgres';

export type Visibility = 'public' | 'unlisted' | 'private' | 'direct';
/** Who may see a facet of a microblog. */
export type AccessAudience = FacetAudience;
export type GrantState = 'asked' | 'active' | 'ended';

/** A microblog, without its logs. */
export interface Microblog {
  readonly shard: number;
  readonly id: MicroblogId;
  readonly domainId: DomainId;
  /** A-label, with its port under localhost. */
  readonly domain: string;
  readonly handle: string;
  /** Its id in the client API. */
  readonly accountId: PostId;
  readonly kind: 'personal' | 'group';
  /** The person of a personal one. Private: never shown. */
  readonly personalOf: PersonId | null;
  readonly title: string;
  /** Plain text. */
  readonly summary: string;
  readonly fields: readonly ProfileField[];
  readonly locked: boolean;
  readonly discoverable: boolean;
  readonly privateTo: 'all-followers' | 'approved';
  readonly history: 'all' | 'since-accept';
  readonly servers: 'any' | 'this' | 'list';
  readonly defaultVisibility: Visibility;
  readonly defaultSensitive: boolean;
  readonly defaultLanguage: string | null;
  readonly state: 'active' | 'suspended' | 'closed';
  readonly created: Date;
}

/** A row of the table in a profile; plain text. */
export interface ProfileField {
  readonly name: string;
  readonly value: string;
}

/** One log of ours or a replica. `epochNo` is the current one. */
export interface LogRow extends LogRef {
  readonly originLog: LogId;
  /** Of the current epoch. */
  readonly epoch: EpochId;
  readonly domainId: DomainId;
  readonly microblog: MicroblogId | null;
  readonly audience: Audience;
  readonly floor: bigint;
  readonly state: 'ours' | 'replica' | 'frozen' | 'closed';
}

/** The four logs of a microblog. */
export interface MicroblogLogs {
  readonly public: LogRow;
  readonly followers: LogRow;
  readonly direct: LogRow;
  readonly own: LogRow;
}

/** Counts that everybody may have: from the public log alone. */
export interface Statistics {
  readonly followers: bigint;
  readonly posts: bigint;
  readonly lastPostAt: Date | null;
}

/**
 * An entry with what came of it: for a post that was edited, `body` is that of the newest edit.
 * It may be shown only if `body` is not null, `withheld` and `suspended` are false, and canSee agrees.
 */
export interface EntryRow extends LogRef {
  readonly epoch: EpochId;
  readonly number: bigint;
  readonly id: PostId;
  readonly kind: EntryKind;
  readonly objectId: ObjectId;
  readonly audience: Audience;
  readonly microblog: MicroblogId | null;
  /** Exact bytes, current version; null when deleted or erased. */
  readonly body: Uint8Array | null;
  /** When it was claimed to be made, clamped to when it came in. */
  readonly createdAt: Date;
  /** The same of the newest edit; null when there is none. */
  readonly editedAt: Date | null;
  /** Happenings only. */
  readonly what: string | null;
  readonly listed: boolean;
  /** The post replied to; of a happening: the post that it shows. */
  readonly replyTo: PostId | null;
  /** Whose post that is; of a happening: the microblog that did it. */
  readonly replyToMicroblog: MicroblogId | null;
  /** The contributor who wrote it; private unless attributed. */
  readonly person: PersonId | null;
  /** The program that it was written with, by its own word. */
  readonly app: WrittenWith | null;
  readonly withheld: boolean;
  /** Its microblog is suspended or closed. */
  readonly suspended: boolean;
}

/** A program as it named itself; nobody has looked whether that is so. */
export interface WrittenWith {
  readonly name: string;
  /** http or https. */
  readonly website: string | null;
}

/** One version of a post, the first included. */
export interface EntryVersion {
  readonly number: bigint;
  readonly id: PostId;
  readonly body: Uint8Array | null;
  readonly createdAt: Date;
}

/** That a reader may read a log, may have asked, or no longer may. */
export interface Grant extends Omit<LogRef, 'epochNo'> {
  readonly reader: PersonId;
  readonly readerShard: number;
  /** The microblog shown as the follower. */
  readonly via: MicroblogId | null;
  readonly domainId: DomainId;
  readonly state: GrantState;
  /** Whether it opens the log: false for one that is only asked, counted or over. */
  readonly sees: boolean;
  readonly shown: Shown;
  /** The implicit follow of one's own personal microblog: neither shown nor counted. */
  readonly isOwner: boolean;
  /** Sees entries from this number on. */
  readonly fromNumber: bigint;
  /** Rises; pages lists, and is the id of a follow request. */
  readonly id: PostId;
  readonly rev: bigint;
  readonly since: Date;
}

/** An edge of a followers or following list: the microblog at its other end. `id` pages. */
export interface FollowEdge {
  readonly id: PostId;
  readonly microblog: MicroblogId;
  readonly shown: Shown;
}

/** How two microblogs stand to each other, seen from the asker's. */
export interface Relation {
  readonly target: MicroblogId;
  /** The asker's person follows the target, accepted. */
  readonly following: boolean;
  /** Asked and not decided yet. */
  readonly requested: boolean;
  /** The followers log too: `requested` may go on while `following` is true. */
  readonly followersLog: GrantState | null;
  readonly shown: Shown | null;
  /** The target follows the asker's microblog, as far as the asker may know. */
  readonly followedBy: boolean;
  /** The target asked to follow the asker's microblog. */
  readonly requestedBy: boolean;
}

/** Bounds of a page: `before` and `since` exclusive; `min` = from there upwards. Falling by id, except with `min` the page next to it. */
export interface Page {
  readonly before?: PostId;
  readonly since?: PostId;
  readonly min?: PostId;
  readonly limit: number;
}

/** What an append brings beside its bytes. */
export interface AppendRequest {
  readonly log: LogRef;
  readonly kind: EntryKind;
  readonly envelope: Uint8Array;
  readonly body: Uint8Array;
  readonly objectId: ObjectId;
  /** Edit, delete, unboost: number of the post, in the same log and epoch. */
  readonly about?: bigint;
  /** Happenings: what happened. */
  readonly what?: string;
  /** A public post that public timelines and search may show. */
  readonly listed?: boolean;
  readonly replyTo?: PostId;
  readonly replyToMicroblog?: MicroblogId;
  readonly person?: PersonId;
  readonly app?: WrittenWith;
  /** Repeating it with the same key is answered with the first one's entry, in whichever log of the shard it is. */
  readonly key?: { readonly scope: string; readonly key: string; readonly expires: 'token' | 'never' };
  readonly effect?: Effect;
}

/** What becomes true together with an entry: SQL on the same shard, in the same transaction. */
export interface Effect {
  /**
   * The precondition, looked at again once the entry holds the log. Throws an AppError to refuse:
   * then nothing has happened.
   */
  check(tx: Transaction): Promise<void>;
  apply(tx: Transaction, appended: Appended): Promise<void>;
}

/** Where the entry is. `known`: an earlier append with the same key made it. */
export interface Appended extends LogRef {
  readonly how: 'appended' | 'known';
  readonly number: bigint;
  readonly id: PostId;
}

/** A person's token that acts as a microblog: whoever commands. */
export interface Actor {
  readonly domain: DomainId;
  readonly person: PersonId;
  readonly microblog: MicroblogId;
}

/** A role, as it was found. */
export interface Contributor {
  readonly person: PersonId;
  readonly role: Role;
  readonly attributed: boolean;
}
