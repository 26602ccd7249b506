import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readRtcp, receiverReport, RtpFrames, RtpOrder, wallMsOf, type RtpFrame } from './rtp.ts';

interface Sent {
  readonly payload: readonly number[];
  readonly time?: number;
  readonly isMarked?: boolean;
  readonly sequence?: number;
}

function packet({ payload, time = 0, isMarked = false }: Sent, sequence: number): Buffer {
  const header = Buffer.alloc(12);
  header[0] = 0x80;
  header[1] = 96 | (isMarked ? 0x80 : 0);
  header.writeUInt16BE(sequence & 0xffff, 2);
  header.writeUInt32BE(time >>> 0, 4);
  return Buffer.concat([header, Buffer.from(payload)]);
}

/** Numbered from 65,530 on. */
function framesOf(codec: 'h264' | 'hevc', packets: readonly Sent[]): RtpFrame[] {
  const rtp = new RtpFrames(codec, 96);
  return packets.flatMap((each, i) => rtp.push(packet(each, each.sequence ?? 65_530 + i), i));
}
const shown = (frames: readonly RtpFrame[]) =>
  frames.map(({ bytes, isKey, time, lost }) => [
    bytes.toString('hex').replaceAll('00000001', ' ').trim(),
    isKey,
    time,
    lost,
  ]);

describe('frames out of packets', () => {
  test('of one unit, of several at once, and in fragments (H.264)', () => {
    const frames = framesOf('h264', [
      { payload: [0x78, 0, 2, 0x67, 1, 0, 1, 0x68] },
      { payload: [0x7c, 0x85, 9, 9] },
      { payload: [0x7c, 0x05, 8] },
      { payload: [0x7c, 0x45, 7], isMarked: true },
      { payload: [0x61, 0x9a], time: 3600, isMarked: true },
    ]);
    expect(shown(frames)).toEqual([
      ['6701 68 6509090807', true, 0, 0],
      ['619a', false, 3600, 0],
    ]);
    expect(frames.map(({ arrivedMs }) => arrivedMs)).toEqual([3, 4]);
  });

  test('the same of H.265', () => {
    const frames = framesOf('hevc', [
      { payload: [0x60, 1, 0, 3, 0x40, 1, 1, 0, 3, 0x42, 1, 2] },
      { payload: [0x62, 1, 0x93, 5] },
      { payload: [0x62, 1, 0x53, 6], isMarked: true },
      { payload: [0x02, 1, 0xd0], time: 1, isMarked: true },
    ]);
    expect(shown(frames)).toEqual([
      ['400101 420102 26010506', true, 0, 0],
      ['0201d0', false, 1, 0],
    ]);
  });

  test('end with the next one where nothing is marked, and where marks are in their midst', () => {
    const unmarked = [0, 1, 2].map((i) => ({ payload: [0x61, 0x9a, i], time: i }));
    expect(shown(framesOf('h264', unmarked)).map(([bytes]) => bytes)).toEqual(['619a00', '619a01']);
    // Each slice is marked: the first frame is cut before that is known.
    const slices = [0, 0, 1, 1, 2, 2].map((time, i) => ({
      payload: [0x61, i % 2 ? 0x1a : 0x9a],
      time,
      isMarked: true,
    }));
    expect(shown(framesOf('h264', slices)).map(([bytes]) => bytes)).toEqual(['619a', '611a', '619a 611a']);
  });

  test('are none the less for packets of padding alone between them', () => {
    const whole = { payload: [0x61, 0x9a], isMarked: true };
    const padding = { payload: [] };
    const frames = framesOf('h264', [whole, padding, padding, { ...whole, time: 1 }]);
    expect(frames.map(({ lost }) => lost)).toEqual([0, 0]);
    // A frame is missing before the padding.
    const lost = framesOf('h264', [
      { ...whole, sequence: 0 },
      { ...padding, sequence: 2 },
      { ...whole, time: 2, sequence: 3 },
    ]);
    expect(lost.map((frame) => frame.lost)).toEqual([0, 1]);
  });

  test('are left out where a packet is missing, and the loss is told with the next one', () => {
    const whole = { payload: [0x61, 0x9a], isMarked: true };
    const frames = framesOf('h264', [
      { ...whole, sequence: 0 },
      // The middle of this one is lost.
      { payload: [0x7c, 0x81, 0x9a], time: 1, sequence: 1 },
      { payload: [0x7c, 0x41, 1], time: 1, isMarked: true, sequence: 3 },
      { ...whole, time: 2, sequence: 4 },
      // A whole frame is lost.
      { ...whole, time: 4, sequence: 6 },
      // The beginning of this one.
      { payload: [0x7c, 0x41, 1], time: 5, isMarked: true, sequence: 8 },
      { ...whole, time: 6, sequence: 9 },
    ]);
    expect(frames.map(({ time, lost }) => [time, lost])).toEqual([
      [0, 0],
      [2, 1],
      [4, 1],
      [6, 1],
    ]);
  });

  test('are not taken for whole where their last packet is missing', () => {
    const frames = framesOf('h264', [
      { payload: [0x78, 0, 2, 0x67, 1, 0, 1, 0x68], sequence: 0 },
      { payload: [0x61, 0x9a], time: 1, isMarked: true, sequence: 2 },
    ]);
    expect(frames.map(({ time, lost }) => [time, lost])).toEqual([[1, 1]]);
  });

  test('have times that go on where 32 bits begin anew', () => {
    const times = [2 ** 32 - 3600, 0, 3600];
    const frames = framesOf(
      'h264',
      times.map((time) => ({ payload: [0x61, 0x9a], time, isMarked: true })),
    );
    expect(frames.map(({ time }) => time)).toEqual([2 ** 32 - 3600, 2 ** 32, 2 ** 32 + 3600]);
  });

  test('can begin at a recovery point', () => {
    const frames = framesOf('h264', [
      { payload: [6, 5, 1, 0, 6, 1, 0x84, 0x80] },
      { payload: [0x61, 0x88], isMarked: true },
    ]);
    expect(frames[0]).toMatchObject({ isKey: true });
  });

  test('garbage gives none, or bytes that were sent, and never an exception', () => {
    const bytes = fc.uint8Array({ maxLength: 40 });
    fc.assert(
      fc.property(
        fc.constantFrom('h264' as const, 'hevc' as const),
        fc.array(bytes, { maxLength: 30 }),
        (codec, all) => {
          const rtp = new RtpFrames(codec, 96);
          let sequence = 0;
          for (const each of all) {
            rtp.push(Buffer.from(each), 0);
            rtp.push(packet({ payload: [...each], time: sequence, isMarked: sequence % 3 === 0 }, sequence++), 0);
          }
          for (const each of all) expect(readRtcp(Buffer.from(each))).toBeDefined();
        },
      ),
    );
  });
});

