import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Decoder, Demuxer, Encoder, FilterAPI, Muxer } from 'node-av/api';
import { FF_ENCODER_LIBX264 } from 'node-av/constants';
import { clipOfFile, type CodedClip } from '../../test/support/coded-clip.ts';
import { pannedClip } from '../../test/support/panned-clip.ts';

/** What the cameras show: people and cars in the street, as a camera of today sends them. */

export const FILM = { width: 768, height: 432, rateFps: 12.5, keyEvery: 12 } as const;

/** Intel's IoT sample videos (CC BY 4.0), where they lie beside the project. */
const CLIPS = ['car-detection.mp4', 'one-by-one-person-detection.mp4'].map((name) =>
  fileURLToPath(new URL(`../../../shared/media/${name}`, import.meta.url)),
);
const PANNED_FRAMES = 120;

export interface Film {
  readonly clip: CodedClip;
  readonly about: string;
}

/** Each in the cameras' size and rate, with a key frame each second; kept in the folder. Without the sample videos: a photograph that is panned over. */
export async function loadFilms(folder: string): Promise<Film[]> {
  const present = CLIPS.filter((path) => existsSync(path));
  if (present.length === 0) {
    const path = join(folder, 'panned.mp4');
    if (!existsSync(path)) await pannedClip(path, PANNED_FRAMES);
    present.push(path);
  }
  const films: Film[] = [];
  for (const path of present) {
    const name = basename(path);
    const coded = join(folder, `film-${name}`);
    if (!existsSync(coded)) await encodeAs(path, coded);
    films.push({ clip: await clipOfFile(coded), about: name });
  }
  return films;
}

async function encodeAs(from: string, to: string): Promise<void> {
  const { width, height, rateFps, keyEvery } = FILM;
  await using input = await Demuxer.open(from);
  const stream = input.video()!;
  using decoder = await Decoder.create(stream);
  using filter = FilterAPI.create(`fps=${rateFps},scale=${width}:${height},format=yuv420p`);
  using encoder = await Encoder.create(FF_ENCODER_LIBX264, {
    options: {
      preset: 'veryfast',
      tune: 'zerolatency',
      crf: 26,
      sc_threshold: 0,
      'x264-params': `keyint=${keyEvery}:min-keyint=${keyEvery}`,
    },
    context: { gopSize: keyEvery, maxBFrames: 0, threadCount: 1 },
  });
  await using output = await Muxer.open(to);
  const out = output.addStream(encoder);
  const packets = encoder.packets(filter.frames(decoder.frames(input.packets(stream.index))));
  for await (const packet of packets) {
    await output.writePacket(packet, out);
    packet?.free();
  }
}
