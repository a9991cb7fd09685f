/** Notes which modules the program loads, and says so at SIGUSR2. Loaded by the test (`node --import`). */
import { createRequire, registerHooks } from 'node:module';

const loaded = new Set<string>();
registerHooks({
  load(url, context, next) {
    loaded.add(url);
    return next(url, context);
  },
});

process.on('SIGUSR2', () => {
  const required = Object.keys(createRequire(import.meta.url).cache);
  process.stdout.write(`loaded ${JSON.stringify([...loaded, ...required])}\n`);
});
