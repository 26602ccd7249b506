import { encodeJpeg } from '../../src/media/jpeg.ts';

const WIDTH = 320;
const HEIGHT = 240;
const QUALITY = 60;

/** What the innocent camera shows: colours that rise to the right and downward, with a pattern in them. A few kilobytes. */
export function smallPicture(): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(WIDTH * HEIGHT * 3);
  for (let y = 0; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDTH; x += 1) {
      const at = 3 * (y * WIDTH + x);
      data[at] = (x * 255) / WIDTH;
      data[at + 1] = (y * 255) / HEIGHT;
      data[at + 2] = ((x >> 4) + (y >> 4)) % 2 === 0 ? 60 : 180;
    }
  }
  return new Uint8Array(encodeJpeg({ data, width: WIDTH, height: HEIGHT }, QUALITY));
}
