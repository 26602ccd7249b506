import { DRAWN_BOXES, type DrawnBoxes } from '../base/camera-frame.ts';
import { SightlineError, type ErrorCode } from '../base/errors.ts';
import type { CaptureClock, FrameName } from '../base/frame-name.ts';
import type { PipelineName } from '../base/result.ts';
import { decodeClock, finiteNumber, parseObject } from './fields.ts';
import { quote } from './quote.ts';
import type { ClockReply, DropCause, StagesMs, VideoClockRequest, WireContents } from './video.ts';

/** The messages of the cameras' lane, and their codec: bytes in, messages out, as `docs/protocol.md` lays them down. No I/O. */

export const CAMERAS_PROTOCOL_VERSION = 1;

/** `annotated`: with what was found drawn on it, in place of `raw`. */
export const CAMERA_CHANNELS = ['raw', 'annotated', 'results', 'state'] as const;
export type CameraChannel = (typeof CAMERA_CHANNELS)[number];

/** The client's own number of a view. */
export const VIEW_ID_MAX = 0xffff;
/** How far behind its camera the server lets a view fall before it skips, ms. */
export const BUDGET_MS = { min: 100, default: 1_000, max: 60_000 } as const;
const CAMERA_CHARS_MAX = 128;

// Client messages.

export interface OpenViewMessage {
  type: 'open';
  id: number;
  camera: string;
  channels: readonly CameraChannel[];
  budget_ms: number;
  /** The raw channel is to be encoded anew as H.264: the client cannot play the camera's own codec. */
  transcode: boolean;
}

export interface CloseViewMessage {
  type: 'close';
  id: number;
}

export type CamerasClientMessage = OpenViewMessage | CloseViewMessage | VideoClockRequest;

// Server messages.

export interface CamerasLimits {
  views_max: number;
  message_bytes_max: number;
  budget_ms_min: number;
  budget_ms_max: number;
  idle_timeout_s: number;
}

export interface CamerasWelcome {
  type: 'welcome';
  protocol: number;
  client_id: string;
  server_time: number;
  limits: CamerasLimits;
}

/** What is known of a camera; the fields are those of the same names in `GET /api/cameras`. */
export interface CameraStateFields {
  state: string;
  since: number;
  reason: { code: string; message: string } | null;
  until: number | null;
  picture: { condition: string; since: number };
  stream: CameraStreamFields | null;
}

export interface CameraStreamFields {
  format: string;
  codec: string;
  codec_string: string | null;
  width: number;
  height: number;
  clock: CaptureClock;
  epoch: number;
}

export interface ViewOpenedMessage extends CameraStateFields {
  type: 'opened';
  id: number;
  camera: string;
  channels: readonly CameraChannel[];
  budget_ms: number;
  /** Left out by older servers, which have only the camera's own codec. */
  transcode?: boolean;
}

export interface CameraStateMessage extends CameraStateFields {
  type: 'state';
  id: number;
}

interface OutcomeFields {
  type: 'result';
  id: number;
  epoch: number;
  seq: number;
  capture_time: number;
  clock: CaptureClock;
}

/** What a pipeline has found in a frame. */
export type CameraFound<P extends PipelineName = PipelineName> = {
  [Name in P]: OutcomeFields & {
    pipeline: Name;
    outcome: 'result';
    width: number;
    height: number;
    stages_ms: StagesMs;
  } & WireContents[Name];
}[P];

/** The outcome of one frame in one pipeline. */
export type CameraResultMessage<P extends PipelineName = PipelineName> =
  | CameraFound<P>
  | (OutcomeFields & { pipeline: P; outcome: 'dropped'; cause: DropCause })
  | (OutcomeFields & { pipeline: P; outcome: 'error'; code: ErrorCode; message: string });

type WithoutView<M> = M extends unknown ? Omit<M, 'type' | 'id'> : never;
/** The same wherever there is no view: with the whole name of the frame. */
export type NamedOutcomeMessage = { camera: string } & WithoutView<CameraResultMessage>;

/**
 * Why frames, or outcomes, are left out of a view. `behind`: what waited was older than the view's budget. `overflow`: more had gathered than the server
 * keeps. `source`: they did not come as far as the server's streams.
 */
export type GapCause = 'behind' | 'overflow' | 'source';

/** Without the camera, which the view has. */
export type WireFrame = Omit<FrameName, 'camera'>;

export interface GapMessage {
  type: 'gap';
  id: number;
  channel: 'raw' | 'annotated' | 'results';
  /** The first that is left out, and the one that comes next: both may be of different epochs. */
  from: WireFrame;
  to: WireFrame;
  count: number;
  cause: GapCause;
}

export interface ViewClosedMessage {
  type: 'closed';
  id: number;
  /** Why, where the client has not asked for it. */
  code?: ErrorCode;
  message?: string;
}

export interface CamerasErrorMessage {
  type: 'error';
  code: ErrorCode;
  message: string;
  /** The view that was asked for, or spoken of. */
  id?: number;
  retry_after_ms?: number;
}

