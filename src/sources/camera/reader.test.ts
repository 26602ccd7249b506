import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { numberedClip } from '../../../test/support/coded-clip.ts';
import { madeDevice } from '../../../test/support/made-device.ts';
import { readNumber } from '../../../test/support/picture-number.ts';
import { RtspServer } from '../../../test/support/rtsp-server.ts';
import { DataReader } from './data-codec.ts';
import type { ReaderNews } from './messages.ts';
import { Outlet } from './outlet.ts';
import { KeptWatches } from './kept-watches.ts';
import { CameraReader } from './reader.ts';

const WAIT = { timeout: 15_000, interval: 20 };

/** A pipe that takes everything. */
function collectingOutlet() {
  const data = new DataReader();
  const pictures: { seq: number; number: number | undefined }[] = [];
  const socket = { writableLength: 0, destroyed: false } as Socket;
  const outlet = new Outlet({
    socket,
    write: (...parts) => {
      for (const part of parts) data.push(Buffer.from(part));
      for (let one = data.next(); one; one = data.next()) {
        if (one.kind !== 'picture') continue;
        const { seq, bytes, width, height } = one;
        pictures.push({ seq, number: readNumber({ data: bytes, width, height, pixelBytes: 3 }) });
      }
    },
  });
  return { outlet, pictures };
}

test('a device that fails in the middle of a stream: the software goes on, and each picture has the name of its own frame', async () => {
  const clip = await numberedClip({ frames: 60, keyEvery: 10, bFrames: 2 });
  await using rtsp = await RtspServer.open({ cameras: { gate: { clip } } });
  const { outlet, pictures } = collectingOutlet();
  const news: ReaderNews[] = [];
  const decoders = () => news.flatMap((one) => (one.type === 'decoder' ? [{ by: one.by, fault: one.fault }] : []));
  const reader = new CameraReader({
    camera: 1,
    epoch: 1_000,
    input: {
      url: rtsp.url('gate'),
      transport: 'tcp',
      loop: false,
      pace: 'live',
      allowedNetworks: [],
      openTimeoutMs: 20_000,
      stallTimeoutMs: 20_000,
      pixelsMax: 1e6,
      rateFpsMax: 200,
      masks: [],
    },
    outlet,
    watches: new KeptWatches(),
    hardware: () => madeDevice({ does: 'memory', afterPictures: 15 }),
    tell: (one) => void news.push(one),
    onEnd: () => undefined,
  });
  reader.orderPictures(Infinity, null);
  reader.orderDecoder('vaapi');
  await expect.poll(() => decoders().length, WAIT).toBe(2);
  const before = pictures.length;
  await expect.poll(() => pictures.length, WAIT).toBeGreaterThan(before + 30);
  const { damaged } = reader.counts;
  reader.close();
  await expect.poll(() => news.some(({ type }) => type === 'ended'), WAIT).toBe(true);
  expect(decoders()).toEqual([
    { by: 'made', fault: null },
    { by: 'software', fault: 'the device is gone' },
  ]);
  expect(before).toBe(15);
  expect(damaged).toBe(0);
  const [first] = pictures;
  const start = clip.frames.findIndex(({ order }) => order === first!.number) - first!.seq + clip.frames.length;
  for (const { seq, number } of pictures) {
    expect(number, `frame ${seq}`).toBe(clip.frames[(start + seq) % clip.frames.length]!.order);
  }
  // Pictures are missing up to the next key frame, and no more.
  const seqs = pictures.map(({ seq }) => seq).toSorted((a, b) => a - b);
  const gaps = seqs.slice(1).map((seq, i) => seq - seqs[i]! - 1);
  expect(gaps.filter((gap) => gap > 0).length).toBeLessThanOrEqual(3);
  expect(Math.max(...gaps)).toBeLessThan(20);
}, 30_000);
