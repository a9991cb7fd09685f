import { runBenchmarks } from './bench.ts';

await runBenchmarks(process.argv.slice(2));
