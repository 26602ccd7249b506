import { join } from 'node:path';
import { AV_PIX_FMT_YUVJ420P, FF_ENCODER_MJPEG } from 'node-av/constants';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ReaderWorld, type ReaderProcess, type ReadCamera } from '../../../test/support/camera-reader.ts';
import { writeClip } from '../../../test/support/clips.ts';
import { numberedClip, type CodedClip } from '../../../test/support/coded-clip.ts';
import { decodePictures } from '../../../test/support/decoded.ts';
import { numberLuma } from '../../../test/support/picture-number.ts';
import type { RtspServer } from '../../../test/support/rtsp-server.ts';
import { encodedSize, SIDE_MAX } from './picture-encoder.ts';

const SIZE = { width: 160, height: 96 };
let clips: Record<'hevc' | 'long' | 'bFrames' | 'other', CodedClip>;
let world: ReaderWorld;
let server: RtspServer;
let reader: ReaderProcess;

beforeAll(async () => {
  const slow = { preset: 'veryfast' };
  clips = {
    hevc: await numberedClip({ ...SIZE, frames: 48, keyEvery: 12, codec: 'hevc' }),
    long: await numberedClip({ ...SIZE, frames: 120, keyEvery: 120, codec: 'hevc' }),
    bFrames: await numberedClip({ ...SIZE, frames: 60, keyEvery: 20, bFrames: 2, options: slow }),
    other: await numberedClip({ width: 192, height: 128, frames: 36, keyEvery: 12, codec: 'hevc' }),
  };
  world = await ReaderWorld.open({
    hevc: { clip: clips.hevc },
    lossy: { clip: clips.hevc },
    long: { clip: clips.long },
  });
  ({ server, reader } = world);
}, 120_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

const transcoded = (camera: ReadCamera) => camera.of('fragment').filter(({ form }) => form === 'transcoded');

/** What a viewer sees: the number in each picture, beside the fragment that it comes from. */
async function shown(camera: ReadCamera, epoch = camera.epoch) {
  const init = camera.of('init').find((one) => one.form === 'transcoded' && one.epoch === epoch)!;
  const fragments = transcoded(camera).filter((one) => one.epoch === epoch);
  const pictures = await decodePictures(Buffer.concat([init.bytes, ...fragments.map(({ bytes }) => bytes)]));
  expect(pictures).toHaveLength(fragments.length);
  return pictures.map((picture, i) => Object.assign(picture, { fragment: fragments[i]! }));
}

describe('a camera that is encoded anew', { timeout: 60_000 }, () => {
  test('H.265 comes out as H.264, whose pictures have the names and the times of their frames', async () => {
    const sent: number[] = [];
    server.camera('hevc').onFrame = ({ number }) => void sent.push(number);
    const camera = reader.open(server.url('hevc'));
    camera.transcoded(true);
    const { facts } = await camera.live();
    expect(facts.codecString).toMatch(/^hvc1\./);
    await camera.waitFor(() => transcoded(camera).length >= 30);
    camera.close();
    await camera.ended();
    expect(camera.of('init')).toMatchObject([
      { form: 'transcoded', epoch: camera.epoch, codecString: expect.stringMatching(/^avc1\.42/), ...SIZE },
    ]);
    const pictures = await shown(camera);
    expect(pictures.map(({ number }) => number)).toEqual(pictures.map(({ fragment }) => sent[fragment.seq]));
    expect(pictures.map(({ isKey }) => isKey)).toEqual(pictures.map(({ fragment }) => fragment.isKey));
    // FFmpeg begins at 0.
    const beginS = pictures[0]!.fragment.mediaTimeS - pictures[0]!.ptsS;
    for (const { ptsS, fragment } of pictures) expect(ptsS).toBeCloseTo(fragment.mediaTimeS - beginS, 4);
    let lastKeyS = -Infinity;
    for (const { isKey, mediaTimeS, durationS } of pictures.map(({ fragment }) => fragment)) {
      if (isKey) lastKeyS = mediaTimeS;
      expect(mediaTimeS - lastKeyS).toBeLessThan(1 + durationS);
    }
    // As they came, whatever there was no time for.
    for (const [i, { seq, order }] of transcoded(camera).entries()) {
      if (i > 0) expect(order - transcoded(camera)[i - 1]!.order).toBe(seq - transcoded(camera)[i - 1]!.seq);
    }
  });

  test('with B-frames, as fast as it can be read: in the order of presentation, each by the name of its own frame, none left out', async () => {
    const camera = reader.open(await world.mp4File('bFrames', clips.bFrames), { loop: true, pace: 'fast' });
    camera.transcoded(true);
    camera.raw(true);
    await camera.waitFor(() => transcoded(camera).length >= 150);
    camera.close();
    await camera.ended();
    const orders = clips.bFrames.frames.map(({ order }) => order);
    const pictures = await shown(camera);
    expect(pictures.map(({ number }) => number)).toEqual(
      pictures.map(({ fragment }) => orders[fragment.seq % orders.length]),
    );
    const fragments = pictures.map(({ fragment }) => fragment);
    expect(fragments.map(({ order }) => order - fragments[0]!.order)).toEqual(fragments.map((_, i) => i));
    const seqs = fragments.map(({ seq }) => seq);
    expect(seqs).not.toEqual(seqs.toSorted((a, b) => a - b));
    // The same times as in the camera's own form.
    const own = new Map(
      camera.of('fragment').flatMap((one) => (one.form === 'transcoded' ? [] : [[one.seq, one.mediaTimeS] as const])),
    );
    for (const { seq, mediaTimeS } of fragments) if (own.has(seq)) expect(mediaTimeS).toBe(own.get(seq));
    expect(fragments.filter(({ seq }) => own.has(seq)).length).toBeGreaterThan(100);
  });

  test('has a new epoch and another size when the camera has, and names stay true', async () => {
    const hevc = server.camera('hevc');
    const camera = reader.open(server.url('hevc'));
    camera.transcoded(true);
    await camera.waitFor(() => transcoded(camera).length >= 5);
    hevc.change(clips.other);
    const isOther = ({ epoch }: { epoch: number }) => epoch !== camera.epoch;
    await camera.waitFor(() => transcoded(camera).filter(isOther).length >= 20);
    camera.close();
    await camera.ended();
    hevc.change(clips.hevc);
    const [one, two, ...rest] = camera.of('init');
    expect(rest).toEqual([]);
    expect([one, two]).toMatchObject([SIZE, { width: 192, height: 128 }]);
    expect(two!.epoch).toBe(camera.news('live').at(-1)!.epoch);
    expect(transcoded(camera).find(isOther)).toMatchObject({ seq: 0, isKey: true, mediaTimeS: 0 });
    for (const { number, fragment } of await shown(camera, two!.epoch)) expect(number).toBe(fragment.seq % 36);
  });

  test('a viewer who comes long after the last key frame does not wait for the next one', async () => {
    const long = server.camera('long');
    const sent: { number: number; isKey: boolean }[] = [];
    long.onFrame = (frame) => void sent.push(frame);
    const camera = reader.open(server.url('long'));
    camera.pictures(0.1);
    await camera.live();
    // With its key frame.
    long.change(clips.long);
    const isWithin = ({ number }: { number: number }) => number >= 12 && number < 60;
    await camera.waitFor(() => sent.some(({ isKey }) => isKey) && isWithin(sent.at(-1)!));
    await camera.waitFor(() => camera.counts !== undefined);
    const { decoded } = camera.counts!;
    const from = sent.length;
    camera.transcoded(true);
    await camera.waitFor(() => transcoded(camera).length >= 5);
    camera.close();
    await camera.ended();
    const pictures = await shown(camera);
    expect(sent.slice(0, pictures[0]!.fragment.seq + 1).findLastIndex(({ isKey }) => isKey)).toBeLessThan(from);
    expect(pictures.map(({ number }) => number)).toEqual(pictures.map(({ fragment }) => sent[fragment.seq]!.number));
    // What was decoded for that is of no interest to anybody else.
    expect(decoded).toBeLessThan(5);
    expect(camera.of('picture').length).toBeLessThan(5);
  });

  test('JPEGs, which have no raw channel, can be seen so, too', async () => {
    const path = join(world.folder, 'jpegs.mkv');
    await writeClip(path, {
      codec: FF_ENCODER_MJPEG,
      format: 'matroska',
      ...SIZE,
      frames: 30,
      luma: (frame, x, y) => numberLuma(frame, x, y, SIZE.width, SIZE.height) ?? 128,
      options: { strict: 'unofficial' },
      pixelFormat: AV_PIX_FMT_YUVJ420P,
    });
    const camera = reader.open(path, { loop: true, pace: 'fast' });
    camera.transcoded(true);
    await camera.waitFor(() => transcoded(camera).length >= 40);
    camera.close();
    await camera.ended();
    const pictures = await shown(camera);
    expect(pictures.map(({ number }) => number)).toEqual(pictures.map(({ fragment }) => fragment.seq % 30));
  });

  test('nothing is encoded while nobody watches, and viewers come and go', async () => {
    const camera = reader.open(await world.mp4File('none', clips.hevc), { loop: true });
    await camera.waitFor(() => (camera.counts?.received ?? 0) > 10);
    expect(camera.counts).toMatchObject({ transcoded: 0, transcodedDropped: 0, encodeMs: 0 });
    camera.transcoded(true);
    await camera.waitFor(() => transcoded(camera).length >= 10);
    camera.transcoded(false);
    const { received } = camera.counts!;
    await camera.waitFor(() => camera.counts!.received > received + 25);
    const { transcoded: encoded, decoded } = camera.counts!;
    expect(transcoded(camera).length).toBe(encoded);
    await camera.waitFor(() => camera.counts!.received > received + 50);
    expect(camera.counts!.transcoded).toBe(encoded);
    // Single key frames, for the watch of the picture.
    expect(camera.counts!.decoded - decoded).toBeLessThan(10);
    camera.transcoded(true);
    await camera.waitFor(() => transcoded(camera).length > encoded + 5);
    expect(camera.of('init')).toHaveLength(2);
    expect(transcoded(camera)[encoded]).toMatchObject({ isKey: true, order: 0 });
    camera.close();
    await camera.ended();
  });

  test('frames that were lost on the way are missing, and counted, and all that comes can be decoded', async () => {
    const lossy = server.camera('lossy');
    lossy.lossShare = 0.03;
    const camera = reader.open(server.url('lossy'), { transport: 'udp' });
    camera.transcoded(true);
    await camera.waitFor(() => (camera.counts?.transcodedDropped ?? 0) > 3);
    await camera.waitFor(() => transcoded(camera).length >= 40);
    camera.close();
    await camera.ended();
    lossy.lossShare = 0;
    const pictures = await shown(camera);
    expect(pictures.map(({ number }) => number)).not.toContain(undefined);
    const fragments = transcoded(camera);
    const missing = fragments.at(-1)!.order - fragments[0]!.order + 1 - fragments.length;
    expect(missing).toBeGreaterThan(0);
    // Numbers count what has come as a frame; so does the order.
    expect(missing).toBe(fragments.at(-1)!.seq - fragments[0]!.seq + 1 - fragments.length);
  });
});

test.each([
  [
    [3840, 2160],
    [1280, 720],
  ],
  [
    [1080, 1920],
    [720, 1280],
  ],
  [
    [641, 361],
    [640, 360],
  ],
  [
    [1, 1],
    [2, 2],
  ],
] as const)('pictures of %j are encoded as %j', ([width, height], [toWidth, toHeight]) => {
  expect(encodedSize({ width, height }, SIDE_MAX)).toEqual({ width: toWidth, height: toHeight });
});
