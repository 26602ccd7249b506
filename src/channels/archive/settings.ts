import { resolve } from 'node:path';
import type { Config } from '../../config/schema.ts';
import type { ArchiveSettings, RecordPlan } from './archive.ts';
import type { ExportSettings } from './clip-exports.ts';

/** The configuration's part for this room, in the room's own terms. */

const HOUR_MS = 3_600_000;

export function archiveSettings({
  archive,
  cameras,
  fleet,
}: Pick<Config, 'archive' | 'cameras' | 'fleet'>): ArchiveSettings {
  const plans = Object.entries(cameras).map(([id, camera]): [string, RecordPlan] => [
    id,
    {
      mode: camera.record,
      labels: camera.record_labels,
      bounds: {
        ageMsMax: (camera.record_keep_h ?? archive.keep_h) * HOUR_MS,
        bytesMax: camera.record_bytes_max ?? archive.camera_bytes_max,
      },
    },
  ]);
  return {
    folder: resolve(archive.folder),
    fileMs: archive.file_s * 1000,
    freeBytesMin: archive.free_bytes_min,
    memoryBytesMax: archive.memory_bytes_max,
    beforeMs: archive.before_s * 1000,
    afterMs: archive.after_s * 1000,
    takesUnmasked: fleet.record_unmasked,
    bounds: { ageMsMax: archive.keep_h * HOUR_MS, bytesMax: archive.camera_bytes_max },
    plans: new Map(plans),
  };
}

/** Pictures are as large as those of the annotated channel. */
export function exportSettings({ archive, fleet }: Pick<Config, 'archive' | 'fleet'>): ExportSettings {
  return { max: archive.exports_max, sideMax: fleet.annotated_side, pixelsMax: fleet.pixels_max };
}
