/** A stretch of one log: what our consumer reads, applies and moves its cursor over, in one piece. */
import type { Audience, LogRef } from '@dmb/events';
import type { EpochId, LogId, MicroblogId, ObjectId, PersonId, PostId } from '@dmb/protocol';
import { statement, type Queryable } from '@dmb/postgres';

/** An entry as it is stored. */
export interface StoredEntry {
  readonly number: bigint;
  readonly id: PostId;
  readonly kind: number;
  readonly objectId: ObjectId;
  readonly envelope: Buffer;
  readonly body: Buffer | null;
  readonly about: bigint | null;
  readonly what: string | null;
  readonly replyTo: PostId | null;
  readonly replyToMicroblog: MicroblogId | null;
  readonly person: PersonId | null;
}

/** Where our consumer is in a log, and the entries that follow. */
export interface Stretch extends LogRef {
  readonly audience: Audience;
  readonly microblog: MicroblogId | null;
  readonly originLog: LogId;
  readonly epoch: EpochId;
  readonly fork: bigint;
  /** Everything up to here has had its effect. */
  readonly cursor: bigint;
  /** Head hash at the cursor, if it was computed. */
  readonly hash: Buffer | null;
  readonly isParked: boolean;
  /** cursor + 1, cursor + 2 … */
  readonly entries: readonly StoredEntry[];
}

/** A log, and up to which number somebody told of it. */
export interface Wanted extends LogRef {
  readonly wanted: bigint;
}

interface PlaceRow {
  readonly ord: number;
  readonly audience: Audience;
  readonly microblog_id: MicroblogId | null;
  readonly origin_log_id: LogId;
  readonly epoch: EpochId;
  readonly fork: bigint;
  readonly cursor: bigint;
  readonly hash: Buffer | null;
  readonly is_parked: boolean;
}

interface EntryTableRow {
  readonly ord: number;
  readonly number: bigint;
  readonly id: PostId;
  readonly kind: number;
  readonly object_id: ObjectId;
  readonly envelope: Buffer;
  readonly body: Buffer | null;
  readonly about: bigint | null;
  readonly what: string | null;
  readonly reply_to: PostId | null;
  readonly reply_to_microblog: MicroblogId | null;
  readonly person_id: PersonId | null;
}

/** The stretches that begin at our cursors and end at what is wanted, at most `each` entries of each log. Logs that are not there are left out. */
export async function readStretches(database: Queryable, wants: readonly Wanted[], each: number): Promise<Stretch[]> {
  const keys = [wants.map(({ shard }) => shard), wants.map(({ log }) => log), wants.map(({ epochNo }) => epochNo)];
  const places = await database.query<PlaceRow>(
    statement(`SELECT t.ord::int4 AS ord, l.audience, l.microblog_id, l.origin_log_id, ep.epoch, ep.fork, coalesce(c.number, greatest(ep.fork, l.floor)) AS cursor, h.hash, p.wanted IS NOT NULL AS is_parked
     FROM unnest($1::int2[], $2::uuid[], $3::int4[]) WITH ORDINALITY AS t(log_shard, log_id, epoch_no, ord)
     JOIN epoch ep USING (log_shard, log_id, epoch_no)
     LEFT JOIN cursor c USING (log_shard, log_id, epoch_no) LEFT JOIN parked p USING (log_shard, log_id, epoch_no)
     JOIN log l ON (l.log_shard, l.log_id) = (t.log_shard, t.log_id)
     LEFT JOIN log_hash h ON (h.log_shard, h.log_id, h.epoch_no, h.number) = (t.log_shard, t.log_id, t.epoch_no, c.number)`),
    keys,
  );
  const cursors = new Map(places.map(({ ord, cursor }) => [ord, cursor]));
  const rows = await database.query<EntryTableRow>(
    statement(`SELECT t.ord::int4 AS ord, e.number, e.id, e.kind, e.object_id, e.envelope, e.body, e.about, e.what, e.reply_to, e.reply_to_microblog, e.person_id
     FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[], $5::int8[]) WITH ORDINALITY AS t(log_shard, log_id, epoch_no, above, upto, ord)
     CROSS JOIN LATERAL (
       SELECT * FROM entry e WHERE (e.log_shard, e.log_id, e.epoch_no) = (t.log_shard, t.log_id, t.epoch_no) AND e.number > t.above AND e.number <= t.upto ORDER BY e.number LIMIT $6
     ) e ORDER BY 1, 2`),
    [...keys, wants.map((_, index) => cursors.get(index + 1) ?? 0n), wants.map(({ wanted }) => wanted), each],
  );
  const entries = new Map<number, StoredEntry[]>();
  for (const row of rows) {
    const of = entries.get(row.ord) ?? [];
    of.push({
      number: row.number,
      id: row.id,
      kind: row.kind,
      objectId: row.object_id,
      envelope: row.envelope,
      body: row.body,
      about: row.about,
      what: row.what,
      replyTo: row.reply_to,
      replyToMicroblog: row.reply_to_microblog,
      person: row.person_id,
    });
    entries.set(row.ord, of);
  }
  return places.flatMap((place) => {
    const want = wants[place.ord - 1];
    if (want === undefined) return [];
    return [
      {
        shard: want.shard,
        log: want.log,
        epochNo: want.epochNo,
        audience: place.audience,
        microblog: place.microblog_id,
        originLog: place.origin_log_id,
        epoch: place.epoch,
        fork: place.fork,
        cursor: place.cursor,
        hash: place.hash,
        isParked: place.is_parked,
        entries: entries.get(place.ord) ?? [],
      },
    ];
  });
}

/** Whether the entries follow the cursor without a hole. */
export function isContiguous({ cursor, entries }: Pick<Stretch, 'cursor' | 'entries'>): boolean {
  return entries.every(({ number }, index) => number === cursor + BigInt(index) + 1n);
}
