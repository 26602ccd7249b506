import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import {
  decodeBinaryFrame,
  decodeServerMessage,
  decodeTextMessage,
  encodeFrame,
  encodeServerMessage,
  FRAME_HEADER_BYTES,
} from './video-codec.ts';
import { PERFORMANCE_MODES, QUALITY_LEVELS, type ServerMessage } from './video.ts';

const SEQ_MAX = 2 ** 32 - 1;
/** An error message goes back over the wire and into logs: whatever came in, it stays short. */
const MESSAGE_LENGTH_MAX = 300;

const fromBase64 = (text: string) => Buffer.from(text, 'base64');
const toBase64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const decodeText = (message: unknown) =>
  decodeTextMessage(typeof message === 'string' ? message : JSON.stringify(message), fromBase64);

/** What `decode` throws, which has to be one of the errors that a client can meet. */
function refusal(decode: () => unknown): SightlineError | undefined {
  try {
    decode();
  } catch (thrown) {
    if (!(thrown instanceof SightlineError)) throw thrown;
    expect(thrown.message.length).toBeLessThan(MESSAGE_LENGTH_MAX);
    return thrown;
  }
  return undefined;
}

const bytes = fc.uint8Array({ maxLength: 200 });
const priorities = fc.constantFrom<Priority[]>(0, 1, 2, 3);
const times = fc.double({ noNaN: true, noDefaultInfinity: true });
/** JSON has no negative zero. */
const numbers = times.map((n) => (Object.is(n, -0) ? 0 : n));
const seqs = fc.integer({ min: 1, max: SEQ_MAX });

describe('binary frames', () => {
  test('the header has the layout of the documentation', () => {
    const jpeg = Uint8Array.of(0xff, 0xd8);
    const message = encodeFrame({ seq: 0x01020304, captureTimeMs: 1.5, sentAfterMs: 66.051, priority: 3, jpeg });
    expect(Buffer.from(message).toString('hex')).toBe('534c020304030201000000000000f83f03020100ffd8');
    expect(encodeFrame({ seq: 1, captureTimeMs: 0, jpeg: new Uint8Array() })[3]).toBe(1);
  });

  test('what was encoded is decoded, and its picture borrowed from the message', () => {
    fc.assert(
      fc.property(seqs, times, seqs, priorities, bytes, (seq, captureTimeMs, sentAfterUs, priority, jpeg) => {
        const sentAfterMs = sentAfterUs / 1000;
        const message = encodeFrame({ seq, captureTimeMs, sentAfterMs, priority, jpeg });
        const frame = decodeBinaryFrame(message);
        expect(frame).toEqual({ type: 'frame', seq, captureTimeMs, sentAfterMs, priority, jpeg });
        expect('jpeg' in frame && frame.jpeg.buffer).toBe(message.buffer);
      }),
    );
  });

  test('a message is written over whatever was in the memory that it is given', () => {
    fc.assert(
      fc.property(seqs, times, priorities, bytes, bytes, (seq, captureTimeMs, priority, jpeg, before) => {
        const frame = { seq, captureTimeMs, priority, jpeg };
        const memory = new Uint8Array(before.length + FRAME_HEADER_BYTES + jpeg.length).fill(0xab);
        const message = encodeFrame(frame, memory.subarray(before.length));
        expect(message.buffer).toBe(memory.buffer);
        expect(message).toEqual(encodeFrame(frame));
        expect(memory.subarray(0, before.length).every((byte) => byte === 0xab)).toBe(true);
      }),
    );
  });

  test('the older header, without the time of sending, is read as ever', () => {
    const message = Buffer.from('534c010304030201000000000000f83fffd8', 'hex');
    expect(decodeBinaryFrame(message)).toEqual({
      type: 'frame',
      seq: 0x01020304,
      captureTimeMs: 1.5,
      sentAfterMs: undefined,
      priority: 3,
      jpeg: Buffer.from('ffd8', 'hex'),
    });
  });

  test.each([
    [-1, 0],
    [Number.NaN, 0],
    [1e12, 0xffff_ffff / 1000],
  ])('a frame sent %s ms after its capture is written as %s', (sentAfterMs, written) => {
    const frame = decodeBinaryFrame(encodeFrame({ seq: 1, captureTimeMs: 0, sentAfterMs, jpeg: new Uint8Array(2) }));
    expect(frame).toMatchObject({ sentAfterMs: written });
  });

  test('a message in the middle of a larger buffer is read at its own place', () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, (before, jpeg, after) => {
        const message = encodeFrame({ seq: 7, captureTimeMs: 8, priority: 2, jpeg });
        const all = Buffer.concat([before, message, after]);
        const inside = all.subarray(before.length, before.length + message.length);
        expect(decodeBinaryFrame(inside)).toMatchObject({ seq: 7, captureTimeMs: 8, priority: 2 });
        expect(Buffer.from((decodeBinaryFrame(inside) as { jpeg: Uint8Array }).jpeg)).toEqual(Buffer.from(jpeg));
      }),
    );
  });

  test('bytes without the magic are a bare picture, whatever they are', () => {
    fc.assert(
      fc.property(bytes, (message) => {
        fc.pre(message[0] !== 0x53 || message[1] !== 0x4c);
        const frame = decodeBinaryFrame(message);
        expect(frame).toEqual({ type: 'frame', jpeg: message });
      }),
    );
  });

  test('bytes with the magic are a frame or a refusal that can be answered, never a throw', () => {
    fc.assert(
      fc.property(bytes, (rest) => {
        const message = Uint8Array.of(0x53, 0x4c, ...rest);
        const frame = decodeBinaryFrame(message);
        const view = new DataView(message.buffer);
        if (message.length < ({ 1: 16, 3: 48 }[message[2]!] ?? FRAME_HEADER_BYTES)) {
          expect(frame).toMatchObject({ type: 'bad_frame', seq: undefined, error: { code: 'FRAME_HEADER_BAD' } });
          return;
        }
        expect(frame.seq).toBe(view.getUint32(4, true));
        const sound = [1, 2, 3].includes(message[2]!) && message[3]! <= 3 && Number.isFinite(view.getFloat64(8, true));
        expect(frame).toMatchObject(
          sound ? { type: 'frame' } : { type: 'bad_frame', error: { code: 'FRAME_HEADER_BAD' } },
        );
      }),
    );
  });

  test.each([
    ['version 4', 2, 4],
    ['version 0', 2, 0],
    ['priority 4', 3, 4],
  ])('%s is refused by name, with the number of the frame', (words, offset, value) => {
    const message = encodeFrame({ seq: 9, captureTimeMs: 0, jpeg: new Uint8Array(2) });
    message[offset] = value;
    expect(decodeBinaryFrame(message)).toMatchObject({
      type: 'bad_frame',
      seq: 9,
      error: { code: 'FRAME_HEADER_BAD', message: expect.stringContaining(words) },
    });
  });

  test.each([Number.NaN, Infinity, -Infinity])('capture time %s is refused', (captureTimeMs) => {
    const frame = decodeBinaryFrame(encodeFrame({ seq: 9, captureTimeMs, jpeg: new Uint8Array(2) }));
    expect(frame).toMatchObject({ type: 'bad_frame', seq: 9, error: { code: 'FRAME_HEADER_BAD' } });
  });
});

