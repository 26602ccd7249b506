import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writePicture } from '../../src/sources/writer.ts';
import { runHere } from '../support/command.ts';
import { pannedClip } from '../support/panned-clip.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-optimize-'));
  await pannedClip(join(folder, 'clip.mp4'), 30);
  await pannedClip(join(folder, 'one.mp4'), 1);
  await writePicture(join(folder, 'still.png'), { data: new Uint8Array(64 * 64 * 3), width: 64, height: 64 });
  writeFileSync(join(folder, 'words.txt'), 'some words\n');
  writeFileSync(join(folder, 'taken.yaml'), 'server:\n  port: 9001\n');
  mkdirSync(join(folder, 'a-folder'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(...words: string[]): ChildProcess {
  return spawn(process.execPath, [COMMAND, ...words], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function run(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(...words);
  const [out, err, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

describe('a clip', () => {
  test('stopped by Ctrl+C leaves no server and no file', async () => {
    const child = start('optimize', 'clip.mp4', '--quick', '--out', 'stopped.yaml');
    const out = text(child.stdout!);
    let err = '';
    for await (const chunk of child.stderr!) {
      err += String(chunk);
      // The default is through: the next server is about to start.
      if (err.includes('results/s')) break;
    }
    await expect.poll(() => childrenOf(child.pid!).length, { timeout: 20_000 }).toBeGreaterThan(0);
    const children = childrenOf(child.pid!);
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect({ code, out: await out }).toEqual({ code: 130, out: '' });
    expect(existsSync(join(folder, 'stopped.yaml'))).toBe(false);
    for (const pid of children) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });
});

function childrenOf(pid: number): number[] {
  const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return pids === '' ? [] : pids.split(' ').map(Number);
}

test.each([
  ['no clip', [], 64, 'USAGE', 'clip'],
  ['a file that is not there', ['none.mp4'], 66, 'SOURCE_NOT_FOUND', 'none.mp4'],
  ['a text', ['words.txt'], 65, 'SOURCE_UNREADABLE', 'words.txt'],
  ['a clip of one frame', ['one.mp4'], 65, 'SOURCE_UNREADABLE', 'it has one frame'],
  ['a picture', ['still.png'], 65, 'SOURCE_UNREADABLE', 'it has one frame'],
  ['a target of 0', ['clip.mp4', '--target-latency', '0'], 64, 'USAGE', "'0'"],
  ['a negative target', ['clip.mp4', '--target-latency', '-5'], 64, 'USAGE', "'-5'"],
  ['a target that is no number', ['clip.mp4', '--target-latency', 'NaN'], 64, 'USAGE', "'NaN'"],
  ['no sessions', ['clip.mp4', '--sessions', '0'], 64, 'USAGE', "'0'"],
  ['an unknown strategy', ['clip.mp4', '--strategy', 'best'], 64, 'USAGE', 'latency, memory, balanced, aggressive'],
  ['a file in no folder', ['clip.mp4', '--out', 'nope/a.yaml'], 73, 'OUTPUT_FAILED', 'nope'],
  ['a file that exists', ['clip.mp4', '--out', 'taken.yaml'], 73, 'OUTPUT_FAILED', 'exists already'],
  ['a folder', ['clip.mp4', '--out', 'a-folder', '--force'], 73, 'OUTPUT_FAILED', 'it is a folder'],
  ['the clip itself', ['clip.mp4', '--out', './clip.mp4', '--force'], 64, 'USAGE', 'the input itself'],
])('%s is refused', async (_, words, exit, code, says) => {
  const { code: exited, out, err } = await runHere(folder, ['optimize', ...words]);
  expect({ exited, out }).toEqual({ exited: exit, out: '' });
  expect(err.trimEnd().split('\n')).toHaveLength(1);
  expect(err).toMatch(new RegExp(`^sightline: .*\\(${code}\\)$`, 'm'));
  expect(err).toContain(says);
});

test('a model that is not there is told by its own code', async () => {
  const { code, out, err } = await run('--set', 'detection.model=yolo99', 'optimize', 'clip.mp4', '--out', 'm.yaml');
  expect({ code, out }).toEqual({ code: 66, out: '' });
  expect(err).toMatch(/^sightline: .*yolo99.* \(MODEL_UNKNOWN\)$/m);
});
