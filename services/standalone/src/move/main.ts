import { runMove } from './move.ts';

process.exitCode = await runMove(process.argv.slice(2));
