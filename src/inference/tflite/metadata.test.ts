import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { writeTflite } from '../../../test/support/tflite-writer.ts';
import { decodeOnnx } from '../onnx/model.ts';
import { convertTflite } from './convert.ts';
import { readMetadata, withinRange } from './metadata.ts';

/** A ZIP archive; `shift`: what its offsets count on top, as when they count from the start of a whole file. */
function archive(files: Readonly<Record<string, string>>, { shift = 0, deflate = true } = {}): Uint8Array {
  const parts: Buffer[] = [];
  const entries: Buffer[] = [];
  let at = 0;
  for (const [name, text] of Object.entries(files)) {
    const data = deflate ? deflateRawSync(Buffer.from(text)) : Buffer.from(text);
    const header = Buffer.alloc(30);
    header.writeUInt32LE(0x04034b50, 0);
    header.writeUInt16LE(name.length, 26);
    header.writeUInt16LE(3, 28);
    parts.push(header, Buffer.from(name), Buffer.alloc(3), data);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(deflate ? 8 : 0, 10);
    entry.writeUInt32LE(data.length, 20);
    entry.writeUInt32LE(text.length, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(at + shift, 42);
    entries.push(entry, Buffer.from(name));
    at += 33 + name.length + data.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length / 2, 8);
  end.writeUInt16LE(entries.length / 2, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at + shift, 16);
  return Buffer.concat([...parts, directory, end]);
}

const model = (type: number, quantisation?: { scales: number[]; zeroPoints: number[] }) =>
  writeTflite({
    tensors: [
      { name: 'image', shape: [1, 8, 8, 3], type, ...(quantisation && { quantisation }) },
      { name: 'y', shape: [1, 8, 8, 3], type, ...(quantisation && { quantisation }) },
    ],
    operators: [{ code: 22, inputs: [0], outputs: [1] }],
    inputs: [0],
    outputs: [1],
  });
const FILE = model(0);
const behind = (zip: Uint8Array) => Buffer.concat([FILE, zip]);

/** As Python's `str` writes Ultralytics' dictionary. */
const PYTHON =
  "{'description': \"Ultralytics' YOLOv8n-pose model, trained\", 'stride': 32, 'task': 'pose', 'imgsz': [640, 640], " +
  "'names': {0: 'person', 1: \"dog's: {bowl}\"}, 'args': {'int8': True}, 'kpt_shape': [17, 3]}";

describe('what the file says of itself', () => {
  test.each([
    ['deflated, offsets from the archive', {}],
    ['stored, offsets from the file', { deflate: false, shift: FILE.length }],
  ])('the dictionary of a YOLO export: %s', (_, options) => {
    const card = readMetadata(behind(archive({ 'temp_meta.txt': PYTHON }, options)));
    expect(card).toMatchObject({
      description: "Ultralytics' YOLOv8n-pose model, trained",
      task: 'pose',
      stride: '32',
      imgsz: '[640,640]',
      names: JSON.stringify({ 0: 'person', 1: "dog's: {bowl}" }),
      kpt_shape: '[17,3]',
    });
  });

  test('the same in JSON', () => {
    const json = JSON.stringify({ task: 'detect', names: { 0: 'bolt', 1: 'nut' }, args: { half: false } }, null, 2);
    const card = readMetadata(behind(archive({ 'metadata.json': json })));
    expect(card['task']).toBe('detect');
    expect(JSON.parse(card['names'] ?? '')).toEqual({ 0: 'bolt', 1: 'nut' });
  });

  test('a file of labels, where there is one alone', () => {
    const labels = 'person\r\nbicycle\r\n';
    expect(readMetadata(behind(archive({ 'labelmap.txt': labels, 'vocab.txt': 'x' })))).toEqual({
      names: '["person","bicycle"]',
    });
    expect(readMetadata(behind(archive({ 'labels_en.txt': labels, 'labels_de.txt': labels })))).toEqual({});
  });

  test('nothing where there is no archive, or none that can be read', () => {
    expect(readMetadata(FILE)).toEqual({});
    const whole = behind(archive({ 'metadata.json': '{"task": "detect"}' }));
    for (let length = FILE.length; length < whole.length; length += 1)
      expect(readMetadata(whole.subarray(0, length))).toEqual({});
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (changes) => {
          const bytes = Uint8Array.from(whole);
          for (const [at, to] of changes) bytes[at] = to;
          for (const text of Object.values(readMetadata(bytes))) expect(text).toBeTypeOf('string');
        },
      ),
      { numRuns: 500 },
    );
  });

  test('an entry that inflates without end is left out', () => {
    const bomb = archive({ 'metadata.json': `{"task": "${'x'.repeat(3 << 20)}"}` });
    expect(bomb.length).toBeLessThan(10_000);
    expect(readMetadata(behind(bomb))).toEqual({});
  });

  test('stands in the converted file', () => {
    const { metadata } = decodeOnnx(convertTflite(behind(archive({ 'temp_meta.txt': PYTHON })), 'mine'));
    expect(metadata['task']).toBe('pose');
  });
});

describe('the values that pictures are brought to', () => {
  const unit = { colour: 'rgb', mean: [0, 0, 0], std: [255, 255, 255] } as const;
  const imageNet = { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] } as const;
  const metadataOf = (...args: Parameters<typeof model>) => decodeOnnx(convertTflite(model(...args), 'mine')).metadata;
  const inQuantised = (type: number, scale: number, zeroPoint: number) =>
    metadataOf(type, { scales: [scale], zeroPoints: [zeroPoint] });

  test('stay as the head has them where the input takes about those', () => {
    expect(withinRange(unit, metadataOf(0))).toBe(unit);
    expect(withinRange(unit, inQuantised(3, 1 / 255, 0))).toBe(unit);
    expect(withinRange(unit, inQuantised(9, 1 / 255, -128))).toBe(unit);
    // Calibrated on pictures that were not all bright.
    expect(withinRange(unit, inQuantised(9, 0.8 / 255, -128))).toBe(unit);
    expect(withinRange(imageNet, inQuantised(9, 4.7 / 255, -14))).toBe(imageNet);
  });

  test('are those of the input where they are others by far: a byte of the picture is a number of the input', () => {
    for (const [type, scale, zeroPoint] of [
      [3, 1 / 128, 128],
      [9, 1 / 127.5, -1],
      [3, 1, 0],
      [9, 0.018, -14],
    ] as const) {
      const { mean, std, colour } = withinRange(unit, inQuantised(type, scale, zeroPoint));
      expect(colour).toBe('rgb');
      for (const pixel of [0, 1, 77, 255]) {
        const value = (pixel - mean[1]) / std[1];
        expect(value / scale + zeroPoint).toBeCloseTo(pixel - (type === 9 ? 128 : 0), 4);
      }
    }
  });

  test('are bytes where the input has no scale', () => {
    expect(withinRange(unit, metadataOf(3))).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1] });
    expect(withinRange(unit, metadataOf(9))).toMatchObject({ mean: [128, 128, 128], std: [1, 1, 1] });
  });
});
