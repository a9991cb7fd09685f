/**
 * What becomes of a person's personal microblog when something happens to the person.
 *
 * Suspended: every reading path refuses it, until restored. Removed: it is closed for good, with an
 * entry that tells whoever replicates it, and its bodies are erased, some at a time; the event is
 * handled only when all are gone, so a crash in between begins again where it was.
 */
import { createEntry, newObjectId } from '@dmb/protocol';
import type { PersonEvent } from '@dmb/events';
import type { Databases } from '@dmb/postgres';
import type { Appender } from '../append/appender.ts';
import type { Microblog } from '../domain/model.ts';
import { readLimits } from '../limits.ts';
import type { MicroblogStore } from '../store/microblogs.ts';

export class PersonCommands {
  readonly #databases: Databases;
  readonly #appender: Appender;
  readonly #microblogs: MicroblogStore;

  constructor(parts: { readonly databases: Databases; readonly appender: Appender; readonly microblogs: MicroblogStore }) {
    this.#databases = parts.databases;
    this.#appender = parts.appender;
    this.#microblogs = parts.microblogs;
  }

  /** Makes it so; handling an event again changes nothing. */
  async applyPersonEvent({ person, what }: PersonEvent): Promise<void> {
    if (what === 'created' || what === 'tokens-revoked') return;
    const microblog = await this.#microblogs.personalOf(person);
    if (microblog === undefined) return;
    if (what === 'removed') return await this.#close(microblog);
    const [from, to] = what === 'suspended' ? ['active', 'suspended'] : ['suspended', 'active'];
    await this.#databases.at(microblog.shard).execute('UPDATE microblog SET state = $4 WHERE (log_shard, microblog_id, state) = ($1, $2, $3)', [microblog.shard, microblog.id, from, to]);
  }

  async #close(microblog: Microblog): Promise<void> {
    const logs = await this.#microblogs.logsOf(microblog.id);
    if (logs === undefined) return;
    const { shard, log, epochNo } = logs.public;
    await this.#appender.append({
      ...createEntry('closed', newObjectId(shard), Date.now(), {}),
      log: { shard, log, epochNo },
      kind: 'closed',
      key: { scope: log, key: 'closed', expires: 'never' },
      effect: {
        check: () => Promise.resolve(),
        apply: async (tx) => {
          await tx.execute(`UPDATE microblog SET state = 'closed', title = '', summary = '', fields = '[]' WHERE (log_shard, microblog_id) = ($1, $2)`, [shard, microblog.id]);
        },
      },
    });
    const database = this.#databases.at(shard);
    const ids = [logs.public, logs.followers, logs.direct, logs.own].map((each) => each.log);
    let erased: number;
    do {
      erased = await database.execute(
        `UPDATE entry SET body = NULL, listed = false, person_id = NULL, app_name = NULL, app_website = NULL, reply_to_microblog = NULL
         WHERE (log_shard, log_id, epoch_no, number) IN (SELECT log_shard, log_id, epoch_no, number FROM entry WHERE log_shard = $1 AND log_id = ANY ($2::uuid[]) AND body IS NOT NULL AND kind <> 7 LIMIT $3)`,
        [shard, ids, readLimits.entriesMax],
      );
    } while (erased === readLimits.entriesMax);
  }
}
