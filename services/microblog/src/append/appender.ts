/** The append port. */
import type { Appended, AppendRequest } from '../domain/model.ts';

export class Appender {
  /**
   * Appends an entry; resolves after its commit.
   * @throws AppError what the effect's check threw; `unavailable` on back-pressure, a full disk, a database away
   */
  append(request: AppendRequest): Promise<Appended> {
    throw new Error('not written yet');
  }
  close(): Promise<void> {
    throw new Error('not written yet');
  }
}
