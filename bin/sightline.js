#!/usr/bin/env node
// The command. Plain JavaScript, so that an old Node can read it and say what it lacks.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const NODE_MIN = 24;
const here = (path) => new URL(path, import.meta.url);

function isNewEnough(version) {
  return Number.parseInt(version, 10) >= NODE_MIN;
}

/** The clone has a Node of its own, from the npm package `node`; started by an older one, the command moves over to it. */
function moveTo(node) {
  const child = spawn(node, process.argv.slice(1), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => refuse(`${node} cannot be started: ${error.message}`));
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 1;
    if (signal === null) return;
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

function refuse(why) {
  process.stderr.write(`sightline: ${why}\n`);
  process.exitCode = 69;
}

async function run() {
  // Half of the time of a short command is reading and compiling its own source; from the second time on it is not.
  const { directory } = module.enableCompileCache?.() ?? {};
  // Its threads and processes read it as well: they begin sooner then, and take less memory, since none of them needs Node's compiler of TypeScript.
  if (directory !== undefined) process.env.NODE_COMPILE_CACHE ??= directory;
  // A clone has the sources, which beat a build that may be older; the published package has only the build.
  const inClone = existsSync(here('../src/cli/main.ts'));
  const { main } = await import(here(inClone ? '../src/cli/main.ts' : '../dist/cli/main.js').href);
  process.exitCode = await main(process.argv.slice(2));
}

const ownNode = fileURLToPath(here(`../node_modules/node/bin/node${process.platform === 'win32' ? '.exe' : ''}`));
if (isNewEnough(process.versions.node)) await run();
else if (existsSync(ownNode) && process.execPath !== ownNode) moveTo(ownNode);
else refuse(`Node ${NODE_MIN} or newer is needed, this is ${process.versions.node} (https://nodejs.org)`);
