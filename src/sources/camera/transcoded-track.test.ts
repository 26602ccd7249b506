import { AV_PIX_FMT_YUV420P } from 'node-av/constants';
import { Frame } from 'node-av/lib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MaskPainter } from './mask-painter.ts';
import type { ReaderData } from './messages.ts';
import type { Outlet } from './outlet.ts';
import type { NamedFrame } from './raw-track.ts';
import { TICKS_PER_S } from './timeline.ts';
import { TranscodedTrack } from './transcoded-track.ts';

const FRAME_TICKS = TICKS_PER_S / 10;
const BYTES = new Uint8Array();

let sent: ReaderData[];
let room: { fragments: boolean; isTaken: boolean };
let track: TranscodedTrack;
let failures: string[];

beforeEach(() => {
  sent = [];
  room = { fragments: true, isTaken: true };
  const outlet = {
    hasRoom: () => room.fragments,
    send: (data: ReaderData) => room.isTaken && sent.push(data) > 0,
  };
  failures = [];
  track = new TranscodedTrack(outlet as unknown as Outlet, new MaskPainter([]), (reason) => void failures.push(reason));
});
afterEach(() => track.close());

function frameOf(seq: number, place = seq, epoch = 1): NamedFrame {
  const times = { decode: seq * FRAME_TICKS, presentation: place * FRAME_TICKS, duration: FRAME_TICKS };
  const name = { camera: 5, epoch, seq };
  return { ...name, arrivedMs: 0, capturedBeforeMs: 0, clock: 'arrival', bytes: BYTES, isKey: seq === 0, times };
}

async function take(frame: NamedFrame, width = 64, height = 48): Promise<void> {
  const pixels = Buffer.alloc((width * height * 3) / 2, 16 + ((frame.seq * 7) % 200));
  using picture = Frame.fromVideoBuffer(pixels, { width, height, format: AV_PIX_FMT_YUV420P });
  await track.take(picture, frame);
}

/** Frames that come, and their pictures at once. */
async function play(from: number, to: number, epoch = 1): Promise<void> {
  for (let seq = from; seq < to; seq++) {
    track.expect(frameOf(seq, seq, epoch));
    await take(frameOf(seq, seq, epoch));
  }
}

const fragments = () =>
  sent.flatMap((data) => (data.kind === 'fragment' ? [`${data.seq}${data.isKey ? 'k' : ''} ${data.order}`] : []));

test('nothing comes of it before somebody watches, nor afterwards', async () => {
  await play(0, 3);
  expect(sent).toEqual([]);
  track.want(true);
  await play(3, 5);
  track.want(false);
  await play(5, 7);
  expect(fragments()).toEqual(['3k 0', '4 1']);
  expect(track.counts).toMatchObject({ transcoded: 2, transcodedDropped: 0 });
});

test('key frames come once a second, and for whoever comes', async () => {
  track.want(true);
  await play(0, 12);
  track.want(false);
  track.want(true);
  await play(12, 14);
  expect(fragments().filter((name) => name.includes('k'))).toEqual(['0k 0', '10k 10', '12k 0']);
  expect(sent.filter(({ kind }) => kind === 'init')).toHaveLength(2);
});

test('frames for which there is no room are left out before they are encoded, and counted in the order of the next one', async () => {
  track.want(true);
  await play(0, 2);
  room.fragments = false;
  await play(2, 4);
  room.fragments = true;
  await play(4, 6);
  expect(fragments()).toEqual(['0k 0', '1 1', '4 4', '5 5']);
  expect(track.counts).toMatchObject({ transcoded: 4, transcodedDropped: 2 });
});

test('what is lost when it is encoded has a key frame behind it; so has a hole that a player would stop at', async () => {
  track.want(true);
  await play(0, 2);
  room.isTaken = false;
  await play(2, 3);
  room.isTaken = true;
  await play(3, 5);
  for (let seq = 5; seq < 9; seq++) track.expect(frameOf(seq));
  await play(9, 10);
  expect(fragments()).toEqual(['0k 0', '1 1', '3k 3', '4 4', '9k 9']);
  expect(track.counts).toMatchObject({ transcodedDropped: 5 });
});

test('pictures come in the order of presentation; one that comes late is missing', async () => {
  track.want(true);
  // Numbers in the order of decoding, and their places in that of presentation.
  const places = [0, 3, 1, 2, 6, 4, 5];
  await take(frameOf(0, 0));
  for (const [seq, place] of places.entries()) if (seq > 0) track.expect(frameOf(seq, place));
  for (const seq of [2, 3, 1, 6, 5, 4]) await take(frameOf(seq, places[seq]!));
  expect(fragments()).toEqual(['0k 0', '2 1', '3 2', '1 3', '6 5', '4 6']);
  expect(track.counts).toMatchObject({ transcoded: 6, transcodedDropped: 1 });
});

test('another epoch begins anew, with what was missing at the end of the last one counted', async () => {
  track.want(true);
  await play(0, 2);
  track.expect(frameOf(2));
  await play(0, 2, 2);
  const inits = sent.flatMap((data) => (data.kind === 'init' ? [data.epoch] : []));
  expect(inits).toEqual([1, 2]);
  expect(sent.flatMap((data) => (data.kind === 'fragment' ? [[data.epoch, data.seq, data.isKey]] : []))).toEqual([
    [1, 0, true],
    [1, 1, false],
    [2, 0, true],
    [2, 1, false],
  ]);
  expect(track.counts).toMatchObject({ transcodedDropped: 1 });
});

test('a picture of another size within an epoch, which the header does not tell, is left out', async () => {
  track.want(true);
  await play(0, 2);
  track.expect(frameOf(2));
  await take(frameOf(2), 32, 32);
  await play(3, 4);
  expect(fragments()).toEqual(['0k 0', '1 1', '3 3']);
});

test('where the encoder fails that is told once, what follows is missing, and the next viewer begins anew', async () => {
  const broken = {
    width: 64,
    height: 48,
    get sampleAspectRatio(): never {
      throw new Error('it does not work');
    },
  };
  track.want(true);
  await track.take(broken as unknown as Frame, frameOf(0));
  await play(1, 4);
  expect(failures).toEqual(['it does not work']);
  expect(fragments()).toEqual([]);
  expect(track.counts).toMatchObject({ transcoded: 0, transcodedDropped: 3 });
  track.want(false);
  track.want(true);
  await play(4, 6);
  expect(fragments()).toEqual(['4k 0', '5 1']);
});

test('frames of which nothing is heard are missing in the end', async () => {
  track.want(true);
  await play(0, 1);
  for (let seq = 1; seq < 1_200; seq++) track.expect(frameOf(seq));
  expect(track.counts.transcodedDropped).toBe(199);
});
