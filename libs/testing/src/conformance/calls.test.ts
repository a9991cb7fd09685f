import { Calls } from '@dmb/runtime';
import { callsConformance } from './calls.ts';

callsConformance('functions of one process', () => {
  const calls = new Calls({ checked: true });
  return Promise.resolve({ caller: calls, callee: calls, close: () => Promise.resolve() });
});
