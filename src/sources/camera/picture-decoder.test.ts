import { AV_CODEC_ID_H264 } from 'node-av/constants';
import { beforeAll, expect, test } from 'vitest';
import { annexbFrames, numberedClip, type CodedClip } from '../../../test/support/coded-clip.ts';
import { madeDevice, type MadeDeviceOptions } from '../../../test/support/made-device.ts';
import { readNumber } from '../../../test/support/picture-number.ts';
import { PictureDecoder } from './picture-decoder.ts';
import { PictureScaler } from './picture-scaler.ts';
import type { TrackFacts } from './source.ts';

/** A device that fails in the middle: what the software takes over, and which names pictures have then. */

const FRAMES = 30;
const KEY_EVERY = 10;
const TRACK: TrackFacts = {
  format: 'rtsp',
  codec: 'h264',
  codecId: AV_CODEC_ID_H264,
  extradata: undefined,
  width: 160,
  height: 96,
  parameters: undefined,
  isStored: false,
};

let clip: CodedClip;
beforeAll(async () => {
  clip = await numberedClip({ width: 160, height: 96, frames: FRAMES, keyEvery: KEY_EVERY });
});

async function opened(device?: MadeDeviceOptions) {
  const scaler = new PictureScaler('luma');
  const seen: { id: number; number: number | undefined }[] = [];
  const decoders: { by: string; fault: string | null }[] = [];
  const decoder = new PictureDecoder(
    async (picture, id) => {
      const { bytes: data, width, height } = await scaler.scale(picture, null);
      seen.push({ id, number: readNumber({ data, width, height, pixelBytes: 1 }) });
    },
    (by, fault) => void decoders.push({ by, fault }),
  );
  await decoder.open(TRACK, { pixelsMax: 1e6, extradata: undefined }, device && madeDevice(device));
  const frames = annexbFrames(clip);
  const frame = (id: number) => ({ id, bytes: frames[id]!, isKey: clip.frames[id]!.isKey });
  return { decoder, seen, decoders, frame, ids: () => seen.map(({ id }) => id) };
}

const from = (first: number, end = FRAMES): number[] => Array.from({ length: end - first }, (_, i) => first + i);

const BROKEN = [...from(0, 14), ...from(20)];

test.each([
  ['cannot be opened', { does: 'unopened' }, /^there is no such device$/, from(0)],
  ['cannot bring pictures back', { does: 'memory', afterPictures: 14 }, /^the device is gone$/, BROKEN],
  ['is lost', { does: 'lost', afterPictures: 14 }, /external library/i, BROKEN],
  ['is lost at a key frame', { does: 'lost', afterPictures: 20 }, /external library/i, from(0)],
  ['takes no frame any more', { does: 'damaged', afterPictures: 14 }, /^it made nothing of 3 frames/, BROKEN],
] as const)('one that %s: every picture is that of its name, with the software', async (_, device, fault, ids) => {
  const { decoder, seen, decoders, frame, ids: got } = await opened(device);
  let isBroken = false;
  for (const id of from(0)) {
    // As the reader does: behind the fault it skips to the next key frame.
    if (isBroken && !frame(id).isKey) continue;
    const told = decoders.length;
    await decoder.next(frame(id));
    isBroken = decoders.length > told && decoders.at(-1)!.fault !== null && !frame(id).isKey;
  }
  await decoder.drain();
  decoder.close();
  expect(got()).toEqual(ids);
  for (const { id, number } of seen) expect(number).toBe(clip.frames[id]!.order);
  const before = device.does === 'unopened' ? [] : [{ by: 'made', fault: null }];
  // Told with its fault, the software need not be told again.
  expect(decoders).toEqual([...before, { by: 'software', fault: expect.stringMatching(fault) }]);
});

test('one that gives no picture any more is left after so many frames', async () => {
  const { decoder, decoders, frame } = await opened({ does: 'silent', afterPictures: 3 });
  for (let i = 0; i < 70; i++) await decoder.next(frame(i % FRAMES));
  decoder.close();
  expect(decoders).toEqual([
    { by: 'made', fault: null },
    { by: 'software', fault: 'no picture came of 64 frames' },
  ]);
});

test('key frames alone: each has its picture, also the one at which the device fails', async () => {
  const { decoder, seen, decoders, frame, ids } = await opened({ does: 'memory', afterPictures: 1 });
  for (const id of [0, 10, 20, 0]) expect(await decoder.single(frame(id))).toBe(true);
  decoder.close();
  expect(ids()).toEqual([0, 10, 20, 0]);
  for (const { id, number } of seen) expect(number).toBe(clip.frames[id]!.order);
  expect(decoders).toEqual([
    { by: 'made', fault: null },
    { by: 'software', fault: 'the device is gone' },
  ]);
});

test('without a device the software is told, and what is damaged is counted', async () => {
  const { decoder, decoders, frame } = await opened();
  await decoder.next(frame(0));
  await decoder.next({ id: 1, isKey: false, bytes: new Uint8Array(100).fill(0xff) });
  await decoder.drain();
  expect(decoder.counts.decoded).toBe(1);
  expect(decoder.counts.damaged).toBe(1);
  decoder.close();
  expect(decoders).toEqual([{ by: 'software', fault: null }]);
});
