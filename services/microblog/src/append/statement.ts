/**
 * The one statement that appends a batch, and how a batch becomes its parameters.
 *
 *   incoming   the batch, a row per append, in the order of the batch
 *   known      rows whose key has an answer already: they get it, and no number. One look into the index
 *              per key; a join would be planned as a scan of all keys there are
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
 * written in hexadecimal, at twice the size. A column that is NULL in every row travels as an empty
 * array, which `unnest` fills up. The references of a relay come as the JSON that they are if every row
 * of that relay wins, which is the rule; otherwise they are taken from it one by one and given their
 * numbers. The answer is one text, since a thousand rows of it cost more than the rest of the query.
 */
import { ENTRY_KINDS, type LogId, type PostId } from '@dmb/protocol';
import { relayOf } from '@dmb/postgres';
import { AppError } from '@dmb/runtime';
import { entryRefWire, type EntryRef } from '@dmb/events';
import type { AppendRequest } from '../domain/model.ts';
import { appendLimits } from '../limits.ts';
import { logKey, type Head } from './heads.ts';

const columns = 'log_shard, log_id, epoch_no, number, id, kind, object_id, envelope, body, about, what, listed, reply_to, reply_to_microblog, person_id, app_name, app_website';
const values =
  'log_shard, log_id, epoch_no, number, id, kind, object_id, substring($1::bytea FROM envelope_at FOR envelope_length), substring($1::bytea FROM body_at FOR body_length), about, what, listed, reply_to, reply_to_microblog, person_id, app_name, app_website';

/** The statement. Parameters as {@link toParameters} makes them. */
export const appendSql = `
WITH incoming AS MATERIALIZED (
  SELECT * FROM unnest($3::int2[], $4::uuid[], $5::int4[], $6::int8[], $7::int8[], $8::int2[], $9::uuid[], $10::int4[], $11::int4[], $12::int4[], $13::int4[],
                       $14::int8[], $15::text[], $16::bool[], $17::int8[], $18::uuid[], $19::uuid[], $20::uuid[], $21::text[], $22::bool[], $26::text[], $27::text[])
    WITH ORDINALITY AS t(log_shard, log_id, epoch_no, base, id, kind, object_id, envelope_at, envelope_length, body_at, body_length,
                         about, what, listed, reply_to, reply_to_microblog, person_id, scope, key, for_ever, app_name, app_website, ord)
), known AS MATERIALIZED (
  SELECT i.ord, k.* FROM incoming i
  CROSS JOIN LATERAL (SELECT log_id, epoch_no, number, id FROM append_key k WHERE (k.log_shard, k.scope, k.key) = (i.log_shard, i.scope, i.key) LIMIT 1) k
  WHERE i.key IS NOT NULL
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
), planned AS MATERIALIZED (
  SELECT relay, expected, refs::jsonb AS refs FROM unnest($23::int2[], $24::int4[], string_to_array($25::text, E'\\n')) AS t(relay, expected, refs)
), told AS (
  INSERT INTO outbox (relay, topic, refs, headers)
  SELECT relay, 'microblog.entry.v1', CASE WHEN p.expected = w.entered THEN p.refs ELSE (
      SELECT jsonb_agg(jsonb_set(p.refs -> r.place, '{3}', to_jsonb(r.number::text)) ORDER BY r.ord)
      FROM (SELECT i.ord, x.number, (row_number() OVER (ORDER BY i.ord) - 1)::int4 AS place FROM incoming i LEFT JOIN won x USING (ord) WHERE i.log_shard % 16 = p.relay) r
      WHERE r.number IS NOT NULL
    ) END, $2::jsonb
  FROM planned p JOIN (SELECT log_shard % 16 AS relay, count(*) AS entered FROM won GROUP BY 1) w USING (relay) ORDER BY relay
)
SELECT string_agg(CASE WHEN k.ord IS NULL THEN coalesce(w.number::text, '') ELSE concat_ws(' ', k.number, k.id, k.log_id, k.epoch_no) END, ',' ORDER BY i.ord) AS answers
FROM incoming i LEFT JOIN known k USING (ord) LEFT JOIN won w USING (ord)`;

/** What became of one row of a batch. */
export type AppendAnswer =
  | { readonly how: 'won'; readonly number: bigint; readonly id: PostId }
  /** Its key has this answer. */
  | { readonly how: 'known'; readonly number: bigint; readonly id: PostId; readonly log: LogId; readonly epochNo: number }
  | { readonly how: 'lost' };

