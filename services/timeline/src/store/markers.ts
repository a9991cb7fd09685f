/** Table `marker`. */
import { statement, type Databases } from '@dmb/postgres';
import { shardOf, type MicroblogId, type PersonId } from '@dmb/protocol';

export const markedTimelines = ['home', 'notifications'] as const;
export type MarkedTimeline = (typeof markedTimelines)[number];

/** How far somebody has read. */
export interface MarkerRow {
  readonly timeline: MarkedTimeline;
  readonly lastReadId: bigint;
  readonly version: number;
  readonly updatedAt: Date;
}

/** Whose markers: those of a person, acting as a microblog. */
export interface MarkerOwner {
  readonly person: PersonId;
  readonly microblog: MicroblogId;
}

const columns = 'timeline, last_read_id AS "lastReadId", version, updated_at AS "updatedAt"';
const readSql = statement(`SELECT ${columns} FROM marker WHERE (person_shard, person_id, microblog_id) = ($1, $2, $3) AND timeline = ANY ($4)`);
const writeSql = statement(`
  INSERT INTO marker (person_shard, person_id, microblog_id, timeline, last_read_id)
  SELECT $1, $2, $3, t.* FROM unnest($4::text[], $5::int8[]) AS t(timeline, last_read_id) ORDER BY timeline
  ON CONFLICT (person_shard, person_id, microblog_id, timeline)
    DO UPDATE SET last_read_id = EXCLUDED.last_read_id, version = marker.version + 1, updated_at = now()
  RETURNING ${columns}`);
const removeSql = statement('DELETE FROM marker WHERE (person_shard, person_id) = ($1, $2)');

export class MarkerStore {
  private readonly databases: Databases;

  constructor(databases: Databases) {
    this.databases = databases;
  }

  async read({ person, microblog }: MarkerOwner, timelines: readonly MarkedTimeline[]): Promise<MarkerRow[]> {
    const shard = shardOf(person);
    return await this.databases.at(shard).query<MarkerRow & Record<string, unknown>>(readSql, [shard, person, microblog, timelines]);
  }

  /** Sets markers, also back: whoever marks as unread means it. */
  async write({ person, microblog }: MarkerOwner, markers: readonly { readonly timeline: MarkedTimeline; readonly lastReadId: bigint }[]): Promise<MarkerRow[]> {
    const shard = shardOf(person);
    const values = [markers.map(({ timeline }) => timeline), markers.map(({ lastReadId }) => lastReadId)];
    return await this.databases.at(shard).query<MarkerRow & Record<string, unknown>>(writeSql, [shard, person, microblog, ...values]);
  }

  /** Forgets everything of a person. */
  async removePerson(person: PersonId): Promise<void> {
    const shard = shardOf(person);
    await this.databases.at(shard).execute(removeSql, [shard, person]);
  }
}
