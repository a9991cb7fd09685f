/** Loaded before everything else by `node --import @dmb/runtime/preload`; see telemetry.ts. */
import { StartError } from './errors.ts';
import { startTelemetry } from './telemetry.ts';

try {
  await startTelemetry();
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
