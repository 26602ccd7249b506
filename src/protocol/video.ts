import type { Detection } from '../base/detection.ts';
import type { ErrorCode, SightlineError } from '../base/errors.ts';
import type { PipelineName, ResultContents } from '../base/result.ts';
import type { Priority } from '../base/sample.ts';

/** The messages of the video lane, as `docs/protocol.md` describes them field by field. */

export const PROTOCOL_VERSION = 1;

export type MessageFormat = 'json' | 'msgpack';

export type DropCause = 'queue_full' | 'expired' | 'superseded' | 'stale' | 'slow_reader' | 'disconnected';

export const QUALITY_LEVELS = ['ultra_low', 'low', 'medium', 'high', 'ultra_high'] as const;
export type QualityLevel = (typeof QUALITY_LEVELS)[number];

export const PERFORMANCE_MODES = ['ultra_performance', 'high_performance', 'balanced', 'high_quality'] as const;
export type PerformanceMode = (typeof PERFORMANCE_MODES)[number];

export interface Pin {
  level?: QualityLevel;
  mode?: PerformanceMode;
  skip_ratio?: number;
}

export interface GrantFields {
  rate_fps: number;
  window: number;
  width: number;
  height: number;
  quality: number;
  pinned: Pin | null;
  /** Rung of the quality ladder, `fixed` without one. */
  level: string;
  reason: GrantReason;
}

/**
 * What bounds a grant: it is the first one; adaptation is off; a pin; the way to the server; the engine's capacity; the client's
 * own display; a higher rung must prove itself first; nothing but the settings.
 */
export type GrantReason = 'start' | 'fixed' | 'pin' | 'link' | 'compute' | 'client' | 'ladder' | 'settings';

export interface SessionLimits {
  message_bytes_max: number;
  image_side_max: number;
  image_pixels_max: number;
  frame_queue: number;
  idle_timeout_s: number;
}

export interface WelcomeMessage {
  type: 'welcome';
  protocol: number;
  client_id: string;
  token: string;
  resumed: boolean;
  last_seq: number;
  /** By name; several with a comma between them, in the order of the query. */
  pipeline: string;
  /** Of each of them, likewise. */
  model: string;
  format: MessageFormat;
  server_time: number;
  limits: SessionLimits;
  /** Latency budget of a frame of this session, capture to result. */
  budget_ms: number;
  grant: GrantFields;
}

export interface GrantMessage extends GrantFields {
  type: 'grant';
}

export interface WireDetection {
  label: string;
  class_id: number;
  score: number;
  box: Detection['box'];
}

export interface StagesMs {
  capture: number;
  queue: number;
  decode: number;
  preprocess: number;
  inference: number;
  postprocess: number;
  total: number;
}

/** What a result holds beside what all results hold, by pipeline: what the pipeline says, with the names of the wire. */
export type WireContents = Omit<ResultContents, 'objects'> & { objects: { detections: WireDetection[] } };

interface ResultFields {
  type: 'result';
  client_id: string;
  seq: number;
  capture_time: number;
  width: number;
  height: number;
  stages_ms: StagesMs;
}

/** A result of one of these pipelines; `pipeline` tells which. */
export type ResultMessage<P extends PipelineName = 'objects'> = {
  [Name in P]: ResultFields & { pipeline: Name } & WireContents[Name];
}[P];

export interface DroppedMessage {
  type: 'dropped';
  seqs: number[];
  cause: DropCause;
  /** In a session of several: whose answer is left out; absent: all that are still owed. */
  pipeline?: PipelineName;
}

export interface ErrorMessage {
  type: 'error';
  code: ErrorCode;
  message: string;
  seq?: number;
  /** With `SHUTTING_DOWN`, before the connection ends: when to come back. */
  retry_after_ms?: number;
  /** As in `dropped`. */
  pipeline?: PipelineName;
}

export interface ClockReply {
  type: 'clock';
  t0: number;
  t1: number;
  t2: number;
}

export type ServerMessage<P extends PipelineName = 'objects'> =
  | WelcomeMessage
  | GrantMessage
  | ResultMessage<P>
  | DroppedMessage
  | ErrorMessage
  | ClockReply;

export interface ClockRequest {
  type: 'clock';
  t0: number;
}

export interface VideoClockRequest extends ClockRequest {
  /** Of the earlier exchange that the client's offset rests on, ms. */
  round_trip_ms?: number;
}

/** How the client keeps up. */
export interface ReportMessage {
  type: 'report';
  /** A result received to shown, of late, ms. */
  lag_ms: number;
}

export interface PinMessage extends Pin {
  type: 'pin';
}

/** A frame as it came in, in whichever of the three forms. The bytes are borrowed from the message. */
export interface IncomingFrame {
  type: 'frame';
  /** Absent: the last one plus 1. */
  seq: number | undefined;
  /** Unix ms; absent: the arrival. */
  captureTimeMs: number | undefined;
  /** From the capture to the socket, ms; absent: not told. */
  sentAfterMs: number | undefined;
  /** Absent: that of the session. */
  priority: Priority | undefined;
  /** As it came, unread (`trace-context.ts`): text, or bytes borrowed from the message; undefined: there is none. */
  traceparent?: unknown;
  jpeg: Uint8Array;
}

/** A frame that cannot be used; it is answered by its error, with its `seq` where that much could be read. */
export interface BadFrame {
  type: 'bad_frame';
  seq: number | undefined;
  error: SightlineError;
}

export type ClientMessage = IncomingFrame | BadFrame | VideoClockRequest | PinMessage | ReportMessage;
