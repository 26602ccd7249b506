import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { exitCodeOf } from '../base/exit-codes.ts';
import { CommandOutput, type OutputEnd, type OutputStream } from './output.ts';

/** A stream that takes a line and fails at the second one, a turn later. */
function failing(code: string, isTTY = false): OutputStream {
  let taken = 0;
  const stream = new Writable({
    write: (_chunk, _encoding, done) => {
      setImmediate(() => done(taken++ === 0 ? null : Object.assign(new Error(`${code}: it fails`), { code })));
    },
  });
  return Object.assign(stream, { isTTY }) as unknown as OutputStream;
}

function opened(stream: OutputStream): { output: CommandOutput; ends: OutputEnd[] } {
  const ends: OutputEnd[] = [];
  return { output: new CommandOutput(stream, (end) => void ends.push(end)), ends };
}

test('what was taken has not ended', async () => {
  const stream = new PassThrough();
  const { output, ends } = opened(stream as unknown as OutputStream);
  output.line('one');
  expect(await output.settled()).toBeUndefined();
  expect([String(stream.read()), ends]).toEqual(['one\n', []]);
});

test('a fault that shows only after the last line is waited for and told once', async () => {
  const { output, ends } = opened(failing('ENOSPC'));
  output.line('one');
  output.line('two');
  expect(ends).toEqual([]);
  const end = (await output.settled()) as SightlineError;
  expect([end.code, exitCodeOf(end), end.message]).toEqual([
    'OUTPUT_FAILED',
    73,
    'standard output cannot be written: ENOSPC: it fails',
  ]);
  output.line('three');
  expect(await output.settled()).toBe(end);
  expect(ends).toEqual([end]);
});

test.each([
  ['EPIPE', false, 'closed'],
  ['EIO', true, 'closed'],
  ['EIO', false, 'OUTPUT_FAILED'],
  ['EFBIG', false, 'OUTPUT_FAILED'],
])('%s on a terminal: %s', async (code, isTTY, what) => {
  const { output } = opened(failing(code, isTTY));
  output.line('one');
  output.line('two');
  const end = await output.settled();
  expect(end instanceof SightlineError ? end.code : end).toBe(what);
});

test('a file gets every byte, and one that cannot be written is told at once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-output-'));
  const path = join(folder, 'out');
  const fd = openSync(path, 'w');
  const written = opened({ fd, on: () => undefined, write: () => true } as unknown as OutputStream);
  const text = 'ä'.repeat(100_000);
  written.output.line(text);
  expect(await written.output.settled()).toBeUndefined();
  expect(readFileSync(path, 'utf8')).toBe(`${text}\n`);
  closeSync(fd);
  written.output.line('more');
  expect(written.ends).toMatchObject([{ code: 'OUTPUT_FAILED' }]);
  rmSync(folder, { recursive: true });
});
