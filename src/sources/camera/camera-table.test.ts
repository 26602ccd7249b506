import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../../base/errors.ts';
import { CAMERAS_MAX } from '../../config/schema.ts';
import { CAMERA_TABLE, readCameraTable } from './camera-table.ts';
import { CsvFault, readCsv } from './csv.ts';

const LIMITS = { rowsMax: 100, columnsMax: 10, cellCharsMax: 200 };
const cellsOf = (text: string) => readCsv(text, LIMITS).map(({ cells }) => cells);

describe('a table', () => {
  test.each<[string, string[][]]>([
    [
      'a,b\n1,2',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      'a,b\r\n1,2\r\n',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      'a,b\r1,2\r',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      '\uFEFFa,b\n1,2\n',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      'a;b\n1,5;2',
      [
        ['a', 'b'],
        ['1,5', '2'],
      ],
    ],
    [
      'a\tb\n1\t2',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      '"a,x";b\n1;2',
      [
        ['a,x', 'b'],
        ['1', '2'],
      ],
    ],
    [
      'a,b\n\n , \n1,2\n\n',
      [
        ['a', 'b'],
        ['1', '2'],
      ],
    ],
    [
      ' a , "b" \n"say ""x""", 2 ',
      [
        ['a', 'b'],
        ['say "x"', '2'],
      ],
    ],
    [
      'a,b\n"one\r\ntwo",2',
      [
        ['a', 'b'],
        ['one\r\ntwo', '2'],
      ],
    ],
    ['a,b\n1', [['a', 'b'], ['1']]],
    [
      'a,b\n,2\n1,',
      [
        ['a', 'b'],
        ['', '2'],
        ['1', ''],
      ],
    ],
    ['a"b,c"d', [['a"b', 'c"d']]],
    ['', []],
    ['\n\r\n\r', []],
  ])('%j', (text, cells) => expect(cellsOf(text)).toEqual(cells));

  test('knows the line of each row, also behind cells with lines in them', () => {
    expect(readCsv('a\n\n"1\n2\r\n3"\r\nb\rc', LIMITS).map(({ line }) => line)).toEqual([1, 3, 6, 7]);
  });

  test.each<[string, number, RegExp]>([
    ['a,b\n1,"2', 2, /never closed/],
    ['a,b\n"1"2,3', 2, /follows a quoted cell/],
    [`a\n${'x\n'.repeat(100)}`, 101, /more than 100 rows/],
    [`a,b\n${'1,'.repeat(20)}`, 2, /more than 10 cells/],
    [`a\n${'x'.repeat(201)}`, 2, /more than 200 characters/],
    [`a\n"${'x'.repeat(201)}"`, 2, /more than 200 characters/],
  ])('%j is none', (text, line, fault) => {
    expect(() => readCsv(text, LIMITS)).toThrow(
      expect.objectContaining({ line, message: expect.stringMatching(fault) }),
    );
  });

  test('what is written is what is read, whatever is in the cells (property)', () => {
    const cell = fc.string({
      unit: fc.constantFrom('a', '"', ',', ';', '\n', '\r', ' ', '\t', 'é', '\uFEFF'),
      maxLength: 8,
    });
    const row = fc.array(cell, { minLength: 1, maxLength: 10 }).filter((cells) => cells.some((one) => one !== ''));
    const write = (rows: readonly string[][], end: string) =>
      rows.map((cells) => cells.map((one) => `"${one.replaceAll('"', '""')}"`).join(',')).join(end) + end;
    fc.assert(
      fc.property(fc.array(row, { maxLength: 20 }), fc.constantFrom('\n', '\r\n', '\r'), (rows, end) => {
        // The first line says what separates.
        expect(cellsOf(`h,i${end}${write(rows, end)}`)).toEqual([['h', 'i'], ...rows]);
      }),
    );
  });

  test('any text is a table or a fault (property)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => {
        try {
          for (const { cells } of readCsv(text, LIMITS)) expect(cells.length).toBeLessThanOrEqual(LIMITS.columnsMax);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(CsvFault);
        }
      }),
    );
  });

  test('takes no time that grows out of proportion', () => {
    const limits = { rowsMax: 1_000_000, columnsMax: 2_000_000, cellCharsMax: 2_000_000 };
    for (const text of [
      '"'.repeat(1_000_000),
      ','.repeat(1_000_000),
      '\r'.repeat(1_000_000),
      ' '.repeat(1_000_000),
      '""'.repeat(500_000),
    ]) {
      try {
        readCsv(text, limits);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(CsvFault);
      }
    }
  });
});

function refusal(text: string): string {
  try {
    readCameraTable(text);
  } catch (thrown) {
    if (thrown instanceof SightlineError && thrown.code === 'BODY_BAD') return thrown.message;
    throw thrown;
  }
  throw new Error('it was taken');
}

