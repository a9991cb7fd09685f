/**
 * The lists that everything is pushed to, and R, what Redis by itself does with them.
 *
 * Persons are numbered. The four groups that they fall into have a shard each, in four quarters of the shards, so that
 * two and four Redis share them evenly and so that `redis-benchmark`, which knows one place for a number in a key, can push to the
 * very same lists: `tl:{s0256}:00000001-0000-4000-8000-__rand_int__`, group by group.
 *
 * Lists are full and made in random order: keys that were made in the order in which they are walked through lie side by side in
 * memory, and show twice the rate for any code.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import type { PersonId } from '@dmb/protocol';
import type { TestRedis } from '@dmb/testing';

export const groups = 4;
const shardsPerGroup = 256;
/** What is pushed by `redis-benchmark`: an id like ours. */
const baseId = '3500000000000000000';
const template = 'bench-template';

/** A reader of the benchmark. */
export interface Place {
  readonly shard: number;
  readonly person: PersonId;
}

const personPrefix = (group: number): string => `${String(group).padStart(8, '0')}-0000-4000-8000-`;

/** The `number`th of all persons. */
export function placeOf(number: number): Place {
  const group = number % groups;
  return { shard: group * shardsPerGroup, person: (personPrefix(group) + String(Math.floor(number / groups)).padStart(12, '0')) as PersonId };
}

const keyPrefix = (group: number): string => `tl:{s${String(group * shardsPerGroup).padStart(4, '0')}}:${personPrefix(group)}`;
export const keyOf = (number: number): string => keyPrefix(number % groups) + String(Math.floor(number / groups)).padStart(12, '0');

/** The server of a person, as RedisNodes divides the shards. */
const serverOf = (servers: number, number: number): number => Math.floor(((number % groups) * servers) / groups);

/** A stream of commands to one server, whose integer replies are counted. */
export class Pipe {
  private readonly socket;
  private replies = 0;
  private errors = 0;
  private wanted = 0;
  private wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port });
    this.socket.on('data', (chunk: Buffer) => {
      for (const byte of chunk) {
        if (byte === 0x2d) this.errors++;
        if (byte === 0x0a) this.replies++;
      }
      this.wake();
    });
  }

  async send(commands: readonly (readonly string[])[]): Promise<void> {
    const text = commands.map((words) => `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`).join('');
    this.wanted += commands.length;
    this.socket.write(text, 'latin1');
    while (this.replies < this.wanted) await new Promise<void>((resolve) => (this.wake = resolve));
    if (this.errors > 0) throw new Error('Redis refused a command of the benchmark');
  }

  async close(): Promise<void> {
    this.socket.end();
    await once(this.socket, 'close');
  }
}

/** Makes `persons` lists of `length` ids, in random order; answers bytes of memory for each id. */
export async function fill(servers: readonly TestRedis[], persons: number, length: number): Promise<number> {
  const before = await usedMemory(servers);
  const order = shuffled(persons);
  await Promise.all(
    servers.map(async (server, index) => {
      const pipe = new Pipe(server.port);
      await pipe.send([['FLUSHALL']]);
      const ids = Array.from({ length }, (_, id) => String(3_400_000_000_000_000_000n + BigInt(id) * 4_194_304n));
      // With an expiry, as every list has; a copy has it too.
      await pipe.send([['RPUSH', template, '=-1.bench', ...ids], ['PEXPIRE', template, '604800000']]);
      const mine = [...order].filter((number) => serverOf(servers.length, number) === index);
      for (let from = 0; from < mine.length; from += 1_000) await pipe.send(mine.slice(from, from + 1_000).map((number) => ['COPY', template, keyOf(number)]));
      await pipe.send([['DEL', template]]);
      await pipe.close();
    }),
  );
  return ((await usedMemory(servers)) - before) / (persons * length);
}

/** Readers whose lists are looked at after each round. */
const checkedMax = 5_000;
const countScript = `
local found = 0
for _, key in ipairs(KEYS) do
  local times = true
  for at = 2, #ARGV do
    local count = #redis.call('LPOS', key, ARGV[at], 'COUNT', 0)
    if count < 1 or count > tonumber(ARGV[1]) then times = false end
  end
  if times then found = found + 1 end
end
return found`;

/** @throws if one of some lists has not each of the ids exactly once */
export async function checkOnce(servers: readonly TestRedis[], numbers: readonly number[], ids: readonly bigint[]): Promise<void> {
  const step = Math.max(1, Math.floor(numbers.length / checkedMax));
  await checkAll(servers, numbers.filter((_, index) => index % step === 0), ids, 1);
}

/** @throws if one of the lists has not each of the ids, or more than `timesMax` times */
export async function checkAll(servers: readonly TestRedis[], checked: readonly number[], ids: readonly bigint[], timesMax: number): Promise<void> {
  for (const [index, server] of servers.entries()) {
    const mine = checked.filter((number) => serverOf(servers.length, number) === index);
    for (let from = 0; from < mine.length; from += 1_000) {
      const keys = mine.slice(from, from + 1_000).map(keyOf);
      const found = await server.ask('EVAL', countScript, String(keys.length), ...keys, String(timesMax), ...ids.map(String));
      if (found !== `:${keys.length}`) throw new Error(`${found} of ${keys.length} lists have what was posted`);
    }
  }
}

async function usedMemory(servers: readonly TestRedis[]): Promise<number> {
  const infos = await Promise.all(servers.map((server) => server.ask('INFO', 'memory')));
  return infos.reduce((sum, info) => sum + Number(/used_memory:(\d+)/.exec(info)?.[1]), 0);
}

/** Fisher–Yates with a fixed seed. */
function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  let state = 88_172_645;
  for (let index = count - 1; index > 0; index--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = (state >>> 0) % (index + 1);
    [order[index], order[other]] = [order[other]!, order[index]!];
  }
  return order;
}

/** R: pushes per second that `redis-benchmark -P 100 -c 4` reaches on the lists of one server. */
export async function redisRate(servers: readonly TestRedis[], persons: number, pushes: number): Promise<number> {
  const [server] = servers;
  if (server === undefined) throw new Error('no server');
  const mine = Array.from({ length: groups }, (_, group) => group).filter((group) => serverOf(servers.length, group) === 0);
  let seconds = 0;
  for (const group of mine) {
    const count = Math.ceil(pushes / mine.length);
    const args = ['-p', String(server.port), '-P', '100', '-c', '4', '-n', String(count), '-r', String(persons / groups), '-q', 'rpushx', `${keyPrefix(group)}__rand_int__`, baseId];
    const { stdout } = await promisify(execFile)('redis-benchmark', args);
    const rate = Number(/([\d.]+) requests per second/.exec(stdout.split('\r').at(-1) ?? '')?.[1]);
    if (!(rate > 0)) throw new Error(`redis-benchmark answered ${stdout.slice(-200)}`);
    seconds += count / rate;
  }
  return pushes / seconds;
}
