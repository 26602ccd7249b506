import { RtspServer } from '../../test/support/rtsp-server.ts';
import { offer } from '../support/children.ts';
import { loadFilms } from './film.ts';
import type { SentPicture } from './identity-log.ts';
import { NumberedCameras, type NumberedSet } from './numbered-cameras.ts';

/** The cameras: an RTSP server of our own, in a process of its own. */

export interface OpenCameras {
  /** Where films are kept. */
  readonly folder: string;
  readonly count: number;
  /** Of the first one's name; the others follow. */
  readonly first: number;
  /** Of their phases. */
  readonly seed: number;
}

export interface CamerasSent {
  readonly frames: number;
  /** Left out, because this process was late or its client slow. */
  readonly dropped: number;
}

let server: RtspServer | undefined;
const names: string[] = [];
let numbered: NumberedCameras | undefined;

const api = {
  /** Returns the address of each, and what they show. */
  async open({ folder, count, first, seed }: OpenCameras): Promise<{ urls: string[]; about: string }> {
    const films = await loadFilms(folder);
    server = await RtspServer.open({ cameras: {}, seed });
    for (let i = first; i < first + count; i += 1) {
      const camera = server.add(`c${i}`, { clip: films[i % films.length]!.clip });
      // Then the capture time is the time of arrival.
      camera.ntpOffsetMs = null;
      names.push(camera.name);
    }
    return { urls: names.map((name) => server!.url(name)), about: films.map(({ about }) => about).join(', ') };
  },

  /** Of all since their beginning. */
  sent(): CamerasSent {
    const sum = { frames: 0, dropped: 0 };
    for (const name of names) {
      const { frames, framesDropped } = server!.camera(name).counts;
      sum.frames += frames;
      sum.dropped += framesDropped;
    }
    return sum;
  },

  /** Ends all connections; cameras take new ones. */
  cut(): void {
    for (const name of names) server!.camera(name).closeClients();
  },

  /** Cameras with numbers in their pictures in place of those with films. Returns the address of each. */
  async openNumbered({ seed, ...set }: NumberedSet & { readonly seed: number }): Promise<string[]> {
    server = await RtspServer.open({ cameras: {}, seed });
    numbered = new NumberedCameras(server);
    names.push(...(await numbered.add(set)));
    return names.map((name) => server!.url(name));
  },

  /** Another clip and rate for one with numbers. */
  change({ camera, rateFps }: { readonly camera: number; readonly rateFps: number }): void {
    numbered!.change(names[camera]!, rateFps);
  },

  /** Ends the connections of one. */
  cutOne(camera: number): void {
    server!.camera(names[camera]!).closeClients();
  },

  /** Of one with numbers, all that is remembered. */
  pictures(camera: number): readonly SentPicture[] {
    return numbered!.sent(names[camera]!);
  },
};

export type CamerasApi = typeof api;

offer(api);
