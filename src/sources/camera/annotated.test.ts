import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { numberOf, ReaderWorld, type ReadCamera } from '../../../test/support/camera-reader.ts';
import { numberedClip, type CodedClip } from '../../../test/support/coded-clip.ts';
import { decodePictures } from '../../../test/support/decoded.ts';
import { detection, labels, PLACES } from '../../../test/support/drawn-boxes.ts';
import { readNumber } from '../../../test/support/picture-number.ts';
import type { Detection } from '../../base/detection.ts';
import { decodeJpeg } from '../../media/jpeg.ts';
import type { ReaderData } from './messages.ts';

const SIZE = { width: 320, height: 180 };

let world: ReaderWorld;
let plain: CodedClip;
let other: CodedClip;
let bFrames: CodedClip;

beforeAll(async () => {
  plain = await numberedClip({ ...SIZE, frames: 64, keyEvery: 16 });
  other = await numberedClip({ ...SIZE, width: 352, frames: 64, keyEvery: 16 });
  bFrames = await numberedClip({ ...SIZE, frames: 60, keyEvery: 20, bFrames: 2, options: { preset: 'veryfast' } });
  world = await ReaderWorld.open({ plain: { clip: plain } });
}, 120_000);
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

const annotated = (camera: ReadCamera) => camera.of('fragment').filter(({ form }) => form === 'annotated');

/** Bytes of an epoch, as a player gets them. */
function video(
  camera: ReadCamera,
  epoch: number,
): { readonly file: Buffer; readonly fragments: ReturnType<typeof annotated> } {
  const init = camera.of('init').find((one) => one.form === 'annotated' && one.epoch === epoch)!;
  const fragments = annotated(camera).filter((one) => one.epoch === epoch);
  return { file: Buffer.concat([init, ...fragments].map(({ bytes }) => bytes)), fragments };
}

/** As a server does: each picture that is sent gets its result at once. */
function answering(camera: ReadCamera, answer: (number: number) => readonly Detection[] | null | undefined) {
  const answered = new Set<string>();
  world.reader.onData = (data) => {
    if (data.kind !== 'picture' || data.camera !== camera.camera) return;
    const number = numberOf(data)!;
    answered.add(`${data.epoch} ${data.seq}`);
    const said = answer(number);
    if (said !== undefined) camera.result(data, said);
  };
  return answered;
}

describe('the annotated channel', { timeout: 60_000 }, () => {
  test('keeps the names and times of frames, whatever their order, and over another connection', async () => {
    const path = await world.mp4File('bFrames', bFrames);
    const orders = bFrames.frames.map(({ order }) => order);
    for (let connection = 0; connection < 2; connection++) {
      const camera = world.reader.open(path, { loop: true, pace: 'fast' });
      camera.annotated({});
      camera.raw(true);
      await camera.waitFor(() => annotated(camera).length >= 150);
      camera.close();
      await camera.ended();
      const { file, fragments } = video(camera, camera.epoch);
      const pictures = await decodePictures(file);
      expect(pictures).toHaveLength(fragments.length);
      expect(pictures.map(({ number }) => number)).toEqual(fragments.map(({ seq }) => orders[seq % orders.length]));
      const own = new Map(
        camera.of('fragment').flatMap((one) => (one.form === 'raw' ? [[one.seq, one.mediaTimeS] as const] : [])),
      );
      const known = fragments.filter(({ seq }) => own.has(seq));
      expect(known.length).toBeGreaterThan(100);
      for (const { seq, mediaTimeS, boxes } of known) expect([mediaTimeS, boxes]).toEqual([own.get(seq), 'none']);
    }
  });

  test('has what was found in a frame on that frame, and tells all others apart, also behind a change of the camera', async () => {
    const camera = world.reader.open(world.server.url('plain'));
    const answered = answering(camera, (number) => [detection(number % PLACES)]);
    camera.annotated({});
    camera.pictures(8);
    await camera.waitFor(() => annotated(camera).filter(({ boxes }) => boxes === 'own').length >= 12);
    world.server.camera('plain').change(other);
    const isLate = ({ epoch }: { epoch: number }) => epoch !== camera.epoch;
    await camera.waitFor(() => annotated(camera).filter((one) => isLate(one) && one.boxes === 'own').length >= 6);
    camera.close();
    await camera.ended();
    world.server.camera('plain').change(plain);
    world.reader.onData = undefined;
    const epochs = [...new Set(annotated(camera).map(({ epoch }) => epoch))];
    expect(epochs).toHaveLength(2);
    for (const epoch of epochs) {
      const { file, fragments } = video(camera, epoch);
      const pictures = await decodePictures(file);
      const seen = await labels(file);
      const first = fragments.findIndex(({ boxes }) => boxes !== 'none');
      for (const [i, { boxes, seq }] of fragments.entries()) {
        const { number } = pictures[i]!;
        expect(number).not.toBe(undefined);
        if (boxes === 'none') expect(seen[i]).toEqual([]);
        // Nothing is known of what was there before, in this epoch.
        else expect(i).toBeGreaterThanOrEqual(first);
        if (boxes !== 'own') continue;
        expect(answered, `${epoch}/${seq}`).toContain(`${epoch} ${seq}`);
        expect(seen[i], `${epoch}/${seq}: picture ${number}`).toEqual([number! % PLACES]);
      }
      expect(first).toBeGreaterThanOrEqual(0);
      expect(fragments.filter(({ boxes }) => boxes === 'predicted').length).toBeGreaterThan(5);
    }
  });

  test('waits for no result that does not come, and forgets boxes that are old', async () => {
    const camera = world.reader.open(world.server.url('plain'));
    const isOwn = ({ boxes }: { boxes: string }) => boxes === 'own';
    let answers = 0;
    answering(camera, () => {
      if (!annotated(camera).some(isOwn)) return [detection(2)];
      return answers++ % 2 === 0 ? null : undefined;
    });
    camera.annotated({});
    camera.pictures(4);
    await camera.waitFor(() => annotated(camera).some(isOwn));
    const lastOwn = () => annotated(camera).findLastIndex(isOwn);
    const later = () => annotated(camera).slice(lastOwn() + 1);
    await camera.waitFor(() => later().some(({ boxes }) => boxes === 'none'));
    camera.close();
    await camera.ended();
    world.reader.onData = undefined;
    // A result that was late for its own frame counts for those behind it.
    const { mediaTimeS } = annotated(camera)[lastOwn()]!;
    for (const { boxes, mediaTimeS: atS } of later()) {
      if (atS - mediaTimeS < 1) expect(boxes).toBe('predicted');
      if (atS - mediaTimeS > 3) expect(boxes).toBe('none');
    }
    expect(answers).toBeGreaterThan(1);
    expect(camera.counts?.annotatedDropped).toBe(0);
  });

  test('is no faster and no larger than is wanted, and costs nothing while nobody watches', async () => {
    const camera = world.reader.open(world.server.url('plain'));
    camera.annotated({ fpsMax: 5, sideMax: 100 });
    await camera.waitFor(() => annotated(camera).length >= 6);
    camera.annotated(null);
    const before = annotated(camera);
    const { received } = camera.counts!;
    await camera.waitFor(() => camera.counts!.received > received + 25);
    const { encodeMs, annotated: encoded } = camera.counts!;
    await camera.waitFor(() => camera.counts!.received > received + 50);
    expect(camera.counts).toMatchObject({ encodeMs, annotated: encoded, transcoded: 0 });
    camera.annotated({ fpsMax: 1_000, sideMax: 200 });
    await camera.waitFor(() => annotated(camera).length > encoded + 5);
    camera.close();
    await camera.ended();
    expect(camera.of('init').map(({ width, height }) => [width, height])).toEqual([
      [100, 56],
      [200, 112],
    ]);
    // One for which there was no time comes later, and those behind it when they are due.
    for (const [i, first] of before.entries()) {
      for (const [count, { mediaTimeS }] of before.slice(i).entries()) {
        expect(count).toBeLessThanOrEqual((mediaTimeS - first.mediaTimeS) * 5 + 1);
      }
    }
    // What is left out for the rate is not missing.
    const missing = before.at(-1)!.order - before[0]!.order - (before.length - 1);
    expect(missing).toBeLessThanOrEqual(camera.counts!.annotatedDropped);
    expect(before[0]!.durationS).toBeCloseTo(0.2, 5);
  });
});

