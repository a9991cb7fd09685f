import { runLoad } from './load.ts';

// What was started for the run is ended by its `exit` handlers, which a signal alone does not call.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
process.exitCode = await runLoad(process.argv.slice(2));
