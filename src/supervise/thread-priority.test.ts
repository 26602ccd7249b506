import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { lowerThisThread, lowerV8Threads } from './thread-priority.ts';

const MODULE = new URL('thread-priority.ts', import.meta.url).href;
/** Tells what it has before and after, so that a test of its own priority leaves no thread of the tests with another one. */
const SCRIPT = `
  import { readlinkSync } from 'node:fs';
  import { getPriority } from 'node:os';
  import { basename } from 'node:path';
  import { parentPort } from 'node:worker_threads';
  import { lowerThisThread } from ${JSON.stringify(MODULE)};
  const own = () => getPriority(Number(basename(readlinkSync('/proc/thread-self'))));
  const before = own();
  parentPort.postMessage({ before, done: lowerThisThread(), after: own() });
`;

describe.runIf(process.platform === 'linux')('lowerThisThread', () => {
  it('lowers the thread that calls, and no other', async () => {
    const main = getPriority(process.pid);
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(SCRIPT)}`));
    const [{ before, done, after }] = (await once(worker, 'message')) as [
      { before: number; done: boolean; after: number },
    ];
    expect(done).toBe(true);
    expect(after).toBe(Math.min(19, before + 5));
    expect(getPriority(process.pid)).toBe(main);
  });
});

describe.runIf(process.platform === 'linux')('lowerV8Threads', () => {
  it('lowers threads of V8 alone', () => {
    const threads = () =>
      readdirSync('/proc/self/task').flatMap((id) => {
        try {
          return { name: readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim(), nice: getPriority(Number(id)) };
        } catch {
          // It has ended meanwhile.
          return [];
        }
      });
    const main = getPriority(process.pid);
    expect(lowerV8Threads()).toBe(true);
    const helpers = threads().filter(({ name }) => name === 'V8Worker');
    expect(helpers.length).toBeGreaterThan(0);
    for (const { nice } of helpers) expect(nice).toBe(Math.min(19, main + 5));
    expect(getPriority(process.pid)).toBe(main);
  });
});

describe.runIf(process.platform !== 'linux')('elsewhere', () => {
  it('changes nothing', () => {
    expect(lowerThisThread()).toBe(false);
    expect(lowerV8Threads()).toBe(false);
  });
});
