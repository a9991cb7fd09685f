import { runBenchmarks } from './bench.ts';

// Engines are ended when this process exits; without this a signal would leave them behind.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await runBenchmarks(process.argv.slice(2));
