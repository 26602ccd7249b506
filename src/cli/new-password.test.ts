import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { readNewPassword, type PasswordInput } from './new-password.ts';

let shown: string;
let raw: boolean[];
let output: PassThrough;
beforeEach(() => {
  shown = '';
  raw = [];
  output = new PassThrough();
  output.on('data', (chunk: Buffer) => (shown += chunk.toString()));
});

function terminal(): PassThrough & PasswordInput {
  return Object.assign(new PassThrough(), { isTTY: true, setRawMode: (isRaw: boolean) => raw.push(isRaw) });
}

describe('at a terminal', () => {
  test.each([
    ['in one go', ['geheim\rgeheim\r']],
    ['letter by letter, with mistakes', ['x', '\x15', 'ge', 'hh', '\x7f', 'eim', '\r', 'geheiß', '\b', 'm', '\r']],
    ['with other line ends', ['geheim\r\ngeheim\r\n']],
  ])('it is typed twice and not shown: %s', async (_what, parts) => {
    const input = terminal();
    const read = readNewPassword(input, output);
    for (const part of parts) {
      input.write(part);
      await new Promise(setImmediate);
    }
    expect(await read).toBe('geheim');
    expect(shown).toBe('Password: \nOnce more: \n');
    expect(raw).toEqual([true, false, true, false]);
    expect(input.isPaused()).toBe(true);
  });

  test.each([
    ['another one the second time', 'geheim\rgeheum\r', 'not the same'],
    ['Ctrl+C', 'gehe\x03', 'no password'],
    ['Ctrl+D', '\x04', 'no password'],
  ])('%s ends it', async (_what, keys, why) => {
    const input = terminal();
    const read = readNewPassword(input, output);
    input.write(keys);
    await expect(read).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(why) });
    expect(raw.at(-1)).toBe(false);
  });
});

describe('elsewhere it is one line', () => {
  test.each([
    ['geheim\n', 'geheim'],
    ['geheim', 'geheim'],
    ['ge heim\nmore\n', 'ge heim'],
  ])('%j', async (text, password) => {
    const input: PassThrough & PasswordInput = new PassThrough();
    input.end(text);
    expect(await readNewPassword(input, output)).toBe(password);
    expect(shown).toBe('');
  });

  test.each([
    ['', 'no password'],
    ['x'.repeat(5_000), 'no more than'],
  ])('%.3s… is none', async (text, why) => {
    const input: PassThrough & PasswordInput = new PassThrough();
    input.end(text);
    await expect(readNewPassword(input, output)).rejects.toMatchObject({ message: expect.stringContaining(why) });
  });
});