/** What the statement answered to these rows, in the order of the batch. */
export function toAnswers(rows: readonly BatchRow[], [answer]: readonly { readonly answers: string }[]): AppendAnswer[] {
  const parts = answer?.answers.split(',') ?? [];
  if (parts.length !== rows.length) throw new AppError('bug', undefined, { detail: `${parts.length} answers to ${rows.length} appends` });
  return rows.map(({ id }, index) => {
    const [number = '', knownId, log, epochNo] = parts[index]?.split(' ') ?? [];
    if (number === '') return { how: 'lost' };
    if (knownId === undefined) return { how: 'won', number: BigInt(number), id };
    return { how: 'known', number: BigInt(number), id: BigInt(knownId) as PostId, log: log as LogId, epochNo: Number(epochNo) };
  });
}

/** One row of a batch: what is asked, the head it is numbered from, the id drawn with that. */
export interface BatchRow {
  readonly request: AppendRequest;
  /** uuid form of the key's scope. */
  readonly scope: string | null;
  readonly head: Head;
  readonly id: PostId;
}

/** The parameters of {@link appendSql}, but for the headers of the outbox rows: those are in place {@link headersAt}. */
export function toParameters(rows: readonly BatchRow[]): unknown[] {
  const parts: Uint8Array[] = [];
  const envelopeAt: number[] = [];
  const bodyAt: number[] = [];
  let next = 1;
  for (const { request } of rows) {
    envelopeAt.push(next);
    bodyAt.push(next + request.envelope.length);
    parts.push(request.envelope, request.body);
    next += request.envelope.length + request.body.length;
  }
  const relays = [...references(rows)];
  return [
    Buffer.concat(parts),
    '{}',
    array(rows, ({ request }) => request.log.shard),
    array(rows, ({ request }) => request.log.log),
    array(rows, ({ request }) => request.log.epochNo),
    array(rows, ({ head }) => head.number),
    array(rows, ({ id }) => id),
    array(rows, ({ request }) => ENTRY_KINDS[request.kind]),
    array(rows, ({ request }) => request.objectId),
    `{${envelopeAt.join(',')}}`,
    array(rows, ({ request }) => request.envelope.length),
    `{${bodyAt.join(',')}}`,
    array(rows, ({ request }) => request.body.length),
    array(rows, ({ request }) => request.about),
    array(rows, ({ request }) => quoted(request.what)),
    array(rows, ({ request }) => request.listed ?? false),
    array(rows, ({ request }) => request.replyTo),
    array(rows, ({ request }) => request.replyToMicroblog),
    array(rows, ({ request }) => request.person),
    array(rows, ({ scope }) => scope),
    array(rows, ({ request }) => quoted(request.key?.key)),
    array(rows, ({ request }) => (request.key === undefined ? undefined : request.key.expires === 'never')),
    `{${relays.map(([relay]) => relay).join(',')}}`,
    `{${relays.map(([, refs]) => refs.length).join(',')}}`,
    relays.map(([, refs]) => `[${refs.join(',')}]`).join('\n'),
    array(rows, ({ request }) => quoted(request.app?.name)),
    array(rows, ({ request }) => quoted(request.app?.website ?? undefined)),
  ];
}

/** Where {@link toParameters} leaves room for the headers, as JSON. */
export const headersAt = 1;

/** References by relay, as JSON, with the numbers that entries get if all of them win. */
function references(rows: readonly BatchRow[]): Map<number, string[]> {
  const relays = new Map<number, string[]>();
  const numbers = new Map<string, bigint>();
  for (const { request, head, id } of rows) {
    const { log, kind } = request;
    const key = logKey(log);
    const number = (numbers.get(key) ?? head.number) + 1n;
    numbers.set(key, number);
    const ref: EntryRef = { shard: log.shard, log: log.log, epochNo: log.epochNo, number, kind: ENTRY_KINDS[kind], id, audience: head.audience, microblog: head.microblog, late: false };
    const relay = relayOf(log.shard);
    const refs = relays.get(relay);
    if (refs === undefined) relays.set(relay, [JSON.stringify(entryRefWire(ref))]);
    else refs.push(JSON.stringify(entryRefWire(ref)));
  }
  return relays;
}

/** A column as an array literal; empty if it is NULL throughout. */
function array(rows: readonly BatchRow[], value: (row: BatchRow) => string | number | bigint | boolean | null | undefined): string {
  let text = '';
  let isNull = true;
  for (const row of rows) {
    const element = value(row);
    if (element === undefined || element === null) {
      text += ',NULL';
    } else {
      isNull = false;
      text += `,${element}`;
    }
  }
  return isNull ? '{}' : `{${text.slice(1)}}`;
}

/** A text as an element of an array literal. */
function quoted(text: string | undefined): string | undefined {
  return text === undefined ? undefined : `"${text.replace(/["\\]/g, '\\$&')}"`;
}
