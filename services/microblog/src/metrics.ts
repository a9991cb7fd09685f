/** What this service counts: one function per thing that happens. No ids in attributes. */
import { metrics } from '@opentelemetry/api';

const meter = metrics.getMeter('@dmb/microblog');

const entries = meter.createCounter('dmb.append.entries', { description: 'Entries committed', unit: '{entry}' });
const batchRows = meter.createHistogram('dmb.append.batch.size', { description: 'Rows of a batch', unit: '{entry}' });
const batchSeconds = meter.createHistogram('dmb.append.batch.duration', { description: 'From sending a batch to its commit', unit: 's' });
const attempts = meter.createCounter('dmb.append.retries', { description: 'Rows or batches that had to be run again', unit: '{retry}' });
const refusals = meter.createCounter('dmb.append.refused', { description: 'Appends refused because too many wait', unit: '{entry}' });
const applied = meter.createCounter('dmb.microblog.consumer.applied', { description: 'Entries whose effects our own consumer has applied', unit: '{entry}' });
const parked = meter.createCounter('dmb.microblog.consumer.parked', { description: 'Logs set aside because an entry could not be applied', unit: '{log}' });
const happened = meter.createCounter('dmb.microblog.happenings', { description: 'Happenings derived from posts', unit: '{happening}' });

/** What a lane tells. */
export interface AppendMetrics {
  committed(rows: number, milliseconds: number): void;
  lost(rows: number): void;
  clashed(): void;
  bisected(): void;
  connectionLost(): void;
  refused(): void;
}

export const appendMetrics: AppendMetrics = {
  committed(rows, milliseconds) {
    entries.add(rows);
    batchRows.record(rows);
    batchSeconds.record(milliseconds / 1_000);
  },
  lost: (rows) => attempts.add(rows, { cause: 'lost' }),
  clashed: () => attempts.add(1, { cause: 'clash' }),
  bisected: () => attempts.add(1, { cause: 'bisected' }),
  connectionLost: () => attempts.add(1, { cause: 'connection-lost' }),
  refused: () => refusals.add(1),
};

export const consumerMetrics = {
  applied: (count: number): void => applied.add(count),
  parked: (): void => parked.add(1),
  happened: (what: string): void => happened.add(1, { what }),
};
