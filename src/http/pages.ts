import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { toSightlineError } from '../base/errors.ts';
import { answer, type Route } from './route.ts';
import { PAGE_DIR } from './settings.ts';

/** The clip that the page plays as its demo camera, where there is one. */
export class DemoCamera {
  #clip: Promise<string | undefined> = Promise.resolve(undefined);

  /** Its path, once it is made; undefined: there is none. */
  get clip(): Promise<string | undefined> {
    return this.#clip;
  }

  /** From now on whoever asks for the clip waits until it is made. That it could not be is told, and no error. */
  start(makeClip: () => Promise<string>, say: (line: string) => void): void {
    this.#clip = makeClip().catch((thrown: unknown) => {
      say(`there is no demo camera: ${toSightlineError(thrown).message}`);
      return undefined;
    });
  }
}

/** What belongs to the pages beside their files. */
export function pageRoutes(camera: DemoCamera): Route[] {
  return [
    {
      kind: 'file',
      url: '/demo/camera.mp4',
      tag: 'page',
      summary: 'the demo camera’s clip, in a demo',
      contentType: 'video/mp4',
      file: () => camera.clip,
    },
    answer({
      method: 'GET',
      url: '/licences',
      tag: 'page',
      summary: 'licences of what Sightline is built on',
      response: z.string(),
      handle: () => readFile(new URL('../../NOTICE', import.meta.url), 'utf8'),
    }),
    {
      kind: 'file',
      url: '/api/docs',
      tag: 'api',
      summary: 'a page to read this document and to try the API',
      contentType: 'text/html',
      file: async () => join(PAGE_DIR, 'api.html'),
    },
  ];
}
