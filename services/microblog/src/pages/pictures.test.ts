import { inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { avatarPath, favicon, headerPath, Pictures } from './pictures.ts';

const pictures = new Pictures();
const here = '192.0.2.1';

const size = (png: Buffer): [number, number] => [png.readUInt32BE(16), png.readUInt32BE(20)];

describe('pictures', () => {
  test('are well-formed PNGs, the same for ever under one name, and others for others', async () => {
    const avatar = await pictures.of(avatarPath('news', 'example.org').slice('/assets/'.length), here);
    const header = await pictures.of(headerPath('news', 'example.org').slice('/assets/'.length), here);
    if (avatar === undefined || header === undefined) throw new Error('no picture');
    expect(size(avatar)).toEqual([192, 192]);
    expect(size(header)).toEqual([960, 320]);
    const data = avatar.indexOf('IDAT');
    expect(inflateSync(avatar.subarray(data + 4, data + 4 + avatar.readUInt32BE(data - 4))).length).toBe(192 * 193);
    expect(avatar.length).toBeLessThan(10_000);
    expect(avatarPath('news', 'example.org')).toBe(avatarPath('news', 'example.org'));
    expect(avatarPath('news', 'example.org')).not.toBe(avatarPath('news', 'other.example'));
  });

  test.each(['avatar-1-xyz.png', 'avatar-9-0123456789abcdef.png', '../../etc/passwd', 'avatar-1-0123456789abcdef.svg', ''])('there is none called %j', async (name) => {
    expect(await pictures.of(name, here)).toBeUndefined();
  });

  // There are 2^64 names of each kind: whoever asks for them one by one would keep a processor busy.
  test('are drawn for an address only so often, and those that are kept go on', async () => {
    const taken: string[] = [];
    const limited = new Pictures({ take: (_, key) => Promise.resolve({ allowed: taken.push(key) <= 2, remaining: 0, resetAt: 0 }) });
    const name = (nth: number): string => `avatar-1-000000000000000${nth}.png`;
    const first = await limited.of(name(1), here);
    await limited.of(name(2), here);
    await expect(limited.of(name(3), here)).rejects.toMatchObject({ kind: 'limited' });
    expect(await limited.of(name(1), here)).toBe(first);
    expect(taken).toEqual([here, here, here]);
  });

  test('the icon is an ICO file with one PNG', () => {
    expect(favicon().readUInt16LE(4)).toBe(1);
    expect(favicon().subarray(23, 26).toString()).toBe('PNG');
  });
});
