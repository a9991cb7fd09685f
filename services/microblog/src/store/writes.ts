/**
 * Counts what this process writes, so that an answer can be kept for as long as nothing was.
 *
 * Where one process has a database for itself, whatever changes is changed by a statement of its own. All
 * of them pass here: when one has ended, however it ended, the count rises. Who read everything that an answer is
 * made of between two equal counts has an answer that is right until the count moves: a commit that
 * was not seen by a read has not been counted when the read began, and will be.
 *
 * A statement that only reads, by the pool, does not count; on connections of its own (a lane of
 * the batcher) and in transactions everything does.
 */
import { Databases, type Database, type DedicatedConnection } from '@dmb/postgres';
import { SHARD_COUNT } from '@dmb/protocol';

export class Writes {
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The same databases; what is written by them is counted. */
  observe(databases: Databases): Databases {
    const observed = new Map(databases.all.map((database) => [database, this.#database(database)]));
    const of = (database: Database): Database => observed.get(database) ?? database;
    const byShard = Array.from({ length: SHARD_COUNT }, (_, shard) => of(databases.at(shard)));
    return new Databases(databases.all.map(of), byShard, databases.installation, () => databases.close());
  }

  #database(database: Database): Database {
    return {
      index: database.index,
      query: (sql, params) => (isRead(typeof sql === 'string' ? sql : sql.text) ? database.query(sql, params) : this.#counted(database.query(sql, params))),
      execute: (sql, params) => this.#counted(database.execute(sql, params)),
      transaction: (work, options) => this.#counted(database.transaction(work, options)),
      dedicated: async (onLost) => this.#connection(await database.dedicated(onLost)),
      listen: (channel, heard, onLost) => database.listen(channel, heard, onLost),
      now: () => database.now(),
      statistics: () => database.statistics(),
    };
  }

  #connection(connection: DedicatedConnection): DedicatedConnection {
    return {
      index: connection.index,
      get lost() {
        return connection.lost;
      },
      query: (sql, params) => this.#counted(connection.query(sql, params)),
      execute: (sql, params) => this.#counted(connection.execute(sql, params)),
      transaction: (work, options) => this.#counted(connection.transaction(work, options)),
      close: () => connection.close(),
    };
  }

  async #counted<T>(running: Promise<T>): Promise<T> {
    try {
      return await running;
    } finally {
      this.#count += 1;
    }
  }
}

const known = new Map<string, boolean>();

/** Whether a statement writes nothing. Texts are constants of the program. */
function isRead(text: string): boolean {
  const answer = known.get(text) ?? !/\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CALL|FOR (NO KEY )?UPDATE|nextval|set_config)\b/i.test(text);
  known.set(text, answer);
  return answer;
}
