/**
 * The one statement that appends a batch, and how a batch becomes its parameters.
 *
 *   incoming   the batch, a row per append, in the order of the batch
 *   known      rows whose key has an answer already: they get it, and no number
 *   survivor   the others, numbered here per log from `base` (the head that we believe in). Numbers given
 *              before would have holes where a known row drops out
 *   lock       the first row of each log. Its primary key is the lock of the log: whoever inserts
 *              base + 1 owns what follows, because nobody can have base + 2 without it. Only here
 *              ON CONFLICT DO NOTHING; on every row, rows 7 and 8 would enter while 6 was lost. In
 *              one order for all sessions, so that they do not wait for each other in a circle. The fence
 *              (the entry `base`, or the epoch's fork, exists) makes a hole impossible when our head
 *              is of commits that a failover lost
 *   won        the survivors of the logs whose first row entered
 *   rest, keyed, told
 *              what follows from that: the other rows, the keys (a racing key raises), one outbox row per
 *              relay with a reference per entry. Its `seq` is drawn after all waiting, so that per log
 *              the order of seq is the order of numbers
 *
 * A batch must not have one key twice: the statement does not look for doubles within itself.
 *
 * Envelopes and bodies travel as one binary value and are cut in SQL; arrays of bytea would be
 * written in hexadecimal, at twice the size. References are joined as text: a jsonb value built
 * element by element costs more than the entry's own row.
 */
import { ENTRY_KINDS, type PostId } from '@dmb/protocol';
import { json } from '@dmb/postgres';
import { entryRefWire, type EntryRef } from '@dmb/events';
import type { AppendRequest } from '../domain/model.ts';
import { appendLimits } from '../limits.ts';
import type { Head } from './heads.ts';

const columns = 'log_shard, log_id, epoch_no, number, id, kind, object_id, envelope, body, about, what, listed, reply_to, reply_to_microblog, person_id';
const values =
  'log_shard, log_id, epoch_no, number, id, kind, object_id, substring($1::bytea FROM envelope_at FOR envelope_length), substring($1::bytea FROM body_at FOR body_length), about, what, listed, reply_to, reply_to_microblog, person_id';

/** The statement. Parameters as {@link toParameters} makes them. */
export const appendSql = `
WITH incoming AS MATERIALIZED (
  SELECT * FROM unnest($3::int2[], $4::uuid[], $5::int4[], $6::int8[], $7::int8[], $8::int2[], $9::uuid[], $10::int4[], $11::int4[], $12::int4[], $13::int4[],
                       $14::int8[], $15::text[], $16::bool[], $17::int8[], $18::uuid[], $19::uuid[], $20::uuid[], $21::text[], $22::bool[], $23::text[])
    WITH ORDINALITY AS t(log_shard, log_id, epoch_no, base, id, kind, object_id, envelope_at, envelope_length, body_at, body_length,
                         about, what, listed, reply_to, reply_to_microblog, person_id, scope, key, for_ever, reference, ord)
), known AS MATERIALIZED (
  SELECT i.ord, k.log_id, k.epoch_no, k.number, k.id FROM incoming i JOIN append_key k USING (log_shard, scope, key)
), survivor AS MATERIALIZED (
  SELECT i.*, row_number() OVER per_log AS nth, i.base + row_number() OVER per_log AS number
  FROM incoming i WHERE NOT EXISTS (SELECT FROM known k WHERE k.ord = i.ord)
  WINDOW per_log AS (PARTITION BY log_shard, log_id, epoch_no ORDER BY ord)
), lock AS (
  INSERT INTO entry (${columns})
  SELECT ${values} FROM survivor s
  WHERE nth = 1 AND (EXISTS (SELECT FROM entry e WHERE (e.log_shard, e.log_id, e.epoch_no, e.number) = (s.log_shard, s.log_id, s.epoch_no, s.base))
                  OR EXISTS (SELECT FROM epoch e WHERE (e.log_shard, e.log_id, e.epoch_no, e.fork) = (s.log_shard, s.log_id, s.epoch_no, s.base)))
  ORDER BY log_shard, log_id, epoch_no
  ON CONFLICT (log_shard, log_id, epoch_no, number) DO NOTHING
  RETURNING log_shard, log_id, epoch_no
), won AS MATERIALIZED (
  SELECT s.* FROM survivor s JOIN lock USING (log_shard, log_id, epoch_no)
), rest AS (
  INSERT INTO entry (${columns})
  SELECT ${values} FROM won WHERE nth > 1 ORDER BY log_shard, log_id, epoch_no, number
), keyed AS (
  INSERT INTO append_key (log_shard, scope, key, log_id, epoch_no, number, id, expires)
  SELECT log_shard, scope, key, log_id, epoch_no, number, id, CASE WHEN NOT for_ever THEN now() + interval '${appendLimits.tokenKeyHours} h' END
  FROM won WHERE key IS NOT NULL ORDER BY log_shard, scope, key
), told AS (
  INSERT INTO outbox (relay, topic, refs, headers)
  SELECT log_shard % 16, 'microblog.entry.v1', ('[' || string_agg(replace(reference, '#', number::text), ',' ORDER BY ord) || ']')::jsonb, $2::jsonb
  FROM won GROUP BY 1 ORDER BY 1
)
SELECT i.ord::int4 AS ord, CASE WHEN k.ord IS NOT NULL THEN 'known' WHEN w.ord IS NOT NULL THEN 'won' ELSE 'lost' END AS how,
       coalesce(k.log_id, i.log_id) AS log, coalesce(k.epoch_no, i.epoch_no) AS epoch_no, coalesce(k.number, w.number) AS number, coalesce(k.id, w.id) AS id
FROM incoming i LEFT JOIN known k USING (ord) LEFT JOIN won w USING (ord) ORDER BY i.ord`;

