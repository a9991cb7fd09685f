/**
 * Effects in the shard of the log: head hashes, hashtags and counts. They are written in the transaction that
 * moves the cursor, so each entry has them exactly once; a cursor that another process moved
 * meanwhile undoes them all.
 */
import { ENTRY_KINDS, firstHeadHash, nextHeadHash, parseBody, type MicroblogId, type PostId } from '@dmb/protocol';
import { statement, type Transaction } from '@dmb/postgres';
import { createdAt } from '../store/entries.ts';
import { foldHashtag } from '../text/segments.ts';
import type { Stretch, StoredEntry } from './stretch.ts';
import type { Named } from './outside.ts';

/** Another process has moved a cursor: read again. */
export class CursorMoved extends Error {
  constructor() {
    super('a cursor was moved by another process');
  }
}

/** Applies and moves the cursors of all these stretches, or of none. @throws {CursorMoved} */
export async function applyInside(tx: Transaction, stretches: readonly Stretch[], named: Named): Promise<void> {
  await moveCursors(tx, stretches);
  await insertHashes(tx, stretches);
  await tag(tx, stretches, named);
  await count(tx, stretches, named);
}

async function moveCursors(tx: Transaction, stretches: readonly Stretch[]): Promise<void> {
  const sorted = stretches.toSorted((a, b) => (a.log < b.log ? -1 : 1));
  const keys = [sorted.map(({ shard }) => shard), sorted.map(({ log }) => log), sorted.map(({ epochNo }) => epochNo), sorted.map(({ cursor }) => cursor)];
  await tx.execute(
    statement(`INSERT INTO cursor (log_shard, log_id, epoch_no, number) SELECT * FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[]) ON CONFLICT (log_shard, log_id, epoch_no) DO NOTHING`),
    keys,
  );
  const moved = await tx.execute(
    statement(`UPDATE cursor c SET number = t.next FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[], $5::int8[]) AS t(log_shard, log_id, epoch_no, expected, next)
     WHERE (c.log_shard, c.log_id, c.epoch_no, c.number) = (t.log_shard, t.log_id, t.epoch_no, t.expected)`),
    [...keys, sorted.map(({ cursor, entries }) => cursor + BigInt(entries.length))],
  );
  if (moved !== stretches.length) throw new CursorMoved();
}

/** Own and direct logs never leave the server: nobody asks for their hashes. */
async function insertHashes(tx: Transaction, stretches: readonly Stretch[]): Promise<void> {
  const rows = stretches.filter(({ audience }) => audience !== 'own' && audience !== 'direct').flatMap((stretch) => hashesOf(stretch).map((row) => ({ stretch, ...row })));
  if (rows.length === 0) return;
  await tx.execute(
    statement(`INSERT INTO log_hash (log_shard, log_id, epoch_no, number, hash) SELECT * FROM unnest($1::int2[], $2::uuid[], $3::int4[], $4::int8[], $5::bytea[]) ON CONFLICT DO NOTHING`),
    [rows.map(({ stretch }) => stretch.shard), rows.map(({ stretch }) => stretch.log), rows.map(({ stretch }) => stretch.epochNo), rows.map(({ number }) => number), rows.map(({ hash }) => hash)],
  );
}

/** Head hashes of the entries of a stretch; none where the hash before it is not known. */
function hashesOf(stretch: Stretch): { readonly number: bigint; readonly hash: Buffer }[] {
  let last: Uint8Array | null = stretch.cursor === stretch.fork ? firstHeadHash(stretch.originLog, stretch.epoch) : stretch.hash;
  if (last === null) return [];
  const hashes: { number: bigint; hash: Buffer }[] = [];
  for (const { number, envelope } of stretch.entries) {
    last = nextHeadHash(last, number, envelope);
    hashes.push({ number, hash: Buffer.from(last) });
  }
  return hashes;
}

