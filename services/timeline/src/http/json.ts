/**
 * Pages as bytes of JSON, made of statuses that are written once.
 *
 * A page of twenty is some thirty kilobytes, and writing it anew, as JSON and then as UTF-8, costs more than all
 * the rest of HTTP. Microblog answers with the same objects while nothing has changed; whatever it answers
 * with is never changed afterwards, so the bytes of an object are kept for as long as the object is.
 */
import type { Status } from '@dmb/events';

const written = new WeakMap<Status, Buffer>();
const [open, comma, close] = ['[', ',', ']'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer];

/** A list of statuses as JSON. */
export function statusesJson(statuses: readonly Status[]): Buffer {
  const parts: Buffer[] = [open];
  for (const status of statuses) {
    let bytes = written.get(status);
    if (bytes === undefined) {
      bytes = Buffer.from(JSON.stringify(status));
      written.set(status, bytes);
    }
    if (parts.length > 1) parts.push(comma);
    parts.push(bytes);
  }
  parts.push(close);
  return Buffer.concat(parts);
}