test('a sender report tells the time, behind or before other packets; a BYE the end', () => {
  const report = Buffer.alloc(28);
  report.writeUInt32BE(0x80c80006, 0);
  report.writeUInt32BE(2_208_988_800 + 100, 8);
  report.writeUInt32BE(2 ** 31, 12);
  report.writeUInt32BE(4_000_000_000, 16);
  const other = receiverReport(4_000_000_000);
  expect(other.length % 4).toBe(0);
  expect(readRtcp(Buffer.concat([other, report]))).toEqual({
    report: { wallMs: 100_500, stamp: 4_000_000_000 },
    isBye: false,
  });
  expect(readRtcp(Buffer.concat([other, Buffer.of(0x81, 203, 0, 1, 0, 0, 0, 1)])).isBye).toBe(true);
});

test.each([
  ['the same', 4_000_000_000, 0],
  ['a second earlier', 4_000_000_000 - 90_000, -1_000],
  ['later, where stamps have begun anew', 4_000_000_000 + 900_000_000, 10_000_000],
  ['a frame of a later round of stamps', 4_000_000_000 + 2 ** 32 + 90, 1],
])('a frame was captured by the clock of a report: %s', (_, time, laterMs) => {
  expect(wallMsOf({ time }, { wallMs: 100_500, stamp: 4_000_000_000 })).toBeCloseTo(100_500 + laterMs, 6);
});

describe('packets of UDP', () => {
  /** Sequence numbers and when they come; what is given on with each. */
  const order = (packets: readonly (readonly [sequence: number, arrivedMs: number])[]) => {
    const rtp = new RtpOrder();
    return packets.map(([sequence, arrivedMs]) =>
      [...rtp.push(packet({ payload: [1] }, sequence), arrivedMs)].map(({ bytes }) => bytes.readUInt16BE(2)),
    );
  };

  test('are put in order, also where they are counted anew; a copy is left out', () => {
    const given = order([
      [65_534, 0],
      [0, 1],
      [65_535, 2],
      [65_535, 3],
      [1, 4],
    ]);
    expect(given).toEqual([[65_534], [], [65_535, 0], [], [1]]);
  });

  test('do not wait long for one that is lost', () => {
    const given = order([
      [10, 0],
      [12, 10],
      [13, 50],
      [15, 80],
      [11, 90],
      [16, 200],
    ]);
    expect(given).toEqual([[10], [], [], [12, 13], [], [15, 16]]);
  });

  test('begin anew where the camera does', () => {
    expect(
      order([
        [40_000, 0],
        [10, 1],
        [11, 2],
      ]),
    ).toEqual([[40_000], [10], [11]]);
  });
});
