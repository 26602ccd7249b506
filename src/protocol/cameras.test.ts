import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DRAWN_BOXES } from '../base/camera-frame.ts';
import { SightlineError } from '../base/errors.ts';
import {
  decodeCameraData,
  decodeCamerasMessage,
  decodeCamerasRequest,
  encodeFragment,
  encodeInit,
  FRAGMENT_HEADER_BYTES,
} from './cameras.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const open = (fields: object = {}) =>
  JSON.stringify({ type: 'open', id: 1, camera: 'north', channels: ['raw'], ...fields });
const codeOf = (text: string): string => {
  try {
    return decodeCamerasRequest(text).type;
  } catch (thrown) {
    return (thrown as SightlineError).code;
  }
};

describe('binary messages', () => {
  const f64 = fc.double({ noNaN: true, noDefaultInfinity: true });
  const f32 = fc.float({ noNaN: true, noDefaultInfinity: true, min: 0 });
  const id = fc.integer({ min: 0, max: 0xffff });
  const fragments = fc.record({
    id,
    epoch: f64,
    seq: fc.integer({ min: 0, max: 0xffff_ffff }),
    isKey: fc.boolean(),
    clock: fc.constantFrom('camera' as const, 'arrival' as const),
    captureTimeMs: f64,
    mediaTimeS: f64,
    durationS: f32,
    boxes: fc.constantFrom(...DRAWN_BOXES),
    bytes: fc.uint8Array({ maxLength: 200 }),
  });
  const inits = fc.record({
    id,
    epoch: f64,
    isTranscoded: fc.boolean(),
    codecString: fc.string({ unit: 'binary-ascii', maxLength: 255 }),
    width: fc.integer({ min: 0, max: 0xffff }),
    height: fc.integer({ min: 0, max: 0xffff }),
    bytes: fc.uint8Array({ maxLength: 200 }),
  });

  test('come back as they went, wherever they lie in memory', () => {
    fc.assert(
      fc.property(fragments, fc.integer({ min: 0, max: 9 }), (fragment, offset) => {
        const message = encodeFragment(fragment);
        const within = new Uint8Array(message.length + offset);
        within.set(message, offset);
        expect(decodeCameraData(within.subarray(offset))).toEqual({ type: 'fragment', ...fragment });
      }),
    );
    fc.assert(
      fc.property(inits, (init) => {
        expect(decodeCameraData(encodeInit(init))).toEqual({ type: 'init', ...init });
      }),
    );
  });

  test('a message that is cut or damaged is refused, or is of an unknown kind', () => {
    const either = fc.oneof(fragments.map(encodeFragment), inits.map(encodeInit), fc.uint8Array({ maxLength: 60 }));
    fc.assert(
      fc.property(either, fc.nat({ max: 60 }), fc.nat({ max: 255 }), (message, place, byte) => {
        const damaged = message.slice(0, Math.max(0, message.length - (byte % 40)));
        if (place < damaged.length) damaged[place] = byte;
        try {
          expect(['init', 'fragment', 'unknown']).toContain(decodeCameraData(damaged).type);
        } catch (thrown) {
          expect((thrown as SightlineError).code).toBe('FRAME_HEADER_BAD');
        }
      }),
    );
  });

  test('the layout is frozen', () => {
    const fragment = encodeFragment({
      id: 0x0102,
      epoch: 1_700_000_000_000,
      seq: 0x0a0b0c0d,
      isKey: true,
      clock: 'camera',
      captureTimeMs: 1_700_000_000_080.5,
      mediaTimeS: 0.08,
      durationS: 0.5,
      boxes: 'none',
      bytes: new Uint8Array([1, 2, 3]),
    });
    expect(fragment.length).toBe(FRAGMENT_HEADER_BYTES + 3);
    expect(hex(fragment)).toBe(
      [
        '02',
        '13',
        '0201',
        '0d0c0b0a',
        '00008056febc7842',
        '00088556febc7842',
        '7b14ae47e17ab43f',
        '0000003f',
        '010203',
      ].join(''),
    );
    const init = encodeInit({
      id: 7,
      isTranscoded: false,
      epoch: 1_700_000_000_000,
      codecString: 'avc1.64001f',
      width: 768,
      height: 432,
      bytes: new Uint8Array([9]),
    });
    expect(hex(init)).toBe(
      ['01', '10', '0700', '0003', 'b001', '00008056febc7842', '0b', hex(Buffer.from('avc1.64001f')), '09'].join(''),
    );
  });

  test('what no message can hold is refused', () => {
    const common = { id: 1, isTranscoded: true, epoch: 1 };
    const init = { ...common, codecString: 'avc1', width: 16, height: 16, bytes: new Uint8Array() };
    for (const wrong of [
      { width: 70_000 },
      { height: 70_000 },
      { codecString: 'x'.repeat(256) },
      { codecString: 'ü' },
    ]) {
      expect(() => encodeInit({ ...init, ...wrong })).toThrow(SightlineError);
    }
  });

  test('a later layout, and another kind, are unknown', () => {
    const common = { id: 1, isTranscoded: true, epoch: 1 };
    const message = encodeInit({ ...common, codecString: 'a', width: 1, height: 1, bytes: new Uint8Array() });
    for (const [place, byte] of [
      [0, 3],
      [1, 0x20],
      [1, 0],
    ] as const) {
      const other = message.slice();
      other[place] = byte;
      expect(decodeCameraData(other)).toEqual({ type: 'unknown' });
    }
    expect(decodeCameraData(new Uint8Array())).toEqual({ type: 'unknown' });
  });
});

