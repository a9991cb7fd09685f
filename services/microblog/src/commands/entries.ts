/**
 * Changing what was posted: edit and delete, each an entry of the post's own log that names it.
 *
 * An edit carries the whole new text; readers of the store get the newest. A delete erases the bodies of
 * the post and of its edits in the transaction of its entry, and with them who wrote it. Whether the post
 * is still there, and whether the actor may, is looked at again under the log.
 */
import { ENTRY_KINDS, createEntry, newObjectId, parseBody, type EditBody, type NewBody, type PersonId } from '@dmb/protocol';
import type { Role } from '@dmb/events';
import type { Transaction } from '@dmb/postgres';
import { AppError } from '@dmb/runtime';
import type { Appender } from '../append/appender.ts';
import type { Actor, Appended, AppendRequest, EntryRow } from '../domain/model.ts';
import { lockRole } from '../store/microblogs.ts';

export class EntryCommands {
  readonly #appender: Appender;
  readonly #now: () => number;

  constructor(appender: Appender, now: () => number = Date.now) {
    this.#appender = appender;
    this.#now = now;
  }

  /**
   * Appends a new version of a post of the actor's microblog. Authors their own posts, editors and owners all.
   * Whoever may change it and changes nothing of what `post` says appends nothing: undefined then.
   * @throws AppError not-found when it is not there (any more), forbidden when the role does not allow it
   */
  async edit(actor: Actor, post: EntryRow, body: Omit<NewBody<EditBody>, 'about'>): Promise<Appended | undefined> {
    const objectId = newObjectId(post.shard);
    const entry = createEntry('edit', objectId, this.#now(), { ...body, about: post.objectId });
    const isUnchanged = post.body !== null && saysTheSame(post.body, entry.body);
    try {
      return await this.#append(actor, post, { ...entry, kind: 'edit', person: actor.person }, ['post'], async () => (isUnchanged ? Promise.reject(new Unchanged()) : Promise.resolve()));
    } catch (error) {
      if (error instanceof Unchanged) return undefined;
      throw error;
    }
  }

  /** Deletes a post: its bodies are erased in the same transaction. Same rule and errors. */
  async delete(actor: Actor, post: EntryRow): Promise<Appended> {
    const objectId = newObjectId(post.shard);
    const entry = createEntry('delete', objectId, this.#now(), { about: post.objectId });
    return await this.#append(actor, post, { ...entry, kind: 'delete' }, ['post', 'boost'], (tx) => eraseBodies(tx, post));
  }

  async #append(
    actor: Actor,
    post: EntryRow,
    entry: Pick<AppendRequest, 'kind' | 'envelope' | 'body' | 'objectId' | 'person'>,
    kinds: readonly EntryRow['kind'][],
    apply: (tx: Transaction) => Promise<void>,
  ): Promise<Appended> {
    const { microblog } = post;
    if (microblog === null || microblog !== actor.microblog || !kinds.includes(post.kind)) throw new AppError('not-found');
    return await this.#appender.append({
      ...entry,
      log: { shard: post.shard, log: post.log, epochNo: post.epochNo },
      about: post.number,
      effect: {
        check: async (tx) => {
          const written = await lockPost(tx, post);
          const role = await lockRole(tx, actor.person, microblog);
          if (!mayChange(role, actor.person, written)) throw new AppError('forbidden', 'You cannot change this post');
        },
        apply,
      },
    });
  }
}

/** Ends the transaction of an edit that changes nothing, after everything was asked that an edit is asked. */
class Unchanged extends Error {}

/** Whether two bodies of a post or its edits are the same to everybody who reads them. */
function saysTheSame(before: Uint8Array, after: Uint8Array): boolean {
  const said = (bytes: Uint8Array): string | undefined => {
    // An edit has every property of a post's text beside its own.
    const parsed = parseBody('post', bytes);
    if (parsed.result === 'malformed') return undefined;
    const { content, summary, sensitive, language, tag } = parsed.body;
    return JSON.stringify([content, summary, sensitive, language, tag?.map(({ type, name, href }) => [type, name, href])]);
  };
  return said(before) !== undefined && said(before) === said(after);
}

/** Who wrote a post that is still there. @throws AppError not-found */
async function lockPost(tx: Transaction, post: EntryRow): Promise<PersonId | null> {
  const [row] = await tx.query<{ person: PersonId | null; there: boolean }>(
    'SELECT person_id AS person, body IS NOT NULL AS there FROM entry WHERE (log_shard, log_id, epoch_no, number) = ($1, $2, $3, $4) FOR UPDATE',
    [post.shard, post.log, post.epochNo, post.number],
  );
  if (row?.there !== true) throw new AppError('not-found');
  return row.person;
}

function mayChange(role: Role | undefined, person: PersonId, writtenBy: PersonId | null): boolean {
  return role === 'owner' || role === 'editor' || (role === 'author' && writtenBy === person);
}

/** The bodies of a post and of its edits go, and everything beside them that names somebody. The id of the post replied to stays until our consumer has taken the reply out of its thread. */
async function eraseBodies(tx: Transaction, post: EntryRow): Promise<void> {
  await tx.execute(
    `UPDATE entry SET body = NULL, listed = false, person_id = NULL, app_name = NULL, app_website = NULL, reply_to_microblog = NULL
     WHERE log_shard = $1 AND log_id = $2 AND epoch_no = $3 AND (number = $4 OR about = $4) AND kind IN (${ENTRY_KINDS.post}, ${ENTRY_KINDS.edit}, ${ENTRY_KINDS.boost})`,
    [post.shard, post.log, post.epochNo, post.number],
  );
}
