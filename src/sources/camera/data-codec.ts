import { CHANNEL_FORMS, DRAWN_BOXES } from '../../base/camera-frame.ts';
import type { CaptureClock } from '../../base/frame-name.ts';
import { SightlineError } from '../../base/errors.ts';
import type { FrameData, ReaderData } from './messages.ts';

/**
 * `ReaderData` on the pipe between a process that reads cameras and the server: one message behind the other, little-endian.
 *
 * | bytes | what |
 * |---|---|
 * | 4 | length of all that follows |
 * | 1 | kind: its place in `KINDS` |
 * | 1 | flags: 1 the camera's clock, 2 key frame; 4 and 8: the place of the form of a channel in `CHANNEL_FORMS`; 16 and 32: that of what is drawn in `DRAWN_BOXES` |
 * | 2 | zero |
 * | 4 | camera |
 * | 8 | epoch |
 * | … | by kind: the fields of `layouts` below |
 * | … | `init`: the codec's name with a length of 2 bytes; then, of all kinds, the bytes themselves |
 */

const KINDS = ['init', 'fragment', 'picture', 'still'] as const;
const FLAG_CAMERA_CLOCK = 1;
const FLAG_KEY = 2;
const FORM_SHIFT = 2;
const BOXES_SHIFT = 4;
const TWO_BITS = 3;

const LENGTH_BYTES = 4;
/** Kind, flags, zero, camera, epoch. */
const COMMON_BYTES = 16;
/** Seq, arrivedMs, capturedBeforeMs. */
const FRAME_BYTES = 24;
const OWN_BYTES = {
  /** Width, height, length of the codec's name. */
  init: 10,
  /** Media time, duration and order. */
  fragment: FRAME_BYTES + 24,
  /** Width, height, both of the source, decodeMs, keyMs, keys. */
  picture: FRAME_BYTES + 36,
  /** Request, width, height. */
  still: FRAME_BYTES + 12,
} as const;
const CODEC_BYTES_MAX = 255;

/** Of one message: an unscaled picture of 33 million pixels (8K) in RGB, and its header. */
export const DATA_BYTES_MAX = 128 * 2 ** 20;

/** The header, and the bytes as they are: they are not copied. */
export function encodeData(data: ReaderData): readonly [header: Uint8Array, bytes: Uint8Array] {
  const codec = data.kind === 'init' ? Buffer.from(data.codecString, 'latin1') : undefined;
  if (codec && codec.length > CODEC_BYTES_MAX) throw damaged(`a codec's name of ${codec.length} bytes`);
  const headerBytes = LENGTH_BYTES + COMMON_BYTES + OWN_BYTES[data.kind] + (codec?.length ?? 0);
  const length = headerBytes - LENGTH_BYTES + data.bytes.length;
  if (length > DATA_BYTES_MAX) throw damaged(`a message of ${length} bytes`);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(length, 0);
  header[4] = KINDS.indexOf(data.kind);
  header.writeUInt32LE(data.camera, 8);
  header.writeDoubleLE(data.epoch, 12);
  const own = LENGTH_BYTES + COMMON_BYTES;
  if (data.kind === 'init') {
    header[5] = CHANNEL_FORMS.indexOf(data.form) << FORM_SHIFT;
    header.writeUInt32LE(data.width, own);
    header.writeUInt32LE(data.height, own + 4);
    header.writeUInt16LE(codec!.length, own + 8);
    header.set(codec!, own + OWN_BYTES.init);
    return [header, data.bytes];
  }
  header[5] = data.clock === 'camera' ? FLAG_CAMERA_CLOCK : 0;
  header.writeDoubleLE(data.seq, own);
  header.writeDoubleLE(data.arrivedMs, own + 8);
  header.writeDoubleLE(data.capturedBeforeMs, own + 16);
  const rest = own + FRAME_BYTES;
  if (data.kind === 'fragment') {
    header.writeDoubleLE(data.mediaTimeS, rest);
    header[5] |= (data.isKey ? FLAG_KEY : 0) | (CHANNEL_FORMS.indexOf(data.form) << FORM_SHIFT);
    header[5] |= DRAWN_BOXES.indexOf(data.boxes) << BOXES_SHIFT;
    header.writeDoubleLE(data.durationS, rest + 8);
    header.writeDoubleLE(data.order, rest + 16);
  } else if (data.kind === 'picture') {
    header.writeUInt32LE(data.width, rest);
    header.writeUInt32LE(data.height, rest + 4);
    header.writeUInt32LE(data.source.width, rest + 8);
    header.writeUInt32LE(data.source.height, rest + 12);
    header.writeDoubleLE(data.decodeMs, rest + 16);
    header.writeDoubleLE(data.keyMs, rest + 24);
    header.writeUInt32LE(data.keys, rest + 32);
  } else {
    header[5] |= DRAWN_BOXES.indexOf(data.boxes) << BOXES_SHIFT;
    header.writeUInt32LE(data.request, rest);
    header.writeUInt32LE(data.width, rest + 4);
    header.writeUInt32LE(data.height, rest + 8);
  }
  return [header, data.bytes];
}

/**
 * Takes the pipe apart. A message that lies whole in one chunk is a view of it; one that does not is put together in a buffer of its own, once. What is
 * damaged is refused, and nothing can be read behind that: where the next message begins is not known.
 */
export class DataReader {
  /** The rest of the last chunk. */
  #chunk: Buffer = Buffer.alloc(0);
  /** A message that began in an earlier chunk, and how much of it is there. */
  #partial: Buffer | undefined;
  #filled = 0;
  #fault: SightlineError | undefined;

