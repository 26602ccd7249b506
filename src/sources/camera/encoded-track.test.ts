import { AV_PIX_FMT_YUV420P } from 'node-av/constants';
import { Frame } from 'node-av/lib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MaskPainter } from './mask-painter.ts';
import type { ReaderData } from './messages.ts';
import type { Outlet } from './outlet.ts';
import { SIDE_MAX } from './picture-encoder.ts';
import type { NamedFrame } from './raw-track.ts';
import { EncodedTrack } from './encoded-track.ts';
import { TICKS_PER_S } from '../../base/camera-frame.ts';

const FRAME_TICKS = TICKS_PER_S / 10;
const BYTES = new Uint8Array();
const WISH = { sideMax: SIDE_MAX, fpsMax: Infinity };

let sent: ReaderData[];
let room: { fragments: boolean; isTaken: boolean };
let track: EncodedTrack;
let failures: string[];

beforeEach(() => {
  sent = [];
  room = { fragments: true, isTaken: true };
  const outlet = {
    hasRoom: () => room.fragments,
    send: (data: ReaderData) => room.isTaken && sent.push(data) > 0,
  };
  failures = [];
  track = new EncodedTrack({
    form: 'transcoded',
    outlet: outlet as unknown as Outlet,
    masks: new MaskPainter([]),
    onFailed: (reason) => void failures.push(reason),
  });
});
afterEach(async () => await track.close());

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
  track.want(WISH);
  await play(3, 5);
  track.want(undefined);
  await play(5, 7);
  expect(fragments()).toEqual(['3k 0', '4 1']);
  expect(track.counts).toMatchObject({ encoded: 2, dropped: 0 });
});

test('key frames come once a second, and for whoever comes', async () => {
  track.want(WISH);
  await play(0, 12);
  track.want(undefined);
  track.want(WISH);
  await play(12, 14);
  expect(fragments().filter((name) => name.includes('k'))).toEqual(['0k 0', '10k 10', '12k 0']);
  expect(sent.filter(({ kind }) => kind === 'init')).toHaveLength(2);
});

test('frames for which there is no room are left out before they are encoded, and counted in the order of the next one', async () => {
  track.want(WISH);
  await play(0, 2);
  room.fragments = false;
  await play(2, 4);
  room.fragments = true;
  await play(4, 6);
  expect(fragments()).toEqual(['0k 0', '1 1', '4 4', '5 5']);
  expect(track.counts).toMatchObject({ encoded: 4, dropped: 2 });
});

test('what is lost when it is encoded has a key frame behind it; so has a hole that a player would stop at', async () => {
  track.want(WISH);
  await play(0, 2);
  room.isTaken = false;
  await play(2, 3);
  room.isTaken = true;
  await play(3, 5);
  for (let seq = 5; seq < 9; seq++) track.expect(frameOf(seq));
  await play(9, 10);
  expect(fragments()).toEqual(['0k 0', '1 1', '3k 3', '4 4', '9k 9']);
  expect(track.counts).toMatchObject({ dropped: 5 });
});

test('pictures come in the order of presentation; one that comes late is missing', async () => {
  track.want(WISH);
  // Numbers in the order of decoding, and their places in that of presentation.
  const places = [0, 3, 1, 2, 6, 4, 5];
  await take(frameOf(0, 0));
  for (const [seq, place] of places.entries()) if (seq > 0) track.expect(frameOf(seq, place));
  for (const seq of [2, 3, 1, 6, 5, 4]) await take(frameOf(seq, places[seq]!));
  expect(fragments()).toEqual(['0k 0', '2 1', '3 2', '1 3', '6 5', '4 6']);
  expect(track.counts).toMatchObject({ encoded: 6, dropped: 1 });
});

test('another epoch begins anew, with what was missing at the end of the last one counted', async () => {
  track.want(WISH);
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
  expect(track.counts).toMatchObject({ dropped: 1 });
});

test('a picture of another size within an epoch, which the header does not tell, is left out', async () => {
  track.want(WISH);
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
  track.want(WISH);
  await track.take(broken as unknown as Frame, frameOf(0));
  await play(1, 4);
  expect(failures).toEqual(['it does not work']);
  expect(fragments()).toEqual([]);
  expect(track.counts).toMatchObject({ encoded: 0, dropped: 3 });
  track.want(undefined);
  track.want(WISH);
  await play(4, 6);
  expect(fragments()).toEqual(['4k 0', '5 1']);
});

test('frames of which nothing is heard are missing in the end', async () => {
  track.want(WISH);
  await play(0, 1);
  for (let seq = 1; seq < 1_200; seq++) track.expect(frameOf(seq));
  expect(track.counts.dropped).toBe(199);
});

test('a picture waits for what is to be drawn on it, those behind it as well, and none for too long', async () => {
  const done = new Set<number>();
  const drawn: number[] = [];
  track = new EncodedTrack({
    form: 'annotated',
    outlet: { hasRoom: () => true, send: (data: ReaderData) => sent.push(data) > 0 } as unknown as Outlet,
    masks: new MaskPainter([]),
    onFailed: (reason) => void failures.push(reason),
    annotator: {
      isDone: ({ seq }) => done.has(seq),
      draw: (_, { seq }) => {
        drawn.push(seq);
        return done.has(seq) ? 'own' : 'none';
      },
    },
  });
  track.want(WISH);
  done.add(0).add(2);
  for (let seq = 0; seq < 3; seq++) await take(frameOf(seq));
  await expect.poll(() => fragments()).toEqual(['0k 0']);
  done.add(1);
  track.look();
  await expect.poll(() => fragments()).toEqual(['0k 0', '1 1', '2 2']);
  // Nothing comes for this one.
  await take(frameOf(3));
  await expect.poll(() => drawn).toEqual([0, 1, 2, 3]);
  await expect.poll(() => fragments()).toHaveLength(4);
  // More wait than may: those in front go as they are.
  for (let seq = 4; seq < 14; seq++) await take(frameOf(seq));
  await expect.poll(() => drawn.length).toBeGreaterThanOrEqual(6);
  track.want(undefined);
  await track.close();
  const boxes = sent.flatMap((data) => (data.kind === 'fragment' ? [data.boxes] : []));
  expect(boxes.slice(0, 4)).toEqual(['own', 'own', 'own', 'none']);
  expect(failures).toEqual([]);
});

