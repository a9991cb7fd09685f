/**
 * What `npm start` does and says. Sentences for whoever started it go to standard output, the log
 * to standard error; it never asks anything, so that scripts can run it.
 */
import { identityConfig } from '@dmb/identity';
import { fanOutConfig } from '@dmb/fan-out';
import { microblogConfig } from '@dmb/microblog';
import { createLogger, helpText, logLevels, notice, readConfig, runProcess, StartError, unknownVariables, type Environment, type LogLevel } from '@dmb/runtime';
import { timelineConfig } from '@dmb/timeline';
import { compose, type Standalone } from './compose.ts';
import { readSettings, standaloneConfig, type Settings } from './config.ts';

const usage = `Usage: npm start

Starts DMB: all services in one process, with a database of its own in the data folder. Ctrl-C stops it.
Everything is set by environment variables:
`;

const declarations = [standaloneConfig, identityConfig, microblogConfig, fanOutConfig, timelineConfig];

/** Runs the program until a signal; resolves once it is ready, or has failed to start and said why. */
export async function runStandalone(parameters: readonly string[], environment: Environment): Promise<void> {
  const [parameter] = parameters;
  if (parameter === '--help' || parameter === '-h') {
    notice(`${usage}\n${helpText(declarations)}`);
    return;
  }
  const logger = createLogger({ name: 'dmb', level: logLevelOf(environment) });
  const notes = unknownVariables(declarations, 'DMB_', environment).map((sentence) => `Note: ${sentence}`);
  let settings: Settings | undefined;
  let standalone: Standalone | undefined;
  await runProcess(
    { logger, onSignal: (what) => notice(what === 'stopping' ? 'DMB is stopping: what is in progress is finished first.' : 'DMB has stopped.') },
    (lifecycle) => {
      if (parameter !== undefined) throw new StartError(`"${parameter}" is not understood: everything is set by the environment. npm start -- --help tells how.`);
      // Now, in case the start fails because of it, and again where it is read.
      if (notes.length > 0) notice(...notes);
      // All wrong values together, whichever service they are of.
      readConfig(Object.fromEntries(declarations.flatMap((declaration) => Object.values(declaration)).map((spec) => [spec.name, spec])), environment);
      settings = readSettings(environment);
      standalone = compose(lifecycle, settings, environment, logger);
    },
    async () => {
      if (settings !== undefined && standalone !== undefined) notice(readyText(settings, await standalone.operatorLink()), ...notes);
    },
  );
}

/** The level is needed before the settings are known to be right; a wrong one is told with the others. */
function logLevelOf(environment: Environment): LogLevel {
  return logLevels.find((level) => level === environment[standaloneConfig.logLevel.name]?.trim()) ?? standaloneConfig.logLevel.default;
}

function readyText({ baseUrl, domain, data, databaseUrls }: Settings, operatorLink: string | undefined): string {
  const operator =
    operatorLink === undefined
      ? []
      : ['', '  This server has no operator yet. Whoever opens this link becomes it (it works once):', '', `    ${operatorLink}`];
  return [
    `DMB is ready at ${baseUrl}`,
    ...operator,
    '',
    `  Next: open ${baseUrl} to sign up, then give "${domain}" as your server to a Mastodon client (toot, for one) and post.`,
    `  ${databaseUrls === undefined ? `Everything is kept in ${data}.` : 'Everything is kept in the database of DATABASE_URL.'} Ctrl-C stops the server. npm start -- --help tells what can be set.`,
    '',
  ].join('\n');
}