export type CamerasTextMessage =
  | CamerasWelcome
  | ViewOpenedMessage
  | CameraStateMessage
  | CameraResultMessage
  | GapMessage
  | ViewClosedMessage
  | CamerasErrorMessage
  | ClockReply;

/** An MP4 initialisation segment: the fragments of its epoch need it first. */
export interface InitMessage {
  type: 'init';
  /** The fragments are encoded anew by the server. */
  isTranscoded: boolean;
  id: number;
  epoch: number;
  /** RFC 6381. */
  codecString: string;
  width: number;
  height: number;
  bytes: Uint8Array;
}

/** One frame as an MP4 fragment. */
export interface FragmentMessage {
  type: 'fragment';
  id: number;
  epoch: number;
  seq: number;
  isKey: boolean;
  clock: CaptureClock;
  /** By the server's time of day, Unix ms. */
  captureTimeMs: number;
  mediaTimeS: number;
  durationS: number;
  /** What is drawn on it; `none` in `raw`. */
  boxes: DrawnBoxes;
  bytes: Uint8Array;
}

/** Of a kind that a newer server has. */
export interface UnknownData {
  type: 'unknown';
}

export type CamerasServerMessage = CamerasTextMessage | InitMessage | FragmentMessage | UnknownData;

/** A text message of a client. Throws MESSAGE_NOT_JSON, MESSAGE_TYPE_UNKNOWN or MESSAGE_FIELD_BAD. */
export function decodeCamerasRequest(text: string): CamerasClientMessage {
  const message = parseObject(text);
  switch (message['type']) {
    case 'open':
      return {
        type: 'open',
        id: viewId(message),
        camera: cameraId(message['camera']),
        channels: channels(message['channels']),
        budget_ms: budget(message),
        transcode: flag(message, 'transcode'),
      };
    case 'close':
      return { type: 'close', id: viewId(message) };
    case 'clock':
      return decodeClock(message);
    default:
      throw new SightlineError(
        'MESSAGE_TYPE_UNKNOWN',
        `message type ${quote(message['type'])} is not open, close or clock`,
      );
  }
}

/** Any message of the server. Throws MESSAGE_NOT_JSON, MESSAGE_TYPE_UNKNOWN or FRAME_HEADER_BAD. */
export function decodeCamerasMessage(data: string | Uint8Array): CamerasServerMessage {
  if (typeof data !== 'string') return decodeCameraData(data);
  const message = parseObject(data);
  if (typeof message['type'] !== 'string') {
    throw new SightlineError('MESSAGE_TYPE_UNKNOWN', `message type ${quote(message['type'])} is no text`);
  }
  return message as unknown as CamerasTextMessage;
}

function viewId(message: Record<string, unknown>): number {
  const { id } = message;
  if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= VIEW_ID_MAX) return id as number;
  throw bad(`id ${quote(id)} is not a whole number from 0 to ${VIEW_ID_MAX}`);
}

function cameraId(camera: unknown): string {
  if (typeof camera === 'string' && camera !== '' && camera.length <= CAMERA_CHARS_MAX) return camera;
  throw bad(`camera ${quote(camera)} is not the id of a camera: a text of 1 to ${CAMERA_CHARS_MAX} characters`);
}

function channels(list: unknown): readonly CameraChannel[] {
  if (!Array.isArray(list) || list.length === 0 || list.length > CAMERA_CHANNELS.length) {
    throw bad(`channels ${quote(list)} is not a list of some of ${CAMERA_CHANNELS.join(', ')}`);
  }
  for (const [place, name] of list.entries()) {
    if (!CAMERA_CHANNELS.includes(name as CameraChannel)) {
      throw bad(`channel ${quote(name)} is not one of ${CAMERA_CHANNELS.join(', ')}`);
    }
    if (list.indexOf(name) < place) throw bad(`channel ${quote(name)} is given more than once`);
  }
  if (list.includes('raw') && list.includes('annotated')) throw bad('a view has raw or annotated, not both');
  return list as CameraChannel[];
}

function budget(message: Record<string, unknown>): number {
  if (message['budget_ms'] === undefined) return BUDGET_MS.default;
  const ms = finiteNumber(message, 'budget_ms');
  if (ms >= BUDGET_MS.min && ms <= BUDGET_MS.max) return ms;
  throw bad(`budget_ms ${quote(ms)} is not from ${BUDGET_MS.min} to ${BUDGET_MS.max}`);
}

function flag(message: Record<string, unknown>, name: string): boolean {
  const { [name]: value = false } = message;
  if (typeof value === 'boolean') return value;
  throw bad(`${name} ${quote(value)} is not true or false`);
}

function bad(what: string): SightlineError {
  return new SightlineError('MESSAGE_FIELD_BAD', what);
}

// Binary messages, little-endian.

