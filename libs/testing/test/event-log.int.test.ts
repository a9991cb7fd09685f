import { PostgresEventLog } from '@dmb/event-log';
import { eventLogConformance } from '../src/conformance/event-log.ts';
import { outboxHarness } from './outbox-harness.ts';

eventLogConformance('outbox tables in Postgres', () =>
  outboxHarness({
    start: (producers, limits) => new PostgresEventLog({ producers, limits: { retryDelayMs: 5, retryDelayMsMax: 50, ...limits } }),
  }),
);
