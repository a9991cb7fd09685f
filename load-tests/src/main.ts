import { runLoad } from './load.ts';

process.exitCode = await runLoad(process.argv.slice(2));
