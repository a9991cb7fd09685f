/**
 * How events look in Kafka: which topic, which key, which bytes.
 *
 * A Kafka topic is a topic of ours *without its version*; the version travels in a header. So events of
 * two versions of one topic stay in order, and a release that does not know a version receives
 * such events and can park them; of a topic with another name it would never hear.
 *
 * A message holds the references of one key out of one outbox row: `[ref, ref, …]` in the wire form of
 * the topic, as text. What cannot be read has no key: it goes where its relay's other illegible
 * events go, because it must be parked and not be lost, and has no order to keep.
 */
import type { IHeaders, KafkaMessage, Message } from 'kafkajs';
import { topics, type PayloadOf, type TopicName } from '@dmb/events';
import { isTopic, type RawEvents } from '../decode.ts';
import type { RelayRow } from '../relay-store.ts';

/** A topic without its version. */
type Noun<Name extends string> = Name extends `${infer N}.v${number}` ? N : never;
export type TopicNoun = Noun<TopicName>;

/** Partitions of each Kafka topic. More can be had later only at the price of the order of keys for a while. */
export const partitionsOf: Readonly<Record<TopicNoun, number>> = { 'microblog.entry': 64, 'identity.person': 16 };

/** Header with our name of the topic, version included. */
const topicHeader = 'dmb-topic';

/** The topic without its version. */
export function nounOf(topic: string): string {
  return topic.replace(/\.v[0-9]+$/, '');
}

/** The topics that this release knows, without their versions. */
export const knownNouns = Object.keys(partitionsOf) as readonly TopicNoun[];

/** The messages of a row, by Kafka topic without prefix. */
export function toMessages({ topic, refs, headers, producedAt }: RelayRow, relay: string): Message[] {
  const common = { headers: { ...textHeaders(headers), [topicHeader]: topic }, timestamp: String(producedAt) };
  const illegible = `illegible ${relay}`;
  if (!isTopic(topic) || !Array.isArray(refs)) return [{ ...common, key: illegible, value: JSON.stringify(refs) }];
  const byKey = new Map<string, unknown[]>();
  for (const ref of refs as readonly unknown[]) {
    const key = keyOf(topic, ref) ?? illegible;
    const others = byKey.get(key);
    if (others === undefined) byKey.set(key, [ref]);
    else others.push(ref);
  }
  return [...byKey].map(([key, ofKey]) => ({ ...common, key, value: JSON.stringify(ofKey) }));
}

function keyOf<Name extends TopicName>(topic: Name, raw: unknown): string | undefined {
  const { schema, key } = topics[topic];
  const parsed = schema.safeParse(raw);
  return parsed.success ? (key as (payload: PayloadOf<TopicName>) => string)(parsed.data as PayloadOf<TopicName>) : undefined;
}

function textHeaders(headers: unknown): Record<string, string> {
  if (typeof headers !== 'object' || headers === null) return {};
  return Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** What a message holds; `kafkaTopic` stands in for a header that is not there. */
export function fromMessage({ value, headers = {}, timestamp }: KafkaMessage, kafkaTopic: string): RawEvents {
  const { [topicHeader]: topic = kafkaTopic, ...others } = stringHeaders(headers);
  const text = value?.toString('utf8') ?? 'null';
  let refs: unknown = text;
  try {
    refs = JSON.parse(text);
  } catch {
    // Text that is no list of events: `decode` says so.
  }
  return { topic, refs, headers: others, producedAt: Number(timestamp) };
}

function stringHeaders(headers: IHeaders): Record<string, string> {
  const texts = Object.entries(headers).map(([name, value]) => {
    const first = Array.isArray(value) ? value[0] : value;
    return [name, first?.toString() ?? ''] as const;
  });
  return Object.fromEntries(texts);
}
