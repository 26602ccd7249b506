import { isKeyUnit, type NalCodec } from '../../media/nal.ts';

/** Frames of H.264 (RFC 6184) and H.265 (RFC 7798) out of packets of RTP (RFC 3550). No I/O; packets come in the order in which they were sent. */

export interface RtpFrame {
  /** Annex B. */
  readonly bytes: Buffer;
  readonly isKey: boolean;
  /** 90 kHz; goes on where the 32 bits of the packets begin anew. */
  readonly time: number;
  readonly arrivedMs: number;
  /** Frames before it that did not come whole: so many at least. */
  readonly lost: number;
}

/** A sender report: what its clock of the medium has at a time of its wall clock. */
export interface SenderReport {
  readonly wallMs: number;
  /** As in the packets: 32 bits. */
  readonly stamp: number;
}

const START_CODE = Buffer.of(0, 0, 0, 1);
const HEADER_BYTES = 12;
/** A frame of more is none. */
const FRAME_BYTES_MAX = 32 * 2 ** 20;
/** From the era of NTP (1900) to Unix time, s. */
const NTP_AHEAD_S = 2_208_988_800;

const H264 = { STAP_A: 24, FU_A: 28 } as const;
const HEVC = { AP: 48, FU: 49 } as const;

interface RtpPacket {
  readonly sequence: number;
  readonly time: number;
  readonly isMarked: boolean;
  readonly payload: Buffer;
}

export class RtpFrames {
  readonly #codec: NalCodec;
  readonly #payloadType: number;
  #sequence: number | undefined;
  #time: { readonly stamp: number; readonly unwrapped: number } | undefined;
  #parts: Buffer[] = [];
  #bytes = 0;
  #isKey = false;
  #frameTime: number | undefined;
  #arrivedMs = 0;
  #isDamaged = false;
  /** A unit in fragments, whose last one is not there yet. */
  #isFragmented = false;
  #lost = 0;
  /** The last packet of each frame is marked; some cameras mark all of a frame of several slices. */
  #areMarksTrue = true;
  #lastEnded: number | undefined;

  constructor(codec: NalCodec, payloadType: number) {
    this.#codec = codec;
    this.#payloadType = payloadType;
  }

  /** The frames that are whole with this packet: none, one, or two where the end of the first had not been marked. */
  push(bytes: Buffer, arrivedMs: number): RtpFrame[] {
    const packet = this.#read(bytes);
    if (!packet) return [];
    const frames: RtpFrame[] = [];
    const isGap = this.#sequence !== undefined && packet.sequence !== ((this.#sequence + 1) & 0xffff);
    if (packet.payload.length === 0) {
      // Padding alone, by which senders of WebRTC try the line: what is missing before it shows with the next one.
      if (!isGap) this.#sequence = packet.sequence;
      return frames;
    }
    this.#sequence = packet.sequence;
    const { unwrapped: time } = this.#time!;
    const isNew = this.#frameTime !== undefined && time !== this.#frameTime;
    if (isNew) {
      // Its end may be what is missing.
      this.#isDamaged ||= isGap;
      this.#end(frames);
    }
    if (isGap) this.#noteGap(packet, isNew);
    if (this.#frameTime === undefined && time === this.#lastEnded) this.#areMarksTrue = false;
    this.#frameTime = time;
    this.#arrivedMs = arrivedMs;
    this.#take(packet.payload);
    if (packet.isMarked && this.#areMarksTrue) this.#end(frames);
    return frames;
  }

  #read(bytes: Buffer): RtpPacket | undefined {
    if (bytes.length < HEADER_BYTES || bytes[0]! >> 6 !== 2 || (bytes[1]! & 0x7f) !== this.#payloadType)
      return undefined;
    let begin = HEADER_BYTES + 4 * (bytes[0]! & 15);
    if ((bytes[0]! & 0x10) !== 0) {
      if (bytes.length < begin + 4) return undefined;
      begin += 4 + 4 * bytes.readUInt16BE(begin + 2);
    }
    const padding = (bytes[0]! & 0x20) === 0 ? 0 : bytes.at(-1)!;
    if (begin + padding > bytes.length) return undefined;
    const payload = bytes.subarray(begin, bytes.length - padding);
    const stamp = bytes.readUInt32BE(4);
    const before = this.#time;
    this.#time = { stamp, unwrapped: before ? before.unwrapped + ((stamp - before.stamp) | 0) : stamp };
    return { sequence: bytes.readUInt16BE(2), time: stamp, isMarked: (bytes[1]! & 0x80) !== 0, payload };
  }

  /** Packets are missing: those of whole frames, or of the one that is at hand. */
  #noteGap({ payload }: RtpPacket, isCounted: boolean): void {
    const isBegin = this.#frameTime === undefined && this.#beginsFrame(payload);
    if (!isBegin) this.#isDamaged = true;
    else if (!isCounted) this.#lost += 1;
    this.#isFragmented = false;
  }

  /** Whether a payload is the first one of its frame. */
  #beginsFrame(payload: Buffer): boolean {
    if (this.#codec === 'h264') {
      const type = payload[0]! & 31;
      const isFragment = type === H264.FU_A;
      const unit = isFragment ? (payload[1] ?? 0) & 31 : type;
      if (isFragment && (payload[1]! & 0x80) === 0) return false;
      // `first_mb_in_slice` is 0: its code is one bit that is set.
      if (unit >= 1 && unit <= 5) return ((payload[isFragment ? 2 : 1] ?? 0) & 0x80) !== 0;
      return unit >= 6 && unit <= H264.STAP_A;
    }
    const type = (payload[0]! >> 1) & 63;
    const isFragment = type === HEVC.FU;
    const unit = isFragment ? (payload[2] ?? 0) & 63 : type;
    if (isFragment && (payload[2]! & 0x80) === 0) return false;
    // `first_slice_segment_in_pic_flag`.
    if (unit < 32) return ((payload[isFragment ? 3 : 2] ?? 0) & 0x80) !== 0;
    return unit <= HEVC.AP;
  }

