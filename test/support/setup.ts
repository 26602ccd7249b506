import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import type { TestProject } from 'vitest/node';
import { missingPrograms } from './programs.ts';

const INSTALL_TIMEOUT_MS = 300_000;

/** Before the end-to-end tests: the programs that they need, and the pages. */
export default async function setup(project: TestProject): Promise<void> {
  installPrograms();
  await buildPages();
  project.onTestsRerun(buildPages);
}

/** Once for all tests: for a moment of building there are no pages, and the tests of another file may be at them. */
async function buildPages(): Promise<void> {
  await build({ root: fileURLToPath(new URL('../../dashboard', import.meta.url)), logLevel: 'error' });
}

/** As root on Debian they are installed; elsewhere one line says what to install, and the tests that need them are skipped. */
function installPrograms(): void {
  const missing = missingPrograms();
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => program.debianPackage))];
  if (process.getuid?.() === 0 && install(packages)) return;
  console.error(`Some end-to-end tests are skipped, install first: apt-get install ${packages.join(' ')}`);
}

function install(packages: readonly string[]): boolean {
  console.log(`installing ${packages.join(', ')} for the end-to-end tests`);
  const attempt = (): boolean => aptGet('install', '--no-install-recommends', ...packages);
  // The lists of packages may be missing altogether (containers) or be too old.
  return attempt() || (aptGet('update') && attempt());
}

function aptGet(...words: string[]): boolean {
  const { status } = spawnSync('apt-get', ['-qq', '-y', ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: INSTALL_TIMEOUT_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return status === 0;
}