/** What the statement answers for each row, in the order of the batch. */
export interface AppendAnswer {
  readonly ord: number;
  readonly how: 'known' | 'won' | 'lost';
  readonly log: string;
  readonly epoch_no: number;
  /** Null when lost. */
  readonly number: bigint | null;
  readonly id: bigint | null;
}

/** One row of a batch: what is asked, the head it is numbered from, the id drawn with that. */
export interface BatchRow {
  readonly request: AppendRequest;
  /** uuid form of the key's scope. */
  readonly scope: string | null;
  readonly head: Head;
  readonly id: PostId;
}

/** The parameters of {@link appendSql}. */
export function toParameters(rows: readonly BatchRow[], headers: Readonly<Record<string, string>>): unknown[] {
  const parts: Uint8Array[] = [];
  const at: { envelope: number; body: number }[] = [];
  let next = 1;
  for (const { request } of rows) {
    at.push({ envelope: next, body: next + request.envelope.length });
    parts.push(request.envelope, request.body);
    next += request.envelope.length + request.body.length;
  }
  const array = (value: (row: BatchRow, index: number) => string | number | bigint | boolean | null | undefined): string =>
    `{${rows.map((row, index) => value(row, index) ?? 'NULL').join(',')}}`;
  return [
    Buffer.concat(parts),
    json(headers),
    array(({ request }) => request.log.shard),
    array(({ request }) => request.log.log),
    array(({ request }) => request.log.epochNo),
    array(({ head }) => head.number),
    array(({ id }) => id),
    array(({ request }) => ENTRY_KINDS[request.kind]),
    array(({ request }) => request.objectId),
    array((_, index) => at[index]?.envelope),
    array(({ request }) => request.envelope.length),
    array((_, index) => at[index]?.body),
    array(({ request }) => request.body.length),
    array(({ request }) => request.about),
    array(({ request }) => quoted(request.what)),
    array(({ request }) => request.listed ?? false),
    array(({ request }) => request.replyTo),
    array(({ request }) => request.replyToMicroblog),
    array(({ request }) => request.person),
    array(({ scope }) => scope),
    array(({ request }) => quoted(request.key?.key)),
    array(({ request }) => request.key?.expires === 'never'),
    array((row) => quoted(reference(row))),
  ];
}

/** The compact reference of an entry with `#` where its number will be: no id, audience or kind has that character. */
function reference({ request: { log, kind }, head, id }: BatchRow): string {
  const ref: EntryRef = { ...log, number: 0n, kind: ENTRY_KINDS[kind], id, audience: head.audience, microblog: head.microblog, late: false };
  return JSON.stringify(entryRefWire(ref).with(3, '#'));
}

/** A text as an element of an array literal. */
function quoted(text: string | undefined): string | undefined {
  return text === undefined ? undefined : `"${text.replace(/["\\]/g, '\\$&')}"`;
}
