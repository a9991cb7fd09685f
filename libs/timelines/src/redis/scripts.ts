/**
 * The scripts, each one round trip and atomic on one shard.
 *
 * The first element of a list is its *sentinel*; ids follow as they came.
 *
 *   b<token>             being rebuilt by whoever holds the token; pushes land, readers go to Postgres
 *   =<above>.<nonce>     readable, and exact for every id above `above` (-1: for every id there is)
 *
 * So one LRANGE tells a reader everything, and nobody can take a list that is half built for an
 * empty one. The nonce is new whenever the head of the list changes: whoever wants to change a list by what it has read
 * names the sentinel that it saw, and is refused if another one stands there.
 *
 * Ids are decimal: Redis keeps an integer of 63 bits in 9 bytes and its own length in 1. Lua knows no such integers, so
 * scripts compare ids as text, the longer one being the greater.
 */

import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';

const hashes = new Map<string, string>();

/** Runs a script by its hash; the first time at each server, and after it was emptied, by its text. */
export async function evaluate(redis: Redis, script: string, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
  let hash = hashes.get(script);
  if (hash === undefined) hashes.set(script, (hash = createHash('sha1').update(script).digest('hex')));
  try {
    return await redis.evalsha(hash, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return await redis.eval(script, keys.length, ...keys, ...args);
  }
}

/**
 * Takes the lock and puts a building sentinel in place of what is there.
 * KEYS list, lock; ARGV token, lock ms, sentinel ms. Answers 1 placed, 0 somebody else rebuilds, 2 there is a readable list.
 */
export const beginScript = `
local owner = redis.call('GET', KEYS[2])
if owner ~= ARGV[1] then
  local head = redis.call('LINDEX', KEYS[1], 0)
  if head and string.byte(head) == 61 then return 2 end
  if owner then return 0 end
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
redis.call('DEL', KEYS[1])
redis.call('RPUSH', KEYS[1], 'b' .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;

/**
 * Adds a snapshot to the list whose building sentinel is ours, makes it readable and unlocks.
 * KEYS list, lock; ARGV token, sentinel, expiry ms, ids. Answers the whole list, or nothing if our sentinel is gone.
 */
export const finishScript = `
if redis.call('LINDEX', KEYS[1], 0) ~= 'b' .. ARGV[1] then return {} end
for from = 4, #ARGV, 1000 do
  redis.call('RPUSH', KEYS[1], unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
redis.call('LSET', KEYS[1], 0, ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return redis.call('LRANGE', KEYS[1], 0, -1)`;

/** Undoes what is ours of a rebuild. KEYS list, lock; ARGV token. */
export const abortScript = `
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
if redis.call('LINDEX', KEYS[1], 0) == 'b' .. ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`;

/**
 * Cuts a list that a reader has read: adds again what it still needs of the first ones, and drops those.
 * KEYS list; ARGV sentinel seen, new sentinel, index that becomes the head, ids. Answers 1 if the list was still that one.
 */
export const cutScript = `
if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[1] then return 0 end
if #ARGV > 3 then redis.call('RPUSH', KEYS[1], unpack(ARGV, 4)) end
redis.call('LSET', KEYS[1], ARGV[3], ARGV[2])
redis.call('LTRIM', KEYS[1], ARGV[3], -1)
return 1`;

/**
 * Cuts a list that nobody has read: drops its first ids, which makes it exact only above the greatest of them.
 * KEYS list; ARGV ids kept, longer than this, nonce. Answers how many went.
 */
export const cutUnreadScript = `
local length = redis.call('LLEN', KEYS[1])
if length <= tonumber(ARGV[2]) then return 0 end
local above = string.match(redis.call('LINDEX', KEYS[1], 0), '^=(-?%d+)%.')
if not above then return 0 end
if above == '-1' then above = '' end
local drop = length - 1 - tonumber(ARGV[1])
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 1, drop)) do
  if #id > #above or (#id == #above and id > above) then above = id end
end
redis.call('LSET', KEYS[1], drop, '=' .. above .. '.' .. ARGV[3])
redis.call('LTRIM', KEYS[1], drop, -1)
return drop`;

/** Renews the long expiry of a readable list. KEYS list; ARGV sentinel seen, expiry ms. */
export const renewScript = `
if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;

/**
 * Takes from a bucket (GCRA): its key says in microseconds when it is full again, and is gone when it is.
 * KEYS bucket; ARGV capacity, period in ms, cost. Answers allowed, and the moment in µs, its own clock's now in µs.
 */
export const takeScript = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local period = ARGV[2] * 1000
local unit = period / ARGV[1]
local before = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local after = before + ARGV[3] * unit
if after - now > period + unit / 1000 then return {0, string.format('%.2f', before), string.format('%.2f', now)} end
redis.call('SET', KEYS[1], string.format('%.2f', after), 'PX', math.max(1, math.ceil((after - now) / 1000)))
return {1, string.format('%.2f', after), string.format('%.2f', now)}`;