test('the third header has a trace behind the second one, which is not read here', () => {
  const parent = Uint8Array.from({ length: 25 }, (_, i) => i + 1);
  const second = encodeFrame({ seq: 9, captureTimeMs: 5, sentAfterMs: 2, jpeg: new Uint8Array() });
  const message = Uint8Array.of(...second, ...parent, 0, 0, 0, 0xff, 0xd8);
  message[2] = 3;
  expect(decodeBinaryFrame(message)).toEqual({
    type: 'frame',
    seq: 9,
    captureTimeMs: 5,
    sentAfterMs: 2,
    priority: 1,
    traceparent: parent,
    jpeg: Uint8Array.of(0xff, 0xd8),
  });
  expect(decodeBinaryFrame(message.subarray(0, 47))).toMatchObject({ type: 'bad_frame', seq: undefined });
});

describe('frames as JSON', () => {
  test('a trace comes as it is, whatever it is', () => {
    for (const traceparent of ['00-x', 7, null]) {
      const text = JSON.stringify({ type: 'frame', traceparent, image_data: '' });
      expect(decodeTextMessage(text, (base64) => Buffer.from(base64, 'base64'))).toMatchObject({ traceparent });
    }
  });

  test('what was sent is decoded, with and without what may be left out', () => {
    const optional = fc.record({ seq: seqs, timestamp: numbers, priority: priorities }, { requiredKeys: [] });
    fc.assert(
      fc.property(optional, bytes, fc.boolean(), (fields, jpeg, asDataUrl) => {
        const image = `${asDataUrl ? 'data:image/jpeg;base64,' : ''}${toBase64(jpeg)}`;
        const frame = decodeText({ type: 'frame', ...fields, image_data: image });
        expect(frame).toEqual({
          type: 'frame',
          seq: fields.seq,
          captureTimeMs: fields.timestamp,
          priority: fields.priority,
          jpeg: Buffer.from(jpeg),
        });
      }),
    );
  });

  test('base64 with a foreign character, or cut short, is refused with the number of the frame', () => {
    const foreign = fc.constantFrom(' ', '\n', '!', '.', '=', 'é', '\0', '"');
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 60 }), fc.nat(), foreign, (jpeg, place, character) => {
        const base64 = toBase64(jpeg);
        // Not in the last four, where `=` may be at home.
        const at = place % (base64.length - 4);
        const broken = [
          base64.slice(0, at) + character + base64.slice(at + 1),
          base64.slice(0, at) + character + base64.slice(at),
          base64.slice(0, -1),
        ];
        for (const image_data of broken) {
          expect(decodeText({ type: 'frame', seq: 5, image_data })).toMatchObject({
            type: 'bad_frame',
            seq: 5,
            error: { code: 'MESSAGE_FIELD_BAD' },
          });
        }
      }),
    );
  });

  test.each([
    ['seq', 0],
    ['seq', 1.5],
    ['seq', SEQ_MAX + 1],
    ['seq', '1'],
    ['seq', null],
    ['timestamp', '2026'],
    ['timestamp', null],
    ['priority', 4],
    ['priority', -1],
    ['priority', 'high'],
    ['image_data', 7],
    ['image_data', undefined],
    ['image_data', ['/9g=']],
    ['image_data', 'data:image/jpeg'],
  ])('%s %j is refused by name', (field, value) => {
    const frame = decodeText({ type: 'frame', seq: 5, timestamp: 1, priority: 1, image_data: '/9g=', [field]: value });
    expect(frame).toMatchObject({
      type: 'bad_frame',
      seq: field === 'seq' ? undefined : 5,
      error: { code: 'MESSAGE_FIELD_BAD', message: expect.stringContaining(field) },
    });
  });
});

