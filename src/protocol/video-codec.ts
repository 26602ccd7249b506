import { Unpackr } from 'msgpackr/unpack';
import { SightlineError, type ErrorCode } from '../base/errors.ts';
import type { PipelineName } from '../base/result.ts';
import { Priority } from '../base/sample.ts';
import { asObject, decodeClock, duration, oneOf, parseObject } from './fields.ts';
import { writeMsgpack } from './msgpack-writer.ts';
import { quote } from './quote.ts';
import { TRACE_PARENT_BYTES } from './trace-context.ts';
import type { BadFrame, ClientMessage, IncomingFrame, MessageFormat, Pin, ServerMessage } from './video.ts';
import { PERFORMANCE_MODES, QUALITY_LEVELS } from './video.ts';

/** Bytes in, messages out, as `docs/protocol.md` lays them down. No I/O; what the platform does better is handed in. */

/** Of the header that the SDK writes. */
export const FRAME_HEADER_BYTES = 20;
/** By version: the first has no time of sending, the third a trace, and three bytes that are not used. */
const HEADER_BYTES: Readonly<Record<number, number>> = { 1: 16, 2: FRAME_HEADER_BYTES, 3: 48 };
const MAGIC_S = 0x53;
const MAGIC_L = 0x4c;
const HEADER_VERSION = 2;
const SENT_AFTER_US_MAX = 0xffff_ffff;
const SEQ_MAX = 0xffff_ffff;
const SKIP_RATIO_MAX = 60;

/** Decodes standard base64; must give fewer bytes than the text holds when the text has foreign characters. */
export type Base64Decoder = (text: string) => Uint8Array;

const unpackr = new Unpackr({ useRecords: false });

/** A frame message: the 20-byte header, then the JPEG. `message`: where it is written, of exactly that length; all of it is. */
export function encodeFrame(
  frame: {
    seq: number;
    captureTimeMs: number;
    /** From the capture until now, ms. */
    sentAfterMs?: number;
    priority?: Priority;
    jpeg: Uint8Array;
  },
  message: Uint8Array<ArrayBuffer> = new Uint8Array(FRAME_HEADER_BYTES + frame.jpeg.length),
): Uint8Array<ArrayBuffer> {
  const view = new DataView(message.buffer, message.byteOffset, FRAME_HEADER_BYTES);
  message[0] = MAGIC_S;
  message[1] = MAGIC_L;
  message[2] = HEADER_VERSION;
  message[3] = frame.priority ?? Priority.normal;
  view.setUint32(4, frame.seq, true);
  view.setFloat64(8, frame.captureTimeMs, true);
  const sentAfterUs = Math.round((frame.sentAfterMs ?? 0) * 1000);
  view.setUint32(16, sentAfterUs > 0 ? Math.min(SENT_AFTER_US_MAX, sentAfterUs) : 0, true);
  message.set(frame.jpeg, FRAME_HEADER_BYTES);
  return message;
}

/**
 * A binary client message: always a frame, whose bytes are borrowed from the message. The JPEG itself is not looked at.
 * A header that makes no sense comes back as a value, since the frame must still be answered.
 */
export function decodeBinaryFrame(message: Uint8Array): IncomingFrame | BadFrame {
  if (message[0] !== MAGIC_S || message[1] !== MAGIC_L) {
    return {
      type: 'frame',
      seq: undefined,
      captureTimeMs: undefined,
      sentAfterMs: undefined,
      priority: undefined,
      jpeg: message,
    };
  }
  const headerBytes = HEADER_BYTES[message[2]!] ?? FRAME_HEADER_BYTES;
  if (message.length < headerBytes) {
    return badFrame('FRAME_HEADER_BAD', `the header has ${message.length} bytes instead of ${headerBytes}`);
  }
  const view = new DataView(message.buffer, message.byteOffset, headerBytes);
  const seq = view.getUint32(4, true);
  const captureTimeMs = view.getFloat64(8, true);
  const [, , version, priority] = message;
  if (HEADER_BYTES[version!] === undefined)
    return badFrame('FRAME_HEADER_BAD', `header version ${version} is unknown`, seq);
  if (!isPriority(priority)) return badFrame('FRAME_HEADER_BAD', `priority ${priority} is not 0 to 3`, seq);
  if (!Number.isFinite(captureTimeMs))
    return badFrame('FRAME_HEADER_BAD', `capture_time ${captureTimeMs} is no time`, seq);
  const sentAfterMs = version === 1 ? undefined : view.getUint32(16, true) / 1000;
  const frame: IncomingFrame = {
    type: 'frame',
    seq,
    captureTimeMs,
    sentAfterMs,
    priority,
    jpeg: message.subarray(headerBytes),
  };
  if (version === 3) frame.traceparent = message.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + TRACE_PARENT_BYTES);
  return frame;
}

/**
 * A text client message. Throws SightlineError MESSAGE_NOT_JSON, MESSAGE_TYPE_UNKNOWN or MESSAGE_FIELD_BAD; what is wrong
 * inside a frame comes back as a value, since the frame must still be answered.
 */
