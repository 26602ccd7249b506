import { decodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { createVideo } from '../../src/sources/writer.ts';
import { photograph } from './pictures.ts';

/** A photograph of a car, panned over at 20 frames/s. */
export async function pannedClip(path: string, frames: number): Promise<void> {
  const jpeg = await photograph('car1.jpg');
  const { width, height } = readJpegHeader(jpeg);
  const whole = decodeJpeg(jpeg, new Uint8Array(width * height * 3)).data;
  const size = { width: width - 2 * 30, height: height - 2 * 10 };
  await using writer = await createVideo(path, { ...size, rateFps: 20 });
  const view = new Uint8Array(size.width * size.height * 3);
  for (let i = 0; i < frames; i += 1) {
    for (let y = 0; y < size.height; y += 1) {
      const begin = ((y + 10) * width + 2 * i) * 3;
      view.set(whole.subarray(begin, begin + size.width * 3), y * size.width * 3);
    }
    await writer.write(view, i / 20);
  }
  await writer.finish();
}
