import { expect, test } from 'vitest';
import type { SegmentLine } from './files.ts';
import { entriesOf, ENTRY_BYTES_MAX, segmentsWithin, vodPlaylist, type ListedFile } from './playlist.ts';

const HEADER = { camera: 'north', epoch: 1, codec: 'avc1.42c01e', width: 64, height: 36, bytes: 10 };

/** Seconds of video, one segment each, with a key frame in front of those that are named. */
function fileOf(fromS: number, bytes: readonly number[], isKey: (i: number) => boolean = () => true): ListedFile {
  let at = HEADER.bytes;
  const segments = bytes.map((count, i): SegmentLine => {
    at += count;
    return { at: at - count, bytes: count, from: (fromS + i) * 1_000, duration_s: 1, key: isKey(i) };
  });
  return { name: `${fromS * 1_000}-1`, lines: { header: HEADER, segments } };
}

const sizes = (file: ListedFile) => entriesOf([file], 0, 1e6).map(({ at, bytes }) => [at, bytes]);

test('segments that follow each other are one entry, up to a length', () => {
  expect(
    sizes(
      fileOf(
        0,
        Array.from({ length: 8 }, () => 100),
      ),
    ),
  ).toEqual([
    [10, 600],
    [610, 200],
  ]);
});

test('and up to so many bytes as are read at once', () => {
  const large = ENTRY_BYTES_MAX / 2;
  expect(sizes(fileOf(0, [large, large, large]))).toEqual([
    [10, 2 * large],
    [10 + 2 * large, large],
  ]);
});

test('a time begins at the key frame before it', () => {
  const file = fileOf(0, [1, 1, 1, 1, 1], (i) => i % 3 === 0);
  expect(segmentsWithin(file, 2_500, 3_500).map(({ from }) => from)).toEqual([0, 1_000, 2_000, 3_000]);
  expect(segmentsWithin(file, 3_000, 4_000).map(({ from }) => from)).toEqual([3_000]);
  expect(segmentsWithin(file, 5_000, 9_000)).toEqual([]);
});

test('another file goes on, and what is missing in between is told', () => {
  const entries = entriesOf([fileOf(0, [1, 1]), fileOf(2, [1]), fileOf(9, [1])], 0, 1e6);
  expect(entries.map(({ isApart }) => isApart)).toEqual([true, false, true]);
  expect(vodPlaylist(entries).match(/DISCONTINUITY|MAP/g)).toEqual(['MAP', 'MAP', 'DISCONTINUITY', 'MAP']);
});