test('pictures come no faster than is wanted, and rather those that are preferred', async () => {
  track = new EncodedTrack({
    form: 'annotated',
    outlet: { hasRoom: () => true, send: (data: ReaderData) => sent.push(data) > 0 } as unknown as Outlet,
    masks: new MaskPainter([]),
    onFailed: (reason) => void failures.push(reason),
    annotator: { isDone: () => true, draw: () => 'none' },
  });
  track.want({ sideMax: 32, fpsMax: 2.5 });
  const pixels = Buffer.alloc(64 * 48 * 1.5, 16);
  using picture = Frame.fromVideoBuffer(pixels, { width: 64, height: 48, format: AV_PIX_FMT_YUV420P });
  for (let seq = 0; seq < 16; seq++) await track.take(picture, frameOf(seq), seq === 6 || seq === 7);
  await expect.poll(() => fragments()).toEqual(['0k 0', '4 1', '6 2', '12k 3']);
  expect(sent.find(({ kind }) => kind === 'init')).toMatchObject({ form: 'annotated', width: 32, height: 24 });
  expect(sent.find(({ kind }) => kind === 'fragment')).toMatchObject({ durationS: 0.4 });
  // For three of them there is no time; it would have been the turn of one.
  for (let seq = 16; seq < 21; seq++) {
    if (seq < 19) await track.take(picture, frameOf(seq));
    else track.pass();
  }
  await track.take(picture, frameOf(24));
  // At another rate it goes on.
  track.want({ sideMax: 32, fpsMax: 5 });
  for (let seq = 25; seq < 30; seq++) await track.take(picture, frameOf(seq));
  await expect.poll(() => fragments().slice(4)).toEqual(['16 4', '24k 6', '28 7']);
  expect(track.counts.dropped).toBe(1);
  expect(sent.filter(({ kind }) => kind === 'init')).toHaveLength(1);
  expect(pixels.length).toBeGreaterThan(0);
  await track.close();
});

test('another size begins with a header and a key frame, and none is missing for it', async () => {
  const done = new Set<number>();
  track = new EncodedTrack({
    form: 'annotated',
    outlet: { hasRoom: () => true, send: (data: ReaderData) => sent.push(data) > 0 } as unknown as Outlet,
    masks: new MaskPainter([]),
    onFailed: (reason) => void failures.push(reason),
    annotator: { isDone: ({ seq }) => done.has(seq), draw: () => 'none' },
  });
  track.want(WISH);
  done.add(0);
  // Two of them wait for what is to be drawn on them when the size changes.
  for (let seq = 0; seq < 3; seq++) await take(frameOf(seq));
  track.want({ ...WISH, sideMax: 32 });
  for (let seq = 3; seq < 5; seq++) {
    done.add(seq);
    await take(frameOf(seq));
  }
  await expect.poll(() => fragments()).toEqual(['0k 0', '1 1', '2 2', '3k 3', '4 4']);
  expect(sent.flatMap((data) => (data.kind === 'init' ? `${data.width}` : '-')).join(' ')).toBe('64 - - - 32 - -');
  // Pictures that are as small already stay as they are.
  track.want({ ...WISH, sideMax: 48 });
  track.want({ ...WISH, sideMax: 32 });
  await take(frameOf(5));
  track.want({ ...WISH, sideMax: 500 });
  for (let seq = 6; seq < 8; seq++) {
    done.add(seq);
    await take(frameOf(seq));
  }
  track.want({ ...WISH, sideMax: 2_000 });
  await take(frameOf(8));
  await expect.poll(() => fragments().slice(5)).toEqual(['5 5', '6k 6', '7 7', '8 8']);
  expect(sent.filter(({ kind }) => kind === 'init')).toHaveLength(3);
  expect([track.counts.dropped, failures]).toEqual([0, []]);
  await track.close();
});

test('what is lost while the first one is encoded is missing; what came before that is not', async () => {
  track.want(WISH);
  for (let seq = 0; seq < 3; seq++) track.expect(frameOf(seq));
  const first = take(frameOf(3));
  // Its picture never comes.
  track.expect(frameOf(4));
  await first;
  track.expect(frameOf(5));
  await take(frameOf(5));
  expect(fragments()).toEqual(['3k 0', '5 2']);
  expect(track.counts.dropped).toBe(1);
});

test('no more pictures are kept for the encoder than may wait for what is to be drawn on them', async () => {
  track = new EncodedTrack({
    form: 'annotated',
    outlet: { hasRoom: () => true, send: (data: ReaderData) => sent.push(data) > 0 } as unknown as Outlet,
    masks: new MaskPainter([]),
    onFailed: (reason) => void failures.push(reason),
    annotator: { isDone: () => false, draw: () => 'none' },
  });
  track.want(WISH);
  let most = 0;
  for (let seq = 0; seq < 40; seq++) {
    await take(frameOf(seq), 640, 480);
    most = Math.max(most, seq + 1 - track.counts.encoded);
  }
  expect(most).toBeLessThanOrEqual(8);
});
