import { runMoveShards } from './shards.ts';

process.exitCode = await runMoveShards(process.argv.slice(2));