describe('stills with what was found', { timeout: 60_000 }, () => {
  const drawnOn = async ({ bytes }: ReaderData) => (await labels(Buffer.from(bytes)))[0];
  const shownIn = ({ bytes }: ReaderData): number | undefined =>
    readNumber({ ...decodeJpeg(bytes, new Uint8Array(SIZE.width * SIZE.height * 3)), pixelBytes: 3 });

  test('have it on the picture in which it was found, the first one too, and never one that is older', async () => {
    const camera = world.reader.open(world.server.url('plain'));
    const answered = answering(camera, (number) => [detection(number % PLACES)]);
    await camera.waitFor(() => (camera.counts?.received ?? 0) > 20);
    camera.pictures(1.5);
    for (let i = 1; i <= 8; i++) {
      // Of both kinds by turns, and of two widths: only one of them is asked for again and again.
      camera.still(i === 5 ? 160 : 10_000, i !== 3);
      await camera.until('still', i);
      await camera.waitFor(() => (camera.counts?.received ?? 0) > 20 + 8 * i);
    }
    camera.close();
    await camera.ended();
    world.reader.onData = undefined;
    const stills = camera.of('still');
    expect(stills[0]!.boxes).toBe('own');
    expect(stills.filter(({ boxes }) => boxes === 'own').length).toBeGreaterThanOrEqual(4);
    expect(stills.map(({ seq }) => seq)).toEqual(stills.map(({ seq }) => seq).toSorted((a, b) => a - b));
    for (const [i, still] of stills.entries()) {
      if (i === 4) {
        expect(still.width).toBe(160);
        continue;
      }
      const seen = await drawnOn(still);
      if (i === 2) expect([still.boxes, seen]).toEqual(['none', []]);
      if (still.boxes !== 'own') continue;
      expect(answered).toContain(`${still.epoch} ${still.seq}`);
      expect(seen).toEqual([shownIn(still)! % PLACES]);
    }
  });

  test('of a camera in which nothing is found for now come without it', async () => {
    const camera = world.reader.open(world.server.url('plain'));
    await camera.waitFor(() => (camera.counts?.received ?? 0) > 20);
    const beganMs = performance.now();
    camera.still(10_000, true);
    await camera.until('still', 1);
    expect(performance.now() - beganMs).toBeGreaterThan(3_000);
    camera.close();
    await camera.ended();
    const [still] = camera.of('still');
    expect([still!.boxes, await drawnOn(still!)]).toEqual(['none', []]);
  });
});
