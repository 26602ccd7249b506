import { describe, expect, test } from 'vitest';
import { unframed } from '../../../test/support/frames.ts';
import { controlFrame, framed } from './frames.ts';

describe('frames', () => {
  test.each([0, 1, 125, 126, 65_535, 65_536, 100_000])('of %i bytes', (length) => {
    const data = Buffer.alloc(length, 7);
    expect(framed(data, false)[0]).toBe(0x82);
    expect(framed(data, true)[0]).toBe(0x81);
    expect(unframed(framed(data, false))).toEqual([data]);
  });

  test('control messages are text but for MessagePack', () => {
    const message = { type: 'unsubscribed', id: 1 } as const;
    expect(controlFrame(message, 'sightline.v1.json').toString('latin1', 2)).toBe('{"type":"unsubscribed","id":1}');
    expect(controlFrame(message, 'sightline.v1.binary')[0]).toBe(0x81);
    expect(controlFrame(message, 'sightline.v1.msgpack')[0]).toBe(0x82);
  });
});
