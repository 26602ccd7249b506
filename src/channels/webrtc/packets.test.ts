import fc from 'fast-check';
import { expect, test } from 'vitest';
import { annexB } from '../../media/nal.ts';
import { RtpFrames } from '../../sources/camera/rtp.ts';
import { payloadsOf } from './packets.ts';

const BYTES_MAX = 60;

/** Units of a picture: parameters, then slices; none ends with a zero, or has a start code in it. */
const unit = (type: number) =>
  fc
    .tuple(fc.integer({ min: 0, max: 3 }), fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 400 }))
    // The first bit of a slice says that it is the first one of its picture.
    .map(([importance, rest]) => Uint8Array.from([(importance << 5) | type, 0x80 | rest[0]!, ...rest.slice(1)]));
const accessUnit = fc
  .tuple(
    fc.array(fc.oneof(unit(6), unit(7), unit(8)), { maxLength: 5 }),
    fc.array(unit(5), { minLength: 1, maxLength: 4 }),
  )
  .map(([parameters, slices]) => parameters.concat(slices));

function packet(payload: Uint8Array, sequence: number, stamp: number, isLast: boolean): Buffer {
  const header = Buffer.alloc(12);
  header[0] = 0x80;
  header[1] = (isLast ? 0x80 : 0) | 96;
  header.writeUInt16BE(sequence & 0xffff, 2);
  header.writeUInt32BE(stamp, 4);
  return Buffer.concat([header, payload]);
}

test('what goes in comes out of a receiver, access unit by access unit, and no payload is too long', () => {
  fc.assert(
    fc.property(fc.array(accessUnit, { minLength: 1, maxLength: 4 }), (pictures) => {
      const receiver = new RtpFrames('h264', 96);
      let sequence = 65_530;
      const got: Buffer[] = [];
      for (const [i, units] of pictures.entries()) {
        const payloads = payloadsOf(units, BYTES_MAX);
        for (const [j, payload] of payloads.entries()) {
          expect(payload.length).toBeLessThanOrEqual(BYTES_MAX);
          const bytes = packet(payload, sequence++, 3_600 * i, j === payloads.length - 1);
          got.push(...receiver.push(bytes, 40 * i).map((frame) => Buffer.from(frame.bytes)));
        }
      }
      expect(got.map((bytes) => withLongCodes(bytes))).toEqual(pictures.map((units) => Buffer.from(annexB(units))));
    }),
  );
});

/** The receiver writes start codes of its own length. */
function withLongCodes(bytes: Buffer): Buffer {
  return bytes.readUInt32BE(0) === 1 ? bytes : Buffer.concat([Buffer.of(0), bytes]);
}

test('an empty unit is left out, and nothing gives nothing', () => {
  expect(payloadsOf([], BYTES_MAX)).toEqual([]);
  expect(payloadsOf([new Uint8Array()], BYTES_MAX)).toEqual([]);
});
