import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { answer, type Route } from './route.ts';
import { PAGE_DIR } from './settings.ts';

/** What belongs to the pages beside their files. `camera`: path of the demo camera's clip; it is waited for. */
export function pageRoutes(camera: () => Promise<string | undefined>): Route[] {
  return [
    {
      kind: 'file',
      url: '/demo/camera.mp4',
      tag: 'page',
      summary: 'the demo camera’s clip, in a demo',
      contentType: 'video/mp4',
      file: camera,
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
