/**
 * The outbox: how a producing service tells others what it has committed.
 *
 * A row is written in the transaction of the effect, so it exists exactly if the effect does. It
 * holds references in the compact wire form of its topic, never bodies; one row carries many.
 * `relay` spreads the rows over {@link relayCount} queues: shard % 16, so everything about one
 * microblog or person is in one queue, and `seq` orders a queue. `seq` is drawn when the row is
 * written, and a transaction that drew a low one may commit late: a reader that remembers how far
 * it came would skip it. So rows are found by being there, and leave when they have been handled.
 *
 * The tables belong to the schema of the producer; its migrations begin with
 * {@link outboxMigrations}.
 */
import type { TopicName } from '@dmb/events';
import { shardCount } from './installation.ts';
import { outboxLimits } from './limits.ts';
import type { Migration } from './migrations.ts';
import { json } from './values.ts';
import type { Transaction } from './session.ts';

/** Queues in each outbox. */
export const relayCount = 16;

/** The queue of a shard. */
export function relayOf(shard: number): number {
  return shard % relayCount;
}

/**
 * Tables of an outbox. `outbox_consumer` and `outbox_mark` are used in one process only, where the
 * outbox is itself the event log: who takes part, and who has handled which row.
 */
export const outboxDdl = `
CREATE SEQUENCE outbox_seq CACHE 1;
CREATE TABLE outbox (
  relay   int2 NOT NULL,
  seq     int8 NOT NULL DEFAULT nextval('outbox_seq'),
  topic   text NOT NULL,
  refs    jsonb NOT NULL,
  headers jsonb NOT NULL DEFAULT '{}',
  created timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (relay, seq)
);
CREATE TABLE outbox_consumer (
  consumer   text PRIMARY KEY,
  topics     text[] NOT NULL,
  told       boolean NOT NULL DEFAULT false,
  registered timestamptz NOT NULL DEFAULT now(),
  seen       timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE outbox_mark (
  relay    int2 NOT NULL,
  seq      int8 NOT NULL,
  consumer text NOT NULL,
  PRIMARY KEY (relay, seq, consumer)
);
-- Rows come and go all the time: without this the dead ones of a busy hour are read again and again.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE outbox_mark SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
`;

/**
 * Who works on which queue while rows are carried elsewhere, until when, and how often somebody asked
 * for it to be looked at. Used in the cluster only.
 */
const outboxLeaseDdl = `
CREATE TABLE outbox_lease (
  relay  int2 PRIMARY KEY,
  holder text,
  until  timestamptz NOT NULL DEFAULT '-infinity',
  wanted int8 NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO outbox_lease (relay) SELECT * FROM generate_series(0, ${relayCount - 1});
`;

/** The migrations of a producing service begin with these. */
export const outboxMigrations: readonly Migration[] = [
  { name: 'outbox_0001', sql: outboxDdl },
  { name: 'outbox_0002', sql: outboxLeaseDdl },
];

/** Events of one shard for the outbox. */
export interface OutboxEvents {
  readonly topic: TopicName;
  readonly shard: number;
  /** Wire forms, in order. */
  readonly refs: readonly (readonly unknown[])[];
  /** Trace context of the producer. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Writes events into the outbox of the service that `tx` belongs to. Tell the event log after the commit. */
export async function insertOutbox(tx: Pick<Transaction, 'execute'>, { topic, shard, refs, headers }: OutboxEvents): Promise<void> {
  if (!Number.isInteger(shard) || shard < 0 || shard >= shardCount) throw new RangeError(`${shard} is no shard`);
  for (let from = 0; from < refs.length; from += outboxLimits.refsPerRowMax) {
    await tx.execute('INSERT INTO outbox (relay, topic, refs, headers) VALUES ($1, $2, $3, $4)', [
      relayOf(shard),
      topic,
      json(refs.slice(from, from + outboxLimits.refsPerRowMax)),
      json(headers),
    ]);
  }
}
