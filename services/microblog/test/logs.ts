/** Bare logs for tests of appending: no microblog, no handle, only what the statement needs. */
import { createEntry, domainIdOf, newEpochId, newLogId, newMicroblogId, newObjectId, shardOf, type Domain, type EntryKind, type LogId, type MicroblogId } from '@dmb/protocol';
import type { LogRef } from '@dmb/events';
import type { Databases } from '@dmb/postgres';
import type { AppendRequest } from '../src/domain/model.ts';

export interface TestLog extends LogRef {
  readonly microblog: MicroblogId;
}

export const testDomainId = domainIdOf('dmb.test' as Domain);

/** Makes logs of microblogs drawn at random; with `shardModulo`, of shards that are 0 modulo it. */
export async function makeLogs(databases: Databases, count: number, shard?: number): Promise<TestLog[]> {
  const logs: TestLog[] = [];
  while (logs.length < count) {
    const microblog = newMicroblogId();
    if (shard !== undefined && shardOf(microblog) !== shard) continue;
    logs.push({ shard: shardOf(microblog), log: newLogId(), epochNo: 1, microblog });
  }
  for (const [database, group] of databases.group(logs, (log) => log.shard)) {
    const params = [group.map((log) => log.shard), group.map(({ log }) => log)];
    await database.execute(
      `INSERT INTO log (log_shard, log_id, origin_log_id, domain_id, microblog_id, audience)
       SELECT s, l, l, $3::uuid, m, 'public' FROM unnest($1::int2[], $2::uuid[], $4::uuid[]) AS t(s, l, m)`,
      [...params, testDomainId, group.map(({ microblog }) => microblog)],
    );
    await database.execute('INSERT INTO epoch (log_shard, log_id, epoch_no, epoch) SELECT s, l, 1, $3::uuid FROM unnest($1::int2[], $2::uuid[]) AS t(s, l)', [...params, newEpochId()]);
  }
  return logs;
}

/** A post for a log; the text is as long as asked. */
export function postFor(log: LogRef, text = 'x'.repeat(140), kind: EntryKind = 'post'): AppendRequest {
  const objectId = newObjectId(log.shard);
  const entry = createEntry('post', objectId, Date.now(), { type: 'Note', content: text });
  return { log: { shard: log.shard, log: log.log, epochNo: log.epochNo }, kind, envelope: entry.envelope, body: entry.body, objectId };
}

export interface StoredEntry {
  readonly log_id: LogId;
  readonly epoch_no: number;
  readonly number: bigint;
  readonly id: bigint;
  readonly object_id: string;
}

export async function storedEntries(databases: Databases): Promise<StoredEntry[]> {
  const rows = await Promise.all(databases.all.map((database) => database.query<StoredEntry>('SELECT log_id, epoch_no, number, id, object_id FROM entry ORDER BY log_id, epoch_no, number')));
  return rows.flat();
}

/** What is wrong with the logs: holes, falling ids, references that are not exactly the entries in order. Empty when all is well. */
export async function faults(databases: Databases): Promise<string[]> {
  const found: string[] = [];
  const last = new Map<string, StoredEntry>();
  const all = await storedEntries(databases);
  for (const entry of all) {
    const key = `${entry.log_id}/${entry.epoch_no}`;
    const before = last.get(key);
    if (entry.number !== (before?.number ?? 0n) + 1n) found.push(`hole: ${key} ${before?.number ?? 0n} → ${entry.number}`);
    if (before !== undefined && entry.id <= before.id) found.push(`ids fall: ${key} at ${entry.number}`);
    last.set(key, entry);
  }
  const told = new Map<string, bigint>();
  const idOf = new Map(all.map((entry) => [`${entry.log_id}/${entry.epoch_no}/${entry.number}`, String(entry.id)]));
  let references = 0;
  for (const database of databases.all) {
    const rows = await database.query<{ refs: unknown[][] }>('SELECT refs FROM outbox ORDER BY relay, seq');
    for (const ref of rows.flatMap(({ refs }) => refs)) {
      const key = `${String(ref[1])}/${String(ref[2])}`;
      const number = BigInt(String(ref[3]));
      if (number !== (told.get(key) ?? 0n) + 1n) found.push(`told out of order: ${key} ${told.get(key) ?? 0n} → ${number}`);
      if (String(ref[5]) !== idOf.get(`${key}/${number}`)) found.push(`told with another id: ${key} ${number}`);
      told.set(key, number);
      references += 1;
    }
  }
  if (references !== all.length) found.push(`${references} references of ${all.length} entries`);
  const [doubles] = (
    await Promise.all(databases.all.map((database) => database.query<{ count: bigint }>('SELECT count(*) AS count FROM (SELECT FROM append_key GROUP BY log_shard, scope, key HAVING count(*) > 1) d')))
  ).flat();
  if ((doubles?.count ?? 0n) !== 0n) found.push(`${doubles?.count} keys twice`);
  return found;
}
