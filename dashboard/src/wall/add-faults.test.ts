import { describe, expect, test } from 'vitest';
import { faultOfId, idOf, tableFaults } from './add-faults.ts';

describe('a name', () => {
  test.each([
    ['north-gate', undefined],
    ['a', undefined],
    ['a'.repeat(64), undefined],
    ['', 'It needs a name.'],
    ['yard', 'There is a camera called yard already.'],
    ['North', 'Small letters only: north.'],
    ['a'.repeat(65), expect.stringContaining('64')],
    ['-a', expect.stringContaining('begins with')],
    ['../etc', expect.stringContaining('begins with')],
    ['ein tor', expect.stringContaining('begins with')],
    ['nörd', expect.stringContaining('begins with')],
  ])('%s', (id, fault) => expect(faultOfId(id, ['yard'])).toEqual(fault));
});

describe('a name is made out of an address', () => {
  test.each([
    ['rtsp://user:p%40ss@gate.example:8554/live', 'gate'],
    ['rtsp://10.0.0.7/Cams/North Gate', 'north-gate'],
    ['rtsp://10.0.0.7/', ''],
    ['http://192.168.1.4/hls/roof.m3u8?token=x', 'roof'],
    ['/var/clips/monday.mp4', 'monday'],
    ['C:\\clips\\monday.mp4', 'monday'],
    ['/dev/video0', 'video0'],
    ['rtsp://user:secret@10.0.0.7', ''],
    ['', ''],
    [`/x/${'ä'.repeat(200)}b`, 'b'],
  ])('%s', (url, id) => expect(idOf(url)).toBe(id));
});

test('what is wrong in a table is told by line, with that line', () => {
  const table = 'id,url\nNorth,rtsp://a\r\nyard,ftp://b';
  const message = 'body: line 2, column id: "North": a name; or such; line 3, column url: no; and 4 more';
  expect(tableFaults(message, table)).toEqual([
    { line: 2, text: 'column id: "North": a name; or such', row: 'North,rtsp://a' },
    { line: 3, text: 'column url: no', row: 'yard,ftp://b' },
    { line: undefined, text: 'and 4 more', row: undefined },
  ]);
  expect(tableFaults('the table is empty', '')).toEqual([
    { line: undefined, text: 'the table is empty', row: undefined },
  ]);
  expect(tableFaults('line 9: a quote is open', table)).toEqual([{ line: 9, text: 'a quote is open', row: undefined }]);
});
