import type { Config } from '../../config/schema.ts';
import type { HlsSettings } from './channels.ts';

/** The configuration's part for this room, in the room's own terms. */
export function hlsSettings({ hls }: Pick<Config, 'hls'>): HlsSettings {
  return {
    partS: hls.part_ms / 1000,
    listedS: hls.window_s,
    idleS: hls.idle_s,
    bytesMax: hls.bytes_max,
    totalBytesMax: hls.total_bytes_max,
    waitingMax: hls.waiting_max,
  };
}
