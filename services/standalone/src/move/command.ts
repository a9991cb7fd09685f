/** What the commands that move data have in common. */
import { notice, StartError } from '@dmb/runtime';

/**
 * Runs a command; its exit code. What `work` resolves with goes to standard output, a {@link StartError} as its sentences to standard error.
 * @throws whatever else `work` throws
 */
export async function runCommand(usage: string, parameters: readonly string[], work: () => Promise<string>): Promise<number> {
  if (parameters.some((parameter) => parameter === '--help' || parameter === '-h')) {
    notice(usage);
    return 0;
  }
  try {
    notice(await work());
    return 0;
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}

/** The addresses of a comma-separated list; none of nothing. */
export function urlsOf(list = ''): string[] {
  return list.split(',').map((url) => url.trim()).filter((url) => url !== '');
}
