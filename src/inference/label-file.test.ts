import { describe, expect, test } from 'vitest';
import { parseLabels } from './label-file.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const utf16 = (text: string, mark = true) => new Uint8Array(Buffer.from(`${mark ? '\ufeff' : ''}${text}`, 'utf16le'));
/** The same with its bytes in the other order. */
const swapped = (bytes: Uint8Array) => new Uint8Array(Buffer.from(bytes).swap16());

describe('labels', () => {
  test.each<[string, Uint8Array]>([
    ['UTF-8', utf8('Straße\nno entry\n')],
    ['with a mark', utf8('\ufeffStraße\nno entry')],
    ["Windows' ends of lines", utf8('Straße\r\nno entry\r\n\r\n')],
    ['ends of lines of old Macs', utf8('Straße\rno entry\r')],
    ['UTF-16, low byte first', utf16('Straße\r\nno entry')],
    ['UTF-16, high byte first', swapped(utf16('Straße\nno entry\n'))],
    ['space around them', utf8('  Straße \n\tno entry\n  \n')],
  ])('%s', (_form, bytes) => {
    expect(parseLabels(bytes, '/x/labels.txt')).toEqual(['Straße', 'no entry']);
  });

  test.each<[string, Uint8Array, RegExp]>([
    [
      'Latin-1',
      new Uint8Array(Buffer.from('dog\ncaf\xe9\ncat\n', 'latin1')),
      /labels\.txt is not UTF-8 in line 2; save it as UTF-8/,
    ],
    ['UTF-16 without a mark', utf16('dog\ncat', false), /NUL characters/],
    [
      'UTF-32',
      new Uint8Array(Buffer.concat([Buffer.from([0xff, 0xfe, 0, 0]), Buffer.from('dog\0\0\0', 'latin1')])),
      /NUL|UTF-16LE/,
    ],
    ['UTF-16 that is cut', utf16('dog\ncat').subarray(0, -1), /not UTF-16LE/],
    ['half a surrogate pair', swapped(utf16('\ud83dx')), /not UTF-16BE/],
    ['a NUL', utf8('dog\nc\0at\n'), /NUL/],
    ['a control character', utf8('dog\nc\u001bat\n'), /control character in line 2/],
    ['a blank line in between', utf8('dog\n\ncat\n'), /nothing in line 2/],
    ['a blank line first', utf8('\r\ndog\r\n'), /nothing in line 1/],
    ['nothing', utf8(' \n\n'), /holds no label/],
    ['no bytes', new Uint8Array(), /holds no label/],
    ['a line without end', utf8('x'.repeat(5000)), /5000 characters in line 1/],
    ['too many', utf8('x\n'.repeat(70_000)), /70000 lines/],
  ])('%s: refused, with the place', (_form, bytes, words) => {
    expect(() => parseLabels(bytes, '/x/labels.txt')).toThrow(
      expect.objectContaining({ code: 'SOURCE_UNREADABLE', message: expect.stringMatching(words) }),
    );
  });
});
