import { offer } from '../support/children.ts';
import {
  InnocentCamera,
  InnocentReader,
  probeHealth,
  type CameraSeen,
  type HealthSeen,
  type ReaderSeen,
  type Watch,
} from './innocents.ts';
import { smallPicture } from './small-picture.ts';

/** One innocent in a process of its own, as `open` says; the prober needs no opening. */

let camera: InnocentCamera | undefined;
let reader: InnocentReader | undefined;

const api = {
  openCamera: async (url: string): Promise<void> => {
    camera = await InnocentCamera.open(url, smallPicture());
  },

  openReader: async (url: string): Promise<void> => {
    reader = await InnocentReader.open(url);
  },

  camera: (watch: Watch): Promise<CameraSeen> => camera!.watch(watch),

  reader: (watch: Watch): Promise<ReaderSeen> => reader!.watch(watch),

  health: ({ url, watch }: { url: string; watch: Watch }): Promise<HealthSeen> => probeHealth(url, watch),

  close: async (): Promise<void> => {
    await camera?.close();
    await reader?.close();
    camera = undefined;
    reader = undefined;
  },
};

export type InnocentApi = typeof api;

offer(api);
