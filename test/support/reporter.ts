import type { Reporter, TestModule } from 'vitest/node';

/**
 * The last line of a run: `N passed, N failed`, and `, N skipped` where there are any. What fails outside of a test (a file that
 * cannot be loaded, an error that nobody caught) counts as failed, so that no red run says `0 failed`.
 */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      const testsBefore = counts.failed;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state !== 'pending') counts[state]++;
        else counts.failed++;
      }
      if (!module.ok() && counts.failed === testsBefore) counts.failed++;
    }
    const skipped = counts.skipped === 0 ? '' : `, ${counts.skipped} skipped`;
    // After the other reporters have had their say, which they have by the next turn.
    setImmediate(() => console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`));
  }
}