  /** One chunk of the pipe; it is not written into any more. All messages of the last one have been taken by `next`. */
  push(chunk: Uint8Array): void {
    const rest = this.#chunk;
    const added = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    // What is left over is less than a length, or belongs to no partial message.
    this.#chunk = rest.length === 0 ? added : Buffer.concat([rest, added]);
  }

  /** The next whole message; undefined: it is not there yet. Throws INTERNAL for one that is damaged. */
  next(): ReaderData | undefined {
    if (this.#fault) throw this.#fault;
    try {
      const body = this.#body();
      return body && decode(body);
    } catch (thrown) {
      this.#fault = thrown as SightlineError;
      this.#chunk = Buffer.alloc(0);
      this.#partial = undefined;
      throw thrown;
    }
  }

  /** A message without its length. */
  #body(): Buffer | undefined {
    if (!this.#partial) {
      if (this.#chunk.length < LENGTH_BYTES) return undefined;
      const length = this.#chunk.readUInt32LE(0);
      if (length < COMMON_BYTES || length > DATA_BYTES_MAX) throw damaged(`a message of ${length} bytes`);
      const end = LENGTH_BYTES + length;
      if (this.#chunk.length >= end) {
        const body = this.#chunk.subarray(LENGTH_BYTES, end);
        this.#chunk = this.#chunk.subarray(end);
        return body;
      }
      // Before memory is taken for it.
      if (this.#chunk.length > LENGTH_BYTES && KINDS[this.#chunk[LENGTH_BYTES]!] === undefined) {
        throw damaged(`a message of the kind ${this.#chunk[LENGTH_BYTES]}`);
      }
      this.#partial = Buffer.allocUnsafeSlow(length);
      this.#filled = 0;
      this.#chunk = this.#chunk.subarray(LENGTH_BYTES);
    }
    const partial = this.#partial;
    const taken = this.#chunk.copy(partial, this.#filled);
    this.#filled += taken;
    this.#chunk = this.#chunk.subarray(taken);
    if (this.#filled < partial.length) return undefined;
    this.#partial = undefined;
    return partial;
  }
}

function decode(body: Buffer): ReaderData {
  const kind = KINDS[body[0]!];
  if (kind === undefined) throw damaged(`a message of the kind ${body[0]}`);
  const own = COMMON_BYTES;
  const rest = own + OWN_BYTES[kind];
  if (body.length < rest) throw damaged(`${kind}: ${body.length} bytes`);
  const camera = body.readUInt32LE(4);
  const epoch = finite(kind, body.readDoubleLE(8));
  const form = CHANNEL_FORMS[(body[1]! >> FORM_SHIFT) & TWO_BITS];
  const boxes = DRAWN_BOXES[(body[1]! >> BOXES_SHIFT) & TWO_BITS];
  if (!form || !boxes) throw damaged(`${kind}: flags ${body[1]}`);
  if (kind === 'init') {
    const codecBytes = body.readUInt16LE(own + 8);
    if (codecBytes > CODEC_BYTES_MAX || body.length < rest + codecBytes) {
      throw damaged(`${kind}: a codec's name of ${codecBytes} bytes`);
    }
    return {
      kind,
      form,
      camera,
      epoch,
      width: body.readUInt32LE(own),
      height: body.readUInt32LE(own + 4),
      codecString: body.toString('latin1', rest, rest + codecBytes),
      bytes: body.subarray(rest + codecBytes),
    };
  }
  const clock: CaptureClock = (body[1]! & FLAG_CAMERA_CLOCK) === 0 ? 'arrival' : 'camera';
  const seq = finite(kind, body.readDoubleLE(own));
  const arrivedMs = finite(kind, body.readDoubleLE(own + 8));
  const capturedBeforeMs = finite(kind, body.readDoubleLE(own + 16));
  const frame: FrameData = { camera, epoch, seq, arrivedMs, capturedBeforeMs, clock };
  const at = own + FRAME_BYTES;
  const bytes = body.subarray(rest);
  if (kind === 'fragment') {
    return {
      ...frame,
      kind,
      form,
      boxes,
      order: finite(kind, body.readDoubleLE(at + 16)),
      isKey: (body[1]! & FLAG_KEY) !== 0,
      mediaTimeS: finite(kind, body.readDoubleLE(at)),
      durationS: finite(kind, body.readDoubleLE(at + 8)),
      bytes,
    };
  }
  if (kind === 'still') {
    const [request, width, height] = [body.readUInt32LE(at), body.readUInt32LE(at + 4), body.readUInt32LE(at + 8)];
    return { ...frame, kind, request, boxes, width, height, bytes };
  }
  const [width, height] = [body.readUInt32LE(at), body.readUInt32LE(at + 4)];
  if (bytes.length !== width * height * 3) throw damaged(`${kind}: ${width}×${height} in ${bytes.length} bytes`);
  const source = { width: body.readUInt32LE(at + 8), height: body.readUInt32LE(at + 12) };
  const decodeMs = finite(kind, body.readDoubleLE(at + 16));
  const keyMs = finite(kind, body.readDoubleLE(at + 24));
  return { ...frame, kind, width, height, source, decodeMs, keyMs, keys: body.readUInt32LE(at + 32), bytes };
}

function finite(kind: string, value: number): number {
  if (!Number.isFinite(value)) throw damaged(`${kind}: a number that is none`);
  return value;
}

function damaged(what: string): SightlineError {
  return new SightlineError('INTERNAL', `data of a camera: ${what}`);
}
