import { offer } from '../support/children.ts';
import { film, type Film, type FilmJob } from './film.ts';
import { Strip } from './strip.ts';

/** A camera in a process of its own, as it is in life. */

let strip: Strip | undefined;
let closeLast: () => void = () => {};

const api = {
  prepare: async (): Promise<void> => {
    strip = await Strip.load();
  },

  /** The session stays open until `close`, so that the server can still be asked about it. */
  film: async (job: FilmJob): Promise<Film> => {
    const done = await film(job, strip!);
    closeLast = done.close;
    return done.film;
  },

  close: (): void => closeLast(),
};

export type CameraApi = typeof api;

offer(api);
