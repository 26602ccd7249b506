import { expect, test } from 'vitest';
import { numberLuma, readNumber } from './picture-number.ts';

const LARGE = { width: 768, height: 432 };

/** A numbered picture as a scaler makes it smaller: each pixel the mean of those that it covers. */
function scaled(number: number, width: number, height: number): Uint8Array {
  const data = new Uint8Array(width * height);
  const [across, down] = [LARGE.width / width, LARGE.height / height];
  for (let at = 0; at < data.length; at += 1) {
    const [left, top] = [(at % width) * across, Math.floor(at / width) * down];
    let sum = 0;
    let count = 0;
    for (let y = Math.floor(top); y < top + down; y += 1) {
      for (let x = Math.floor(left); x < left + across; x += 1) {
        sum += numberLuma(number, x, y, LARGE.width, LARGE.height) ?? 100;
        count += 1;
      }
    }
    data[at] = sum / count;
  }
  return data;
}

test.each([
  [768, 432],
  [300, 300],
  [64, 36],
])('a number is read at %d×%d', (width, height) => {
  for (const number of [0, 1, 49, 9999, 2 ** 24 - 1]) {
    expect(readNumber({ data: scaled(number, width, height), width, height, pixelBytes: 1 })).toBe(number);
  }
});

test('of RGB rows with padding', () => {
  const [width, height, rowBytes] = [300, 300, 1024];
  const data = new Uint8Array(rowBytes * height);
  for (const [at, value] of scaled(77, width, height).entries()) {
    data.fill(
      value,
      Math.floor(at / width) * rowBytes + 3 * (at % width),
      Math.floor(at / width) * rowBytes + 3 * (at % width) + 3,
    );
  }
  expect(readNumber({ data, width, height, pixelBytes: 3, rowBytes })).toBe(77);
});

test('none is read where there is none', () => {
  for (const value of [0, 100, 255]) {
    expect(
      readNumber({ data: new Uint8Array(64 * 36).fill(value), width: 64, height: 36, pixelBytes: 1 }),
    ).toBeUndefined();
  }
  // One cell is wrong. Cells are 4 pixels wide and about as high.
  for (let cell = 0; cell < 32; cell += 1) {
    const data = scaled(77, 64, 36);
    const [left, top] = [4 * (cell % 16), cell < 16 ? 0 : 4];
    for (let y = top; y < top + 4; y += 1) {
      for (let x = left; x < left + 4; x += 1) data[y * 64 + x] = 255 - data[y * 64 + x]!;
    }
    expect(readNumber({ data, width: 64, height: 36, pixelBytes: 1 }), `cell ${cell}`).toBeUndefined();
  }
});
