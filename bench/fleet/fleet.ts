import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelRegistry } from '../../src/inference/registry.ts';
import type { Bar, BenchContext, Benchmark, BenchResult } from '../support/document.ts';
import { FILM } from './film.ts';
import { measureEdits } from './edits.ts';
import { measureFaults } from './faults.ts';
import { measureGlass } from './glass.ts';
import { measureIdentity } from './identity.ts';
import { measureLoad } from './load.ts';
import { SEED } from './world.ts';

/** Many cameras at once: what they cost, how many there may be, and what holds when some of them fail. */

/** Memory, and the most cameras, are measured where the load is. */
const PARTS = ['load', 'memory', 'max', 'faults', 'edits', 'identity', 'glass'] as const;

export const fleet: Benchmark = {
  name: 'fleet',
  summary:
    'a hundred cameras: their cost and memory, the most there may be, names of frames, and failures beside each other',
  parts: PARTS,
  run: runFleet,
};

async function runFleet(context: BenchContext): Promise<BenchResult> {
  const { quick, only = PARTS } = context;
  const folder = await mkdtemp(join(tmpdir(), 'sightline-bench-fleet-'));
  const figures: Record<string, number> = {};
  const bars: Bar[] = [];
  let film = '';
  try {
    // The conversion of the model is not what is measured here.
    await new ModelRegistry({ cacheDir: folder }).resolve('ssd-oidv4');
    const bench = { ...context, folder };
    const beside = (['memory', 'max'] as const).filter((part) => only.includes(part));
    if (only.includes('load') || beside.length > 0) {
      const { own, bars: further, about } = await measureLoad(bench, beside);
      film = about;
      Object.assign(figures, own);
      bars.push(...further);
    }
    const parts = { faults: measureFaults, edits: measureEdits, identity: measureIdentity, glass: measureGlass };
    for (const [part, measure] of Object.entries(parts)) {
      if (!only.includes(part)) continue;
      const { own, bars: further } = await measure(bench);
      Object.assign(figures, own);
      bars.push(...further);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return {
    seed: SEED,
    setup: {
      cameras: `RTSP over TCP, ${FILM.width}×${FILM.height}, ${FILM.rateFps} frames/s, a key frame every ${FILM.keyEvery} frames at random phases${film && `; ${film}`}`,
      costs:
        'ms of processor time a second; read, then watched as well (the raw channel of each), then looked at as well (objects)',
      faults:
        'stalled: the process of six of 16 cameras is stopped, which two processes read together with the others; killed: readers of a hundred, by SIGKILL, one after the other; reconnected: all hundred connections are cut at once',
      edits:
        '20 cameras, of which edits name eight, and five connections with a view of each; by PUT, DELETE, a reload and SIGHUP, with pauses of 0 to 400 ms; p50 and p95 are those of a request with its answer',
      identity:
        'numbers in pictures of 160×90 at 50 and 20 frames/s, every second camera with B-frames, against what the camera sent at the time of capture and place in the epoch that the server tells; meanwhile cameras and viewers reconnect, rates change, lines stand still, viewers seek and pause; all of that is recorded, and the recording replayed by `sightline replay`: as a whole, and from six places at 0.5 to 20 times the speed',
      glass:
        'from the send time of the picture with that number to the expected display time of requestVideoFrameCallback in headless Chromium; one camera, 12.5 and 30 frames/s',
      mode: quick ? 'quick' : 'full',
    },
    figures,
    bars,
  };
}
