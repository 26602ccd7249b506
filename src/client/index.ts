/// <reference lib="esnext.disposable" preserve="true" />
/** The public names of `@sightline/client`, which `sightline/client` has as well. The one file that only hands on others' exports: it is a package entry. */
export { SightlineError } from '../base/errors.ts';
export type { ErrorCode } from '../base/errors.ts';
export { HAND_CONNECTIONS } from '../base/hand.ts';
export type { Hand, HandPoint } from '../base/hand.ts';
export { Priority } from '../base/sample.ts';
export { QUALITY_LEVELS } from '../protocol/video.ts';
export type { NoticeMessage, TelemetryContract, TelemetryWelcome, TopicPosition } from '../protocol/telemetry.ts';
export type {
  DropCause,
  GrantFields,
  PerformanceMode,
  Pin,
  QualityLevel,
  ResultMessage,
  StagesMs,
  WelcomeMessage,
  WireDetection,
} from '../protocol/video.ts';
export { startCapture } from './capture.ts';
export type { Capture, CaptureOptions, CaptureStats, CapturedResult } from './capture.ts';
export type { ClockEstimate } from './clock-sync.ts';
export { decodingWorker } from './decoding-worker.ts';
export type { Picture } from './dom.ts';
export { colourOf, drawDetections, drawHands } from './draw.ts';
export type { Unsubscribe } from './emitter.ts';
export { optimiseImage } from './image.ts';
export type { OptimisedImage } from './image.ts';
export type { LinkSettings, SessionState, StateChange } from './link.ts';
export type { ReconnectPolicy } from './reconnect.ts';
export type { WebSocketConstructor, WebSocketLike } from './socket.ts';
export { tokenFile } from './token-store.ts';
export type { TokenStore } from './token-store.ts';
export { connectTelemetry } from './telemetry.ts';
export type {
  ConnectTelemetryOptions,
  TelemetryEvents,
  TelemetryFormat,
  TelemetryMetrics,
  TelemetrySession,
} from './telemetry.ts';
export type { PublishDropCause, PublishMetrics, PublishOptions } from './telemetry-publisher.ts';
export type {
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionMetrics,
  TelemetryBatch,
  TelemetryCallback,
  TelemetryColumns,
  TelemetryColumnsCallback,
  TelemetryLost,
  TelemetryMessage,
} from './telemetry-subscription.ts';
export { STAGES, traceOf } from './trace.ts';
export type { FrameTrace, Stage } from './trace.ts';
export { connectVideo } from './video.ts';
export type {
  ConnectVideoOptions,
  FrameToSend,
  LossCause,
  SkipCause,
  VideoEvents,
  VideoMetrics,
  VideoResult,
  VideoSession,
} from './video.ts';
