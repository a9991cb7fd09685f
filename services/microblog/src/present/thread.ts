/** The order of a thread; pure. */
import type { PostId } from '@dmb/protocol';

/** All below `root`, each reply right after what it answers, siblings oldest first. Safe against loops. */
export function depthFirst(root: PostId, children: ReadonlyMap<PostId, readonly PostId[]>): PostId[] {
  const order: PostId[] = [];
  const passed = new Set<PostId>([root]);
  const waiting = [...oldestLast(children.get(root) ?? [])];
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (passed.has(id)) continue;
    passed.add(id);
    order.push(id);
    waiting.push(...oldestLast(children.get(id) ?? []));
  }
  return order;
}

const oldestLast = (ids: readonly PostId[]): PostId[] => [...ids].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
