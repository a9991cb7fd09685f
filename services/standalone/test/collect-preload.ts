/**
 * Collects all garbage of the program at SIGUSR2 and says what is left, so that a test of memory
 * measures what is kept and not when V8 happened to look. Loaded by the test (`node --import`).
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

process.on('SIGUSR2', () => {
  collect();
  // What is freed by finalizers and what those held go in the next.
  setTimeout(() => {
    collect();
    process.stdout.write(`collected ${JSON.stringify(process.memoryUsage())}\n`);
  }, 200);
});
