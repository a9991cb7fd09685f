/**
 * The calls: where a service needs another's answer now, declared once.
 *
 * In one process a call is a function, in a cluster HTTP; what is written here is all that either
 * side may rely on. A call is bounded in time (`timeoutMs`) and retried only where it is
 * `idempotent`. Requests and answers are plain data; bigint travels as bigint (the HTTP adapter
 * writes decimal strings), absent values are null.
 */
import type { DomainId, Facet, LogId, MicroblogId, ObjectId, PersonId, PostId, Role } from '@dmb/protocol';
import type { Audience, EntryRef, ServiceName } from './topics.ts';
import type { Account, Notification, Status } from './client-api.ts';

/** Who asks. The HTTP rim makes it from the token; every read passes it on to `canSee`. */
export type Asker =
  | { readonly kind: 'anonymous'; readonly domain: DomainId }
  /** A client_credentials token: sees what is public. */
  | { readonly kind: 'app'; readonly domain: DomainId; readonly scopes: readonly string[] }
  | {
      readonly kind: 'person';
      readonly domain: DomainId;
      readonly person: PersonId;
      /** The microblog that the token acts as. */
      readonly microblog: MicroblogId;
      readonly scopes: readonly string[];
    };

/** A bearer token, resolved. `id` is the token's own id: the scope of idempotency keys and markers. */
export interface TokenAnswer {
  readonly id: string;
  readonly asker: Asker;
  readonly app: { readonly name: string; readonly website: string | null };
  /** Unix milliseconds. */
  readonly createdAt: number;
}

/** A log of ours or a replica, as other services address it. */
export interface LogRef {
  readonly shard: number;
  readonly log: LogId;
  readonly epochNo: number;
}

/** A microblog that a person contributes to, as the chooser shows it. */
export interface Contribution {
  readonly microblog: MicroblogId;
  readonly handle: string;
  readonly domain: string;
  readonly title: string;
  readonly role: Role;
  readonly personal: boolean;
}

/** An entry as it is given to our own services. `body` is null when erased or withheld. */
export interface EntryAnswer extends EntryRef {
  readonly objectId: ObjectId;
  /** Number of the post that an edit, delete or unboost is about. */
  readonly about: bigint | null;
  /** Parsed body. */
  readonly body: Readonly<Record<string, unknown>> | null;
}

/** Where present()'s statuses are shown; each has rules of its own. */
export type PresentContext = 'home' | 'public' | 'account' | 'thread' | 'notification';

/** One declared call. */
export interface Call<Request, Answer> {
  readonly callee: ServiceName;
  readonly timeoutMs: number;
  readonly idempotent: boolean;
  /** Carries the types; never set. */
  readonly types?: { readonly request: Request; readonly answer: Answer };
}

const call = <Request, Answer>(declaration: Call<Request, Answer>): Call<Request, Answer> => declaration;

