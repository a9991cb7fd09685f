import type { Status } from '@dmb/events';
import { describe, expect, test } from 'vitest';
import { post } from './views.ts';

const account = { acct: 'news', avatar: '', display_name: 'News', url: '' };
const status = (createdAt: string): Status =>
  ({ id: '1', account, content: '', created_at: createdAt, edited_at: null, in_reply_to_id: null, language: null, replies_count: 0, spoiler_text: '', uri: '', url: '' }) as unknown as Status;

describe('the time of a post in a list', () => {
  const now = Date.parse('2026-07-21T18:00:00Z');
  test.each([
    ['2026-07-21T16:33:20.000Z', '16:33 UTC'],
    ['2026-07-20T23:59:59.000Z', '20 Jul 2026, 23:59 UTC'],
    ['2026-07-20T18:00:00.000Z', '20 Jul 2026'],
    ['2026-07-21T18:00:01.000Z', '18:00 UTC'],
  ])('%s is %s, with all of it in the title', (createdAt, shown) => {
    const { text } = post(status(createdAt), { now });
    expect(/<time [^>]*>([^<]*)</.exec(text)?.[1]).toBe(shown);
    expect(/title="([^"]*)"/.exec(text)?.[1]).toMatch(/^2\d Jul 2026, \d\d:\d\d UTC$/);
  });

  test('is told to the minute on the page of the post', () => {
    expect(post(status('2025-01-02T03:04:05.000Z'), { now, focus: true }).text).toContain('>2 Jan 2025, 03:04 UTC<');
  });
});
