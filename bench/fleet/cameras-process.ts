import { RtspServer } from '../../test/support/rtsp-server.ts';
import { offer } from '../support/children.ts';
import { loadFilms } from './film.ts';

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
};

export type CamerasApi = typeof api;

offer(api);
