/** Making the entries of own logs. */
import { createEntry, formatHandle, newObjectId, type Domain, type HappeningBody, type MicroblogId, type MicroblogRef, type NewBody, type PostId } from '@dmb/protocol';
import type { LogRef } from '@dmb/events';
import type { AppendRequest, Microblog } from './model.ts';

/** A microblog as bodies name it. */
export function refOf(microblog: Pick<Microblog, 'id' | 'handle' | 'domain'>): MicroblogRef {
  return { id: microblog.id, handle: formatHandle(microblog.handle, microblog.domain as Domain) };
}

/** What is asked of the appender for a happening; `shows` is the id of the post that it shows. */
export function happening(ownLog: LogRef, body: NewBody<HappeningBody>, nowMs: number, shows?: PostId): AppendRequest {
  const objectId = newObjectId(ownLog.shard);
  const { envelope, body: bytes } = createEntry('happening', objectId, nowMs, body);
  const actor: MicroblogId | undefined = body.actor?.id;
  return {
    log: { shard: ownLog.shard, log: ownLog.log, epochNo: ownLog.epochNo },
    kind: 'happening',
    envelope,
    body: bytes,
    objectId,
    what: body.what,
    ...(shows === undefined ? {} : { replyTo: shows }),
    ...(actor === undefined ? {} : { replyToMicroblog: actor }),
  };
}
