import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { looseBoolean, looseInteger, looseList, parseJson, parseMultipart, parseUrlEncoded } from './parameters.ts';

describe('Rails names', () => {
  it.each([
    ['a=1&b=2', { a: '1', b: '2' }],
    ['id[]=1&id[]=2', { id: ['1', '2'] }],
    ['id%5B%5D=1', { id: ['1'] }],
    ['media_ids[]=', { media_ids: [''] }],
    ['poll[options][]=x&poll[options][]=y&poll[expires_in]=60', { poll: { options: ['x', 'y'], expires_in: '60' } }],
    ['source[privacy]=private&source[sensitive]=0', { source: { privacy: 'private', sensitive: '0' } }],
    ['fields_attributes[1][name]=b&fields_attributes[0][name]=a&fields_attributes[0][value]=v', { fields_attributes: [{ name: 'a', value: 'v' }, { name: 'b' }] }],
    ['k[][x]=1&k[][y]=2&k[][x]=3', { k: [{ x: '1', y: '2' }, { x: '3' }] }],
    ['data[alerts][follow]=true&subscription[keys][p256dh]=k', { data: { alerts: { follow: 'true' } }, subscription: { keys: { p256dh: 'k' } } }],
    ['a=1&a=2', { a: '2' }],
    ['a=1&a[b]=2', { a: { b: '2' } }],
    ['a[b]=1&a[]=2', { a: ['2'] }],
    ['oauth_info=x&oauth_info=y&&=&a', { oauth_info: 'y', '': '', a: '' }],
    ['a[=1&]b=2&[c]=3&a[b]c=4', { 'a[': '1', ']b': '2', '[c]': '3', 'a[b]c': '4' }],
    ['q=a+b%2Bc%26', { q: 'a b+c&' }],
    ['', {}],
  ])('%s', (text, wanted) => {
    expect(parseUrlEncoded(text)).toEqual(wanted);
  });

  it('never reach a prototype', () => {
    expect(parseUrlEncoded('__proto__[x]=1&a[__proto__][x]=1&constructor[prototype][x]=1&toString=1')).toEqual({ constructor: { prototype: { x: '1' } }, toString: '1' });
    expect(({} as { x?: string }).x).toBeUndefined();
    expect(Object.keys(parseJson(Buffer.from('{"__proto__":{"x":1},"a":1}')) as object)).toEqual(['a']);
  });

  it('are bounded in number, length and depth', () => {
    for (const text of ['a=1&'.repeat(1_001), `${'a'.repeat(300)}=1`, `a${'[b]'.repeat(9)}=1`]) {
      expect(() => parseUrlEncoded(text)).toThrow(AppError);
    }
  });
});

it('reads files and texts of multipart', async () => {
  const body = '--x\r\nContent-Disposition: form-data; name="source[privacy]"\r\n\r\npublic\r\n--x\r\nContent-Disposition: form-data; name="avatar"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nPNG\r\n--x--\r\n';
  const parameters = await parseMultipart(Buffer.from(body), 'multipart/form-data; boundary=x');
  expect(parameters['source']).toEqual({ privacy: 'public' });
  expect(parameters['avatar']).toBeInstanceOf(File);
});

describe('loose schemas', () => {
  it('take what clients write', () => {
    for (const value of [true, 'true', 'True', '1', 1, 'on']) expect(looseBoolean.parse(value)).toBe(true);
    for (const value of [false, 'False', '0', 0, 'None', '']) expect(looseBoolean.parse(value)).toBe(false);
    expect(looseInteger.parse(' 5 ')).toBe(5);
    const list = looseList(z.string(), 2).optional();
    expect([list.parse('1'), list.parse(['1', '2']), list.parse(''), list.parse(undefined)]).toEqual([['1'], ['1', '2'], [], undefined]);
  });

  it('refuse the rest', () => {
    for (const value of ['maybe', 2, {}, null]) expect(looseBoolean.safeParse(value).success).toBe(false);
    for (const value of ['5.5', 'x', '', 1.5]) expect(looseInteger.safeParse(value).success).toBe(false);
    expect(looseList(z.string(), 2).safeParse(['1', '2', '3']).success).toBe(false);
  });
});
