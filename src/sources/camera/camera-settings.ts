import type { PipelineName } from '../../base/result.ts';
import { readPolygon } from '../../base/polygon.ts';
import type { Priority } from '../../base/sample.ts';
import type { HardwareSettings } from './hardware-places.ts';
import type { CameraInput } from './messages.ts';

/** Settings of the fleet, and what a change of them touches. Pure. */

export interface CameraSettings {
  /** With credentials, if there are any: it goes into no log and no message. */
  readonly url: string;
  readonly isEnabled: boolean;
  readonly transport: 'tcp' | 'udp';
  readonly priority: Priority;
  readonly pipelines: readonly PipelineName[];
  /** Id of a model; left out: the server's default. */
  readonly model?: string;
  /** Pictures a second for its pipelines; left out: as many as the engine has time for. */
  readonly maxFps?: number;
  /** Polygons, see `readPolygon`. */
  readonly masks: readonly string[];
  /** Files: begin anew at the end. */
  readonly loop: boolean;
  /** Files: at the pace of their timestamps, or as fast as they can be read. */
  readonly pace: 'live' | 'fast';
}

export interface FleetSettings {
  /** Processes that serve several cameras, at most. */
  readonly processes: number;
  /** Cameras that are read at once, at most. */
  readonly streamsMax: number;
  readonly openTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly pixelsMax: number;
  readonly rateFpsMax: number;
  /** Fragments of a raw channel that are kept, bytes a camera. */
  readonly rawBytesMax: number;
  /** Cameras whose frames are encoded anew at once, at most. */
  readonly transcodesMax: number;
  /** Cameras on whose frames results are drawn at once, at most; pictures a second, and longest side, of each. */
  readonly annotatedMax: number;
  readonly annotatedFps: number;
  readonly annotatedSide: number;
  readonly hardware: HardwareSettings;
  readonly allowedNetworks: readonly string[];
  /** By id. */
  readonly cameras: ReadonlyMap<string, CameraSettings>;
}

/** What holds for the connections of all cameras. */
export type ConnectionSettings = Pick<
  FleetSettings,
  'openTimeoutMs' | 'stallTimeoutMs' | 'pixelsMax' | 'rateFpsMax' | 'allowedNetworks'
>;

/** Before there is a configuration: no camera at all. */
export const NO_FLEET: FleetSettings = {
  processes: 10,
  streamsMax: 0,
  openTimeoutMs: 10_000,
  stallTimeoutMs: 5_000,
  pixelsMax: 8_912_896,
  rateFpsMax: 120,
  rawBytesMax: 8 * 2 ** 20,
  transcodesMax: 0,
  annotatedMax: 0,
  annotatedFps: 10,
  annotatedSide: 1280,
  hardware: { wish: 'off', decodersMax: 0 },
  allowedNetworks: [],
  cameras: new Map(),
};

export function inputOf(camera: CameraSettings, fleet: ConnectionSettings): CameraInput {
  const { url, transport, loop, pace } = camera;
  // What the configuration has taken can be read.
  const masks = camera.masks.map((text) => readPolygon(text).polygon!);
  const { openTimeoutMs, stallTimeoutMs, pixelsMax, rateFpsMax, allowedNetworks } = fleet;
  return { url, transport, loop, pace, masks, allowedNetworks, openTimeoutMs, stallTimeoutMs, pixelsMax, rateFpsMax };
}

const OF_CONNECTION = ['url', 'transport', 'loop', 'pace'] as const satisfies readonly (keyof CameraSettings)[];

/** Another connection is needed; else it stays as it is. */
export function needsConnection(one: CameraSettings, other: CameraSettings): boolean {
  return OF_CONNECTION.some((key) => one[key] !== other[key]) || !isSameList(one.masks, other.masks);
}

export function isSameCamera(one: CameraSettings, other: CameraSettings): boolean {
  const isSame = (['isEnabled', 'priority', 'model', 'maxFps'] as const).every((key) => one[key] === other[key]);
  return isSame && !needsConnection(one, other) && isSameList(one.pipelines, other.pipelines);
}

/** A camera that was refused may be let in by these. */
export function isSameConnection(one: ConnectionSettings, other: ConnectionSettings): boolean {
  const keys = ['openTimeoutMs', 'stallTimeoutMs', 'pixelsMax', 'rateFpsMax'] as const;
  return keys.every((key) => one[key] === other[key]) && isSameList(one.allowedNetworks, other.allowedNetworks);
}

export function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((value, i) => value === other[i]);
}