const KIND_INIT = 1;
const KIND_FRAGMENT = 2;
/** The upper half of the flags. */
const LAYOUT_VERSION = 1;
const FLAG_KEY = 0x01;
const FLAG_CAMERA_CLOCK = 0x02;
/** Two bits: its place in `DRAWN_BOXES`. */
const BOXES_SHIFT = 2;
/** Of an initialisation segment. */
const FLAG_TRANSCODED = 0x01;
const FLAGS_MASK = 0x0f;
/** Without the codec string, which follows. */
const INIT_HEADER_BYTES = 17;
export const FRAGMENT_HEADER_BYTES = 36;
const CODEC_CHARS_MAX = 255;
const U16_MAX = 0xffff;

/** Throws FRAME_HEADER_BAD for a size or a codec string that does not fit. */
export function encodeInit(init: Omit<InitMessage, 'type'>): Uint8Array {
  const { id, isTranscoded, epoch, codecString, width, height, bytes } = init;
  if (width > U16_MAX || height > U16_MAX || codecString.length > CODEC_CHARS_MAX || !isAscii(codecString)) {
    throw new SightlineError(
      'FRAME_HEADER_BAD',
      `no message holds ${quote(codecString)} with ${width}×${height} pixels`,
    );
  }
  const message = new Uint8Array(INIT_HEADER_BYTES + codecString.length + bytes.length);
  const view = new DataView(message.buffer);
  message[0] = KIND_INIT;
  message[1] = (LAYOUT_VERSION << 4) | (isTranscoded ? FLAG_TRANSCODED : 0);
  view.setUint16(2, id, true);
  view.setUint16(4, width, true);
  view.setUint16(6, height, true);
  view.setFloat64(8, epoch, true);
  message[16] = codecString.length;
  for (let i = 0; i < codecString.length; i++) message[INIT_HEADER_BYTES + i] = codecString.charCodeAt(i);
  message.set(bytes, INIT_HEADER_BYTES + codecString.length);
  return message;
}

export function encodeFragment(fragment: Omit<FragmentMessage, 'type'>): Uint8Array {
  const { id, epoch, seq, isKey, clock, captureTimeMs, mediaTimeS, durationS, boxes, bytes } = fragment;
  const message = new Uint8Array(FRAGMENT_HEADER_BYTES + bytes.length);
  const view = new DataView(message.buffer);
  message[0] = KIND_FRAGMENT;
  message[1] = (LAYOUT_VERSION << 4) | (isKey ? FLAG_KEY : 0) | (clock === 'camera' ? FLAG_CAMERA_CLOCK : 0);
  message[1] |= DRAWN_BOXES.indexOf(boxes) << BOXES_SHIFT;
  view.setUint16(2, id, true);
  view.setUint32(4, seq, true);
  view.setFloat64(8, epoch, true);
  view.setFloat64(16, captureTimeMs, true);
  view.setFloat64(24, mediaTimeS, true);
  view.setFloat32(32, durationS, true);
  message.set(bytes, FRAGMENT_HEADER_BYTES);
  return message;
}

/** The bytes of a segment are borrowed from the message. A kind, or a version, that is not known is none of the faults. */
export function decodeCameraData(message: Uint8Array): InitMessage | FragmentMessage | UnknownData {
  const [kind, flags = 0] = message;
  if (flags >> 4 !== LAYOUT_VERSION) return { type: 'unknown' };
  if (kind === KIND_INIT) return decodeInit(message, flags & FLAGS_MASK);
  if (kind === KIND_FRAGMENT) return decodeFragment(message, flags & FLAGS_MASK);
  return { type: 'unknown' };
}

function decodeInit(message: Uint8Array, flags: number): InitMessage {
  const codecEnd = INIT_HEADER_BYTES + (message[16] ?? 0);
  if (message.length < INIT_HEADER_BYTES || message.length < codecEnd) throw cut('init', message.length);
  const view = viewOf(message);
  return {
    type: 'init',
    isTranscoded: (flags & FLAG_TRANSCODED) !== 0,
    id: view.getUint16(2, true),
    width: view.getUint16(4, true),
    height: view.getUint16(6, true),
    epoch: view.getFloat64(8, true),
    codecString: String.fromCharCode(...message.subarray(INIT_HEADER_BYTES, codecEnd)),
    bytes: message.subarray(codecEnd),
  };
}

function decodeFragment(message: Uint8Array, flags: number): FragmentMessage {
  if (message.length < FRAGMENT_HEADER_BYTES) throw cut('fragment', message.length);
  const view = viewOf(message);
  return {
    type: 'fragment',
    id: view.getUint16(2, true),
    seq: view.getUint32(4, true),
    epoch: view.getFloat64(8, true),
    isKey: (flags & FLAG_KEY) !== 0,
    clock: (flags & FLAG_CAMERA_CLOCK) === 0 ? 'arrival' : 'camera',
    captureTimeMs: view.getFloat64(16, true),
    mediaTimeS: view.getFloat64(24, true),
    durationS: view.getFloat32(32, true),
    boxes: DRAWN_BOXES[flags >> BOXES_SHIFT] ?? 'none',
    bytes: message.subarray(FRAGMENT_HEADER_BYTES),
  };
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

function cut(kind: string, bytes: number): SightlineError {
  return new SightlineError('FRAME_HEADER_BAD', `a message of ${bytes} bytes is too short for the header of ${kind}`);
}