export function decodeTextMessage(text: string, decodeBase64: Base64Decoder): ClientMessage {
  const message = parseObject(text);
  switch (message['type']) {
    case 'frame':
      return decodeJsonFrame(message, decodeBase64);
    case 'clock':
      return decodeClock(message);
    case 'report':
      return { type: 'report', lag_ms: duration(message, 'lag_ms') };
    case 'pin':
      return { type: 'pin', ...decodePin(message) };
    default:
      throw new SightlineError(
        'MESSAGE_TYPE_UNKNOWN',
        `message type ${quote(message['type'])} is not frame, clock, pin or report`,
      );
  }
}

/** The same message in the format that the session asked for: text or bytes. */
export function encodeServerMessage(message: ServerMessage<PipelineName>, format: MessageFormat): string | Uint8Array {
  return format === 'json' ? JSON.stringify(message) : writeMsgpack(message);
}

/** A message from the server, whichever format it chose. Throws SightlineError MESSAGE_NOT_JSON or MESSAGE_TYPE_UNKNOWN. */
export function decodeServerMessage<P extends PipelineName = 'objects'>(data: string | Uint8Array): ServerMessage<P> {
  const message = typeof data === 'string' ? parseObject(data) : unpackObject(data);
  if (typeof message['type'] !== 'string') {
    throw new SightlineError('MESSAGE_TYPE_UNKNOWN', `message type ${quote(message['type'])} is no text`);
  }
  return message as unknown as ServerMessage<P>;
}

function decodeJsonFrame(message: Record<string, unknown>, decodeBase64: Base64Decoder): IncomingFrame | BadFrame {
  const { seq, timestamp, priority, traceparent, image_data: image } = message;
  if (seq !== undefined && !isSeq(seq)) {
    return badFrame('MESSAGE_FIELD_BAD', `seq ${quote(seq)} is not a whole number from 1 to ${SEQ_MAX}`);
  }
  if (timestamp !== undefined && !(typeof timestamp === 'number' && Number.isFinite(timestamp))) {
    return badFrame('MESSAGE_FIELD_BAD', `timestamp ${quote(timestamp)} is not a number`, seq);
  }
  if (priority !== undefined && !isPriority(priority))
    return badFrame('MESSAGE_FIELD_BAD', `priority ${quote(priority)} is not 0 to 3`, seq);
  if (typeof image !== 'string')
    return badFrame('MESSAGE_FIELD_BAD', `image_data ${quote(image)} is not text in base64`, seq);
  const base64 = image.startsWith('data:') ? image.slice(image.indexOf(',') + 1) : image;
  const jpeg = decodeBase64(base64);
  if (base64.length % 4 !== 0 || jpeg.length !== base64Bytes(base64)) {
    return badFrame('MESSAGE_FIELD_BAD', 'image_data is not base64', seq);
  }
  const frame: IncomingFrame = {
    type: 'frame',
    seq,
    captureTimeMs: timestamp,
    sentAfterMs: undefined,
    priority,
    jpeg,
  };
  if (traceparent !== undefined) frame.traceparent = traceparent;
  return frame;
}

/** Bytes that well-formed base64 of this length stands for: a decoder that skips foreign characters gives fewer. */
function base64Bytes(text: string): number {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return (text.length / 4) * 3 - padding;
}

function decodePin(message: Record<string, unknown>): Pin {
  const { level, mode, skip_ratio: skipRatio } = message;
  const pin: Pin = {};
  if (level !== undefined) pin.level = oneOf('level', level, QUALITY_LEVELS);
  if (mode !== undefined) pin.mode = oneOf('mode', mode, PERFORMANCE_MODES);
  if (level !== undefined && mode !== undefined)
    throw new SightlineError('MESSAGE_FIELD_BAD', 'level and mode exclude each other');
  if (skipRatio !== undefined) {
    if (!Number.isInteger(skipRatio) || (skipRatio as number) < 1 || (skipRatio as number) > SKIP_RATIO_MAX) {
      throw new SightlineError(
        'MESSAGE_FIELD_BAD',
        `skip_ratio ${quote(skipRatio)} is not a whole number from 1 to ${SKIP_RATIO_MAX}`,
      );
    }
    pin.skip_ratio = skipRatio as number;
  }
  return pin;
}

function unpackObject(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = unpackr.unpack(bytes);
  } catch (cause) {
    throw new SightlineError('MESSAGE_NOT_JSON', `the message is not MessagePack: ${(cause as Error).message}`, {
      cause,
    });
  }
  return asObject(value);
}

function isSeq(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= SEQ_MAX;
}

function isPriority(value: unknown): value is Priority {
  return value === 0 || value === 1 || value === 2 || value === 3;
}

function badFrame(code: ErrorCode, message: string, seq?: number): BadFrame {
  return { type: 'bad_frame', seq, error: new SightlineError(code, message) };
}
