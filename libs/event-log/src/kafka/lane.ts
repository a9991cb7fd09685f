/**
 * A partition as one process works on it: what has been fetched and waits, and how far we have come.
 *
 * `position` is the offset behind the last message whose effect is durable. It is kept here as long as
 * the process lives, also while the partition is somebody else's for a while: a message below it
 * never comes to the handler again by us. It means something only together with `tag`, which names the cluster and the
 * topic that the offset was counted in.
 */
import type { KafkaMessage } from 'kafkajs';

/** idle: nothing waits; queued: its turn comes; working: a handler runs; waiting: for another try. */
type Phase = 'idle' | 'queued' | 'working' | 'waiting';

export class Lane {
  readonly topic: string;
  readonly partition: number;
  phase: Phase = 'idle';
  /** Assigned to us, and its position is known to be good: messages are taken. */
  isOpen = false;
  tag = '';
  position = 0n;
  failures = 0;
  failingSince: number | undefined;
  retryTimer: NodeJS.Timeout | undefined;
  /** Fetching is held back. */
  isPaused = false;
  #waiting: KafkaMessage[] = [];
  #waitingBytes = 0;
  /** Behind the last message that was taken in. */
  #fetched = 0n;

  constructor(topic: string, partition: number) {
    this.topic = topic;
    this.partition = partition;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get hasWork(): boolean {
    return this.#waiting.length > 0;
  }

  /** What has been fetched is of no use: it will come again. */
  close(): void {
    this.isOpen = false;
    this.#waiting = [];
    this.#waitingBytes = 0;
    clearTimeout(this.retryTimer);
    if (this.phase === 'waiting') this.phase = 'idle';
    this.failingSince = undefined;
    this.failures = 0;
  }

  /** Messages come from `committed` on. What we have handled beyond that, counted in the same topic, is not handled again. */
  open(tag: string, committed: bigint): void {
    if (this.tag !== tag) this.position = committed;
    else if (committed > this.position) this.position = committed;
    this.tag = tag;
    this.#fetched = 0n;
    this.isOpen = true;
    this.isPaused = false;
  }

  /** Takes in what was fetched; how many bytes of it are new. */
  push(messages: readonly KafkaMessage[]): number {
    let bytes = 0;
    for (const message of messages) {
      const offset = BigInt(message.offset);
      if (offset < this.position || offset < this.#fetched) continue;
      this.#fetched = offset + 1n;
      this.#waiting.push(message);
      bytes += bytesOf(message);
    }
    this.#waitingBytes += bytes;
    return bytes;
  }

  /** The messages that wait, first first. */
  get waiting(): readonly KafkaMessage[] {
    return this.#waiting;
  }

  /** The first `count` messages are handled for good; false if they belong to an earlier assignment. */
  handled(messages: readonly KafkaMessage[], tag: string): void {
    const last = messages.at(-1);
    if (last === undefined || tag !== this.tag) return;
    const next = BigInt(last.offset) + 1n;
    if (next > this.position) this.position = next;
    while (this.#waiting[0] !== undefined && BigInt(this.#waiting[0].offset) < this.position) this.#waitingBytes -= bytesOf(this.#waiting.shift() as KafkaMessage);
  }
}

function bytesOf({ key, value }: KafkaMessage): number {
  return (key?.length ?? 0) + (value?.length ?? 0) + 64;
}
