import { describe, expect, it } from 'vitest';
import type { PersonId, PostId } from '@dmb/protocol';
import type { Push } from '../ports.ts';
import { slotOf } from './keys.ts';
import { ReplyReader, type Replies } from './link.ts';
import { RedisNodes, type NodeTable, type RedisNode } from './nodes.ts';
import { commandsAt, markText, textsOf } from './texts.ts';

/** A reader that waits for flushes of these sizes, and what it told them. */
function waitingFor(...sizes: readonly number[]): { readonly reader: ReplyReader; readonly told: unknown[] } {
  const reader = new ReplyReader();
  const told: unknown[] = [];
  for (const [index, expected] of sizes.entries()) {
    reader.expect({
      expected,
      longAbove: 1_200,
      errors: new Map(),
      long: [],
      zeros: 0,
      seen: 0,
      resolve: ({ errors, long, zeros }: Replies) => told.push([index, { errors: [...errors], long: [...long], zeros }]),
      reject: (error) => told.push([index, error]),
    });
  }
  return { reader, told };
}

describe('replies that are counted', () => {
  it('belong to the flushes in their order, whatever pieces they come in', () => {
    const text = ':0\r\n:1201\r\n:1200\r\n-MOVED 12 127.0.0.1:7001\r\n+OK\r\n:10\r\n:0\r\n-OOM no memory\r\n';
    const expected = [
      [0, { errors: [], long: [1], zeros: 1 }],
      [1, { errors: [[1, 'MOVED 12 127.0.0.1:7001']], long: [], zeros: 0 }],
      [2, { errors: [[2, 'OOM no memory']], long: [], zeros: 1 }],
    ];
    for (let size = 1; size <= text.length; size++) {
      const { reader, told } = waitingFor(2, 3, 3);
      for (let at = 0; at < text.length; at += size) reader.read(Buffer.from(text.slice(at, at + size)));
      expect(told).toEqual(expected);
      expect(reader.outstanding).toBe(0);
    }
  });

  it('are refused when they are no lines, or nobody waits', () => {
    expect(() => waitingFor(1).reader.read(Buffer.from('$3\r\nabc\r\n'))).toThrow('byte 36');
    expect(() => waitingFor().reader.read(Buffer.from(':1\r\n'))).toThrow('nobody');
  });

  it('start afresh after a connection was lost in the middle of one', () => {
    const { reader, told } = waitingFor(1);
    reader.read(Buffer.from('-LOAD'));
    reader.fail('lost');
    const next = waitingFor(1);
    next.reader.read(Buffer.from(':7\r\n'));
    expect(told).toEqual([[0, 'lost']]);
    expect(next.told).toHaveLength(1);
  });
});

describe('texts', () => {
  const [one, two] = [{ name: 'one' }, { name: 'two' }] as unknown as [RedisNode, RedisNode];
  const table: NodeTable = { byShard: [one, two, undefined], nodes: [one, two], marks: new Map() };
  const reader = (shard: number) => ({ shard, person: `p${shard}` as PersonId });
  const work: Push[] = [
    { ids: [7n, 12n] as PostId[], readers: [reader(0), reader(1), reader(2), reader(0)] },
    { ids: [], readers: [reader(1)] },
  ];

  it('hold the commands of each node in the order of the readers', () => {
    const texts = textsOf(table, work);
    const push = '*4\r\n$6\r\nRPUSHX\r\n$13\r\ntl:{s0000}:p0\r\n$1\r\n7\r\n$2\r\n12\r\n';
    expect(texts.get(one)).toEqual({ text: push + push, commands: 2 });
    expect(texts.get(two)).toEqual({ text: `${push.replace('s0000', 's0001').replace('p0', 'p1')}*2\r\n$6\r\nUNLINK\r\n$13\r\ntl:{s0001}:p1\r\n`, commands: 2 });
    expect(texts.size).toBe(2);
    expect(markText('m', [['3', 5n], ['3.w', 1]])).toBe('*6\r\n$4\r\nHSET\r\n$1\r\nm\r\n$1\r\n3\r\n$1\r\n5\r\n$3\r\n3.w\r\n$1\r\n1\r\n');
  });

  it('give back a command by its place', () => {
    expect(commandsAt(table, work, two, new Set([1]))).toEqual([{ place: 1, command: { ids: [], readers: [reader(1)] } }]);
    expect(commandsAt(table, work, undefined)).toEqual([{ place: 0, command: { ids: [7n, 12n], readers: [reader(2)] } }]);
    expect(commandsAt(table, work, one, new Set())).toEqual([]);
  });
});

describe('nodes', () => {
  it('know the slots of Redis Cluster', () => {
    // As CLUSTER KEYSLOT says; a test on a real cluster compares more.
    expect([slotOf(0), slotOf(1_023)].every((slot) => slot >= 0 && slot < 16_384)).toBe(true);
    expect(new Set(Array.from({ length: 1_024 }, (_, shard) => slotOf(shard))).size).toBeGreaterThan(900);
  });

  it.each([
    ['no server', { urls: [] }],
    ['a URL of another kind', { urls: ['http://user:hidden@localhost'] }],
    ['a server twice', { urls: ['redis://localhost', 'redis://localhost'] }],
    ['a database in a cluster', { urls: ['redis://localhost/3'], mode: 'cluster' as const }],
  ])('are refused with %s', async (_, options) => {
    const refused = await RedisNodes.open(options).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(refused?.message).toMatch(/REDIS_URLS/);
    expect(refused?.message).not.toContain('hidden');
  });

  it('divide the shards in ranges, and start without any server', async () => {
    const nodes = await RedisNodes.open({ urls: ['redis://127.0.0.1:1', 'redis://127.0.0.1:2', 'redis://127.0.0.1:3'], openMsMax: 10 });
    const names = nodes.table.byShard.map((node) => node?.name);
    expect(names.slice(0, 342)).toEqual(Array<string>(342).fill('127.0.0.1:1'));
    expect(names.slice(342, 683)).toEqual(Array<string>(341).fill('127.0.0.1:2'));
    expect(names.slice(683)).toEqual(Array<string>(341).fill('127.0.0.1:3'));
    expect(nodes.ready).toBe(false);
    await nodes.close();
  });
});
