// After `npm ci` in a clone: builds the page, so that `npm start` has one to show. An installation without the development
// dependencies has nothing to build with and is left alone.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);

function viteCommand() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('vite/package.json')), 'bin', 'vite.js');
  } catch {
    return undefined;
  }
}

const vite = viteCommand();
if (vite === undefined || !existsSync(join(root, 'dashboard', 'index.html'))) {
  console.log('sightline: nothing to build the page with (vite) or from (dashboard/index.html)');
} else {
  const built = spawnSync(process.execPath, [vite, 'build', 'dashboard', '--logLevel', 'warn'], {
    cwd: root,
    stdio: 'inherit',
  });
  process.exitCode = built.status ?? 1;
}
