import fc from 'fast-check';
import { expect, test } from 'vitest';
import { forInlet, InletReader, INLET_PAYLOAD_TYPE, isRtcp, rtpForInlet } from './inlet-packets.ts';

test('packets come out as they went in, wherever the bytes were cut (property)', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 12 }),
      fc.integer({ min: 1, max: 17 }),
      (packets, step) => {
        const bytes = Buffer.concat(packets.map(forInlet));
        const reader = new InletReader();
        const read: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += step) read.push(...reader.push(bytes.subarray(at, at + step)));
        expect(read.map((packet) => packet.toString('hex'))).toEqual(
          packets.map((packet) => Buffer.from(packet).toString('hex')),
        );
      },
    ),
  );
});

test('a packet of RTP has what is needed of its header, and is told from RTCP', () => {
  const bytes = rtpForInlet({ sequence: 0xfffe, stamp: 0xfffffff0, isMarked: true, payload: Buffer.of(1, 2, 3) });
  expect(bytes.readUInt16BE(0)).toBe(bytes.length - 2);
  const [packet] = new InletReader().push(bytes) as [Buffer];
  expect(packet.toString('hex')).toBe('80e0fffefffffff000000000010203');
  expect(packet[1]! & 0x7f).toBe(INLET_PAYLOAD_TYPE);
  expect(isRtcp(packet)).toBe(false);
  expect(isRtcp(Buffer.of(0x80, 200, 0, 6))).toBe(true);
  expect(isRtcp(Buffer.alloc(0))).toBe(false);
});
