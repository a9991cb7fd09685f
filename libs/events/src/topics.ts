/**
 * The topics: what our own services tell each other, declared once.
 *
 * An event is a *reference*: it says that something is there and where, never what it says. The
 * body of an entry stays in the log that it belongs to, under that log's access rule; whoever
 * needs it asks by the call `microblog.entries`. So a topic may be wiped, replayed, reordered or
 * read by somebody who should not, and nothing is lost or told.
 *
 * On the wire an event is a compact JSON array (half the size and cost of an object); the schema
 * here turns it into the typed object that handlers see. An outbox row carries many of them.
 * A new meaning is a new version (`….v2`); within a version elements are only added at the end,
 * and a reader ignores elements that it does not know.
 */
import { z } from 'zod';
import { LOG_AUDIENCES, type LogAudience, type LogId, type MicroblogId, type PersonId, type PostId } from '@dmb/protocol';

/** The services, in the order in which they start. */
export const serviceNames = ['identity', 'microblog', 'fan-out', 'timeline'] as const;
export type ServiceName = (typeof serviceNames)[number];

/** The four logs of a microblog (and a mail log between two domains), by audience. */
export type Audience = LogAudience;

const uuid = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
const decimal = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,18})$/)
  .transform((text) => BigInt(text));
const shard = z.int().min(0).max(1023);

/** "This log has this entry." Ordered by number inside a log, in no order between logs. */
export interface EntryRef {
  readonly shard: number;
  readonly log: LogId;
  readonly epochNo: number;
  readonly number: bigint;
  /** Kind of entry, as in the envelope (1 post … 10 erase). */
  readonly kind: number;
  /** The entry's id: post id of posts and boosts, notification id of happenings. */
  readonly id: PostId;
  readonly audience: Audience;
  /** Null for a mail log. */
  readonly microblog: MicroblogId | null;
  /** The entry's id lies behind ids that readers may have seen: it is merged, silently. */
  readonly late: boolean;
}

/** Compact wire form of an {@link EntryRef}: [shard, log, epochNo, "number", kind, "id", audience, microblog, late]. */
export const entryRefSchema = z
  .tuple([shard, uuid, z.int().min(1), decimal, z.int().min(1), decimal, z.enum(LOG_AUDIENCES), uuid.nullable(), z.union([z.literal(0), z.literal(1)])], z.unknown())
  .transform(
    ([logShard, log, epochNo, number, kind, id, audience, microblog, late]): EntryRef => ({
      shard: logShard,
      log: log as LogId,
      epochNo,
      number,
      kind,
      id: id as PostId,
      audience,
      microblog: microblog as MicroblogId | null,
      late: late === 1,
    }),
  );

/** What happens to a person that other services must know. Names and addresses stay in identity. */
export interface PersonEvent {
  readonly shard: number;
  readonly person: PersonId;
  readonly what: 'created' | 'suspended' | 'restored' | 'removed' | 'tokens-revoked';
  /** Set for tokens-revoked: only tokens that act as this microblog; null = all of the person's. */
  readonly microblog: MicroblogId | null;
}

/** Compact wire form of a {@link PersonEvent}: [shard, person, what, microblog]. */
export const personEventSchema = z
  .tuple([shard, uuid, z.enum(['created', 'suspended', 'restored', 'removed', 'tokens-revoked']), uuid.nullable()], z.unknown())
  .transform(
    ([personShard, person, what, microblog]): PersonEvent => ({
      shard: personShard,
      person: person as PersonId,
      what,
      microblog: microblog as MicroblogId | null,
    }),
  );

/** One topic: who writes it, how its events read, and by what they are kept in order. */
export interface Topic<Payload> {
  readonly producer: ServiceName;
  /** Order is kept among events with the same key, and only there. */
  readonly key: (payload: Payload) => string;
  readonly schema: z.ZodType<Payload>;
}

const topic = <Payload>(declaration: Topic<Payload>): Topic<Payload> => declaration;

/** Every topic there is. */
export const topics = {
  'microblog.entry.v1': topic<EntryRef>({
    producer: 'microblog',
    key: (ref) => ref.microblog ?? ref.log,
    schema: entryRefSchema as unknown as z.ZodType<EntryRef>,
  }),
  'identity.person.v1': topic<PersonEvent>({
    producer: 'identity',
    key: (event) => event.person,
    schema: personEventSchema as unknown as z.ZodType<PersonEvent>,
  }),
} as const;

export type TopicName = keyof typeof topics;
export type PayloadOf<Name extends TopicName> = (typeof topics)[Name] extends Topic<infer Payload> ? Payload : never;

/** The wire form of an entry reference, for the SQL-free parts of a producer. */
export function entryRefWire(ref: EntryRef): readonly unknown[] {
  return [ref.shard, ref.log, ref.epochNo, String(ref.number), ref.kind, String(ref.id), ref.audience, ref.microblog, ref.late ? 1 : 0];
}

/** The wire form of a person event. */
export function personEventWire(event: PersonEvent): readonly unknown[] {
  return [event.shard, event.person, event.what, event.microblog];
}
