/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The public names of `@sightline/client/cameras`, which `sightline/client/cameras` has as well: an entry of its own, so that a page which only sends pictures
 * loads none of it. It only hands on others' exports.
 */
export { SightlineError } from '../base/errors.ts';
export type { ErrorCode } from '../base/errors.ts';
export type { CaptureClock, FrameName } from '../base/frame-name.ts';
export type {
  CameraFound,
  CameraResultMessage,
  CameraStateFields,
  CameraStreamFields,
  CamerasWelcome,
} from '../protocol/cameras.ts';
export { attachPlayer, canPlay } from './camera-player.ts';
export type {
  CameraPlayer,
  PlayerEvents,
  PlayerMetrics,
  PlayerOptions,
  PlayerState,
  PlayerStateChange,
  ShownFrame,
} from './camera-player.ts';
export { connectCameras } from './camera-session.ts';
export type {
  CameraFragment,
  CameraGap,
  CameraInit,
  CameraResult,
  CamerasEvents,
  CamerasSession,
  CameraView,
  CameraViewEvents,
  CameraViewMetrics,
  ConnectCamerasOptions,
  ViewGapCause,
  ViewOptions,
} from './camera-session.ts';
export type { Unsubscribe } from './emitter.ts';
export type { SessionState, StateChange } from './link.ts';
