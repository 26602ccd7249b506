import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const ENTRIES = {
  cameras: fileURLToPath(new URL('../../src/client/cameras.ts', import.meta.url)),
  number: fileURLToPath(new URL('picture-number.ts', import.meta.url)),
};

/**
 * A page that plays the camera `north` and notes each frame that it shows: the number in its picture, as a canvas has it, beside the name that the player
 * tells. The frame is taken out of the element together with its time, since the element may have gone on to the next one by then (`moved`).
 */
const PAGE = `<!doctype html>
<link rel="icon" href="data:," />
<video></video>
<script type="module">
  import { attachPlayer, connectCameras } from '/cameras.js';
  import { readNumber } from '/number.js';
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const page = (window.page = { frames: [], states: [], gaps: [], late: [], moved: 0 });
  const session = await connectCameras({ url: location.href, reconnect: { delayMinMs: 50 } });
  const view = session.open('north');
  const player = attachPlayer(view, video);
  Object.assign(page, { session, view, player, video });
  player.on('state', (change) => page.states.push(change));
  player.on('result', ({ frame }) => page.late.push([frame.seq, player.frame.seq]));
  view.on('gap', (gap) => page.gaps.push(gap));
  player.on('frame', ({ frame, latencyMs, mediaTimeS, results }) => {
    const picture = new VideoFrame(video);
    if (Math.abs(picture.timestamp / 1e6 - mediaTimeS) < 0.001) {
      canvas.width = picture.displayWidth;
      canvas.height = picture.displayHeight;
      context.drawImage(picture, 0, 0);
      const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
      const number = readNumber({ data, width, height, pixelBytes: 4 });
      const { epoch, seq } = frame;
      page.frames.push({ number, epoch, seq, latencyMs, results: results.map((one) => one.frame.seq) });
    } else page.moved++;
    picture.close();
  });
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
