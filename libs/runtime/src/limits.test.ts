import { expect, it } from 'vitest';
import { assertLimits } from './limits.ts';

it('names every relation between limits that does not hold', () => {
  expect(() => assertLimits('the batcher', { 'a < b': true })).not.toThrow();
  expect(() => assertLimits('the batcher', { 'a < b': false, 'b < c': true, 'c < d': false })).toThrow(
    'The limits of the batcher contradict each other: a < b does not hold.\nThe limits of the batcher contradict each other: c < d does not hold.',
  );
});
