import { expect, test } from 'vitest';
import { wrapLine } from './wrap.ts';

test('what fits stays as it is', () => {
  expect(wrapLine('  --json   print  JSON', 40)).toEqual(['  --json   print  JSON']);
});

test('text is broken between words, under its own indentation', () => {
  expect(wrapLine('  one two three four', 12)).toEqual(['  one two', '  three four']);
});

test('a description stays in its column where that has room, and goes below its word where not', () => {
  const line = '  --config <file>   the file with the settings that are wanted';
  expect(wrapLine(line, 46)).toEqual([
    '  --config <file>   the file with the settings',
    '                    that are wanted',
  ]);
  expect(wrapLine(line, 30)).toEqual([
    '  --config <file>',
    '      the file with the',
    '      settings that are wanted',
  ]);
});

test('rows of a table keep their cells whole', () => {
  expect(wrapLine('ssd-oidv4  built-in  Apache-2.0  300×300  detect', 30)).toEqual([
    'ssd-oidv4',
    '    built-in  Apache-2.0',
    '    300×300  detect',
  ]);
});

test('a word that is too long stays whole; wide characters count twice', () => {
  expect(wrapLine('at /a/very/long/path/of/something ok', 10)).toEqual(['at', '/a/very/long/path/of/something', 'ok']);
  expect(wrapLine('漢字漢字 漢字漢字', 9)).toEqual(['漢字漢字', '漢字漢字']);
});

test('where there is no room at all each word has a line', () => {
  for (const width of [-1, 0, 1]) expect(wrapLine('A:  b c', width)).toEqual(['A:', 'b', 'c']);
});

test('no line of any text is longer than the width, but for single words', () => {
  const line = '  a-name  with several   columns  and some words behind them that go on and on';
  for (let width = 8; width < 90; width++) {
    const lines = wrapLine(line, width);
    for (const one of lines) expect(one.length <= width || !one.trim().includes(' ')).toBe(true);
    expect(lines.join(' ').split(/\s+/)).toEqual(line.split(/\s+/));
  }
});