/** Every call there is. */
export const calls = {
  /** Who a bearer token speaks for; null when unknown, expired or revoked. May be cached for at most 5 s. */
  'identity.token': call<{ readonly token: string }, TokenAnswer | null>({ callee: 'identity', timeoutMs: 2_000, idempotent: true }),
  /** The same for many, in the order asked; null also while a person waits for approval. At most 1,000. */
  'identity.tokens': call<{ readonly tokens: readonly string[] }, { readonly answers: readonly (TokenAnswer | null)[] }>({ callee: 'identity', timeoutMs: 5_000, idempotent: true }),
  /** Deletes the tokens of a person (that act as one microblog, or all) and tells open streams. */
  'identity.revoke': call<{ readonly person: PersonId; readonly microblog: MicroblogId | null; readonly reason: string }, { readonly revoked: number }>({
    callee: 'identity',
    timeoutMs: 5_000,
    idempotent: true,
  }),
  /** Whether strangers may sign up here, how many persons there are, and who answers for the server. */
  'identity.registration': call<
    { readonly domain: DomainId },
    { readonly mode: 'open' | 'approval' | 'closed'; readonly persons: number; readonly operatorMicroblog: MicroblogId | null }
  >({ callee: 'identity', timeoutMs: 2_000, idempotent: true }),

  /** Holds a handle for 10 minutes, for `reservation`. Reserving again with the same reservation is the same. */
  'microblog.reserve-handle': call<
    { readonly domain: DomainId; readonly handle: string; readonly reservation: string },
    { readonly outcome: 'reserved' } | { readonly outcome: 'taken' | 'invalid' | 'reserved-name' }
  >({ callee: 'microblog', timeoutMs: 5_000, idempotent: true }),
  /** Makes a microblog under a reserved handle with its four logs, epochs, facets, grants and its owner. Idempotent by `microblog`. */
  'microblog.create': call<
    {
      readonly domain: DomainId;
      readonly microblog: MicroblogId;
      readonly handle: string;
      readonly reservation: string;
      readonly owner: PersonId;
      readonly personal: boolean;
      readonly title: string;
      readonly locale: string | null;
    },
    { readonly microblog: MicroblogId }
  >({ callee: 'microblog', timeoutMs: 10_000, idempotent: true }),
  /** Makes the handle the microblog's for good. */
  'microblog.confirm-handle': call<{ readonly domain: DomainId; readonly handle: string; readonly reservation: string; readonly microblog: MicroblogId }, { readonly confirmed: boolean }>({
    callee: 'microblog',
    timeoutMs: 5_000,
    idempotent: true,
  }),
  /** What a person may act as, personal first. */
  'microblog.contributions': call<{ readonly person: PersonId }, { readonly contributions: readonly Contribution[] }>({ callee: 'microblog', timeoutMs: 3_000, idempotent: true }),
  /** The account of a microblog as its contributor sees it (sign-up and the pages of identity show it). */
  'microblog.account': call<{ readonly asker: Asker; readonly microblog: MicroblogId }, { readonly account: Account | null }>({ callee: 'microblog', timeoutMs: 3_000, idempotent: true }),

  /** Entries of one log above `after`, rising, for our own services; at most `limit` (≤ 1,000), and the head. */
  'microblog.entries': call<
    LogRef & { readonly after: bigint; readonly limit: number },
    { readonly entries: readonly EntryAnswer[]; readonly head: bigint; readonly floor: bigint }
  >({ callee: 'microblog', timeoutMs: 10_000, idempotent: true }),
  /**
   * Heads of logs, for a sweep: pages through all logs of one database in key order. `after` null
   * starts; `next` null ends. At most 5,000 logs an answer.
   */
  'microblog.heads': call<
    { readonly database: number; readonly after: { readonly shard: number; readonly log: LogId } | null },
    {
      readonly logs: readonly (LogRef & { readonly head: bigint; readonly floor: bigint; readonly audience: Audience; readonly microblog: MicroblogId | null })[];
      readonly next: { readonly shard: number; readonly log: LogId } | null;
      readonly databases: number;
    }
  >({ callee: 'microblog', timeoutMs: 30_000, idempotent: true }),

  /**
   * The home of a person from Postgres: ids of posts and boosts in the logs that they follow (their
   * own personal microblog included), falling, below `before`, at most `limit` (≤ 800), and how far
   * down that is exact (0 = to the end). No rules applied. With `only`, of those of these logs that they follow.
   * With `above` instead of `before`: those next above it, falling too and exact from there; fewer than `limit` reach the top.
   */
  'microblog.snapshot': call<
    { readonly person: PersonId; readonly before: PostId | null; readonly above?: PostId; readonly limit: number; readonly only?: readonly LogId[] },
    { readonly ids: readonly PostId[]; readonly exactFrom: PostId }
  >({ callee: 'microblog', timeoutMs: 10_000, idempotent: true }),
  /** From now on a log of ours or a replica is merged when reading: nobody writes its posts into timelines any more. Known to all when it has answered. */
  'microblog.merge-log': call<{ readonly shard: number; readonly log: LogId }, { readonly merged: true }>({ callee: 'microblog', timeoutMs: 5_000, idempotent: true }),
  /** All logs that are merged when reading. May be kept for a second. */
  'microblog.merged-logs': call<Readonly<Record<string, never>>, { readonly logs: readonly LogId[] }>({ callee: 'microblog', timeoutMs: 5_000, idempotent: true }),
  /**
   * The home of a microblog that is a group (design: its own log): ids falling below `before`, or next above `above`. For
   * a personal one use snapshot.
   */
  'microblog.own-posts': call<
    { readonly microblog: MicroblogId; readonly before: PostId | null; readonly above?: PostId; readonly limit: number },
    { readonly ids: readonly PostId[]; readonly exactFrom: PostId }
  >({ callee: 'microblog', timeoutMs: 10_000, idempotent: true }),
  /** Statuses as the asker may see them, in the order asked, those that rules or canSee hide left out (`kept` has their ids). */
  'microblog.present': call<
    { readonly asker: Asker; readonly ids: readonly PostId[]; readonly context: PresentContext },
    { readonly statuses: readonly Status[]; readonly kept: readonly PostId[] }
  >({ callee: 'microblog', timeoutMs: 10_000, idempotent: true }),
  /**
   * Posts as open streams tell them: what each asker may see of what belongs in its home. A status that several see alike comes
   * once; `seen` has, for each ask, the places in `statuses`, in the order of its ids. At most 1,000 asks and 4,000 ids of them all.
   */
  'microblog.present-live': call<
    { readonly asks: readonly { readonly asker: Asker; readonly ids: readonly PostId[] }[] },
    { readonly statuses: readonly Status[]; readonly seen: readonly (readonly number[])[] }
  >({ callee: 'microblog', timeoutMs: 10_000, idempotent: true }),
  /** Notifications (ids of happenings in the own log of the asker's microblog) as the asker may see them. */
  'microblog.present-notifications': call<{ readonly asker: Asker; readonly ids: readonly PostId[] }, { readonly notifications: readonly Notification[] }>({
    callee: 'microblog',
    timeoutMs: 10_000,
    idempotent: true,
  }),
  /**
   * What a stream of this asker listens to: logs whose posts belong in home, and the own log whose
   * happenings are notifications. Null = the token's role has ended.
   */
  'microblog.listening': call<{ readonly asker: Asker }, { readonly home: readonly LogId[]; readonly notifications: LogId | null; readonly personal: boolean } | null>({
    callee: 'microblog',
    timeoutMs: 5_000,
    idempotent: true,
  }),
  /** May this asker still act as its microblog, and how? Null = no (role ended, suspended, microblog closed). */
  'microblog.role': call<{ readonly person: PersonId; readonly microblog: MicroblogId }, { readonly role: Role } | null>({ callee: 'microblog', timeoutMs: 2_000, idempotent: true }),
  /** The same for many, in the order asked. At most 1,000. */
  'microblog.roles': call<
    { readonly contributions: readonly { readonly person: PersonId; readonly microblog: MicroblogId }[] },
    { readonly roles: readonly (Role | null)[] }
  >({ callee: 'microblog', timeoutMs: 5_000, idempotent: true }),
} as const;

export type CallName = keyof typeof calls;
export type RequestOf<Name extends CallName> = (typeof calls)[Name] extends Call<infer Request, infer _Answer> ? Request : never;
export type AnswerOf<Name extends CallName> = (typeof calls)[Name] extends Call<infer _Request, infer Answer> ? Answer : never;

/** What a read touches, for the table of reading paths. */
export type Reads = 'entry' | `facet:${Facet}`;
