import { describe, expect, it } from 'vitest';
import { accountPaging, idMax, linkHeader, parseId, parsePaging } from './link.ts';

describe('linkHeader', () => {
  const origin = 'https://example.org';

  it('puts next first, absolute, with the other parameters and without the old bounds', () => {
    expect(linkHeader({ origin, target: '/api/v1/timelines/home?limit=5&max_id=9&since_id=1', next: 4n, prev: 8n })).toBe(
      '<https://example.org/api/v1/timelines/home?limit=5&max_id=4>; rel="next", <https://example.org/api/v1/timelines/home?limit=5&min_id=8>; rel="prev"',
    );
  });

  it('gives no header where there is no page', () => {
    expect(linkHeader({ origin, target: '/x' })).toBeUndefined();
    expect(linkHeader({ origin, target: '/x', prev: 1n })).toBe('<https://example.org/x?min_id=1>; rel="prev"');
  });

  it('holds no comma, no bracket and no token that the request brought', () => {
    const link = linkHeader({ origin, target: '/a,b/>"?q=a,b>;&exclude_types[]=x&exclude_types[]=y&access_token=hunter2&bad=%zz', next: 1n }) ?? '';
    expect(link).not.toContain('hunter2');
    expect(link.match(/[,<>]/g)).toEqual(['<', '>']);
    expect(link).toContain('q=a%2Cb%3E%3B&exclude_types%5B%5D=x&exclude_types%5B%5D=y');
  });
});

describe('paging', () => {
  it.each([
    [{}, 20], [{ limit: '5' }, 5], [{ limit: 7 }, 7], [{ limit: '-1' }, 1], [{ limit: '0' }, 1], [{ limit: '1000000000' }, 40], [{ limit: '1e9' }, 20], [{ limit: 'x' }, 20], [{ limit: ['5'] }, 20], [{ limit: '' }, 20],
  ])('takes %o for a limit of %i', (query, limit) => {
    expect(parsePaging(query).limit).toBe(limit);
  });

  it('allows more accounts', () => {
    expect(parsePaging({ limit: '100' }, accountPaging).limit).toBe(80);
  });

  it('takes any number for a bound and anything else for none', () => {
    expect(parsePaging({ max_id: '116000000000000001', since_id: 5, min_id: '0' })).toEqual({ maxId: 116000000000000001n, sinceId: 5n, minId: 0n, limit: 20 });
    expect(parsePaging({ max_id: '9'.repeat(30), since_id: '-7' })).toMatchObject({ maxId: idMax, sinceId: 0n });
    for (const bad of ['', 'abc', '1.5', 'None', '9'.repeat(100), ['1'], {}, null, 2 ** 60]) expect(parsePaging({ max_id: bad }).maxId).toBeUndefined();
  });

  it('knows which ids can exist', () => {
    expect(parseId('9223372036854775807')).toBe(idMax);
    for (const bad of ['0', '9223372036854775808', '-1', '', 'x', '1 ', 5, undefined]) expect(parseId(bad)).toBeUndefined();
  });
});