  #take(payload: Buffer): void {
    if (this.#bytes > FRAME_BYTES_MAX) this.#isDamaged = true;
    if (this.#isDamaged) return;
    if (this.#codec === 'h264') this.#takeH264(payload);
    else this.#takeHevc(payload);
  }

  #takeH264(payload: Buffer): void {
    const type = payload[0]! & 31;
    if (type === H264.STAP_A) this.#takeAggregate(payload, 1);
    else if (type === H264.FU_A) {
      const header = payload[1] ?? 0;
      this.#takeFragment(header, payload.subarray(2), () => Buffer.of((payload[0]! & 0xe0) | (header & 31)));
    } else if (type >= 1 && type < H264.STAP_A) this.#takeUnit(payload);
  }

  #takeHevc(payload: Buffer): void {
    const type = (payload[0]! >> 1) & 63;
    if (type === HEVC.AP) this.#takeAggregate(payload, 2);
    else if (type === HEVC.FU) {
      const header = payload[2] ?? 0;
      this.#takeFragment(header, payload.subarray(3), () =>
        Buffer.of((payload[0]! & 0x81) | ((header & 63) << 1), payload[1]!),
      );
    } else if (type < HEVC.AP && payload.length > 2) this.#takeUnit(payload);
  }

  #takeAggregate(payload: Buffer, from: number): void {
    for (let at = from; at + 2 <= payload.length;) {
      const end = at + 2 + payload.readUInt16BE(at);
      if (end > payload.length) {
        this.#isDamaged = true;
        return;
      }
      if (end > at + 2) this.#takeUnit(payload.subarray(at + 2, end));
      at = end;
    }
  }

  /** `header`: its first bit is set in the first fragment of a unit, its second one in the last. */
  #takeFragment(header: number, bytes: Buffer, unitHeader: () => Buffer): void {
    const isFirst = (header & 0x80) !== 0;
    if (isFirst === this.#isFragmented) this.#isDamaged = true;
    else if (isFirst) this.#takeUnit(unitHeader());
    if (this.#isDamaged) return;
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    this.#isFragmented = (header & 0x40) === 0;
  }

  #takeUnit(unit: Buffer): void {
    this.#parts.push(START_CODE, unit);
    this.#bytes += START_CODE.length + unit.length;
    this.#isKey ||= isKeyUnit(this.#codec, unit) || (this.#codec === 'h264' && isRecoveryPoint(unit));
  }

  #end(frames: RtpFrame[]): void {
    if (this.#isDamaged || this.#isFragmented || this.#bytes === 0)
      this.#lost += this.#bytes > 0 || this.#isDamaged ? 1 : 0;
    else {
      frames.push({
        bytes: Buffer.concat(this.#parts, this.#bytes),
        isKey: this.#isKey,
        time: this.#frameTime!,
        arrivedMs: this.#arrivedMs,
        lost: this.#lost,
      });
      this.#lost = 0;
    }
    this.#lastEnded = this.#frameTime;
    this.#frameTime = undefined;
    this.#parts = [];
    this.#bytes = 0;
    [this.#isKey, this.#isDamaged, this.#isFragmented] = [false, false, false];
  }
}

interface ArrivedPacket {
  readonly bytes: Buffer;
  readonly arrivedMs: number;
}

/** Packets that wait for one before them, and for how long. */
export interface Patience {
  readonly packetsMax: number;
  readonly waitMsMax: number;
}

/** Of a network that mixes them up, and sends none again. */
const PATIENCE: Patience = { packetsMax: 64, waitMsMax: 60 };
/** One that is older, or ahead, by more is of a new beginning. */
const AWAY_MAX = 512;

/** Puts packets of UDP into their order. */
export class RtpOrder {
  readonly #patience: Patience;
  #next: number | undefined;
  readonly #waiting = new Map<number, ArrivedPacket>();

  constructor(patience = PATIENCE) {
    this.#patience = patience;
  }

  *push(bytes: Buffer, arrivedMs: number): Generator<ArrivedPacket, void, undefined> {
    if (bytes.length < HEADER_BYTES) return;
    const sequence = bytes.readUInt16BE(2);
    this.#next ??= sequence;
    const ahead = (sequence - this.#next) & 0xffff;
    // It is there already, or comes too late.
    if (ahead >= 0x10000 - AWAY_MAX) return;
    if (ahead > AWAY_MAX) {
      this.#waiting.clear();
      this.#next = sequence;
    }
    this.#waiting.set(sequence, { bytes, arrivedMs });
    yield* this.#take();
    const { packetsMax, waitMsMax } = this.#patience;
    for (;;) {
      const [first] = this.#waiting.values();
      if (!first || (this.#waiting.size <= packetsMax && arrivedMs - first.arrivedMs <= waitMsMax)) return;
      // What is missing will not come any more.
      while (!this.#waiting.has(this.#next)) this.#next = (this.#next + 1) & 0xffff;
      yield* this.#take();
    }
  }

  *#take(): Generator<ArrivedPacket, void, undefined> {
    for (let packet = this.#waiting.get(this.#next!); packet; packet = this.#waiting.get(this.#next!)) {
      this.#waiting.delete(this.#next!);
      this.#next = (this.#next! + 1) & 0xffff;
      yield packet;
    }
  }
}

/** A message (SEI) that decoding can begin here, of streams without IDR pictures: ITU-T H.264, 7.3.2.3.1 and D.1.8. */
function isRecoveryPoint(unit: Buffer): boolean {
  const SEI = 6;
  const RECOVERY_POINT = 6;
  if ((unit[0]! & 31) !== SEI) return false;
  const number = (from: number): readonly [value: number, end: number] => {
    let [value, at] = [0, from];
    for (; unit[at] === 0xff; at += 1) value += 0xff;
    return [value + (unit[at] ?? 0), at + 1];
  };
  for (let at = 1; at + 2 < unit.length;) {
    const [type, sizeAt] = number(at);
    const [size, begin] = number(sizeAt);
    if (type === RECOVERY_POINT) return true;
    at = begin + size;
  }
  return false;
}

/** When a frame was captured, by the clock of a report that is not half a round of stamps (six hours) away. */
export function wallMsOf({ time }: Pick<RtpFrame, 'time'>, report: SenderReport): number {
  return report.wallMs + ((time - report.stamp) | 0) / 90;
}

/** What a packet of RTCP, compound as a rule, says; `isBye`: the sender ends. */
export function readRtcp(bytes: Buffer): {
  readonly report: SenderReport | undefined;
  readonly isBye: boolean;
} {
  let report: SenderReport | undefined;
  let isBye = false;
  for (let at = 0; at + 4 <= bytes.length && bytes[at]! >> 6 === 2;) {
    const end = at + 4 * (bytes.readUInt16BE(at + 2) + 1);
    const kind = bytes[at + 1];
    if (kind === 200 && end >= at + 28 && bytes.length >= at + 28) {
      const wallS = bytes.readUInt32BE(at + 8) - NTP_AHEAD_S + bytes.readUInt32BE(at + 12) / 2 ** 32;
      report = { wallMs: wallS * 1000, stamp: bytes.readUInt32BE(at + 16) };
    } else if (kind === 203) isBye = true;
    at = end;
  }
  return { report, isBye };
}

/** A receiver report without a block, and a name (RFC 3550, 6.1): some cameras want a sign of life over UDP. */
export function receiverReport(source: number): Buffer {
  const NAME = Buffer.from('sightline\0\0\0');
  const bytes = Buffer.alloc(8 + 8 + 2 + NAME.length + 2);
  bytes.writeUInt32BE(0x80c90001, 0);
  bytes.writeUInt32BE(source, 4);
  bytes.writeUInt32BE(0x81ca0000 + (bytes.length - 8) / 4 - 1, 8);
  bytes.writeUInt32BE(source, 12);
  bytes[16] = 1;
  bytes[17] = 9;
  bytes.set(NAME, 18);
  return bytes;
}
