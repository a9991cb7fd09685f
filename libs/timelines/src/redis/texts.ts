/**
 * Pushes as the text of Redis commands: one text for each node, nothing else made for each reader.
 *
 * The commands of a node stand in its text in the order of the readers. A reply that is an error names its command by its
 * place only; {@link commandsAt} finds it by going through the same readers with the same table again. That is slow and rare.
 */
import type { Push } from '../ports.ts';
import { listKey } from './keys.ts';
import type { NodeTable, RedisNode } from './nodes.ts';

/** Commands for one node. */
export interface NodeText {
  text: string;
  commands: number;
}

const argument = (text: string): string => `$${text.length}\r\n${text}\r\n`;

/** The text for each node of `table`: RPUSHX of all ids for each reader, or UNLINK where there are none. */
export function textsOf(table: NodeTable, work: readonly Push[]): Map<RedisNode, NodeText> {
  const texts = new Map<RedisNode, NodeText>();
  for (const { ids, readers } of work) {
    const before = ids.length === 0 ? `*2\r\n${argument('UNLINK')}$` : `*${2 + ids.length}\r\n${argument('RPUSHX')}$`;
    const after = `\r\n${ids.map((id) => argument(String(id))).join('')}`;
    // Readers come shard by shard: what is the same for a shard is made once.
    let into: NodeText | undefined;
    let ofShard = -1;
    let ofLength = -1;
    let head = '';
    for (const { shard, person } of readers) {
      if (shard !== ofShard || person.length !== ofLength) {
        const node = table.byShard[shard];
        if (node === undefined) continue;
        [ofShard, ofLength] = [shard, person.length];
        head = `${before}${listKey(shard, person).length}\r\n${listKey(shard, '')}`;
        into = texts.get(node);
        if (into === undefined) texts.set(node, (into = { text: '', commands: 0 }));
      }
      if (into === undefined) continue;
      into.text += head + person + after;
      into.commands++;
    }
  }
  return texts;
}

/** The commands of one node (undefined: of none) at the places given, each as a push of its own; all of them, without places. */
export function commandsAt(
  table: NodeTable,
  work: readonly Push[],
  node: RedisNode | undefined,
  places?: { has(place: number): boolean; readonly size: number },
): { readonly place: number; readonly command: Push }[] {
  const found: { place: number; command: Push }[] = [];
  if (places?.size === 0) return found;
  let place = 0;
  for (const { ids, readers } of work) {
    for (const reader of readers) {
      if (table.byShard[reader.shard] !== node) continue;
      if (places?.has(place) ?? true) found.push({ place, command: { ids, readers: [reader] } });
      place++;
    }
  }
  return found;
}

/** Sets the fields of the marks. */
export function markText(key: string, fields: readonly (readonly [field: string, value: bigint | number])[]): string {
  const values = fields.flatMap(([field, value]) => [argument(field), argument(String(value))]);
  return `*${2 + values.length}\r\n${argument('HSET')}${argument(key)}${values.join('')}`;
}