describe('messages of clients', () => {
  test('are read', () => {
    expect(decodeCamerasRequest(open())).toEqual({
      type: 'open',
      id: 1,
      camera: 'north',
      channels: ['raw'],
      budget_ms: 1_000,
      transcode: false,
    });
    const all = { id: 65_535, channels: ['state', 'results', 'raw'], budget_ms: 250.5, transcode: true };
    expect(decodeCamerasRequest(open(all))).toEqual({
      type: 'open',
      id: 65_535,
      camera: 'north',
      channels: ['state', 'results', 'raw'],
      budget_ms: 250.5,
      transcode: true,
    });
    expect(decodeCamerasRequest('{"type":"close","id":0,"more":1}')).toEqual({ type: 'close', id: 0 });
    expect(decodeCamerasRequest('{"type":"clock","t0":4}')).toEqual({ type: 'clock', t0: 4 });
  });

  test.each([
    ['no JSON', '{', 'MESSAGE_NOT_JSON'],
    ['a list', '[]', 'MESSAGE_NOT_JSON'],
    ['null', 'null', 'MESSAGE_NOT_JSON'],
    ['no type', '{}', 'MESSAGE_TYPE_UNKNOWN'],
    ['a type of another lane', '{"type":"subscribe"}', 'MESSAGE_TYPE_UNKNOWN'],
    ['a type that is an object', '{"type":{}}', 'MESSAGE_TYPE_UNKNOWN'],
    ['no id', open({ id: undefined }), 'MESSAGE_FIELD_BAD'],
    ['an id beyond u16', open({ id: 65_536 }), 'MESSAGE_FIELD_BAD'],
    ['a negative id', open({ id: -1 }), 'MESSAGE_FIELD_BAD'],
    ['half an id', open({ id: 1.5 }), 'MESSAGE_FIELD_BAD'],
    ['a text as an id', open({ id: '1' }), 'MESSAGE_FIELD_BAD'],
    ['no camera', open({ camera: undefined }), 'MESSAGE_FIELD_BAD'],
    ['an empty camera', open({ camera: '' }), 'MESSAGE_FIELD_BAD'],
    ['a long camera', open({ camera: 'n'.repeat(129) }), 'MESSAGE_FIELD_BAD'],
    ['a camera that is a list', open({ camera: ['north'] }), 'MESSAGE_FIELD_BAD'],
    ['no channels', open({ channels: undefined }), 'MESSAGE_FIELD_BAD'],
    ['an empty list of channels', open({ channels: [] }), 'MESSAGE_FIELD_BAD'],
    ['an unknown channel', open({ channels: ['raw', 'sound'] }), 'MESSAGE_FIELD_BAD'],
    ['a channel twice', open({ channels: ['raw', 'raw'] }), 'MESSAGE_FIELD_BAD'],
    ['channels as a text', open({ channels: 'raw' }), 'MESSAGE_FIELD_BAD'],
    ['many channels', open({ channels: Array.from({ length: 1_000 }, () => 'raw') }), 'MESSAGE_FIELD_BAD'],
    ['no budget at all', open({ budget_ms: 0 }), 'MESSAGE_FIELD_BAD'],
    ['a budget of hours', open({ budget_ms: 1e9 }), 'MESSAGE_FIELD_BAD'],
    ['a text in place of yes or no', open({ transcode: 'h264' }), 'MESSAGE_FIELD_BAD'],
    ['a text as a budget', open({ budget_ms: '500' }), 'MESSAGE_FIELD_BAD'],
    ['closing without an id', '{"type":"close"}', 'MESSAGE_FIELD_BAD'],
    ['a clock without a time', '{"type":"clock"}', 'MESSAGE_FIELD_BAD'],
  ])('%s is refused', (_, text, code) => {
    expect(codeOf(text)).toBe(code);
  });

  test('anything else is refused with a code', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(codeOf(text)).toMatch(/^(MESSAGE_[A-Z_]+|open|close|clock)$/);
      }),
    );
  });
});

describe('messages of the server', () => {
  test('text and bytes are told apart; other types pass', () => {
    expect(decodeCamerasMessage('{"type":"closed","id":3}')).toEqual({ type: 'closed', id: 3 });
    expect(decodeCamerasMessage('{"type":"of tomorrow"}').type).toBe('of tomorrow');
    expect(decodeCamerasMessage(new Uint8Array([2])).type).toBe('unknown');
    expect(() => decodeCamerasMessage('{"type":4}')).toThrow(SightlineError);
    expect(() => decodeCamerasMessage('x')).toThrow(SightlineError);
  });
});
