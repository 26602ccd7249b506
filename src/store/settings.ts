import { resolve } from 'node:path';
import type { StoreSettings } from './store.ts';

/** The part of the configuration for this room, in the room's own terms. */

interface StoreConfig {
  readonly mode: 'file' | 'memory';
  readonly file: string;
  readonly bytes_max: number;
}

/** `retention`: of the kinds of records, by the rooms that write them. */
export function storeSettings(
  { store }: { readonly store: StoreConfig },
  retention: StoreSettings['retention'],
): StoreSettings {
  return { file: store.mode === 'file' ? resolve(store.file) : undefined, bytesMax: store.bytes_max, retention };
}
