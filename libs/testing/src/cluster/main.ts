import { runCluster } from './run.ts';

process.exit(await runCluster(process.argv.slice(2)));