describe('a table of cameras', () => {
  test('has those that it names, an empty cell for a default', () => {
    expect(readCameraTable(CAMERA_TABLE)).toEqual([
      { id: 'north-gate', url: 'rtsp://10.0.0.7/live', class: 'high', pipelines: ['objects'] },
      { id: 'yard', url: 'rtsp://10.0.0.8/live' },
    ]);
    const table = [
      '\uFEFFURL;Id;Enabled;Pipelines;Loop;Pace;Transport;Model;Max_fps;Masks;',
      '"rtsp://me:p;w@cam/1";a.b;no;"objects, hands";yes;fast;udp;yolox-nano;2.5;"0,0 1,0 1,1; 0 0 .5 0 0 .5"',
      'clips/a.mp4;c;;none',
    ].join('\r\n');
    expect(readCameraTable(table)).toEqual([
      {
        id: 'a.b',
        url: 'rtsp://me:p;w@cam/1',
        enabled: false,
        pipelines: ['objects', 'hands'],
        masks: ['0,0 1,0 1,1', '0 0 .5 0 0 .5'],
        loop: true,
        pace: 'fast',
        transport: 'udp',
        model: 'yolox-nano',
        max_fps: 2.5,
      },
      { id: 'c', url: 'clips/a.mp4', pipelines: [] },
    ]);
  });

  test.each<[string, RegExp]>([
    ['', /the table is empty/],
    ['id,url\n', /no camera below/],
    ['url\nrtsp://a/1', /no column id/],
    ['id\na', /no column url/],
    ['id,url,clas\na,rtsp://a/1,low', /line 1, column 3: there is no column "clas", did you mean class\?/],
    ['id,url,id\na,rtsp://a/1,b', /line 1, column 3: there is a column id already/],
    ['a,rtsp://me:hidden1@a/1\nb,rtsp://b/1', /there is no column/],
    ['id,url\nA,rtsp://a/1', /line 2, column id: "A": a name has 1 to 64 characters/],
    ['id,url\n../a,rtsp://a/1', /line 2, column id: /],
    ['id,url\na..b,rtsp://a/1', /two dots/],
    ['id,url\n__proto__,rtsp://a/1', /line 2, column id: /],
    ['id,url\n,rtsp://a/1', /line 2, column id: it is empty/],
    ['id,url\na,', /line 2, column url: it is empty/],
    ['id,url\n\na,ftp://me:hidden1@a/1', /line 3, column url: an address begins with one of rtsp:/],
    ['id,url\na,me:hidden1@a:554/1', /line 2, column url: /],
    [
      'id,url,class\na,rtsp://a/1,best',
      /line 2, column class: it must be one of critical, high, normal, low, not "best"/,
    ],
    ['id,url,class\na,rtsp://a/1,rtsp://me:hidden1@a/1', /line 2, column class: /],
    ['id,url,enabled\na,rtsp://a/1,maybe', /line 2, column enabled: it must be true or false, not "maybe"/],
    ['id,url,pipelines\na,rtsp://a/1,faces', /line 2, column pipelines: it must be a list of/],
    ['id,url,pipelines\na,rtsp://a/1,hands hands', /the same pipeline twice/],
    ['id,url,masks\na,rtsp://a/1,"0,0 1,1"', /line 2, column masks: a polygon has 3 to 64 points/],
    ['id,url\na,rtsp://a/1\nb,rtsp://b/1\na,rtsp://a/2', /line 4, column id: "a" is on line 2 already/],
    ['id,url\na,rtsp://a/1,x', /line 2, column 3: this column has no name/],
    ['id,url\na,"rtsp://a/1', /line 2: a quote is never closed/],
    ['id,url\na,rtsp://a/\u0007', /control character/],
    [`id,url\na,rtsp://a/${'x'.repeat(2_000)}`, /line 2, column url: /],
    [
      `id,url\n${Array.from({ length: CAMERAS_MAX + 1 }, (_, i) => `c${i},rtsp://a/${i}`).join('\n')}`,
      /more than \d+ rows/,
    ],
  ])('%j is refused', (text, message) => {
    expect(refusal(text)).toMatch(message);
    expect(refusal(text)).not.toMatch(/hidden\d/);
    expect(refusal(text).length).toBeLessThan(600);
  });

  test('all faults at once, the first five of them told', () => {
    const message = refusal(`id,url\n${'!,rtsp:\n'.repeat(20)}`);
    expect(message.match(/line \d+, column/g)).toHaveLength(5);
    expect(message).toMatch(/and 54 more$/);
  });

  test('any text is a table or a refusal (property)', () => {
    const word = fc.constantFrom(
      'id',
      'url',
      'class',
      ',',
      ';',
      '\n',
      '"',
      'a',
      'rtsp://x/1',
      '__proto__',
      '\r\n',
      'low',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 60 }), (words) => {
        try {
          for (const { id } of readCameraTable(words.join(''))) expect(id).toMatch(/^[a-z0-9]/);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'BODY_BAD' });
        }
      }),
      { numRuns: 500 },
    );
  });
});
