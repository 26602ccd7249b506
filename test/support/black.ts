import { Decoder, Demuxer } from 'node-av/api';
import { AV_PIX_FMT_YUV420P } from 'node-av/constants';
import type { Polygon } from '../../src/base/polygon.ts';

/** What of a picture is black, for tests of masks. */

export interface Samples {
  readonly width: number;
  readonly height: number;
  /** The picture is bright and colourful; this pixel of it is black. */
  readonly isBlack: (x: number, y: number) => boolean;
}

export interface Share {
  /** Of the pixels whose middle lies under one of the polygons, and of all others. */
  readonly under: number;
  readonly beside: number;
  readonly pixels: number;
}

/** `polygons`: without edges that cross. */
export function shareBlack({ width, height, isBlack }: Samples, polygons: readonly Polygon[]): Share {
  const counts = { under: 0, underBlack: 0, beside: 0, besideBlack: 0 };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const isUnder = polygons.some((polygon) => isWithin(polygon, (x + 0.5) / width, (y + 0.5) / height));
      counts[isUnder ? 'under' : 'beside']++;
      if (isBlack(x, y)) counts[isUnder ? 'underBlack' : 'besideBlack']++;
    }
  }
  const { under, underBlack, beside, besideBlack } = counts;
  return { under: underBlack / under, beside: besideBlack / beside, pixels: under };
}

function isWithin(polygon: Polygon, x: number, y: number): boolean {
  let isIn = false;
  for (const [i, a] of polygon.entries()) {
    const b = polygon[(i + 1) % polygon.length]!;
    if (a.y > y !== b.y > y && x < a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y)) isIn = !isIn;
  }
  return isIn;
}

/** Packed RGB. `slack`: what coding may leave. */
export function rgbSamples(data: Uint8Array, width: number, height: number, slack = 0): Samples {
  const isBlack = (x: number, y: number) => [0, 1, 2].every((c) => data[(y * width + x) * 3 + c]! <= slack);
  return { width, height, isBlack };
}

/** 8 bits, 4:2:0, rows without padding, of the range that leaves room below black. */
export function yuv420Samples(data: Uint8Array, width: number, height: number, slack = 0): Samples {
  const [across, down] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const [u, v] = [width * height, width * height + across * down];
  const isBlack = (x: number, y: number): boolean => {
    const chroma = (y >> 1) * across + (x >> 1);
    const isGrey = [u, v].every((plane) => Math.abs(data[plane + chroma]! - 128) <= slack);
    return isGrey && data[y * width + x]! <= 16 + slack;
  };
  return { width, height, isBlack };
}

/** All pictures of a stream of H.264 in 4:2:0. */
export async function samplesOf(input: Buffer, slack: number): Promise<Samples[]> {
  const all: Samples[] = [];
  await using demuxer = await Demuxer.open(input);
  const stream = demuxer.video()!;
  using decoder = await Decoder.create(stream, { context: { threadCount: 1 } });
  for await (const frame of decoder.frames(demuxer.packets(stream.index))) {
    if (!frame) break;
    if (frame.format !== AV_PIX_FMT_YUV420P) throw new Error(`a picture of the format ${frame.format}`);
    all.push(yuv420Samples(frame.toBuffer(), frame.width, frame.height, slack));
    frame.free();
  }
  return all;
}
