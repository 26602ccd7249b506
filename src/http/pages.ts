import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { z } from 'zod';
import { answer, files, type Route } from './route.ts';
import { PAGE_DIR } from './settings.ts';

const PUBLIC = { action: 'public' } as const;

/** What belongs to the pages beside their files. `camera`: path of the demo camera's clip; it is waited for. */
export function pageRoutes(camera: () => Promise<string | undefined>): Route[] {
  return [
    files({
      url: '/demo/camera.mp4',
      permission: PUBLIC,
      tag: 'page',
      summary: 'the demo camera’s clip, in a demo',
      contentType: 'video/mp4',
      file: async () => {
        const clip = await camera();
        return clip === undefined ? undefined : { folder: dirname(clip), name: basename(clip) };
      },
    }),
    answer({
      method: 'GET',
      url: '/licences',
      permission: PUBLIC,
      tag: 'page',
      summary: 'licences of what Sightline is built on',
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
