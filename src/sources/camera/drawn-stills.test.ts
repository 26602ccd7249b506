import { expect, test } from 'vitest';
import { DRAWN_STILLS_MS, DrawnStills, OWN_STILL_MS_MAX } from './drawn-stills.ts';
import type { NamedFrame } from './raw-track.ts';
import type { Drawing } from './result-board.ts';

const frame = (seq: number, arrivedMs: number) => ({ epoch: 1, seq, arrivedMs }) as NamedFrame;
const picture = (width: number) => ({
  width,
  height: 8,
  bytes: new Uint8Array(width * 8 * 3),
  source: { width, height: 8 },
});
const keep = (stills: DrawnStills, seq: number, arrivedMs: number) =>
  stills.keep(frame(seq, arrivedMs), new Map(stills.widths(arrivedMs).map((width) => [width, picture(width)])));

/** What has come for these frames. */
function board(...done: number[]) {
  const drawing = (boxes: Drawing['boxes']): Drawing => ({ boxes, results: [] });
  return {
    isDone: ({ seq }: NamedFrame) => done.includes(seq),
    drawingFor: ({ seq }: NamedFrame) => drawing(done.includes(seq) ? 'own' : 'predicted'),
  };
}

test('the newest picture whose results are there, while it is new, in the width that is asked for', () => {
  const stills = new DrawnStills(false);
  stills.want(32, 0);
  keep(stills, 1, 10);
  keep(stills, 2, 20);
  expect(stills.newest(32, 30, board())).toBe(undefined);
  const first = stills.newest(32, 30, board(1))!;
  expect([first.frame.seq, first.width, first.height]).toEqual([1, 32, 8]);
  expect(stills.newest(32, 31, board(1))!.jpeg).toBe(first.jpeg);
  expect(stills.newest(48, 31, board(1))).toBe(undefined);
  expect(stills.newest(32, 31, board(1, 2))!.frame.seq).toBe(2);
  expect(stills.newest(32, 20 + OWN_STILL_MS_MAX, board(1, 2))!.frame.seq).toBe(2);
  expect(stills.newest(32, 21 + OWN_STILL_MS_MAX, board(1, 2))).toBe(undefined);
});

test('none of a frame before the last one that was given', () => {
  const stills = new DrawnStills(false);
  stills.want(32, 0);
  keep(stills, 1, 10);
  stills.given(frame(2, 20));
  expect(stills.newest(32, 30, board(1))).toBe(undefined);
  keep(stills, 3, 40);
  expect(stills.newest(32, 50, board(1, 3))!.frame.seq).toBe(3);
});

test('keeps no more bytes than it may, and nothing of wide ones, for which results come all the same', () => {
  const stills = new DrawnStills(false);
  stills.want(1_296, 0);
  expect([stills.isWanted(0), stills.widths(0)]).toEqual([true, []]);
  expect([stills.isWanted(DRAWN_STILLS_MS), stills.isWanted(DRAWN_STILLS_MS + 1)]).toEqual([true, false]);
  stills.want(1_280, 0);
  const large = (width: number, height: number) => {
    return new Map([[width, { width, height, bytes: new Uint8Array(width * height * 3), source: { width, height } }]]);
  };
  // Of 6 MiB each: no third one has room.
  for (let seq = 1; seq <= 3; seq++) stills.keep(frame(seq, seq), large(1_280, 1_638));
  expect(stills.newest(1_280, 10, board(1))).toBe(undefined);
  expect(stills.newest(1_280, 10, board(2))!.frame.seq).toBe(2);
  stills.keep(frame(4, 4), large(1_280, 5_120));
  expect(stills.newest(1_280, 10, board(2, 3, 4))).toBe(undefined);
});

test('keeps some widths, some pictures, and nothing when nobody asks any more', () => {
  const stills = new DrawnStills(false);
  for (const width of [16, 32, 48, 16, 64, 80]) stills.want(width, 0);
  expect(stills.widths(0)).toEqual([48, 16, 64, 80]);
  for (let seq = 1; seq <= 6; seq++) keep(stills, seq, seq);
  expect(stills.newest(16, 10, board(1, 2))).toBe(undefined);
  expect(stills.newest(16, 10, board(3))!.frame.seq).toBe(3);
  stills.want(16, 5);
  expect(stills.widths(DRAWN_STILLS_MS + 1)).toEqual([16]);
  expect(stills.widths(DRAWN_STILLS_MS + 6)).toEqual([]);
  stills.want(16, DRAWN_STILLS_MS + 6);
  expect(stills.newest(16, 10, board(3))).toBe(undefined);
});
