import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { z } from 'zod';
import { toSightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import { answer, files, type Route, type ServedFile } from './route.ts';
import { PAGE_DIR } from './settings.ts';

const PUBLIC = { action: 'public' } as const;

/** The demo camera's clip, which may be made while the server runs: requests for it wait meanwhile. */
export class DemoCamera {
  #clip: Promise<string | undefined> = Promise.resolve(undefined);

  /** Path of the clip; undefined: there is no such camera. */
  get clip(): Promise<string | undefined> {
    return this.#clip;
  }

  start(makeClip: () => Promise<string>, log: Log): void {
    this.#clip = makeClip().catch((thrown: unknown) => {
      const { code, message } = toSightlineError(thrown);
      log.write('camera_failed', { code, reason: message });
      return undefined;
    });
  }
}

/** Routes of the pages beside their files. `authority`: the certificate of the one that has signed the server’s. */
export function pageRoutes(camera: DemoCamera, authority?: ServedFile): Route[] {
  return [
    files({
      url: '/demo/camera.mp4',
      permission: { action: 'read', resource: 'demo' },
      tag: 'page',
      summary: 'the demo camera’s clip, in a demo',
      contentType: 'video/mp4',
      file: async () => {
        const clip = await camera.clip;
        return clip === undefined ? undefined : { folder: dirname(clip), name: basename(clip) };
      },
    }),
    files({
      url: '/ca.crt',
      permission: PUBLIC,
      tag: 'page',
      summary: 'the certificate of the authority of this machine, for devices that are to trust it',
      contentType: 'application/x-x509-ca-cert',
      file: async () => authority,
    }),
    answer({
      method: 'GET',
      url: '/licences',
      permission: PUBLIC,
      tag: 'page',
      summary: 'licences of the libraries and models of Sightline',
      response: z.string(),
      handle: () => readFile(new URL('../../NOTICE', import.meta.url), 'utf8'),
    }),
    files({
      url: '/api/docs',
      permission: PUBLIC,
      tag: 'api',
      summary: 'a page to read this document and to try the API',
      contentType: 'text/html',
      file: async () => ({ folder: PAGE_DIR, name: 'api.html' }),
    }),
  ];
}
