// After `npm ci` in a clone: builds the page, so that `npm start` has one to show, and the packages, so that programs in the clone can
// import `sightline` and `@sightline/client`. An installation without the development dependencies has nothing to build with and is left alone.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);
const NPM_MIN = 11;

/** Where a package is installed; undefined where it is not. */
function folderOf(name) {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

function run(script, ...words) {
  const { status } = spawnSync(process.execPath, [script, ...words], { cwd: root, stdio: 'inherit' });
  process.exitCode ||= status ?? 1;
}

const [vite, typescript] = ['vite', 'typescript'].map(folderOf);
const npm = /^npm\/(\S+)/.exec(process.env['npm_config_user_agent'] ?? '')?.[1];
if (npm !== undefined && Number.parseInt(npm, 10) < NPM_MIN) {
  // Older ones run the install scripts that package.json denies, which fetch what is not needed from outside the registry.
  console.error(`sightline: npm ${NPM_MIN} or newer is needed, this is ${npm}: npm install -g npm`);
  process.exitCode = 1;
} else if (!vite || !typescript || !existsSync(join(root, 'dashboard', 'index.html'))) {
  console.log('sightline: nothing to build with (vite, typescript) or from (dashboard/index.html)');
} else {
  const tsc = join(typescript, 'bin', 'tsc');
  run(join(vite, 'bin', 'vite.js'), 'build', 'dashboard', '--logLevel', 'warn');
  for (const project of ['tsconfig.build.json', 'src/client/tsconfig.build.json', 'packages/client'])
    run(tsc, '-p', project);
}
