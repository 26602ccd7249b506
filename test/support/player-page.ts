import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const ENTRIES = {
  cameras: fileURLToPath(new URL('../../src/client/cameras.ts', import.meta.url)),
  number: fileURLToPath(new URL('picture-number.ts', import.meta.url)),
};

/** Of `window.page.frames`: a frame as it was on the screen. */
export interface PagePicture {
  readonly camera: string;
  /** In the picture, as a canvas has it. */
  readonly number: number | undefined;
  /** The name that the player tells. */
  readonly epoch: number;
  readonly seq: number;
  /** By the server's time of day, Unix ms. */
  readonly captureTimeMs: number;
  /** When it can be seen, Unix ms. */
  readonly shownTimeMs: number;
  /** As the player tells it. */
  readonly latencyMs: number;
  /** Numbers in the epoch of the frames of its results. */
  readonly results: readonly number[];
}

/**
 * A page that plays cameras (`?camera=…`, one or several; without that `north`), and notes each frame that it shows. The frame is taken out of the element together
 * with its time, since the element may have gone on to the next one by then (`moved`). The first camera's player is the page's `player`.
 */
const PAGE = `<!doctype html>
<link rel="icon" href="data:," />
<script type="module">
  import { attachPlayer, connectCameras } from '/cameras.js';
  import { readNumber } from '/number.js';
  const CAPTURES_MAX = 1000;
  const cameras = new URLSearchParams(location.search).getAll('camera');
  const page = (window.page = { frames: [], states: [], gaps: [], late: [], moved: 0, players: [] });
  const session = await connectCameras({ url: location.origin, reconnect: { delayMinMs: 50 } });
  for (const camera of cameras.length > 0 ? cameras : ['north']) play(camera);
  Object.assign(page, { session, ...page.players[0] });

  function play(camera) {
    const video = document.body.appendChild(document.createElement('video'));
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const captures = new Map();
    let display;
    // Before the player, so that it is called before it.
    video.requestVideoFrameCallback(function note(_, { mediaTime, expectedDisplayTime }) {
      display = { mediaTime, timeMs: Date.now() + expectedDisplayTime - performance.now() };
      video.requestVideoFrameCallback(note);
    });
    const view = session.open(camera);
    const player = attachPlayer(view, video);
    page.players.push({ view, player, video });
    player.on('state', (change) => page.states.push(change));
    player.on('result', ({ frame }) => page.late.push([frame.seq, player.frame.seq]));
    view.on('gap', (gap) => page.gaps.push(gap));
    view.on('fragment', ({ frame: { epoch, seq }, serverCaptureTimeMs }) => {
      captures.set(epoch + ' ' + seq, serverCaptureTimeMs);
      if (captures.size > CAPTURES_MAX) captures.delete(captures.keys().next().value);
    });
    player.on('frame', ({ frame: { epoch, seq }, latencyMs, mediaTimeS, results }) => {
      const picture = new VideoFrame(video);
      if (Math.abs(picture.timestamp / 1e6 - mediaTimeS) < 0.001 && display.mediaTime === mediaTimeS) {
        const { displayWidth: width, displayHeight: height } = picture;
        // The number is in its upper part.
        const rows = Math.ceil(height / 4);
        if (canvas.width !== width) canvas.width = width;
        if (canvas.height !== rows) canvas.height = rows;
        context.drawImage(picture, 0, 0);
        const { data } = context.getImageData(0, 0, width, rows);
        page.frames.push({
          camera,
          number: readNumber({ data, width, height, pixelBytes: 4 }),
          epoch,
          seq,
          captureTimeMs: captures.get(epoch + ' ' + seq),
          shownTimeMs: display.timeMs,
          latencyMs,
          results: results.map((one) => one.frame.seq),
        });
      } else page.moved++;
      picture.close();
    });
  }
</script>`;

/** Its files, by path. */
export async function playerPage(): Promise<Map<string, string>> {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      minify: false,
      rolldownOptions: { input: ENTRIES, preserveEntrySignatures: 'strict', output: { entryFileNames: '[name].js' } },
    },
  });
  const { output } = (Array.isArray(built) ? built[0]! : built) as { output: { fileName: string; code?: string }[] };
  return new Map([['/', PAGE], ...output.map(({ fileName, code = '' }) => [`/${fileName}`, code] as const)]);
}