describe('other client messages', () => {
  test('clock: any number comes through', () => {
    fc.assert(
      fc.property(numbers, (t0) => void expect(decodeText({ type: 'clock', t0 })).toEqual({ type: 'clock', t0 })),
    );
    expect(refusal(() => decodeText({ type: 'clock', t0: '1' }))).toMatchObject({ code: 'MESSAGE_FIELD_BAD' });
    expect(refusal(() => decodeText({ type: 'clock' }))).toMatchObject({ code: 'MESSAGE_FIELD_BAD' });
  });

  test('pin: what the documentation allows comes through', () => {
    const quality = fc.oneof(
      fc.constant({}),
      fc.record({ level: fc.constantFrom(...QUALITY_LEVELS) }),
      fc.record({ mode: fc.constantFrom(...PERFORMANCE_MODES) }),
    );
    const skip = fc.record({ skip_ratio: fc.integer({ min: 1, max: 60 }) }, { requiredKeys: [] });
    fc.assert(
      fc.property(quality, skip, (choice, skipping) => {
        const pin = { type: 'pin', ...choice, ...skipping };
        expect(decodeText({ ...pin, unknown: 1 })).toEqual(pin);
      }),
    );
  });

  test.each([
    { level: 'best' },
    { level: 3 },
    { mode: 'turbo' },
    { mode: null },
    { level: 'low', mode: 'balanced' },
    { skip_ratio: 0 },
    { skip_ratio: 61 },
    { skip_ratio: 1.5 },
    { skip_ratio: '2' },
  ])('pin %j is refused', (pin) => {
    expect(refusal(() => decodeText({ type: 'pin', ...pin }))).toMatchObject({ code: 'MESSAGE_FIELD_BAD' });
  });

  test.each([
    ['', 'MESSAGE_NOT_JSON'],
    ['{', 'MESSAGE_NOT_JSON'],
    ['null', 'MESSAGE_NOT_JSON'],
    ['[{"type":"clock"}]', 'MESSAGE_NOT_JSON'],
    ['"frame"', 'MESSAGE_NOT_JSON'],
    ['{}', 'MESSAGE_TYPE_UNKNOWN'],
    ['{"type":"result"}', 'MESSAGE_TYPE_UNKNOWN'],
    ['{"type":["frame"]}', 'MESSAGE_TYPE_UNKNOWN'],
    ['{"type":"__proto__"}', 'MESSAGE_TYPE_UNKNOWN'],
  ])('%s is refused', (text, code) => {
    expect(refusal(() => decodeText(text))).toMatchObject({ code });
  });

  test('a value nested too deeply to be quoted is refused like any other', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    expect(refusal(() => decodeText(deep))).toMatchObject({ code: 'MESSAGE_NOT_JSON' });
    expect(refusal(() => decodeText(`{"type":${deep}}`))).toMatchObject({ code: 'MESSAGE_TYPE_UNKNOWN' });
    expect(decodeText(`{"type":"frame","image_data":${deep}}`)).toMatchObject({ type: 'bad_frame' });
  });

  test('whatever the text, it is a message or an error that a client can meet, in few words', () => {
    const type = fc.constantFrom('frame', 'clock', 'pin');
    const field = fc.constantFrom('seq', 'timestamp', 'priority', 'image_data', 't0', 'level', 'mode', 'skip_ratio');
    const nearly = fc
      .tuple(type, fc.dictionary(field, fc.jsonValue()))
      .map(([t, rest]) => JSON.stringify({ type: t, ...rest }));
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), nearly), (text) => {
        refusal(() => {
          const message = decodeText(text);
          if (message.type === 'bad_frame') expect(message.error.message.length).toBeLessThan(MESSAGE_LENGTH_MAX);
        });
      }),
      { numRuns: 500 },
    );
  });
});

