import { Priority } from '../../base/sample.ts';
import type { Config } from '../../config/schema.ts';
import type { CameraSettings, FleetSettings } from './camera-settings.ts';

/** The configuration's part for this room, in the room's own terms. */

type CameraEntry = Config['cameras'][string];

/** Cameras are in the order of their ids. */
export function fleetSettings({ fleet, cameras }: Pick<Config, 'fleet' | 'cameras'>): FleetSettings {
  const ids = Object.keys(cameras).toSorted();
  return {
    processes: fleet.processes,
    streamsMax: fleet.max_concurrent_streams,
    openTimeoutMs: fleet.open_timeout_ms,
    stallTimeoutMs: fleet.stall_timeout_ms,
    pixelsMax: fleet.pixels_max,
    rateFpsMax: fleet.rate_fps_max,
    rawBytesMax: fleet.raw_bytes_max,
    transcodesMax: fleet.transcodes_max,
    annotatedMax: fleet.annotated_max,
    annotatedFps: fleet.annotated_fps,
    annotatedSide: fleet.annotated_side,
    hardware: { wish: fleet.hardware_decoding, decodersMax: fleet.hardware_decoders_max },
    allowedNetworks: fleet.allowed_networks,
    cameras: new Map(ids.map((id) => [id, cameraSettings(cameras[id]!)])),
  };
}

export function cameraSettings(entry: CameraEntry): CameraSettings {
  return {
    url: entry.url,
    isEnabled: entry.enabled,
    transport: entry.transport,
    priority: Priority[entry.class],
    pipelines: entry.pipelines,
    ...(entry.model !== undefined && { model: entry.model }),
    ...(entry.max_fps !== undefined && { maxFps: entry.max_fps }),
    masks: entry.masks,
    loop: entry.loop,
    pace: entry.pace,
  };
}