/** Posts of public logs, by microblog. */
async function count(tx: Transaction, stretches: readonly Stretch[], named: Named): Promise<void> {
  const counts = new Map<MicroblogId, { readonly shard: number; posts: number; last: Date | null }>();
  for (const stretch of stretches) {
    if (stretch.audience !== 'public' || stretch.microblog === null) continue;
    const of = counts.get(stretch.microblog) ?? { shard: stretch.shard, posts: 0, last: null };
    counts.set(stretch.microblog, of);
    for (const entry of stretch.entries) {
      if (entry.kind === ENTRY_KINDS.post) {
        const made = createdAt(entry.envelope, entry.id);
        of.posts += 1;
        if (of.last === null || of.last < made) of.last = made;
      }
      if (entry.kind === ENTRY_KINDS.delete && named.of(stretch, entry.about)?.kind === ENTRY_KINDS.post) of.posts -= 1;
    }
  }
  const rows = [...counts].filter(([, { posts, last }]) => posts !== 0 || last !== null).sort(([a], [b]) => (a < b ? -1 : 1));
  if (rows.length === 0) return;
  await tx.execute(
    statement(`INSERT INTO statistics AS s (log_shard, microblog_id, posts, last_post_at) SELECT * FROM unnest($1::int2[], $2::uuid[], $3::int8[], $4::timestamptz[])
     ON CONFLICT (log_shard, microblog_id) DO UPDATE SET posts = s.posts + excluded.posts, last_post_at = greatest(s.last_post_at, excluded.last_post_at)`),
    [rows.map(([, { shard }]) => shard), rows.map(([microblog]) => microblog), rows.map(([, { posts }]) => posts), rows.map(([, { last }]) => last)],
  );
}

/** Hashtags of public posts as their newest version has them. */
async function tag(tx: Transaction, stretches: readonly Stretch[], named: Named): Promise<void> {
  const tagged = new Map<PostId, { readonly shard: number; readonly isNew: boolean; readonly tags: readonly string[] }>();
  for (const stretch of stretches) {
    if (stretch.audience !== 'public') continue;
    for (const entry of stretch.entries) {
      if (entry.kind === ENTRY_KINDS.post) tagged.set(entry.id, { shard: stretch.shard, isNew: true, tags: hashtagsOf(entry) });
      const about = entry.kind === ENTRY_KINDS.edit || entry.kind === ENTRY_KINDS.delete ? named.of(stretch, entry.about) : undefined;
      if (about !== undefined) tagged.set(about.id, { shard: stretch.shard, isNew: false, tags: about.isErased ? [] : hashtagsOf(entry) });
    }
  }
  const changed = [...tagged].filter(([, { isNew }]) => !isNew);
  if (changed.length > 0) {
    await tx.execute(statement('DELETE FROM tagging g USING unnest($1::int2[], $2::int8[]) AS t(log_shard, id) WHERE (g.log_shard, g.id) = (t.log_shard, t.id)'), [
      changed.map(([, { shard }]) => shard),
      changed.map(([id]) => id),
    ]);
  }
  const rows = [...tagged].flatMap(([id, { shard, tags }]) => tags.map((name) => ({ shard, id, name })));
  if (rows.length === 0) return;
  await tx.execute(statement('INSERT INTO tagging (log_shard, id, tag) SELECT * FROM unnest($1::int2[], $2::int8[], $3::text[]) ON CONFLICT DO NOTHING'), [
    rows.map(({ shard }) => shard),
    rows.map(({ id }) => id),
    rows.map(({ name }) => name),
  ]);
}

function hashtagsOf({ kind, body }: StoredEntry): string[] {
  if (body === null || (kind !== ENTRY_KINDS.post && kind !== ENTRY_KINDS.edit)) return [];
  const parsed = kind === ENTRY_KINDS.post ? parseBody('post', body) : parseBody('edit', body);
  if (parsed.result !== 'body') return [];
  const { tag: tags = [] } = parsed.body;
  return [...new Set(tags.flatMap(({ type, name }) => (type === 'Hashtag' && typeof name === 'string' ? [foldHashtag(name.slice(1))] : [])))];
}
