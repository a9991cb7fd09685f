/**
 * A vitest reporter that prints `N passed, N failed` as the last line of the run.
 *
 * A file that cannot be collected, a failing hook and an unhandled error are no tests, but each counts as one
 * failure; so does a check that failed before vitest was started (see bootstrap.mjs), named in DMB_FAILED_CHECKS.
 */
export default class ClosingLine {
  onTestRunEnd(modules, unhandledErrors) {
    const checks = (process.env.DMB_FAILED_CHECKS ?? '').split(' ').filter(Boolean);
    let passed = 0;
    let failed = unhandledErrors.length + checks.length;
    for (const module of modules) {
      if (module.errors().length > 0) failed++;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
      }
    }
    process.on('exit', () => {
      for (const check of checks) console.log(`${check} failed: see its output above`);
      console.log(`${passed} passed, ${failed} failed`);
    });
  }
}
