import type { RgbPicture } from '../../media/jpeg.ts';

/** A picture made smaller (or left as it is): each new pixel is the mean of the area that it covers. */
export function shrink(picture: RgbPicture, width: number, height: number): RgbPicture {
  if (width === picture.width && height === picture.height) return picture;
  const data = new Uint8Array(width * height * 3);
  const line = new Float32Array(picture.width * 3);
  const scale = picture.height / height;
  for (let y = 0; y < height; y += 1) {
    line.fill(0);
    addRows(picture, y * scale, (y + 1) * scale, line);
    shrinkLine(line, picture.width, width, scale, data.subarray(y * width * 3, (y + 1) * width * 3));
  }
  return { data, width, height };
}

/** Adds the rows from `from` up to `to` to `into`, those at the ends by the part that lies within. */
function addRows({ data, width, height }: RgbPicture, from: number, to: number, into: Float32Array): void {
  for (let row = Math.floor(from); row < Math.min(height, Math.ceil(to)); row += 1) {
    const weight = Math.min(row + 1, to) - Math.max(row, from);
    const begin = row * width * 3;
    for (let i = 0; i < into.length; i += 1) into[i]! += data[begin + i]! * weight;
  }
}

/** `rows`: how many rows the line is the sum of. */
function shrinkLine(line: Float32Array, from: number, to: number, rows: number, out: Uint8Array): void {
  const scale = from / to;
  for (let x = 0; x < to; x += 1) {
    const [begin, end] = [x * scale, (x + 1) * scale];
    let [red, green, blue] = [0, 0, 0];
    for (let column = Math.floor(begin); column < Math.min(from, Math.ceil(end)); column += 1) {
      const weight = Math.min(column + 1, end) - Math.max(column, begin);
      red += line[column * 3]! * weight;
      green += line[column * 3 + 1]! * weight;
      blue += line[column * 3 + 2]! * weight;
    }
    const area = rows * scale;
    out[x * 3] = Math.round(red / area);
    out[x * 3 + 1] = Math.round(green / area);
    out[x * 3 + 2] = Math.round(blue / area);
  }
}
