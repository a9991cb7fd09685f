/**
 * Where a group is, as the brokers know it.
 *
 * An offset is a number in one topic of one cluster, and neither is known by its name: a topic that was
 * deleted and made again has the same name and other events at the same numbers. So each offset
 * is committed with a *tag*, the ids of both, as its metadata.
 */
import type { Identity, KafkaView } from './client.ts';

/** A committed offset with the ids that it was counted under. */
export interface Committed {
  readonly offset: bigint;
  readonly tag: string;
}

/** What a group has committed, by "topic partition". */
export async function committedOffsets(view: KafkaView, groupId: string, topics: readonly string[]): Promise<Map<string, Committed>> {
  const answer = await view.admin.fetchOffsets({ groupId, topics: [...topics] });
  return new Map(
    answer.flatMap(({ topic, partitions }) => partitions.flatMap(({ partition, offset, metadata }) => (BigInt(offset) < 0n ? [] : [[`${topic} ${partition}`, { offset: BigInt(offset), tag: metadata ?? '' }] as const]))),
  );
}

/** The first offset that a partition holds, and the one behind the last, by "topic partition". */
export async function partitionBounds(view: KafkaView, topics: readonly string[]): Promise<Map<string, { readonly low: bigint; readonly high: bigint }>> {
  const answers = await Promise.all(topics.map(async (topic) => ({ topic, partitions: await view.admin.fetchTopicOffsets(topic) })));
  return new Map(answers.flatMap(({ topic, partitions }) => partitions.map(({ partition, low, high }) => [`${topic} ${partition}`, { low: BigInt(low), high: BigInt(high) }] as const)));
}

/** The metadata of an offset of this topic. */
export function tagOf({ clusterId, topicIds }: Identity, topic: string): string {
  return `${clusterId}/${topicIds.get(topic) ?? ''}`;
}
