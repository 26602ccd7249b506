import { TICKS_PER_S, type RawFragment, type RawInit } from '../../src/base/camera-frame.ts';
import { Priority, type Sample } from '../../src/base/sample.ts';
import { mp4Fragment } from '../../src/media/fmp4.ts';
import type { NumberedVideo } from './numbered-video.ts';

/** Fragments of made-up frames: an epoch, each frame a few bytes with its number. */

export interface MadeFrame {
  readonly epoch?: number;
  readonly seq: number;
  /** When it is decoded and shown, s. */
  readonly atS: number;
  /** As the camera guesses it. Default 0.04. */
  readonly durationS?: number;
  readonly isKey?: boolean;
  readonly bytes?: number;
  /** How long after its decoding it is shown. Default 0. */
  readonly shownAfterS?: number;
  /** Of the picture, pixels. Default 64. */
  readonly width?: number;
}

const inits = new Map<string, RawInit>();

export function initOf(epoch: number, width = 64): RawInit {
  const init = inits.get(`${epoch} ${width}`) ?? {
    isTranscoded: false,
    epoch,
    codecString: 'avc1.42c01e',
    width,
    height: 36,
    bytes: Buffer.from(`init ${epoch}`),
  };
  inits.set(`${epoch} ${width}`, init);
  return init;
}

export function madeFragment({
  epoch = 1,
  seq,
  atS,
  durationS = 0.04,
  isKey = false,
  bytes = 8,
  shownAfterS = 0,
  width,
}: MadeFrame): RawFragment {
  const unit = Buffer.alloc(Math.max(8, bytes));
  unit.writeUInt32BE(seq);
  const decodeTime = Math.round(atS * TICKS_PER_S);
  const duration = Math.round(1.5 * durationS * TICKS_PER_S);
  return {
    init: initOf(epoch, width),
    frame: { camera: 'north', epoch, seq },
    order: seq,
    clock: 'arrival',
    isKey,
    mediaTimeS: atS + shownAfterS,
    durationS,
    bytes: mp4Fragment(seq + 1, {
      decodeTime,
      duration,
      compositionOffset: Math.round(shownAfterS * TICKS_PER_S),
      isKey,
      units: [unit],
    }),
  };
}

export function sampleOf(
  frame: MadeFrame,
  position: number,
  captureTimeMs = 1_700_000_000_000 + frame.atS * 1000,
): Sample<RawFragment> {
  return {
    position,
    seq: position + 1,
    captureTimeMs,
    publishedTimeMs: captureTimeMs,
    priority: Priority.normal,
    deadlineMs: Infinity,
    data: madeFragment(frame),
  };
}

interface Box {
  readonly type: string;
  readonly at: number;
  readonly bytes: Buffer;
}

export function boxesIn(bytes: Uint8Array): Box[] {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const boxes: Box[] = [];
  for (let at = 0; at < all.length;) {
    const size = all.readUInt32BE(at);
    boxes.push({ type: all.toString('latin1', at + 4, at + 8), at, bytes: all.subarray(at, at + size) });
    at += size;
  }
  return boxes;
}

/** The frames in a part or a segment: what the event in front of each says, and what the fragment itself has. */
export function framesIn(bytes: Uint8Array) {
  const boxes = boxesIn(bytes);
  return boxes.flatMap(({ type, bytes: emsg }, i) => {
    if (type !== 'emsg') return [];
    const [moof, mdat] = [boxes[i + 1]!, boxes[i + 2]!];
    const text = emsg.toString('utf8');
    const trun = moof.bytes.indexOf('trun');
    return {
      name: JSON.parse(text.slice(text.lastIndexOf('{'))) as {
        epoch: number;
        seq: number;
        capture_time: number;
        boxes: string;
      },
      version: emsg[8],
      scheme: emsg.toString('latin1', 32, emsg.indexOf(0, 32)),
      timescale: emsg.readUInt32BE(12),
      presentationTime: Number(emsg.readBigUInt64BE(16)),
      eventDuration: emsg.readUInt32BE(24),
      decodeTime: Number(moof.bytes.readBigUInt64BE(moof.bytes.indexOf('tfdt') + 8)),
      duration: moof.bytes.readUInt32BE(trun + 16),
      seq: mdat.bytes.readUInt32BE(12),
      isFragment: moof.type === 'moof' && mdat.type === 'mdat',
    };
  });
}

/** Of a second, with a key frame in front: frames of a few bytes. */
export function madeVideo(): NumberedVideo {
  const units = [Buffer.alloc(200)];
  const frames = Array.from({ length: 25 }, (_, i) => ({ units, isKey: i === 0, order: i }));
  const { codecString, width, height, bytes: init } = initOf(0);
  const sets = { codec: 'h264', vps: [], sps: [], pps: [] } as const;
  return { sets, track: { codecString, width, height, reorderedFrames: 0, init }, rateFps: 25, frames };
}
