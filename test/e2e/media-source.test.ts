import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPage } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { mp4Of, numberedClip } from '../support/coded-clip.ts';
import { readNumber } from '../support/picture-number.ts';

interface Shown {
  readonly width: number;
  readonly height: number;
  readonly ranges: readonly (readonly [number, number])[];
  /** RGBA. */
  readonly pictures: readonly (readonly number[])[];
}

/** In the page: takes the segments one by one and shows the picture of each time. */
const PLAY = `async ({ type, segments, timesS, frameS }) => {
  const event = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
  const media = new MediaSource();
  const video = document.createElement('video');
  video.src = URL.createObjectURL(media);
  await event(media, 'sourceopen');
  const buffer = media.addSourceBuffer(type);
  for (const segment of segments) {
    buffer.appendBuffer(Uint8Array.from(atob(segment), (char) => char.charCodeAt(0)));
    await event(buffer, 'updateend');
  }
  const { buffered } = buffer;
  const ranges = Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)]);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const pictures = [];
  for (const timeS of timesS) {
    const seeked = event(video, 'seeked');
    video.currentTime = timeS;
    await seeked;
    // The element may tell of the end of a seek before it has the picture.
    for (;;) {
      const picture = new VideoFrame(video);
      const isThere = Math.abs(picture.timestamp / 1e6 + frameS / 2 - timeS) < frameS / 2;
      if (isThere) context.drawImage(picture, 0, 0);
      picture.close();
      if (isThere) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    // The number is in the upper fifth.
    pictures.push([...context.getImageData(0, 0, canvas.width, Math.ceil(canvas.height / 5)).data]);
  }
  return { ranges, width: canvas.width, height: canvas.height, pictures };
}`;

describe.skipIf(!CHROMIUM)('fragments of a camera in a browser (needs Chromium)', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  test.each([
    { what: 'pictures in the order of their coding', bFrames: 0 },
    { what: 'pictures that are shown in another order', bFrames: 2 },
  ])('it shows each at its own time: $what', async ({ bFrames }) => {
    const clip = await numberedClip({ bFrames, options: bFrames > 0 ? { preset: 'fast' } : {} });
    const { track, fragments } = mp4Of(clip);
    const { page, faults } = await openPage(browser, 'about:blank');
    const segments = [track.init, ...fragments].map((bytes) => Buffer.from(bytes).toString('base64'));
    const delay = Math.max(...clip.frames.map(({ order }, index) => index - order));
    // Not the last ones, for which the decoder waits for more.
    const numbers = [24, 3, 40, 0, 26];
    const timesS = numbers.map((number) => (number + delay + 0.5) / clip.rateFps);
    const what = { type: `video/mp4; codecs="${track.codecString}"`, segments, timesS, frameS: 1 / clip.rateFps };
    const shown: Shown = await page.evaluate(`(${PLAY})(${JSON.stringify(what)})`);
    const { width, height, ranges } = shown;
    expect({ width, height }).toEqual({ width: track.width, height: track.height });
    expect(ranges).toHaveLength(1);
    expect(ranges[0]![1] - ranges[0]![0]).toBeCloseTo(clip.frames.length / clip.rateFps, 3);
    const read = shown.pictures.map((data) =>
      readNumber({ data: Uint8Array.from(data), width, height, pixelBytes: 4 }),
    );
    expect(read).toEqual(numbers);
    expect(faults).toEqual([]);
    await page.close();
  });
});