describe('server messages', () => {
  const text = fc.string({ maxLength: 20, unit: 'binary' });
  const count = fc.nat(SEQ_MAX);
  const box = fc.record({ x: numbers, y: numbers, width: numbers, height: numbers });
  const grantFields = {
    rate_fps: numbers,
    window: count,
    width: count,
    height: count,
    quality: count,
    pinned: fc.option(fc.record({ level: fc.constantFrom(...QUALITY_LEVELS), skip_ratio: count })),
    level: text,
    reason: fc.constantFrom('link' as const, 'compute' as const),
  };
  const messages: fc.Arbitrary<ServerMessage> = fc.oneof(
    fc.record({ type: fc.constant('grant' as const), ...grantFields }),
    fc.record({ type: fc.constant('clock' as const), t0: numbers, t1: numbers, t2: numbers }),
    fc.record({
      type: fc.constant('dropped' as const),
      seqs: fc.array(seqs),
      cause: fc.constantFrom('queue_full' as const, 'stale' as const),
    }),
    fc.record(
      { type: fc.constant('error' as const), code: fc.constant('FRAME_EMPTY' as const), message: text, seq: seqs },
      { requiredKeys: ['type', 'code', 'message'] },
    ),
    fc.record({
      type: fc.constant('result' as const),
      client_id: text,
      seq: seqs,
      capture_time: numbers,
      pipeline: fc.constant('objects' as const),
      width: count,
      height: count,
      detections: fc.array(fc.record({ label: text, class_id: count, score: numbers, box }), { maxLength: 5 }),
      stages_ms: fc.record({
        capture: numbers,
        queue: numbers,
        decode: numbers,
        preprocess: numbers,
        inference: numbers,
        postprocess: numbers,
        total: numbers,
      }),
    }),
  );

  test.each(['json', 'msgpack'] as const)('what was encoded as %s is decoded, also after others', (format) => {
    fc.assert(
      fc.property(fc.array(messages, { minLength: 1, maxLength: 4 }), (sent) => {
        const encoded = sent.map((message) => encodeServerMessage(message, format));
        expect(typeof encoded[0]).toBe(format === 'json' ? 'string' : 'object');
        expect(encoded.map(decodeServerMessage)).toEqual(sent);
      }),
    );
  });

  test('MessagePack is plain maps, as any decoder reads them', () => {
    const encoded = encodeServerMessage({ type: 'clock', t0: 1, t1: -1, t2: 0.5 }, 'msgpack');
    // MessagePack specification: fixmap of 4, fixstr, positive and negative fixint, float 64.
    expect(Buffer.from(encoded as Uint8Array).toString('hex')).toBe(
      '84a474797065a5636c6f636ba2743001a27431ffa27432cb3fe0000000000000',
    );
  });

  test('a MessagePack integer of 64 bits, which JSON has no word for, is refused like any other value', () => {
    const bigint = Uint8Array.of(0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0);
    expect(refusal(() => decodeServerMessage(bigint))).toMatchObject({ code: 'MESSAGE_NOT_JSON' });
  });

  test('whatever comes, it is a message or an error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), fc.string(), fc.json()), (data) => {
        const error = refusal(() => decodeServerMessage(data));
        expect(['MESSAGE_NOT_JSON', 'MESSAGE_TYPE_UNKNOWN', undefined]).toContain(error?.code);
      }),
      { numRuns: 1000 },
    );
  });
});
