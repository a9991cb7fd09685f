import { inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { avatarPath, favicon, headerPath, pictureOf } from './pictures.ts';

const size = (png: Buffer): [number, number] => [png.readUInt32BE(16), png.readUInt32BE(20)];

describe('pictures', () => {
  test('are well-formed PNGs, the same for ever under one name, and others for others', () => {
    const avatar = pictureOf(avatarPath('news', 'example.org').slice('/assets/'.length));
    const header = pictureOf(headerPath('news', 'example.org').slice('/assets/'.length));
    if (avatar === undefined || header === undefined) throw new Error('no picture');
    expect(size(avatar)).toEqual([192, 192]);
    expect(size(header)).toEqual([960, 320]);
    const data = avatar.indexOf('IDAT');
    expect(inflateSync(avatar.subarray(data + 4, data + 4 + avatar.readUInt32BE(data - 4))).length).toBe(192 * 193);
    expect(avatar.length).toBeLessThan(10_000);
    expect(avatarPath('news', 'example.org')).toBe(avatarPath('news', 'example.org'));
    expect(avatarPath('news', 'example.org')).not.toBe(avatarPath('news', 'other.example'));
  });

  test.each(['avatar-1-xyz.png', 'avatar-9-0123456789abcdef.png', '../../etc/passwd', 'avatar-1-0123456789abcdef.svg', ''])('there is none called %j', (name) => {
    expect(pictureOf(name)).toBeUndefined();
  });

  test('the icon is an ICO file with one PNG', () => {
    expect(favicon().readUInt16LE(4)).toBe(1);
    expect(favicon().subarray(23, 26).toString()).toBe('PNG');
  });
});
