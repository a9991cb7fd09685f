/**
 * From what a producer wrote to what a handler sees, one event at a time: an event that cannot be
 * read must not hold up the others, and must not be lost in silence either.
 */
import { topics, type PayloadOf, type TopicName } from '@dmb/events';
import type { LogEvent, PoisonEvent } from './port.ts';

/** Some events as a producer wrote them. */
export interface RawEvents {
  readonly topic: string;
  /** An array of wire forms, if it is as it should be. */
  readonly refs: unknown;
  readonly headers: unknown;
  readonly producedAt: number;
}

/** What became of them. */
export interface Decoded {
  readonly events: LogEvent[];
  readonly poison: PoisonEvent[];
}

/** Whether a string names a topic of this program. */
export function isTopic(name: string): name is TopicName {
  return Object.hasOwn(topics, name);
}

const noun = (topic: string): string => topic.replace(/\.v[0-9]+$/, '');

/**
 * The events that a group with these topics is to handle. Topics of other groups are left out; an
 * unknown version of one of its own is poison.
 */
export function decode({ topic, refs, headers, producedAt }: RawEvents, wanted: ReadonlySet<TopicName>): Decoded {
  if (!isTopic(topic)) {
    const ours = [...wanted].some((name) => noun(name) === noun(topic));
    return { events: [], poison: ours ? [{ topic, raw: refs, cause: new Error(`the topic ${topic} is unknown here`) }] : [] };
  }
  if (!wanted.has(topic)) return { events: [], poison: [] };
  if (!Array.isArray(refs)) return { events: [], poison: [{ topic, raw: refs, cause: new Error('a list of events was expected') }] };
  const events: LogEvent[] = [];
  const poison: PoisonEvent[] = [];
  const texts = textHeaders(headers);
  for (const raw of refs as readonly unknown[]) {
    const event = decodeOne(topic, raw, texts, producedAt);
    if ('cause' in event) poison.push(event);
    else events.push(event);
  }
  return { events, poison };
}

function decodeOne<Name extends TopicName>(topic: Name, raw: unknown, headers: LogEvent['headers'], producedAt: number): LogEvent | PoisonEvent {
  const { schema, key } = topics[topic];
  const parsed = schema.safeParse(raw);
  if (!parsed.success) return { topic, raw, cause: parsed.error };
  const payload = parsed.data as PayloadOf<TopicName>;
  return { topic, key: (key as (of: PayloadOf<TopicName>) => string)(payload), payload, headers, producedAt } as LogEvent;
}

function textHeaders(headers: unknown): Readonly<Record<string, string>> {
  if (typeof headers !== 'object' || headers === null) return {};
  return Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
