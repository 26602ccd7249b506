import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHROMIUM, launchBrowser } from '../../test/support/chromium.ts';
import { SEED } from '../fleet/world.ts';
import type { Bar, BenchContext, Benchmark, BenchResult } from '../support/document.ts';
import { measureAnnotated } from './annotated.ts';
import { measureGlass } from './glass.ts';
import { measureIdentity } from './identity.ts';
import { measureMasks } from './masks.ts';
import { measureMemory } from './memory.ts';
import { measureRedis } from './redis.ts';
import { measureViewers } from './viewers.ts';

/** The ways out of a camera beside `/ws/cameras`. */

const PARTS = {
  identity: measureIdentity,
  glass: measureGlass,
  viewers: measureViewers,
  masks: measureMasks,
  redis: measureRedis,
  annotated: measureAnnotated,
  memory: measureMemory,
} as const;

export const channels: Benchmark = {
  name: 'channels',
  summary: 'cameras by HLS, WHEP and as exported files: names of frames, and how old pictures are on the screen',
  parts: Object.keys(PARTS),
  run: runChannels,
};

async function runChannels(context: BenchContext): Promise<BenchResult> {
  const { quick, only = Object.keys(PARTS), say } = context;
  const figures: Record<string, number> = {};
  const bars: Bar[] = [];
  if (CHROMIUM === undefined) say('left out: there is no Chromium (Debian: chromium) in PATH');
  else {
    const folder = await mkdtemp(join(tmpdir(), 'sightline-bench-channels-'));
    const browser = await launchBrowser(['--allow-loopback-in-peer-connection'], { endsProcess: false });
    const onAbort = (): void => void browser.close().catch(() => {});
    context.signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (const [part, measure] of Object.entries(PARTS)) {
        if (!only.includes(part)) continue;
        const { own, bars: further } = await measure({ ...context, folder }, browser);
        Object.assign(figures, own);
        bars.push(...further);
      }
    } finally {
      context.signal.removeEventListener('abort', onAbort);
      await browser.close();
      await rm(folder, { recursive: true, force: true });
    }
  }
  return {
    seed: SEED,
    setup: {
      identity:
        'numbers in pictures of 160×90 at 50 frames/s against what the camera sent at the time of capture and place in the epoch that came with the frame: by hls.js and WebRTC in headless Chromium, own frames and those on which results are drawn; and in files that were exported; meanwhile cameras connect anew',
      glass:
        'from the send time of the picture with that number to the call of requestVideoFrameCallback in headless Chromium, or the display time that it expects, where that is later; one camera, 12.5 frames/s, one viewer',
      viewers:
        '1,000 players in one process, of ten channels of 320×180 at 12.5 frames/s, with parts of a second: live, each asks for the playlist with the next part, then for that part; recorded, all of a channel ask for the same fragment of 6 s within 2 s; trace, four viewers, a fragment each 400 ms: who plays goes on with 88 %, else goes back by three (40 %), to the next camera (40 %) or anywhere (20 %); who goes back, or from camera to camera, does so again with 55 %, else plays; first byte: of fragments that are there, from the request to the head of the answer',
      masks:
        'a bright camera of 320×180, and a mask on its way round in 24 places; in each pictures of the channel encoded anew and of the annotated one (by /ws/cameras), of a segment of annotated HLS, and stills of three widths: of the pixels whose middle lies under the mask those that are black, as far as coding leaves that, in the worst picture; then attempts of a client without the permission at addresses of raw HLS, of what was recorded before, and by /ws/cameras (WHEP gives it what is encoded anew, with the mask)',
      redis:
        '100 who ask at once for fragments of 64 KiB of a Redis on this machine, over one connection, four and fifty, by turns; medians of five rounds of 3 s; fragments a second, and how long an answer takes',
      annotated:
        'cameras as in fleet, whose raw channel is open; of each a still with what was found drawn on it every 2 s, 384 wide, and of some the annotated channel at 10 frames/s, 768×432; costs: ms of processor time a second',
      memory:
        'proportional set size of all processes of the server, by cameras: as in fleet, each with its raw and its annotated channel open and looked at; beyond that of the same server without a camera, and in all',
      mode: quick ? 'quick' : 'full',
    },
    figures,
    bars,
  };
}
