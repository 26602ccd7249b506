import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import type { Page } from 'playwright-core';

/** A page of the server's own origin that plays a channel by hls.js, and notes each frame that it shows with the name that came in its part. */

export interface HlsPicture {
  /** In the picture. */
  readonly number: number | undefined;
  /** Of the metadata whose time is that of the picture; undefined: there is none. */
  readonly name:
    | {
        readonly camera: string;
        readonly epoch: number;
        readonly seq: number;
        /** Unix ms. */
        readonly capture_time: number;
        readonly clock: string;
        readonly boxes: string;
      }
    | undefined;
  readonly mediaTimeS: number;
  /** When it was to be on the screen, Unix ms. */
  readonly shownTimeMs: number;
}

const HTML = `<!doctype html>
<link rel="icon" href="data:," />
<video muted autoplay></video>
<script type="module">
  import Hls from './hls.mjs';
  import { readNumber } from './number.js';
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const page = (window.page = { frames: [], errors: [], moved: 0, names: new Map() });
  const hls = (page.hls = new Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.5 }));
  // As docs/hls.md advises: further behind it would stay there, however long it plays.
  hls.config.liveMaxLatencyDurationCount = 3;
  hls.on(Hls.Events.ERROR, (_, { type, details, fatal, reason, error }) =>
    page.errors.push({ type, details, fatal, reason: String(reason ?? error?.message) }));
  hls.on(Hls.Events.FRAG_PARSING_METADATA, (_, { samples }) => {
    for (const { pts, data } of samples) {
      const text = new TextDecoder().decode(data);
      page.names.set(pts, JSON.parse(text.slice(text.lastIndexOf('{'))));
    }
  });
  const nameAt = (timeS) => {
    let found;
    for (const [pts, name] of page.names) if (Math.abs(pts - timeS) < 0.002) found = name;
    return found;
  };
  video.requestVideoFrameCallback(function note(nowMs, { mediaTime, expectedDisplayTime }) {
    video.requestVideoFrameCallback(note);
    const picture = new VideoFrame(video);
    // The element may have gone on to the next one.
    if (Math.abs(picture.timestamp / 1e6 - mediaTime) < 0.001) {
      const { displayWidth: width, displayHeight: height } = picture;
      const rows = Math.ceil(height / 4);
      [canvas.width, canvas.height] = [width, rows];
      context.drawImage(picture, 0, 0);
      const { data } = context.getImageData(0, 0, width, rows);
      const number = readNumber({ data, width, height, pixelBytes: 4 });
      const shownTimeMs = Date.now() + Math.max(nowMs, expectedDisplayTime) - performance.now();
      page.frames.push({ number, mediaTimeS: mediaTime, name: nameAt(mediaTime), shownTimeMs });
    } else page.moved++;
    picture.close();
  });
  hls.loadSource(new URLSearchParams(location.search).get('source'));
  hls.attachMedia(video);
</script>`;

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

/** Before the page is opened. Its address is `/test/player.html?source=…`. */
export async function serveHlsPage(page: Page): Promise<void> {
  const files: Readonly<Record<string, () => { readonly contentType: string; readonly body: string }>> = {
    'player.html': () => ({ contentType: 'text/html', body: HTML }),
    'hls.mjs': () => ({ contentType: 'text/javascript', body: read('../../node_modules/hls.js/dist/hls.mjs') }),
    'number.js': () => ({ contentType: 'text/javascript', body: stripTypeScriptTypes(read('picture-number.ts')) }),
  };
  await page.route(/\/test\/[\w.]+/, (route) => {
    const file = files[new URL(route.request().url()).pathname.replace('/test/', '')];
    return file ? route.fulfill(file()) : route.abort();
  });
}
