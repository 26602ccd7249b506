import { Decoder, Demuxer } from 'node-av/api';
import type { Detection } from '../../src/base/detection.ts';
import { classColour } from '../../src/media/overlay.ts';
import { planesOf } from '../../src/sources/camera/plane-canvas.ts';

/** Boxes that a server draws, and where they are in a picture of 320 × 180 or about. */

/** Where a box can be: so many places side by side. */
export const PLACES = 8;
const BOX = { y: 0.6, width: 1 / PLACES, height: 0.3 };
const CLASS = 3;

export function detection(place: number): Detection {
  return { label: 'x', classId: CLASS, score: 0.5, box: { x: place / PLACES, ...BOX } };
}

/** The places with a label in its colour, in each picture. */
export async function labels(file: Buffer): Promise<number[][]> {
  const all: number[][] = [];
  const [, u, v] = planesOf(classColour(CLASS));
  await using demuxer = await Demuxer.open(file);
  const stream = demuxer.video()!;
  using decoder = await Decoder.create(stream, { context: { threadCount: 1 } });
  for await (const frame of decoder.frames(demuxer.packets(stream.index))) {
    if (!frame) break;
    const { width, height } = frame;
    const data = frame.toBuffer();
    const half = width / 2;
    const isLabel = (place: number): boolean => {
      // Of the plate that lies on the box: between its two words, where no letter is.
      const at = (Math.round(BOX.y * height) - 5) >> 1;
      const x = Math.round((place * width) / PLACES / 2) + 4;
      const [seenU, seenV] = [0, 1].map((plane) => data[width * height + plane * half * (height / 2) + at * half + x]!);
      return Math.abs(seenU! - u) < 40 && Math.abs(seenV! - v) < 40;
    };
    all.push(Array.from({ length: PLACES }, (_, place) => place).filter(isLabel));
    frame.free();
  }
  return all;
}
