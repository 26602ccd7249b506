import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CHANNEL_FORMS, DRAWN_BOXES } from '../../base/camera-frame.ts';
import type { CaptureClock } from '../../base/frame-name.ts';
import { DATA_BYTES_MAX, DataReader, encodeData } from './data-codec.ts';
import type { ReaderData } from './messages.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const bytes = fc.uint8Array({ maxLength: 300 });
const double = fc.double({ noNaN: true, noDefaultInfinity: true });
const frame = {
  camera: u32,
  epoch: fc.maxSafeNat(),
  seq: fc.maxSafeNat(),
  arrivedMs: double,
  capturedBeforeMs: double,
  clock: fc.constantFrom<CaptureClock>('camera', 'arrival'),
};
const side = fc.integer({ min: 1, max: 9 });
const messages: fc.Arbitrary<ReaderData> = fc.oneof(
  fc.record({
    kind: fc.constant('init' as const),
    form: fc.constantFrom(...CHANNEL_FORMS),
    camera: u32,
    epoch: fc.maxSafeNat(),
    codecString: fc.string({ maxLength: 60 }).filter((text) => /^[ -~]*$/.test(text)),
    width: u32,
    height: u32,
    bytes,
  }),
  fc.record({
    kind: fc.constant('fragment' as const),
    ...frame,
    form: fc.constantFrom(...CHANNEL_FORMS),
    boxes: fc.constantFrom(...DRAWN_BOXES),
    order: fc.maxSafeNat(),
    isKey: fc.boolean(),
    mediaTimeS: double,
    durationS: double,
    bytes,
  }),
  fc.record({
    kind: fc.constant('still' as const),
    ...frame,
    request: u32,
    boxes: fc.constantFrom(...DRAWN_BOXES),
    width: u32,
    height: u32,
    bytes,
  }),
  fc
    .record({
      kind: fc.constant('picture' as const),
      ...frame,
      width: side,
      height: side,
      source: fc.record({ width: u32, height: u32 }),
      decodeMs: double,
      keyMs: double,
      keys: u32,
    })
    .map((picture) => Object.assign(picture, { bytes: new Uint8Array(picture.width * picture.height * 3).fill(7) })),
);

function streamOf(all: readonly ReaderData[]): Buffer {
  return Buffer.concat(all.flatMap((data) => encodeData(data)));
}

/** Pushed in pieces of these sizes, again and again. */
function readAll(stream: Uint8Array, sizes: readonly number[]): ReaderData[] {
  const reader = new DataReader();
  const read: ReaderData[] = [];
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = sizes[i % sizes.length]!;
    reader.push(stream.slice(at, at + size));
    at += size;
    for (let data = reader.next(); data; data = reader.next()) read.push(data);
  }
  return read;
}

const plain = (data: ReaderData) => ({ ...data, bytes: [...data.bytes] });

test('what was written is read, in any pieces', () => {
  fc.assert(
    fc.property(
      fc.array(messages, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 }),
      (all, sizes) => {
        expect(readAll(streamOf(all), sizes).map(plain)).toEqual(all.map(plain));
      },
    ),
  );
});

test('a message that lies in one chunk is not copied', () => {
  const data: ReaderData = {
    kind: 'init',
    form: 'transcoded',
    camera: 1,
    epoch: 2,
    codecString: 'x',
    width: 3,
    height: 4,
    bytes: new Uint8Array(9),
  };
  const reader = new DataReader();
  const chunk = streamOf([data, data]);
  reader.push(chunk);
  expect([reader.next(), reader.next(), reader.next()].map((each) => each?.bytes.buffer)).toEqual([
    chunk.buffer,
    chunk.buffer,
    undefined,
  ]);
});

describe('damage', () => {
  test('garbage is refused or waited for, and takes no memory for what it claims', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
        const reader = new DataReader();
        reader.push(garbage);
        try {
          while (reader.next());
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'INTERNAL' });
          reader.push(garbage);
          expect(() => reader.next()).toThrow((thrown as Error).message);
        }
      }),
    );
  });

  test('so is a byte that is another one: never an exception of another kind', () => {
    fc.assert(
      fc.property(messages, fc.nat(), fc.integer({ min: 1, max: 255 }), (data, at, change) => {
        const stream = streamOf([data]);
        stream[at % stream.length]! ^= change;
        try {
          readAll(stream, [64]);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'INTERNAL' });
        }
      }),
    );
  });

  test.each([
    ['a length of nothing', [0, 0, 0, 0], 'a message of 0 bytes'],
    ['a length without bounds', [0xff, 0xff, 0xff, 0xff], 'a message of 4294967295 bytes'],
    ['an unknown kind', [64, 0, 0, 0, 9], 'a message of the kind 9'],
    ['a kind without its fields', [16, 0, 0, 0, 2, ...new Uint8Array(15)], 'picture: 16 bytes'],
  ])('%s', (_what, garbage, message) => {
    const reader = new DataReader();
    reader.push(Uint8Array.from(garbage));
    expect(() => reader.next()).toThrow(message);
  });

  test('a picture whose size and bytes do not match', () => {
    const data: ReaderData = {
      kind: 'picture',
      camera: 1,
      epoch: 1,
      seq: 1,
      arrivedMs: 1,
      capturedBeforeMs: 0,
      clock: 'arrival',
      width: 2,
      height: 2,
      keys: 0,
      keyMs: 0,
      source: { width: 2, height: 2 },
      decodeMs: 1,
      bytes: new Uint8Array(11),
    };
    expect(() => readAll(streamOf([data]), [1000])).toThrow('picture: 2×2 in 11 bytes');
  });

  test('a message over the limit is not written', () => {
    const bytes = { length: DATA_BYTES_MAX } as Uint8Array;
    const of = { kind: 'init', form: 'raw', camera: 1, epoch: 2 } as const;
    const data: ReaderData = { ...of, codecString: 'x', width: 3, height: 4, bytes };
    expect(() => encodeData(data)).toThrow(/a message of \d+ bytes/);
  });
});
